"""Where a leg stands in a recorded channel, and whether it stands there sample by sample. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siprec.probe.plan import FRAME, RATE
from siprec.probe.result import LegResult

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

NEEDLE_S, SEARCH_S = 2.0, 60.0
"How much of the sound is looked for, and how deep in the file."
NEAR_S = 0.5
"A stream after a change of SSRC is looked for so far around its place."
_ALIKE = 0.5
"Least correlation of a sound with itself when much of it is missing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One leg against one channel. Offsets are frames of the file at which the leg's slot 0 would stand."""

    offsets: tuple[int | None, ...]
    "One for each SSRC; None when its sound is not there."
    right: int = 0
    "Packets whose samples are all there."
    wrong: tuple[int, ...] = ()
    "Slots of packets that are missing or damaged."
    stray: int = 0
    "Samples that are not silent where nothing was sent."
    first_stray_s: float | None = None
    "Where in the file."

    @property
    def found(self) -> bool:
        """The sound of every SSRC is there."""
        return None not in self.offsets

    @property
    def shifts(self) -> tuple[int, ...]:
        """How far each further SSRC is from where the first one says it should be, in samples."""
        first, *rest = (offset for offset in self.offsets if offset is not None)
        return tuple(offset - first for offset in rest)


def compare(channel: I16, leg: LegResult) -> Comparison:
    """channel: int16[frames] at 8 kHz."""
    offsets = _offsets(channel, leg)
    if None in offsets:
        return Comparison(offsets=offsets)
    place = _places(leg, [offset for offset in offsets if offset is not None])
    slots = np.flatnonzero(leg.sent)
    there = _inside(channel, place[slots])
    intact = np.zeros(slots.size, np.bool_)
    intact[there] = (_windows(channel, place[slots[there]]) == leg.samples[slots[there]]).all(axis=1)
    silent = np.ones(channel.size, np.bool_)
    for start in np.maximum(place[slots], 0).tolist():
        silent[start : start + FRAME] = False
    stray = np.flatnonzero(silent & (np.abs(channel.astype(np.int32)) > leg.filled))
    return Comparison(
        offsets=offsets,
        right=int(intact.sum()),
        wrong=tuple(slots[~intact].tolist()),
        stray=stray.size,
        first_stray_s=int(stray[0]) / RATE if stray.size else None,
    )


def _offsets(channel: I16, leg: LegResult) -> tuple[int | None, ...]:
    found: list[int | None] = []
    ends = (*leg.starts[1:], len(leg.samples))
    for start, end in zip(leg.starts, ends, strict=True):
        first = found[0] if found else None
        if found and first is None:
            found.append(None)
            continue
        wanted, slot = _needle(leg, start, end)
        begin, stop = 0, round(SEARCH_S * RATE)
        if first is not None:
            near = first + slot * FRAME
            begin, stop = near - round(NEAR_S * RATE), near + round(NEAR_S * RATE)
        at = locate(channel, wanted, begin=begin, stop=stop)
        found.append(None if at is None else at - slot * FRAME)
    return tuple(found)


def _needle(leg: LegResult, start: int, end: int) -> tuple[I16, int]:
    """The first sound sent in these slots, silence where nothing was; and its first slot."""
    sent = np.flatnonzero(leg.sent[start:end]) + start
    if not sent.size:
        return np.zeros(0, np.int16), start
    first = int(sent[0])
    part = slice(first, min(end, first + round(NEEDLE_S * RATE / FRAME)))
    return np.where(leg.sent[part, None], leg.samples[part], 0).reshape(-1).astype(np.int16), first


def locate(channel: I16, wanted: I16, *, begin: int, stop: int) -> int | None:
    """Frame from `begin` to before `stop` at which `wanted` stands, or what is most like it; None if nothing is."""
    begin = max(0, begin)
    hay = channel[begin : max(begin, stop) + wanted.size].astype(np.float64)
    needle = wanted.astype(np.float64)
    energy = float(np.sqrt(np.square(needle).sum()))
    if not energy or not hay.any():
        return None
    hay = np.concatenate((hay, np.zeros(needle.size)))
    size = 1 << (hay.size + needle.size).bit_length()
    spectrum = np.fft.rfft(hay, size) * np.conj(np.fft.rfft(needle, size))
    places = hay.size - needle.size
    likeness = np.fft.irfft(spectrum, size)[:places]
    power = np.concatenate(((0.0,), np.cumsum(np.square(hay))))
    around = np.sqrt(np.maximum(power[needle.size :] - power[: -needle.size], 1.0))[:places]
    score = likeness / (around * energy)
    best = int(np.argmax(score))
    return begin + best if score[best] >= _ALIKE else None


def _places(leg: LegResult, offsets: list[int]) -> I64:
    """Frame of the file at which each slot belongs."""
    place = np.arange(len(leg.samples), dtype=np.int64) * FRAME
    for start, offset in zip(leg.starts, offsets, strict=True):
        place[start:] = np.arange(start, len(leg.samples)) * FRAME + offset
    return place


def _inside(channel: I16, place: I64) -> Bool:
    return (place >= 0) & (place + FRAME <= channel.size)


def _windows(channel: I16, place: I64) -> I16:
    windows: I16 = channel[place[:, None] + np.arange(FRAME)]
    return windows
