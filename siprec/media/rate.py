"""The sample rate of a recording's file: fixed from what arrives, at most half a second after the first packet (DESIGN 3).

Where the codecs that were agreed on leave no choice, it is fixed at once. Else the packets wait in their sockets until
each leg has shown what it sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from siprec.codecs.registry import AUDIO, CODECS, RED, find

DECIDE_NS = 500_000_000
"From the first packet of a recording on: then what has arrived decides."
LOWEST = 8000
"Of a file of which nothing is known [Hz]."

Payloads = Mapping[int, tuple[str, int, int, str]]


def rates_of(payloads: Payloads) -> set[int]:
    """Rates of the sound [Hz] that a leg's payload types can bring; payload type: (encoding, clock, channels, fmtp)."""
    codecs = (find(name, clock=clock, channels=n, fmtp=fmtp) for name, clock, n, fmtp in payloads.values())
    return {codec.rate for codec in codecs if codec.kind == AUDIO}


def only_rate(legs: Iterable[Payloads], max_rate: int) -> int | None:
    """The file's rate if all that was agreed on leads to the same one; None if what arrives has to decide."""
    rates = {min(rate, max_rate) for payloads in legs for rate in rates_of(payloads)}
    return rates.pop() if len(rates) == 1 else None if rates else min(LOWEST, max_rate)


def arriving_rate(codec: int, payloads: Payloads) -> int | None:
    """The rate [Hz] that a leg's first packet shows; None if it is no sound.

    codec: number of its codec. What carries sound inside another format may be the best that was agreed on.
    """
    if CODECS[codec].kind == AUDIO:
        return CODECS[codec].rate
    if CODECS[codec].kind == RED:
        return max(rates_of(payloads), default=None)
    return None
