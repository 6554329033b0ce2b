"""Which payloads we can turn into samples, and what to do with the others.

A codec is found by its name in the SDP (`rtpmap`, `fmtp`), or by its static payload type (RFC 3551 6). What differs
for the decoder is a codec of its own here, such as the two packings of AMR; people see the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

RAW, AUDIO, EVENT, NOISE, RED = range(5)
"""What a payload becomes: kept as it came (no decoder), samples, a digit, silence (comfort noise), or what is inside
(RFC 2198)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A payload format that is known by name."""

    number: int = 0
    "Its number in payload type maps; 0 is kept for what is not known."
    name: str
    kind: int
    clock: int = 8000
    "RTP clock [Hz]."
    rate: int = 8000
    "Rate of its samples [Hz]."
    channels: int = 1
    "In its payload; its samples are always mono."
    samples_per_byte: int = 0
    "For G.711, which is decoded in columns; 0 otherwise."
    law: str = ""
    "The G.711 table."
    form: str = ""
    "How its payload is made up, see `siprec.codecs.frames`."
    bits: int = 0
    "A sample, of G.726."


UNKNOWN = Codec(name="unknown", kind=RAW)
G711_RATE = 8000
_SPEEX_RATES = (8000, 16000, 32000)
L16_CLOCKS = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
_G726_BITS = {16: 2, 24: 3, 32: 4, 40: 5}


def _table() -> tuple[Codec, ...]:
    codecs = [
        UNKNOWN,
        Codec(name="PCMU", kind=AUDIO, samples_per_byte=1, law="ulaw", form="g711"),
        Codec(name="PCMA", kind=AUDIO, samples_per_byte=1, law="alaw", form="g711"),
        Codec(name="telephone-event", kind=EVENT),
        Codec(name="CN", kind=NOISE),
        Codec(name="red", kind=RED),
        Codec(name="G722", kind=AUDIO, rate=16000, form="g722"),  # its clock is 8000: RFC 3551 4.5.2
        Codec(name="G729", kind=AUDIO, form="g729"),
        Codec(name="G723", kind=AUDIO, form="g723"),
        Codec(name="GSM", kind=AUDIO, form="gsm"),
        Codec(name="iLBC", kind=AUDIO, form="ilbc"),
        Codec(name="opus", kind=AUDIO, clock=48000, rate=48000, form="opus"),
        Codec(name="AMR", kind=AUDIO, form="amr"),
        Codec(name="AMR", kind=AUDIO, form="amr-octet"),
        Codec(name="AMR-WB", kind=AUDIO, clock=16000, rate=16000, form="amrwb"),
        Codec(name="AMR-WB", kind=AUDIO, clock=16000, rate=16000, form="amrwb-octet"),
    ]
    codecs += [Codec(name="speex", kind=AUDIO, clock=rate, rate=rate, form="speex") for rate in _SPEEX_RATES]
    for kbits, bits in _G726_BITS.items():  # RFC 3551 4.5.4: the two differ in the order of the bits
        codecs.append(Codec(name=f"G726-{kbits}", kind=AUDIO, form="g726le", bits=bits))
        codecs.append(Codec(name=f"AAL2-G726-{kbits}", kind=AUDIO, form="g726", bits=bits))
    for clock in L16_CLOCKS:
        mono = Codec(name="L16", kind=AUDIO, clock=clock, rate=clock, form="l16")
        codecs += [mono, replace(mono, channels=2)]
    return tuple(replace(codec, number=number) for number, codec in enumerate(codecs))


CODECS: tuple[Codec, ...] = _table()
"Every codec by its number."
UNKNOWN, PCMU, PCMA, TELEPHONE_EVENT, COMFORT_NOISE = CODECS[:5]

KINDS: npt.NDArray[np.uint8] = np.array([codec.kind for codec in CODECS], np.uint8)
"uint8[codecs], the kind of each codec by its number."

_ALIASES = {
    "g729a": "g729",
    "g729b": "g729",
    "g729ab": "g729",
    "g7231": "g723",
    "g723.1": "g723",
    "g721": "g726-32",
}
_ANY_CLOCK = {TELEPHONE_EVENT.name, COMFORT_NOISE.name, "red"}
_UNREADABLE = ("crc", "robust-sorting", "interleaving")
"Format parameters of AMR (RFC 4867 8.1) with a packing that we do not read."


def _by_name() -> dict[str, list[Codec]]:
    found: dict[str, list[Codec]] = {}
    for codec in CODECS[1:]:
        found.setdefault(codec.name.lower(), []).append(codec)
    return found


_NAMED = _by_name()


def find(name: str, *, clock: int | None = None, channels: int = 1, fmtp: str = "") -> Codec:
    """The codec of an rtpmap encoding name, any case; UNKNOWN when there is no decoder for it.

    clock [Hz], channels, fmtp: as the SDP says. An audio codec with another clock than its own is not the same codec.
    """
    lower = name.lower()
    candidates = _NAMED.get(_ALIASES.get(lower, lower), [])
    if candidates and candidates[0].name in _ANY_CLOCK:
        return candidates[0]
    if clock is not None:
        candidates = [codec for codec in candidates if codec.clock == clock]
    if lower == "l16":
        candidates = [codec for codec in candidates if codec.channels == channels]
    elif lower in ("amr", "amr-wb"):
        candidates = _packed(candidates, fmtp) if channels == 1 else []
    return candidates[0] if candidates else UNKNOWN


def _packed(candidates: list[Codec], fmtp: str) -> list[Codec]:
    """Of AMR's packings, the one that the parameters ask for (RFC 4867 8.1)."""
    given = [part.partition("=") for part in fmtp.lower().replace(" ", "").split(";")]
    values = {key: value for key, _, value in given if key}
    if any(values.get(key, "0") != "0" for key in _UNREADABLE):
        return []
    octets = values.get("octet-align", "0") == "1"
    return [codec for codec in candidates if codec.form.endswith("-octet") == octets]


STATIC: dict[int, Codec] = {
    0: PCMU,
    2: find("G726-32"),
    3: find("GSM"),
    4: find("G723"),
    8: PCMA,
    9: find("G722"),
    10: find("L16", clock=44100, channels=2),
    11: find("L16", clock=44100),
    13: COMFORT_NOISE,
    18: find("G729"),
    19: COMFORT_NOISE,
}
"Payload types that need no rtpmap (RFC 3551 6); 19 is comfort noise by an old draft that Cisco still sends."


def payload_map(rtpmaps: Mapping[int, tuple[str, int, int, str]]) -> npt.NDArray[np.uint8]:
    """Codec number per payload type: uint8[128].

    rtpmaps: what the SDP says, {payload type: (encoding name, clock, channels, fmtp)}. Static types that the SDP does
    not mention keep their meaning: what arrives is decoded even when it was not negotiated (INTEROP 2.2).
    """
    out = np.zeros(128, np.uint8)
    for number, codec in STATIC.items():
        out[number] = codec.number
    for number, (name, clock, channels, fmtp) in rtpmaps.items():
        if 0 <= number < 128:
            out[number] = find(name, clock=clock, channels=channels, fmtp=fmtp).number
    return out
