"""RTCP of a worker's legs: sender reports in, a receiver report every five seconds out (RFC 3550 6)."""

from __future__ import annotations

import contextlib

from siprec.media.recordings import LegState
from siprec.rtp.loss import total_lost
from siprec.rtp.rtcp import (
    Goodbye,
    ReportBlock,
    RtcpError,
    SenderReport,
    middle_of_ntp,
    parse_compound,
    receiver_report,
)
from siprec.rtp.sequence import lost_packets
from siprec.rtp.state import Rows

INTERVAL_NS = 5_000_000_000
"RFC 3550 6.2: the recommended minimum."
RELATCH_NS = 4 * INTERVAL_NS
"Reports may go to another host once the one before has been silent for this long."
_CNAME = b"siprec"


class RtcpSession:
    """Reads and writes RTCP. Never blocks; what cannot be sent is not sent."""

    def __init__(self, legs: Rows, streams: Rows) -> None:
        self._legs, self._streams = legs, streams
        self.malformed = self.strangers = self.sent = 0

    def received(
        self, leg: LegState, data: bytes, at_ns: int, source: tuple[str, int] | None = None
    ) -> list[int]:
        """Take a datagram. Returns the SSRCs that said goodbye.

        source: where it came from, if reports are to go there: the first sender, until it is silent for a while,
        and the host in the SDP always. What others send is left out.
        """
        try:
            parts = parse_compound(data)
        except RtcpError:
            self.malformed += 1
            return []
        if source is not None and not self._latch(leg, source, at_ns):
            self.strangers += 1
            return []
        gone: list[int] = []
        for part in parts:
            if isinstance(part, SenderReport):
                self._sender_report(leg, part, at_ns)
            elif isinstance(part, Goodbye):
                gone += part.ssrcs
        return gone

    @staticmethod
    def _latch(leg: LegState, source: tuple[str, int], at_ns: int) -> bool:
        known, said = leg.rtcp_source, leg.spec.rtcp_remote
        ours = known is None or known[0] == source[0] or (said is not None and said[0] == source[0])
        if not ours and at_ns - leg.rtcp_source_ns <= RELATCH_NS:
            return False
        leg.rtcp_source, leg.rtcp_source_ns = source, at_ns
        return True

    def _sender_report(self, leg: LegState, report: SenderReport, at_ns: int) -> None:
        """Note a report about a stream that we receive; others say nothing about this leg."""
        streams = self._streams[2 * leg.spec.leg : 2 * leg.spec.leg + 2]
        if ((streams["live"] != 0) & (streams["ssrc"] == report.ssrc)).any():
            leg.last_sr, leg.last_sr_ns = middle_of_ntp(report.ntp), at_ns
            leg.sender_packets = report.packets

    def report(self, leg: LegState, now_ns: int) -> None:
        """Send a receiver report for the leg's current stream, if it has one and somewhere to go."""
        number = leg.spec.leg
        stream = self._streams[2 * number + int(self._legs["current"][number])]
        target = leg.rtcp_source or leg.spec.rtcp_remote
        if not stream["live"] or target is None:
            return
        packet = receiver_report(leg.ssrc, [self._block(leg, stream, now_ns)], _CNAME)
        with contextlib.suppress(OSError, OverflowError):
            (leg.rtcp or leg.rtp).sendto(packet, target)
            self.sent += 1

    def _block(self, leg: LegState, stream: Rows, now_ns: int) -> ReportBlock:
        lost = total_lost(self._legs, self._streams, leg.spec.leg)
        expected = int(self._legs["packets"][leg.spec.leg]) + lost
        interval, missing = expected - leg.reported_expected, lost - leg.reported_lost
        leg.reported_expected, leg.reported_lost = expected, lost
        fraction = min(max(missing, 0) * 256 // interval, 255) if interval > 0 else 0
        delay = (now_ns - leg.last_sr_ns) * 65536 // 1_000_000_000 if leg.last_sr else 0
        return ReportBlock(
            ssrc=int(stream["ssrc"]),
            fraction_lost=fraction,
            lost=int(lost_packets(stream.reshape(1))[0]),
            highest=int(stream["highest"]) - (int(stream["base"]) >> 16 << 16),
            jitter=int(stream["jitter"]),
            last_sr=leg.last_sr,
            delay=delay,
        )
