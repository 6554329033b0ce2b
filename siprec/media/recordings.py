"""A worker's recordings: which legs they have, what is written, when the next second is due."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass, field

from siprec.media.protocol import LegSpec
from siprec.media.writer import DumpFile
from siprec.storage.sink import Sink
from siprec.storage.stereo import WavWriter

MAX_GAPS = 1000
"Gaps listed per leg; loss beyond is counted all the same."
MAX_SSRCS = 64
"SSRCs listed per leg."
MAX_EVENTS = 1000
"Events of one type told per leg: a sender can cause one with every packet."


@dataclass(slots=True)
class SenderNote:
    """What a sender last said of its stream."""

    before: int
    "Packets that it had sent to others before this leg was there."
    packets: int = 0
    middle_ntp: int = 0
    "As a receiver report repeats it."
    at_ns: int = 0
    "Arrival of the report."


@dataclass(slots=True)
class LegState:
    """A leg as the worker sees it, beside its columns."""

    spec: LegSpec
    recording: int
    rtp: socket.socket
    rtcp: socket.socket | None
    ssrc: int
    "Ours, in the receiver reports."
    ssrcs: list[int] = field(default_factory=list)
    second: set[int] = field(default_factory=set)
    "SSRCs of second senders that were told of."
    gaps: list[tuple[int, int, int]] = field(default_factory=list)
    "(from, to, packets), in samples from the epoch; 0 packets where they came, but too late."
    dump: DumpFile | None = None
    dumped: dict[str, None] = field(default_factory=dict)
    "Names of the codecs in the dump, in order of appearance."
    opened_ns: int = 0
    reports: dict[int, SenderNote] = field(default_factory=dict)
    "By SSRC, of streams that are received."
    reported_expected: int = 0
    reported_lost: int = 0
    rtcp_source: tuple[str, int] | None = None
    "Where sender reports come from; it wins over what the SDP says."
    rtcp_source_ns: int = 0
    events: Counter[str] = field(default_factory=Counter)
    "Events told so far, by type."


@dataclass(slots=True)
class RecordingState:
    """A recording as the worker sees it. Positions `p` in samples from the epoch."""

    number: int
    path: str
    rate: int
    "Of the file [Hz], 0 until it is fixed: nothing has a position, and packets wait in their sockets."
    max_rate: int
    channels: int
    g711: bool
    epoch_ns: int
    epoch_unix_us: int
    sink: Sink
    writer: WavWriter
    legs: list[int]
    answered_ns: int | None = None
    t0_ns: int | None = None
    t0_p: int = 0
    queued_p: int = 0
    "Everything below is with the writer or on disk."
    written_p: int = 0
    drained_ns: int = 0
    "What arrived up to here is in the rings [monotonic ns]."
    busy: bool = False
    "A flush is with the writer."
    retry_ns: int = 0
    "After a failed flush: not before this."
    end_ns: int | None = None
    error: str | None = None

    def p_of(self, at_ns: int) -> int:
        """Position of a time [monotonic ns]."""
        return (at_ns - self.epoch_ns) * self.rate // 1_000_000_000

    def time_of(self, p: int) -> int:
        """Time [monotonic ns] of a position."""
        return self.epoch_ns + p * 1_000_000_000 // self.rate

    def seconds(self, p: int) -> float:
        """Seconds on the recording's clock of a position."""
        return (p - self.t0_p) / self.rate

    def seconds_of(self, at_ns: int) -> float | None:
        """Seconds on the recording's clock of a time; None before the recording has a zero."""
        if self.t0_ns is None:
            return None
        return (at_ns - self.t0_ns) / 1e9
