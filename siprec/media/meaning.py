"""What the payload types of a leg mean, as text: in documents, and on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from siprec.codecs.registry import payload_map

Meaning = tuple[str, int, int, str]
"Encoding name, clock [Hz], channels, format parameters."

PAYLOAD_TYPES = 128
_TEXT = re.compile(r"([^\s/;]{1,32})/(\d{1,6})(?:/(\d{1,2}))?(?:[\s;]\s*(\S.{0,255}))?")


def meaning_text(meaning: Meaning) -> str:
    """`opus/48000/2`, `AMR/8000 octet-align=1`: as in `a=rtpmap`, with the format parameters behind it."""
    name, clock, channels, fmtp = meaning
    text = f"{name}/{clock}" if channels == 1 else f"{name}/{clock}/{channels}"
    return f"{text} {fmtp}" if fmtp else text


def read_meaning(text: str) -> Meaning:
    """The meaning in a text of `meaning_text`; `;` may stand before the parameters. Raises ValueError."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not NAME/CLOCK[/CHANNELS][;PARAMETERS]")
    name, clock, channels, fmtp = found.groups()
    return name, int(clock), int(channels or 1), fmtp or ""


def meaning_texts(payloads: Mapping[int, Meaning]) -> dict[str, str]:
    """The meanings of a leg as a document has them."""
    return {str(number): meaning_text(meaning) for number, meaning in sorted(payloads.items())}


def read_meanings(texts: object) -> dict[int, Meaning]:
    """The meanings in a document; what cannot be read there is left out."""
    found: dict[int, Meaning] = {}
    for number, text in texts.items() if isinstance(texts, dict) else ():
        try:
            found[int(number)] = read_meaning(str(text))
        except ValueError:
            continue
    return found


def decodable(payloads: Mapping[int, Meaning]) -> list[int]:
    """Payload types that this program knows what to do with, on a leg with these meanings."""
    known: list[int] = np.flatnonzero(payload_map(payloads)).tolist()
    return known
