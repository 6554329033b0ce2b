"""Sound to send when nobody gives any: two people in conversation, or two tunes. The same seed gives the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siprec.probe.plan import RATE, CallPlan

I16 = npt.NDArray[np.int16]
F64 = npt.NDArray[np.float64]

_FULL = 32767
_BREATH = 0.003
"Amplitude of the noise under everything: with it no two places of a recording are alike."
_TURN_S = 1.6
"How long one speaks before the other does."
_PHRASE_S = 4.0
"From soft to loud and back, of a tune."
_FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (530, 1840, 2480), (300, 870, 2240), (570, 840, 2410))
"First three formants [Hz] of a, i, e, u, o."
_LOW = (262, 330, 392, 330, 349, 440, 392, 330, 294, 349, 330, 262)
_HIGH = (784, 698, 659, 587, 523, 587, 659, 784, 880, 784, 1047, 880)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speaker:
    """pitch_hz: of the vocal folds. tract: scale of the formants; a shorter vocal tract has higher ones."""

    pitch_hz: float
    tract: float


_CALLER = _Speaker(pitch_hz=112, tract=0.95)
_CALLEE = _Speaker(pitch_hz=208, tract=1.15)


def conversation(seconds: float, *, seed: int) -> tuple[I16, I16]:
    """Speech-like sound of a low and a high voice that take turns, and now and then speak at once."""
    rng = np.random.default_rng(seed)
    t = _times(seconds)
    turn = np.sin(np.pi * t / _TURN_S)
    voices = (_speech(t, _CALLER, rng), _speech(t, _CALLEE, rng))
    gates = (_smooth(turn > -0.2), _smooth(turn < 0.2))
    first, second = (_finished(v * g, rng, t.size) for v, g in zip(voices, gates, strict=True))
    return first, second


def tunes(seconds: float, *, seed: int) -> tuple[I16, I16]:
    """Two melodies, a low one in notes that fade and a high one in short notes that swell; by turns loud and soft."""
    rng = np.random.default_rng(seed)
    t = _times(seconds)
    low = _melody(t, _LOW, note_s=0.5, overtones=(1.0, 0.5, 0.25))
    high = _melody(t, _HIGH, note_s=0.25, overtones=(1.0, 0.1), swell=True)
    loudness = 0.2 + 0.8 * np.square(np.sin(np.pi * t / _PHRASE_S))
    return _finished(0.5 * loudness * low, rng, t.size), _finished(0.4 * (1.2 - loudness) * high, rng, t.size)


def mix(voices: Sequence[I16]) -> I16:
    """All voices in one, as an SBC mixes them; half as loud, so that nothing clips."""
    longest = max(voice.size for voice in voices)
    total = np.zeros(longest, np.int32)
    for voice in voices:
        total[: voice.size] += voice // len(voices)
    return total.astype(np.int16)


def sound_of_legs(plan: CallPlan, sound: Sequence[I16] | None) -> tuple[I16, ...]:
    """What each leg of a plan sends. sound: of caller and callee; None for a conversation."""
    if sound is None:
        sound = conversation(plan.duration_s, seed=plan.seed)
    return (mix(sound),) if plan.mixed else tuple(sound)


def _times(seconds: float) -> F64:
    return np.arange(round(seconds * RATE)) / RATE


def _speech(t: F64, who: _Speaker, rng: np.random.Generator) -> F64:
    """A chain of vowels, each with a melody of its own: harmonics of the pitch, weighted by the formants."""
    out = np.zeros(t.size)
    at = 0
    while at < t.size:
        length = int(rng.uniform(0.12, 0.28) * RATE)
        part = t[at : at + length]
        formants = np.array(_FORMANTS[int(rng.integers(len(_FORMANTS)))]) * who.tract
        glide = who.pitch_hz * (1 + rng.uniform(-0.08, 0.08) + 0.3 * rng.uniform(-1, 1) * (part - part[0]))
        phase = 2 * np.pi * np.cumsum(glide) / RATE
        shape = np.sin(np.pi * np.arange(part.size) / length) ** 0.7
        out[at : at + part.size] = rng.uniform(0.5, 1.0) * shape * _vowel(phase, who.pitch_hz, formants)
        at += length + int(rng.uniform(0.0, 0.05) * RATE)
    return 0.35 * out


def _vowel(phase: F64, pitch_hz: float, formants: F64) -> F64:
    out = np.zeros(phase.size)
    for number in range(1, int(3400 / pitch_hz)):
        distance = (number * pitch_hz - formants) / 120
        out += float(np.sum(1 / (1 + distance**2))) / number**0.3 * np.sin(number * phase)
    return np.asarray(out / max(1e-9, float(np.abs(out).max(initial=0))))


def _melody(
    t: F64, notes: Sequence[int], *, note_s: float, overtones: Sequence[float], swell: bool = False
) -> F64:
    number = (t / note_s).astype(np.int64)
    inside = t / note_s - number
    frequency = np.array(notes, np.float64)[number % len(notes)]
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    shape = np.sin(np.pi * inside) if swell else np.minimum(1, 40 * inside) * np.exp(-3 * inside)
    tone = sum((weight * np.sin((n + 1) * phase) for n, weight in enumerate(overtones)), np.zeros(t.size))
    return np.asarray(shape * tone / sum(overtones))


def _smooth(gate: npt.NDArray[np.bool_]) -> F64:
    """Without the clicks of a switch: 20 ms from off to on."""
    width = min(gate.size, RATE // 50)
    if not width:
        return gate.astype(np.float64)
    return np.convolve(gate.astype(np.float64), np.ones(width) / width, mode="same")


def _finished(sound: F64, rng: np.random.Generator, size: int) -> I16:
    noisy = sound + _BREATH * rng.standard_normal(size)
    return np.rint(np.clip(noisy, -1, 1) * _FULL).astype(np.int16)
