"""What must hold of a decoder whatever it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siprec.codecs.decoder import DecodeError, Decoder
from siprec.codecs.frames import MALFORMED, samples_in
from siprec.codecs.registry import Codec


def check_anything(codec: Codec, decoder: Decoder, payloads: Sequence[bytes]) -> None:
    """Each payload becomes as many samples as it stands for, or is refused; one that is malformed is always refused."""
    counts = [samples_in(codec, payload) for payload in payloads]
    results = decoder.decode_many(payloads)
    assert len(results) == len(payloads)
    for payload, count, result in zip(payloads, counts, results, strict=True):
        assert count >= MALFORMED, f"{codec.form} {payload.hex()}: {count} samples"
        if isinstance(result, DecodeError):
            continue
        assert count != MALFORMED, f"{codec.form} {payload.hex()}: malformed, and decoded"
        assert result.dtype == np.int16
        assert result.shape == (count,), f"{codec.form} {payload.hex()}: {result.size} samples, not {count}"


def check_good(codec: Codec, decoder: Decoder, payloads: Sequence[bytes]) -> None:
    """Good payloads are decoded, and are heard."""
    results = decoder.decode_many(payloads)
    sounds = [result for result in results if not isinstance(result, DecodeError)]
    assert len(sounds) == len(payloads), f"{codec.form}: {results}"
    assert np.concatenate(sounds).any(), f"{codec.form}: silent"
