"""Decodes what was kept raw of a leg, on the clock of its recording, as the media worker would have done.

The worker's own `Pipeline` is driven on private state, a tick of 200 ms at a time, so order, timestamps, codecs, redundancy
and resampling behave as they do live. Its ring is bounded, so it is read out as it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt

from siprec.codecs.registry import AUDIO, CODECS
from siprec.codecs.resample import Placed
from siprec.media.kept import KeptLeg, Packet, Period
from siprec.media.pipeline import Pipeline
from siprec.media.result import BatchResult
from siprec.media.rings import BLOCK, REACH, Rings
from siprec.media.store import BLOCK_TABLE, StateStore
from siprec.rtp.encrypted import SECRET
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.slab import ROWS, STRIDE

I64 = npt.NDArray[np.int64]
I16 = npt.NDArray[np.int16]

_TICK_NS = 200_000_000
_BEFORE_S = 10
"Positions are counted from so long before the recording's zero, so that none of them is negative."
_WRITE_LAG_S = 1.0
"Beside the hold-back: the worker writes every second."
_S_NS = 1_000_000_000
_SOURCE = 1
"All packets count as sent by the leg's peer: others were not kept."


@dataclass(slots=True)
class Redecoded:
    """What became of a leg's packets."""

    decoded: int = 0
    "Packets that are understood now: sound, digits, comfort noise."
    late: int = 0
    "Of these, those whose place had passed when they came."
    codecs: list[str] = field(default_factory=list)
    first_frame: int | None = None
    "Where the first sound stands, in frames from the recording's zero."
    end_frame: int = 0
    "Behind the last sound."
    encrypted: set[int] = field(default_factory=set)
    "SSRCs that look encrypted; none of their packets counts as decoded."


