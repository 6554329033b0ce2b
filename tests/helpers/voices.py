"""Audio of the test calls: G.711 code words, and what they sound like by a decoder that is not ours (libsndfile)."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

I16 = npt.NDArray[np.int16]

RATE = 8_000
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}
_SUBTYPES = {"PCMU": "ULAW", "PCMA": "ALAW"}


def expand(law: str, words: bytes) -> I16:
    """Code words as linear samples: int16[n]."""
    samples: I16 = soundfile.read(
        io.BytesIO(words),
        format="RAW",
        subtype=_SUBTYPES[law],
        samplerate=RATE,
        channels=1,
        dtype="int16",
    )[0]
    return samples


def voice(seed: int, seconds: float, law: str = "PCMU") -> bytes:
    """Code words that never repeat and none of which is silence, so that every one of them shows in a file."""
    loud = [word for word in range(256) if expand(law, bytes([word]))[0]]
    return bytes(random.Random(seed).choices(loud, k=round(seconds * RATE)))


def read_audio(path: str) -> I16:
    """A sound file of 8 kHz as any player would read it: int16[frames, channels]."""
    audio: Any
    audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert rate == RATE
    samples: I16 = audio
    return samples
