"""The sound of a worker's streams that are not plain G.711 at their file's rate: measured, decoded, into the rings.

A few Python statements run per packet here, and numpy and FFmpeg calls per stream and tick.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from siprec.codecs import conceal
from siprec.codecs.frames import FRAME_BYTES, FRAME_SAMPLES, LONGEST_S, samples_in
from siprec.codecs.registry import CODECS, RAW
from siprec.codecs.resample import Placed
from siprec.media.result import BatchResult
from siprec.media.rings import BLOCK, Rings
from siprec.media.sound import IDLE_NS, Packets, StreamSound
from siprec.rtp.groups import Groups
from siprec.rtp.loss import LossGap
from siprec.rtp.packet import Bool, PacketColumns
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.state import Rows
from siprec.rtp.timeline import Batch, Placement

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

_RATES = np.array([codec.rate for codec in CODECS], np.int64)


class _Piece(NamedTuple):
    leg: int
    place: int
    samples: I16


class Sounds:
    """Decoders and resamplers of all streams of a worker."""

    def __init__(self, legs: Rows, rings: Rings) -> None:
        self._legs, self._rings = legs, rings
        self._streams: dict[int, StreamSound] = {}
        "By stream row."
        self._told: dict[int, set[int]] = {}
        "By leg: numbers of the codecs whose resampling was told."

    def forget(self, leg: int) -> None:
        """A leg is over, or begins."""
        self._told.pop(leg, None)
        for stream in (2 * leg, 2 * leg + 1):
            self.begin(stream)

    def begin(self, stream: int) -> None:
        """Another SSRC sends in a stream row."""
        self._streams.pop(stream, None)

    def settle(self, now_ns: int) -> None:
        """Bring the last run of each stream to its end that sends no more; its last samples are still in a filter."""
        pieces: list[_Piece] = []
        for stream, sound in self._streams.items():
            leg = stream >> 1
            if sound.pending and (now_ns - sound.last_ns > IDLE_NS or self._legs["end_ns"][leg]):
                pieces += _of_leg(leg, sound.settle())
        self._write(pieces)

    def conceal(self, gap: LossGap) -> bool:
        """Fill a short loss with the sound before it. False if it is too long, or written already."""
        row = self._legs[gap.leg]
        rate, start, count = int(row["rate"]), gap.start - int(row["delta"]), gap.end - gap.start
        if count > conceal.MAX_S * rate or gap.start < row["floor_p"]:
            return False
        before = np.empty(int(conceal.LOOK_BACK_S * rate), np.int16)
        self._rings.read(gap.leg, start - before.size, before)
        self._write([_Piece(gap.leg, start, conceal.conceal(before, count, rate))])
        return True

    def measure(
        self,
        rows: ReceivedRows,
        columns: PacketColumns,
        wanted: I64,
        codec: U8,
        slow: Bool,
        samples: I64,
        kind: U8,
    ) -> dict[int, bytes]:
        """How much sound the `slow` rows hold, at their file's rate, into `samples`; their payloads by row.

        What its codec cannot read becomes RAW in `kind`.
        """
        which = np.flatnonzero(slow)
        row, codecs = wanted[which], codec[which]
        size = columns.size[row].astype(np.int64)
        start = row * rows.data.shape[1] + columns.offset[row]
        flat = rows.data.reshape(-1).data
        spans = zip(which.tolist(), start.tolist(), (start + size).tolist(), strict=True)
        payloads = {i: flat[first:end].tobytes() for i, first, end in spans}
        frame = FRAME_BYTES[codecs]
        counts = size * FRAME_SAMPLES[codecs] // np.maximum(frame, 1)
        counts[(frame > 1) & (size % np.maximum(frame, 1) != 0)] = -1
        for k in np.flatnonzero(frame == 0).tolist():
            counts[k] = samples_in(CODECS[codecs[k]], payloads[int(which[k])])
        counts[counts > LONGEST_S * _RATES[codecs]] = -1
        kind[which[counts < 0]] = RAW
        rate = self._legs["rate"][rows.leg[row]].astype(np.int64)
        samples[which] = np.maximum(counts, 0) * rate // _RATES[codecs]
        return payloads

    def decode(
        self,
        codec: U8,
        batch: Batch,
        placed: Placement,
        payloads: dict[int, bytes],
        kind: U8,
        result: BatchResult,
    ) -> None:
        """Decode the placed rows that have `payloads`, each stream's in the order of its sequence numbers.

        What no decoder takes becomes RAW in `kind`.
        """
        which = np.array([k for k, i in enumerate(placed.rows.tolist()) if i in payloads], np.int64)
        if not which.size:
            return
        which = which[np.lexsort((placed.ext[which], placed.stream[which]))]
        groups = Groups.of(placed.stream[which])
        rows = placed.rows[which]
        latest = np.maximum.reduceat(batch.arrival_ns[rows], groups.starts).tolist()
        index, numbers, places = rows.tolist(), codec[rows].tolist(), placed.u[which].tolist()
        pieces: list[_Piece] = []
        for g, stream in enumerate(groups.key.tolist()):
            span = groups.rows(g)
            sound = self._sound_of(stream)
            sound.last_ns = max(sound.last_ns, latest[g])
            packets = Packets(numbers[span], places[span], [payloads[i] for i in index[span]])
            made = sound.take(packets)
            pieces += _of_leg(stream >> 1, made.pieces)
            for failed in made.failed:
                kind[index[span][failed]] = RAW
            self._note_resampled(stream >> 1, packets.codecs, result)
        self._write(pieces)

    def _sound_of(self, stream: int) -> StreamSound:
        sound = self._streams.get(stream)
        if sound is None:
            sound = self._streams[stream] = StreamSound(int(self._legs["rate"][stream >> 1]))
        return sound

    def _note_resampled(self, leg: int, codecs: list[int], result: BatchResult) -> None:
        told = self._told.setdefault(leg, set())
        if told.issuperset(codecs):
            return
        for number in set(codecs) - told:
            told.add(number)
            if CODECS[number].rate != self._legs["rate"][leg]:
                result.resampled.append((leg, CODECS[number]))

    def _write(self, pieces: list[_Piece]) -> None:
        """Put sound into the rings, all of one length at a time; what was written to the file already is left out."""
        by_size: dict[int, list[_Piece]] = {}
        for piece in pieces:
            floor = int(self._legs["floor_p"][piece.leg] - self._legs["delta"][piece.leg])
            skip = max(floor - piece.place, 0)
            for at in range(skip, piece.samples.size, BLOCK):
                part = piece.samples[at : at + BLOCK]
                by_size.setdefault(part.size, []).append(_Piece(piece.leg, piece.place + at, part))
        for alike in by_size.values():
            leg = np.array([piece.leg for piece in alike], np.int64)
            place = np.array([piece.place for piece in alike], np.int64)
            written = self._rings.write(leg, place, np.stack([piece.samples for piece in alike]))
            if not written.all():
                np.add.at(self._legs["no_room"], leg[~written], 1)


def _of_leg(leg: int, placed: Iterable[Placed]) -> list[_Piece]:
    return [_Piece(leg, place, samples) for place, samples in placed]
