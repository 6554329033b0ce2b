"""RTCP of a worker's legs: sender reports in, a receiver report every five seconds out (RFC 3550 6)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from siprec.media.recordings import MAX_SSRCS, LegState, SenderNote
from siprec.media.secure import SecureLegs
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
from siprec.rtp.source import source_address
from siprec.rtp.state import Rows

INTERVAL_NS = 5_000_000_000
"RFC 3550 6.2: the recommended minimum."
_FIRST_NS = INTERVAL_NS // 2
"RFC 3550 6.2: passes before a leg without media reports that it has none."
RELATCH_NS = 4 * INTERVAL_NS
"Reports may go to another host once the one before has been silent for this long."
_CNAME = b"siprec"
_AT_ONCE = 50
"Packets that may be missed before the first one even if it came at once, or come in one tick."
_SHORTEST_NS = 5_000_000
"No packet is shorter."


class Seen(NamedTuple):
    """What was received of a leg's current stream; `packets` and `lost_in_all` are of all its streams."""

    live: bool
    ssrc: int
    highest: int
    base: int
    jitter: float
    "In timestamp units (RFC 3550 6.4.1)."
    lost: int
    packets: int
    lost_in_all: int


def seen_of(legs: Rows, streams: Rows, numbers: npt.NDArray[np.int64]) -> list[Seen]:
    """What was received of the legs `numbers`, all at once: hundreds of them report in one tick."""
    both = streams[(2 * numbers)[:, None] + np.arange(2)]
    lost = lost_packets(both)
    row = np.arange(numbers.size)
    current = legs["current"][numbers]
    stream = both[row, current]
    columns = [stream[name].tolist() for name in ("live", "ssrc", "highest", "base")]
    columns.append((stream["jitter"] * stream["clock"] / np.maximum(legs["rate"][numbers], 1)).tolist())
    columns.append(lost[row, current].tolist())
    columns.append(legs["packets"][numbers].tolist())
    columns.append((legs["lost_before"][numbers] + lost.sum(axis=1)).tolist())
    return [Seen(*values) for values in zip(*columns, strict=True)]


class RtcpSession:
    """Reads and writes RTCP. Never blocks; what cannot be sent is not sent."""

    def __init__(self, legs: Rows, streams: Rows, secure: SecureLegs) -> None:
        self._legs, self._streams, self._secure = legs, streams, secure
        self.malformed = self.strangers = self.sent = 0

    def received(
        self, leg: LegState, data: bytes, at_ns: int, source: tuple[str, int] | None = None
    ) -> list[int]:
        """Take a datagram. Returns the SSRCs that said goodbye.

        source: where it came from, if reports are to go there: the first sender, until it is silent for a while,
        and the host in the SDP always. What others send is left out.
        """
        srtp = self._secure.of(leg.spec.leg)
        try:
            parts = parse_compound(data if srtp is None else srtp.open_rtcp(data))
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
        which = np.flatnonzero((streams["live"] != 0) & (streams["ssrc"] == report.ssrc))
        if not which.size:
            return
        note = leg.reports.get(report.ssrc)
        if note is None:
            if len(leg.reports) >= MAX_SSRCS:
                return
            note = SenderNote(before=self._sent_before(leg, streams[which[-1]], report.packets))
            leg.reports[report.ssrc] = note
        note.packets, note.middle_ntp, note.at_ns = report.packets, middle_of_ntp(report.ntp), at_ns

    def _sent_before(self, leg: LegState, stream: Rows, packets: int) -> int:
        """Packets of a stream's first report that cannot have been meant for us.

        A call may be recorded from its middle on, and its reports be those of the whole call. What can have been
        lost before the first packet is no more than what fits between the leg's beginning and that packet.
        """
        missed = packets - int(stream["highest"] - stream["base"] + 1)
        waited_ns = 0
        if len(leg.ssrcs) <= 1:
            waited_ns = max(0, int(self._legs["first_ns"][leg.spec.leg]) - leg.opened_ns)
        possible = _AT_ONCE + waited_ns // _SHORTEST_NS
        return missed + _AT_ONCE if missed > possible else 0  # some came between that report and now

    def report(self, legs: Sequence[LegState], now_ns: int) -> None:
        """Send a receiver report for the current stream of each leg, an empty one before it has any (RFC 3550 6.4.2).

        Nothing is sent when it has nowhere to go; an empty one only while the leg is to send.
        """
        numbers = np.array([leg.spec.leg for leg in legs], np.int64)
        for leg, seen in zip(legs, seen_of(self._legs, self._streams, numbers), strict=True):
            self._report(leg, seen, now_ns)

    def _report(self, leg: LegState, seen: Seen, now_ns: int) -> None:
        target = self._target(leg)
        if target is None or not (seen.live or self._waits(leg, now_ns)):
            return
        blocks = [self._block(leg, seen, now_ns)] if seen.live else []
        packet = receiver_report(leg.ssrc, blocks, _CNAME)
        if (srtp := self._secure.of(leg.spec.leg)) is not None and srtp.encrypts:
            packet = srtp.close_rtcp(packet)
        with contextlib.suppress(OSError, OverflowError):
            (leg.rtcp or leg.rtp).sendto(packet, target)
            self.sent += 1

    def _waits(self, leg: LegState, now_ns: int) -> bool:
        """Whether the first packet of a leg has been due for a while."""
        open_ = leg.spec.active and not self._legs["end_ns"][leg.spec.leg]
        return bool(open_ and now_ns - leg.opened_ns >= _FIRST_NS)

    def _target(self, leg: LegState) -> tuple[str, int] | None:
        """Where the sender's reports come from, else what the SDP says (symmetric RTCP, RFC 4961)."""
        if leg.rtcp is None:
            heard = source_address(int(self._legs["source"][leg.spec.leg]))
            return heard or leg.spec.rtcp_remote
        return leg.rtcp_source or leg.spec.rtcp_remote

    @staticmethod
    def _block(leg: LegState, seen: Seen, now_ns: int) -> ReportBlock:
        expected = seen.packets + seen.lost_in_all
        interval, missing = expected - leg.reported_expected, seen.lost_in_all - leg.reported_lost
        leg.reported_expected, leg.reported_lost = expected, seen.lost_in_all
        fraction = min(max(missing, 0) * 256 // interval, 255) if interval > 0 else 0
        note = leg.reports.get(seen.ssrc)
        delay = (now_ns - note.at_ns) * 65536 // 1_000_000_000 if note is not None else 0
        return ReportBlock(
            ssrc=seen.ssrc,
            fraction_lost=fraction,
            lost=seen.lost,
            highest=seen.highest - (seen.base >> 16 << 16),
            jitter=int(seen.jitter),
            last_sr=note.middle_ntp if note is not None else 0,
            delay=max(0, delay),
        )
