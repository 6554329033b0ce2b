"""What all parts of call handling share: the calls, and what they are made with."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from dataclasses import dataclass

from siprec.config import Config
from siprec.daemon.admission import Admission
from siprec.daemon.alarm import AlarmKind, Alarms
from siprec.daemon.closing import Closing
from siprec.daemon.limits import Capacity
from siprec.daemon.live import LiveRecording
from siprec.media.supervisor import MediaSupervisor
from siprec.net.endpoint import SipEndpoint
from siprec.recording.intake import Intake
from siprec.recording.session import RecordingSession
from siprec.rtp.ports import PortPair
from siprec.sdp.stream import LocalPorts
from siprec.sip.dialog import Dialog
from siprec.sip.flow import Flow

RETRY_AFTER_S = 5
SDP_HEADER = ("Content-Type", "application/sdp")
_QUOTED = re.compile(r"""(['"]).*\1""", re.DOTALL)


class Calls:
    """Every call from its admission to its last document."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.live: dict[str, LiveRecording] = {}
        "Recordings from their answer to their last document, by id."
        self.by_path: dict[str, LiveRecording] = {}
        "The same, by the path of the audio file."
        self.by_dialog: dict[Dialog, LiveRecording] = {}
        "Those whose call goes on."
        self.admitting: set[Dialog] = set()
        "Those for which there is room, on the way to their answer."
        self.draining = False
        self.refused: Counter[str] = Counter()
        "INVITEs that were not recorded, by status."
        self.admitted = 0

    def why_full(self) -> str | None:
        """Why another call does not fit; None if it does."""
        if self.draining:
            return "draining: no new calls"
        taken = len(self.live) + len(self.admitting)
        return f"full: {self.capacity}" if taken >= self.capacity.calls else None

    def add(self, live: LiveRecording, dialog: Dialog) -> None:
        """A call is answered."""
        self.admitting.discard(dialog)
        self.live[live.id] = self.by_dialog[dialog] = self.by_path[str(live.audio)] = live
        self.admitted += 1

    def forget(self, live: LiveRecording) -> None:
        """The last document of a recording is written."""
        self.live.pop(live.id, None)
        self.by_path.pop(str(live.audio), None)

    def end(self, live: LiveRecording, *, by_peer: bool, why: str) -> None:
        """A call is over; what was received is written, and then the recording is judged."""
        if live.dialog is not None:
            self.by_dialog.pop(live.dialog, None)
            live.dialog = None
        if live.end_ns is not None or live.media is None:
            return
        live.ended_by_peer, live.end_ns = by_peer, time.monotonic_ns()
        for dialog in live.dialogs:
            dialog.ended_unix_ns = live.unix_ns(live.end_ns)
        live.event(live.end_ns, "ended", important=True, why=why, by_peer=by_peer)
        live.media.worker.close(live.media, live.end_ns)


@dataclass(slots=True, kw_only=True)
class Means:
    """What calls are handled with."""

    config: Config
    calls: Calls
    endpoint: SipEndpoint
    media: MediaSupervisor
    admission: Admission
    closing: Closing
    alarms: Alarms
    rng: random.Random
    accept: str
    "Value of the Accept header of a 415."

    def refused(self, flow: Flow, status: int, why: str) -> None:
        """Account for an INVITE of a peer that is not recorded."""
        self.calls.refused[str(status)] += 1
        self.alarms(AlarmKind.CALL_REFUSED, f"call from {flow.remote[0]} refused with {status}: {why}")

    def odd(self, live: LiveRecording, intake: Intake) -> None:
        """Tell of what was odd in a request for a recording; it was taken as far as it could be read.

        What the peer wrote is in the events of the recording, which can be erased; the log does not repeat it.
        """
        if not intake.problems:
            return
        more = len(intake.problems) - 1
        first = _QUOTED.sub("…", intake.problems[0]).removeprefix("metadata: ")
        text = f"{first}{f', and {more} more' if more else ''}; see the events of the recording"
        self.alarms(AlarmKind.METADATA, text, recording=live.id)


def wanted_ports(session: RecordingSession, intake: Intake) -> list[tuple[int, bool]]:
    """m-lines of an offer that need ports, and whether RTCP shares the RTP port."""
    assert intake.offer is not None
    wanted = session.needs_ports(intake.offer)
    return [(index, intake.offer.media[index].rtcp_mux) for index in wanted]


def local_ports(pairs: dict[int, PortPair]) -> dict[int, LocalPorts]:
    """Bound pairs as offer/answer sees them."""
    return {
        index: LocalPorts(pair.port, None if pair.rtcp is None else pair.rtcp_port)
        for index, pair in pairs.items()
    }


def unavailable(why: str) -> list[tuple[str, str]]:
    """Headers of a 503."""
    return [("Retry-After", str(RETRY_AFTER_S)), warning(why)]


def warning(text: str) -> tuple[str, str]:
    """RFC 3261 20.43, 399: for people. Only printable ASCII goes in."""
    clean = "".join(c if " " <= c <= "~" and c not in '"\\' else "." for c in text[:120])
    return ("Warning", f'399 siprec "{clean}"')
