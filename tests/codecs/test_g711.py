"""G.711 against the rules of the Recommendation, written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.codecs import g711

LAWS = ("ulaw", "alaw")


def expand_ulaw(code: int) -> int:
    """ITU-T G.711 table 2: bits inverted; sign, segment, step; 14-bit values scaled to 16."""
    code = 255 - code
    sign, segment, step = code // 128, code // 16 % 8, code % 16
    magnitude = (2 * step + 33) * 2**segment - 33
    return -4 * magnitude if sign else 4 * magnitude


def expand_alaw(code: int) -> int:
    """ITU-T G.711 table 1: even bits inverted; sign, segment, step; 13-bit values scaled to 16."""
    code ^= 0x55
    sign, segment, step = code // 128, code // 16 % 8, code % 16
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) * 2 ** (segment - 1)
    return 8 * magnitude if sign else -8 * magnitude


EXPAND = {"ulaw": expand_ulaw, "alaw": expand_alaw}
TABLES = {"ulaw": g711.ULAW, "alaw": g711.ALAW}


@pytest.mark.parametrize("law", LAWS)
def test_every_code_has_the_value_of_the_recommendation(law):
    assert TABLES[law].tolist() == [EXPAND[law](code) for code in range(256)]


@pytest.mark.parametrize(
    ("law", "code", "value"),
    [
        ("ulaw", 0xFF, 0),
        ("ulaw", 0x7F, 0),
        ("ulaw", 0x80, 32124),
        ("ulaw", 0x00, -32124),
        ("ulaw", 0xFE, 8),
        ("ulaw", 0x7E, -8),
        ("alaw", 0xD5, 8),
        ("alaw", 0x55, -8),
        ("alaw", 0xAA, 32256),
        ("alaw", 0x2A, -32256),
    ],
)
def test_the_ends_and_the_middle_of_both_laws(law, code, value):
    assert TABLES[law][code] == value


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LAWS), st.integers(1, 5), st.integers(1, 330), st.integers(0, 2**32 - 1))
def test_rows_of_any_length_decode_byte_by_byte(law, rows, length, seed):
    payload = np.random.default_rng(seed).integers(0, 256, (rows, length), np.uint8)
    decoded = g711.decode_rows(law, payload)
    assert decoded.dtype == np.int16
    assert decoded.tolist() == [[EXPAND[law](code) for code in row] for row in payload.tolist()]


@pytest.mark.parametrize("law", LAWS)
def test_all_pairs_of_bytes_decode_as_each_byte_alone(law):
    codes = np.arange(1 << 16, dtype=np.uint32)
    payload = np.stack((codes & 255, codes >> 8), axis=1).astype(np.uint8).reshape(256, 512)
    assert (g711.decode_rows(law, payload) == TABLES[law][payload]).all()


@pytest.mark.parametrize("law", LAWS)
def test_a_decoded_byte_encodes_to_itself_but_for_the_second_zero(law):
    codes = np.arange(256, dtype=np.uint8)
    back = g711.encode(law, TABLES[law][codes])
    changed = np.flatnonzero(back != codes).tolist()
    assert changed == ([0x7F] if law == "ulaw" else [])
    assert back[0x7F] == (0xFF if law == "ulaw" else 0x7F)


@pytest.mark.parametrize("law", LAWS)
def test_every_sample_encodes_to_the_nearest_value(law):
    samples = np.arange(-32768, 32768).astype(np.int16)
    encoded = TABLES[law][g711.encode(law, samples)].astype(np.int64)
    values = np.unique(TABLES[law].astype(np.int64))
    nearest = np.abs(samples.astype(np.int64)[:, None] - values).min(axis=1)
    assert (np.abs(encoded - samples) == nearest).all()
    assert (np.diff(encoded) >= 0).all()


def test_silence_encodes_to_the_idle_codes():
    silence = np.zeros((3, 2), np.int16)
    assert (g711.encode("ulaw", silence) == 0xFF).all()
    assert (g711.encode("alaw", silence) == 0xD5).all()
    assert g711.encode("ulaw", silence).shape == (3, 2)
