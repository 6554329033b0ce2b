"""The table of what codecs cost has all of them, and counts only what was decoded."""

from __future__ import annotations

import pytest

from benchmarks.codecs import ROWS, measure
from siprec.codecs.registry import AUDIO, CODECS
from siprec.rtp.srtp import Profile


def test_every_codec_and_every_suite_of_srtp_is_measured() -> None:
    assert {row.codec for row in ROWS} == {codec.name for codec in CODECS if codec.kind == AUDIO}
    assert {row.suite for row in ROWS} == {"", *(profile.name for profile in Profile)}


@pytest.mark.parametrize("name", ["G726-24", "AAL2-G726-32", "PCMU AEAD_AES_256_GCM"])
def test_a_row_is_decoded_by_the_pipeline_and_by_the_decoder_alone(name: str) -> None:
    """`measure` asserts that every packet was taken and is heard."""
    (row,) = (row for row in ROWS if row.name == name)
    assert min(measure(row, 1)) > 0
