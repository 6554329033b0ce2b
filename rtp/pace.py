"""What a stream's timestamps count: its codec's clock, another one, or nothing at all (INTEROP 3.12, 3.14).

Some senders count G.722 with 16,000 Hz (RFC 3551 4.5.2 says 8,000), Opus with 8,000, or leave the timestamp where it
is. A run of packets shows it: the sound in them takes as long as they took to arrive, their timestamps say otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

CLOCKS = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 90000)
"Clocks [Hz] that a sender may count with instead of its codec's."
_LIKE = 0.02
"A pace is that of a clock if it is this near."
_MIN_STEPS = 2
_SOUND_TOLERANCE = 0.35
"Arrival of so few packets is rough: the sound must take as long as they took, within this part of it."


class Pace(NamedTuple):
    """`clock` [Hz] that the timestamps count, and whether they stand still (then packets are placed by number)."""

    clock: int
    numbered: bool = False


def shown_pace(clock: int, ext: I64, timestamp: I64, arrived_s: F64, sound_s: F64) -> Pace | None:
    """What consecutive packets show about their timestamps; None if nothing.

    clock: of the codec [Hz]. ext: sequence numbers; timestamp: as received; arrived_s: arrival; sound_s: length of each
    packet's sound, both in seconds; all [k] in order of arrival. Only packets of equal length that follow each
    other without a gap say anything: one lost packet, or a pause of the sender, looks the same as a fast clock.
    """
    if ext.size <= _MIN_STEPS or (np.diff(ext) != 1).any() or np.ptp(sound_s) > 0 or not sound_s[0]:
        return None
    counted = timestamp.astype(np.int64)
    steps = (counted[1:] - counted[:-1]) & 0xFFFFFFFF
    if np.ptp(steps):
        return None
    step, sound = int(steps[0]), float(sound_s[0])
    if not _arrive_as_they_sound(arrived_s, sound):
        return None
    if step == round(sound * clock):
        return Pace(clock)
    if step == 0:
        return Pace(clock, numbered=True)
    pace = step / sound
    return next((Pace(known) for known in CLOCKS if abs(known / pace - 1) < _LIKE), None)


def _arrive_as_they_sound(arrived_s: F64, sound: float) -> bool:
    took = float(arrived_s[-1] - arrived_s[0])
    due = sound * (arrived_s.size - 1)
    return abs(took - due) < _SOUND_TOLERANCE * due
