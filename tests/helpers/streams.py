"""Encoded streams as packets for a player, as lines of an offer, and as what is to be heard of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.helpers import reference
from tests.helpers.encoders import Encoded
from tests.helpers.likeness import resampled
from tests.helpers.offers import Line
from tests.helpers.player import Packet, rtp

I16 = npt.NDArray[np.int16]


def packets(
    stream: Encoded, *, pt: int, ssrc: int, seq: int = 0, timestamp: int = 0, start_s: float = 0.0
) -> list[Packet]:
    """Each payload in a packet, sent at its time from `start_s` on. seq, timestamp: of the first one."""
    made = []
    for number, (payload, at) in enumerate(zip(stream.payloads, stream.timestamps, strict=True)):
        wire = rtp(payload, pt=pt, seq=seq + number, timestamp=timestamp + at, ssrc=ssrc, marker=number == 0)
        made.append(Packet(start_s + at / stream.clock, wire))
    return made


def line(port: int, label: str, formats: dict[int, Encoded]) -> Line:
    """An m-line with payload types and what they mean."""
    extra = []
    for pt, stream in formats.items():
        extra.append(f"rtpmap:{pt} {stream.encoding}")
        extra += [f"fmtp:{pt} {stream.fmtp}"] * bool(stream.fmtp)
    return Line(port, label, tuple(formats), extra=tuple(extra))


def sound(codec: str, stream: Encoded, file_rate: int, **options: Any) -> I16:
    """What a stream sounds like by other decoders, at a file's rate [Hz]."""
    return resampled(reference.decode(codec, stream.payloads, **options), stream.rate, file_rate)
