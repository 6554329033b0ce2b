"""Sound files of any kind as 8 kHz mono."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from siprec.probe.errors import ProbeError
from siprec.probe.plan import MAX_DURATION_S, RATE

I16 = npt.NDArray[np.int16]
F64 = npt.NDArray[np.float64]

_ZEROS = 16
"Zero crossings of the interpolating sinc on each side."
_CHUNK = 8192


def load(path: Path, *, seconds: float = MAX_DURATION_S) -> I16:
    """At most `seconds` of a file, its channels mixed into one. A 16-bit mono file at 8 kHz comes as it is.

    Raises ProbeError when it cannot be read or is empty.
    """
    if not path.is_file():
        raise ProbeError(f"there is no file {path}")
    try:
        with soundfile.SoundFile(str(path)) as sound:
            rate = sound.samplerate
            samples = sound.read(round(seconds * rate), dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise ProbeError(f"cannot read {path}: {error}") from None
    if not len(samples):
        raise ProbeError(f"{path} has no sound in it")
    mono = np.ascontiguousarray(samples.mean(axis=1))
    resampled = mono if rate == RATE else resample(mono, rate)
    return np.rint(np.clip(resampled * 32768, -32768, 32767)).astype(np.int16)


def resample(samples: F64, rate: int) -> F64:
    """From `rate` to 8 kHz by a windowed sinc; what is above 4 kHz is left out."""
    step = rate / RATE
    cutoff = min(1.0, 1 / step) * 0.95
    reach = int(np.ceil(_ZEROS / cutoff))
    padded = np.concatenate((np.zeros(reach), samples, np.zeros(reach + 1)))
    taps = np.arange(-reach + 1, reach + 1)
    out = np.empty(int(samples.size / step))
    for start in range(0, out.size, _CHUNK):
        place = np.arange(start, min(start + _CHUNK, out.size)) * step
        whole = np.floor(place).astype(np.int64)
        distance = taps[None, :] - (place - whole)[:, None]
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / reach, -1, 1))
        kernel = cutoff * np.sinc(cutoff * distance) * window
        out[start : start + place.size] = (padded[whole[:, None] + taps + reach] * kernel).sum(axis=1)
    return out
