"""The sound of streams that are not plain G.711 at their file's rate: decoded and resampled, with state per SSRC.

Packets of a stream come here by tick, in the order of their sequence numbers. What follows without a gap is a run; its
samples go on in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from siprec.codecs.decoder import DecodeError, Decoder, open_decoder
from siprec.codecs.registry import CODECS
from siprec.codecs.resample import Placed, Resampler

I16 = npt.NDArray[np.int16]

IDLE_NS = 150_000_000
"A stream that sent nothing for so long has its last run brought to its end."
_ROUNDING = 1
"Samples by which the places of packets that follow each other may differ from their lengths: rates that do not divide."


class Packets(NamedTuple):
    """Placed packets of a stream, in order of their sequence numbers: codec number, ring position, payload of each."""

    codecs: list[int]
    places: list[int]
    payloads: list[bytes]


@dataclass(slots=True)
class Sound:
    """What became of a stream's packets: samples with their ring positions, and which packets no decoder took."""

    pieces: list[Placed] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    "Indices into the packets."


class StreamSound:
    """Decoders and resamplers of one SSRC.

    Each is made once and kept: a sender that changes its codec with every packet costs no more than any other.
    """

    def __init__(self, file_rate: int) -> None:
        self._file_rate = file_rate
        self._decoders: dict[int, Decoder] = {}
        "By codec number."
        self._resamplers: dict[int, Resampler] = {}
        "By rate [Hz]."
        self._resampler: Resampler | None = None
        "The one of the newest sound, if that is resampled."
        self.last_ns = 0
        "Arrival of its newest packet [monotonic ns]."

    @property
    def pending(self) -> bool:
        """Whether samples of its last run are still in the filter."""
        return self._resampler is not None and self._resampler.next_place is not None

    def take(self, packets: Packets) -> Sound:
        """Decode packets."""
        sound = Sound()
        at = 0
        for codec, group in groupby(packets.codecs):
            end = at + len(list(group))
            decoded = self._decode(codec, packets.payloads[at:end], at, sound)
            self._place(CODECS[codec].rate, packets.places[at:end], decoded, sound)
            at = end
        return sound

    def settle(self) -> list[Placed]:
        """The last samples of the last run."""
        return list(self._resampler.settle()) if self._resampler is not None else []

    def _decode(self, codec: int, payloads: list[bytes], first: int, sound: Sound) -> list[I16 | None]:
        decoder = self._decoders.get(codec)
        if decoder is None:
            decoder = self._decoders[codec] = open_decoder(CODECS[codec])
        decoded: list[I16 | None] = []
        for i, samples in enumerate(decoder.decode_many(payloads)):
            if isinstance(samples, DecodeError):
                sound.failed.append(first + i)
            decoded.append(None if isinstance(samples, DecodeError) else samples)
        return decoded

    def _place(self, rate: int, places: list[int], decoded: list[I16 | None], sound: Sound) -> None:
        for place, samples in _runs(places, decoded, rate, self._file_rate):
            if rate == self._file_rate:
                sound.pieces += self.settle()
                sound.pieces.append((place, samples))
            else:
                sound.pieces += self._resampled(rate, place, samples)

    def _resampled(self, rate: int, place: int, samples: I16) -> Iterator[Placed]:
        resampler = self._resamplers.get(rate)
        if resampler is None:
            resampler = self._resamplers[rate] = Resampler(rate, self._file_rate)
        if resampler is not self._resampler:
            yield from self.settle()
            self._resampler = resampler
        expected = resampler.next_place
        if expected is None or abs(place - expected) > _ROUNDING:
            yield from resampler.begin(place)
        yield from resampler.feed(samples)


def _runs(
    places: list[int], decoded: list[I16 | None], rate: int, file_rate: int
) -> Iterator[tuple[int, I16]]:
    """What stands together in one piece: (ring position, samples at `rate`)."""
    place, end, parts = 0, 0, list[I16]()
    for u, samples in zip(places, decoded, strict=True):
        if samples is None or not samples.size:
            continue
        if not parts or abs(u - end) > _ROUNDING:
            if parts:
                yield place, _joined(parts)
            place, parts = u, []
        parts.append(samples)
        end = u + samples.size * file_rate // rate
    if parts:
        yield place, _joined(parts)


def _joined(parts: list[I16]) -> I16:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
