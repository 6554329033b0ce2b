"""The rate of a file follows from what was agreed on, what arrives, and what the configuration allows."""

import pytest

from siprec.codecs.registry import find
from siprec.media.rate import arriving_rate, only_rate, rates_of

G711 = {0: ("PCMU", 8000, 1, ""), 8: ("PCMA", 8000, 1, ""), 101: ("telephone-event", 8000, 1, "")}
WIDE = {9: ("G722", 8000, 1, ""), 0: ("PCMU", 8000, 1, "")}
OPUS = {96: ("opus", 48000, 2, "")}
UNKNOWN = {96: ("EVRC", 8000, 1, "")}


@pytest.mark.parametrize(
    ("legs", "max_rate", "rate"),
    [
        ([G711, G711], 16_000, 8_000),
        ([OPUS, OPUS], 16_000, 16_000),
        ([OPUS], 48_000, 48_000),
        ([G711, OPUS], 16_000, None),
        ([G711, OPUS], 8_000, 8_000),
        ([WIDE], 16_000, None),
        ([WIDE, WIDE], 8_000, 8_000),
        ([UNKNOWN], 16_000, 8_000),
        ([], 16_000, 8_000),
        ([UNKNOWN, OPUS], 16_000, 16_000),
    ],
)
def test_the_rate_is_fixed_at_once_where_the_agreed_codecs_leave_no_choice(legs, max_rate, rate):
    assert only_rate(legs, max_rate) == rate


def test_what_brings_no_sound_has_no_say():
    assert rates_of(G711) == {8000}
    assert rates_of(UNKNOWN) == set()


def test_a_first_packet_shows_the_rate_of_its_codec():
    assert arriving_rate(find("G722").number, WIDE) == 16000
    assert arriving_rate(find("PCMU").number, WIDE) == 8000
    assert arriving_rate(find("telephone-event").number, WIDE) is None
    assert arriving_rate(0, WIDE) is None


def test_a_packet_with_redundancy_may_hold_the_best_that_was_agreed_on():
    assert arriving_rate(find("red").number, WIDE) == 16000
    assert arriving_rate(find("red").number, UNKNOWN) is None
