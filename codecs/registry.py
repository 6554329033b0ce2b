"""Which payloads we can turn into samples, and what to do with the others.

A codec is found by its name in the SDP (`rtpmap`), or by its static payload type (RFC 3551 6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RAW, AUDIO, EVENT, NOISE = range(4)
"""What a payload becomes: kept as it came (no decoder), samples, a digit, or silence (comfort noise)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A payload format that is known by name."""

    number: int
    "Its number in payload type maps; 0 is kept for what is not known."
    name: str
    kind: int
    clock: int
    "RTP clock [Hz]."
    rate: int
    "Rate of its samples [Hz]."
    samples_per_byte: int = 0
    "For audio of a constant number of samples a byte; 0 otherwise."
    law: str = ""
    "The G.711 table."


UNKNOWN = Codec(number=0, name="unknown", kind=RAW, clock=8000, rate=8000)
PCMU = Codec(number=1, name="PCMU", kind=AUDIO, clock=8000, rate=8000, samples_per_byte=1, law="ulaw")
PCMA = Codec(number=2, name="PCMA", kind=AUDIO, clock=8000, rate=8000, samples_per_byte=1, law="alaw")
TELEPHONE_EVENT = Codec(number=3, name="telephone-event", kind=EVENT, clock=8000, rate=8000)
COMFORT_NOISE = Codec(number=4, name="CN", kind=NOISE, clock=8000, rate=8000)

CODECS: tuple[Codec, ...] = (UNKNOWN, PCMU, PCMA, TELEPHONE_EVENT, COMFORT_NOISE)
"Every codec by its number."
_BY_NAME = {codec.name.lower(): codec for codec in CODECS[1:]}
STATIC: dict[int, Codec] = {0: PCMU, 8: PCMA, 13: COMFORT_NOISE, 19: COMFORT_NOISE}
"Payload types that need no rtpmap; 19 is comfort noise by an old draft that Cisco still sends."

KINDS: npt.NDArray[np.uint8] = np.array([codec.kind for codec in CODECS], np.uint8)
"uint8[codecs], the kind of each codec by its number."


def find(name: str, *, clock: int | None = None) -> Codec:
    """The codec of an rtpmap encoding name, any case; UNKNOWN when there is none for it.

    An audio codec with another clock than its own is not the same codec.
    """
    codec = _BY_NAME.get(name.lower(), UNKNOWN)
    if codec.kind == AUDIO and clock is not None and clock != codec.clock:
        return UNKNOWN
    return codec


def payload_map(rtpmaps: dict[int, tuple[str, int]]) -> npt.NDArray[np.uint8]:
    """Codec number per payload type: uint8[128].

    rtpmaps: what the SDP says, {payload type: (encoding name, clock)}. Static types that the SDP does not
    mention keep their meaning: what arrives is decoded even when it was not negotiated (INTEROP 2.2).
    """
    out = np.zeros(128, np.uint8)
    for number, codec in STATIC.items():
        out[number] = codec.number
    for number, (name, clock) in rtpmaps.items():
        if 0 <= number < 128:
            out[number] = find(name, clock=clock).number
    return out
