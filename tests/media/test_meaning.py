"""What payload types mean, as documents and the command line have it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.media.meaning import (
    Meaning,
    decodable,
    meaning_text,
    meaning_texts,
    read_meaning,
    read_meanings,
)

names = st.text("ABCabc0123-.", min_size=1, max_size=32)
parameters = st.text("abc019=;-", max_size=48).filter(lambda text: not text.startswith(";"))


@given(st.tuples(names, st.integers(1, 999_999), st.integers(1, 99), parameters))
def test_a_meaning_comes_back_from_its_text(meaning: Meaning) -> None:
    assert read_meaning(meaning_text(meaning)) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("PCMA/8000", ("PCMA", 8000, 1, "")),
        ("opus/48000/2", ("opus", 48_000, 2, "")),
        ("AMR/8000;octet-align=1", ("AMR", 8000, 1, "octet-align=1")),
        (" AMR/8000/1 octet-align=1; mode-set=7 ", ("AMR", 8000, 1, "octet-align=1; mode-set=7")),
    ],
)
def test_people_write_it_as_in_the_sdp(text: str, meaning: Meaning) -> None:
    assert read_meaning(text) == meaning


@pytest.mark.parametrize(
    "text", ["", "PCMA", "PCMA/", "/8000", "PCMA/8000/", "PCMA/8k", "PC MA/8000", "PCMA/8000;"]
)
def test_what_is_no_meaning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME/CLOCK"):
        read_meaning(text)


def test_what_a_document_has_is_read_as_far_as_it_can_be() -> None:
    texts = meaning_texts({97: ("AMR", 8000, 1, "octet-align=1"), 0: ("PCMU", 8000, 1, "")})
    assert texts == {"0": "PCMU/8000", "97": "AMR/8000 octet-align=1"}
    assert read_meanings(texts | {"x": "PCMA/8000", "98": 7, "99": None}) == {
        0: ("PCMU", 8000, 1, ""),
        97: ("AMR", 8000, 1, "octet-align=1"),
    }
    assert read_meanings(None) == read_meanings(["PCMA/8000"]) == {}


def test_static_types_can_be_decoded_whatever_was_offered() -> None:
    """RFC 3551 6; 96 and 97 have no meaning of their own."""
    known = decodable({96: ("opus", 48_000, 2, ""), 97: ("G728", 8000, 1, "")})
    assert {0, 8, 9, 18, 96} <= set(known)
    assert 97 not in known
    assert set(decodable({})) == set(known) - {96}
