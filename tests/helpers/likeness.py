"""How alike two sounds are, and by how much one is later than the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I16 = npt.NDArray[np.int16]
LONGEST = 2_000
"Samples of delay that are looked for."


def delay(heard: I16, said: I16, *, longest: int = LONGEST) -> int:
    """By how many samples `heard` is later than `said`, as their correlation says; at most `longest`, either way."""
    size = 1 << (heard.size + said.size).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    likeness = np.fft.irfft(spectrum, size)
    lags = np.concatenate((np.arange(longest + 1), np.arange(-longest, 0)))
    return int(lags[np.argmax(likeness[lags])])


def correlation(heard: I16, said: I16, *, later: int = 0) -> float:
    """Of the two with `heard` moved back by `later` samples; 1.0 for what differs in loudness alone."""
    x, y = _together(heard, said, later)
    return float((x * y).sum() / max(1.0, np.sqrt((x * x).sum() * (y * y).sum())))


def snr_db(heard: I16, said: I16, *, later: int = 0) -> float:
    """What was said, to what was heard besides it [dB]; `heard` moved back by `later` samples."""
    x, y = _together(heard, said, later)
    return float(10 * np.log10((y * y).sum() / max(1.0, np.square(x - y).sum())))


def resampled(sound: I16, rate: int, wanted: int) -> I16:
    """The sound at another rate [Hz], by its spectrum; it is taken for a loop, so its ends are not quite right."""
    if rate == wanted:
        return sound
    size = round(sound.size * wanted / rate)
    spectrum = np.fft.rfft(sound)[: size // 2 + 1]
    return np.clip(np.rint(np.fft.irfft(spectrum, size) * size / sound.size), -32_768, 32_767).astype(
        np.int16
    )


def _together(heard: I16, said: I16, later: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    x, y = (heard[later:], said) if later >= 0 else (heard, said[-later:])
    size = min(x.size, y.size)
    return x[:size].astype(np.float64), y[:size].astype(np.float64)
