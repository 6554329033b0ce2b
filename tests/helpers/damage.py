"""Payloads as no encoder makes them: cut, flipped, joined, lengthened, and noise."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from siprec.codecs.registry import AUDIO, CODECS, Codec
from tests.helpers.encoders import encode, sample_rate, speech

_LONGEST = 1_400
"Bytes: what fits in a packet."

STREAMS = {
    "g711": ("PCMU", {}),
    "g722": ("G722", {}),
    "gsm": ("GSM", {}),
    "g723": ("G723", {}),
    "g729": ("G729", {"vad": True}),
    "ilbc": ("iLBC", {}),
    "opus": ("opus", {}),
    "amr": ("AMR", {"dtx": True}),
    "amr-octet": ("AMR", {"octet_aligned": True}),
    "amrwb": ("AMR-WB", {"dtx": True}),
    "amrwb-octet": ("AMR-WB", {"octet_aligned": True}),
}
"What good payloads of a form are made of: name and options for `encode`."
CODECS_OF_SOUND = tuple(codec for codec in CODECS if codec.kind == AUDIO)


@cache
def good_payloads(codec: Codec) -> tuple[bytes, ...]:
    """A second of speech as an encoder makes it."""
    name, options = STREAMS.get(codec.form, (codec.name, {}))
    if codec.form in ("l16", "speex"):
        options = {"rate": codec.rate}
    said = speech(1, sample_rate(name, **options))
    if codec.form == "l16" and codec.channels == 2:
        said = said.repeat(2).reshape(-1, 2)
    return tuple(encode(name, said, ptime_ms=30 if name == "G723" else 20, **options).payloads)


def damaged(good: Sequence[bytes], rng: random.Random) -> bytes:
    """One payload that is wrong in one of many ways; now and then a good one."""
    payload = rng.choice(good)
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.choice((0, 1, 2, 3, 10, 38, 50, rng.randrange(_LONGEST))))
    if kind == 1:
        return payload[: rng.randrange(len(payload) + 1)]
    if kind == 2:
        return (payload + rng.choice(good) * rng.randrange(4))[:_LONGEST]
    if kind == 3:
        return payload + rng.randbytes(rng.randrange(1, 40))
    if kind == 4:
        return rng.choice((b"\0", b"\xff", b"\x7f", b"\xfc")) * rng.randrange(1, 200)
    if kind == 5:
        return payload
    changed = bytearray(payload)
    for _ in range(rng.choice((1, 1, 4, 30)) if changed else 0):
        changed[rng.randrange(len(changed)) if kind == 6 else 0] = rng.randrange(256)
    return bytes(changed)
