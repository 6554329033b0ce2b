"""The sample rate of a recording's file."""

from __future__ import annotations

from siprec.codecs.registry import AUDIO, CODECS


def file_rate(max_rate: int) -> int:
    """The highest rate that any decoder gives, but at most `max_rate` [Hz]."""
    return min(max_rate, max(codec.rate for codec in CODECS if codec.kind == AUDIO))