class LegDecoder:
    """The packets of one leg, once. Give it up with `close`."""

    def __init__(self, rate: int, *, hold_back_s: float) -> None:
        """rate: of the file [Hz]; hold_back_s: as the worker had it."""
        self._store = StateStore.create(1)
        rings = Rings(np.zeros((BLOCK_TABLE, BLOCK), np.int16), self._store.blocks)
        self._pipeline = Pipeline(self._store, rings, legs=1, hold_back_s=hold_back_s)
        self._rate, self._lag = rate, round((hold_back_s + _WRITE_LAG_S) * rate)
        self._floor = 0
        "Everything below was read out."
        self.result = Redecoded()
        row = self._pipeline.legs[0]
        row["active"], row["rate"], row["epoch_ns"] = 1, rate, 0
        row["source"], row["ceiling_p"] = _SOURCE, REACH

    def close(self) -> None:
        """Free its memory."""
        self._store.region.close()

    def decode(self, packets: Iterable[Packet], periods: Sequence[Period]) -> Iterator[Placed]:
        """The sound of packets in order of arrival: (frame from the recording's zero, int16[n]), in order, never overlapping."""
        now = 0
        for (tick, period), group in groupby(packets, key=lambda p: (_tick(p), _period(p, periods))):
            now = tick * _TICK_NS
            self._pipeline.settle(now)
            yield from self._read_out(now * self._rate // _S_NS - self._lag)
            self._pipeline.map_payloads(0, periods[period].codecs)
            together = list(group)
            for at in range(0, len(together), ROWS):
                self._take(together[at : at + ROWS])
        self._pipeline.settle(now + 3600 * _S_NS)
        row = self._pipeline.legs[0]
        yield from self._read_out(int(row["top_u"] + row["delta"]))
        self._finish()

    def _take(self, packets: Sequence[Packet]) -> None:
        rows, arrival = _rows(packets)
        result = self._pipeline.process(rows, arrival)
        self.result.decoded += len(packets) - min(len(packets), len(result.raw))
        self._note_encrypted(result)

    def _note_encrypted(self, result: BatchResult) -> None:
        if result.secret:
            streams = self._pipeline.streams
            self.result.encrypted |= set(streams["ssrc"][streams["secret"] == SECRET].tolist())

    def _read_out(self, limit: int) -> Iterator[Placed]:
        """Sound below position `limit`, which is settled; its room is free again."""
        row, rings = self._pipeline.legs[0], self._pipeline.rings
        start, delta = self._floor, int(row["delta"])
        if limit <= start:
            return
        if row["segments"] and (end := min(limit, int(row["top_u"]) + delta)) > start:
            samples = np.zeros(end - start, np.int16)
            rings.read(0, start - delta, samples)
            yield from self._heard(start, samples)
        # one block more in front: the one that was only partly read
        rings.release(_one(0), _one(start - delta - BLOCK), _one(limit - delta))
        self._floor = limit
        row["floor_p"], row["ceiling_p"] = limit, limit + REACH

    def _heard(self, start: int, samples: I16) -> Iterator[Placed]:
        """Without the silence at both ends, and what would be before the recording's zero."""
        heard = np.flatnonzero(samples)
        if not heard.size:
            return
        frame = start - _BEFORE_S * self._rate
        first, last = max(int(heard[0]), -frame), int(heard[-1]) + 1
        if first < last:
            if self.result.first_frame is None:
                self.result.first_frame = frame + first
            self.result.end_frame = frame + last
            yield frame + first, samples[first:last]

    def _finish(self) -> None:
        row = self._pipeline.legs[0]
        self.result.late = int(row["late"] + row["no_room"] + row["discarded"])
        seen = np.flatnonzero(self._pipeline.codecs_seen[0]).tolist()
        self.result.codecs = list(dict.fromkeys(CODECS[n].name for n in seen if CODECS[n].kind == AUDIO))


def decode_leg(
    kept: KeptLeg, rate: int, write: Callable[[int, I16], None], *, hold_back_s: float
) -> Redecoded:
    """Decode what was kept of a leg. write: is given the sound in order, (frame from the recording's zero, int16[n]).

    A stream that turns out to look encrypted, by whatever its payload types are said to mean, is left out from its beginning:
    so everything is decoded once to see that.
    """
    aside: set[int] = set()
    while not all(packet.opened for packet in kept.packets):
        found = _decode(kept, rate, aside, lambda frame, samples: None, hold_back_s).encrypted
        if found <= aside:
            break
        aside |= found
    result = _decode(kept, rate, aside, write, hold_back_s)
    result.encrypted = aside
    return result


def _decode(
    kept: KeptLeg, rate: int, aside: set[int], write: Callable[[int, I16], None], hold_back_s: float
) -> Redecoded:
    decoder = LegDecoder(rate, hold_back_s=hold_back_s)
    try:
        packets = [packet for packet in kept.packets if packet.opened or packet.ssrc not in aside]
        for frame, samples in decoder.decode(packets, kept.periods):
            write(frame, samples)
    finally:
        decoder.close()
    return decoder.result


def _tick(packet: Packet) -> int:
    return (max(packet.at_ns, 0) + _BEFORE_S * _S_NS) // _TICK_NS


def _period(packet: Packet, periods: Sequence[Period]) -> int:
    at_ns = packet.at_ns
    return next(i for i, p in enumerate(periods) if p.until_ns is None or at_ns < p.until_ns)


def _one(value: int) -> I64:
    return np.array([value], np.int64)


def _rows(packets: Sequence[Packet]) -> tuple[ReceivedRows, I64]:
    """Packets as a receiver gives them, and their arrival."""
    count = len(packets)
    data, length = np.zeros((count, STRIDE), np.uint8), np.zeros(count, np.int32)
    for row, packet in enumerate(packets):
        data[row, : len(packet.data)] = np.frombuffer(packet.data, np.uint8)
        length[row] = len(packet.data)
    arrival = np.array([max(packet.at_ns, 0) for packet in packets], np.int64) + _BEFORE_S * _S_NS
    rows = ReceivedRows(
        leg=np.zeros(count, np.int64),
        data=data,
        length=length,
        cut=np.zeros(count, np.bool_),
        stamp=arrival,
        source=np.full(count, _SOURCE, np.uint64),
        drops=np.full(count, -1, np.int64),
    )
    return rows, arrival
