"""Filling short losses with the sound before them, when the operator asks for it (`codecs.conceal: short`).

The last pitch period is repeated and fades to silence: enough for the ear, and never longer than MAX_S. Nothing is filled
unless it is asked for: a recording is evidence (DESIGN rule 3).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I16 = npt.NDArray[np.int16]

MAX_S = 0.06
"The longest loss that is filled; a longer one stays silent as a whole."
LOOK_BACK_S = 0.04
"Sound before the loss that is looked at."
_SHORTEST_S, _LONGEST_S = 0.0025, 0.015
"Pitch periods that are looked for: 400 to 67 Hz."
_FADE_S = MAX_S
"From full level to silence."


def conceal(before: I16, count: int, rate: int) -> I16:
    """`count` samples that go on with `before`.

    before: int16[n], the sound up to the loss, oldest first, of LOOK_BACK_S or less; rate [Hz]. int16[count]; zeros
    if there was no sound.
    """
    period = _pitch(before.astype(np.float64), rate)
    if not period:
        return np.zeros(count, np.int16)
    cycle = before[-period:].astype(np.float64)
    repeated = np.resize(cycle, count)
    fade = np.maximum(0.0, 1.0 - np.arange(count) / (_FADE_S * rate))
    return np.rint(repeated * fade).astype(np.int16)


def _pitch(sound: npt.NDArray[np.float64], rate: int) -> int:
    """The period [samples] at which the end of `sound` is most like what is before it; 0 for silence."""
    shortest, longest = int(_SHORTEST_S * rate), int(_LONGEST_S * rate)
    window = sound.size - longest
    if window < shortest or not sound.any():
        return 0
    last = sound[-window:]
    lags = np.arange(shortest, longest + 1)
    earlier = np.lib.stride_tricks.sliding_window_view(sound, window)[sound.size - window - lags]
    power = np.sqrt(np.einsum("ij,ij->i", earlier, earlier))
    likeness = earlier @ last / np.maximum(power, 1.0)
    return int(lags[np.argmax(likeness)])
