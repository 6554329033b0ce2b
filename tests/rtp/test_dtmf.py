"""Telephone events: one digit per key, whatever the network did to its packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.dtmf import DIGITS, DigitCollector


class Phone:
    """One leg's packets, 20 ms apart; digits come out as text."""

    def __init__(self) -> None:
        self.collector = DigitCollector()
        self.at = 0
        self.heard: list[tuple[str, int, int]] = []
        "(digit, arrival of its first packet, duration)"

    def send(self, code: int, duration: int, *, end: bool = False, timestamp: int = 0, ssrc: int = 1) -> None:
        self.at += 20
        payload = struct.pack("!BBH", code, end << 7 | 10, duration)
        self._hear(self.collector.packet(0, ssrc, timestamp, payload, self.at))

    def press(self, code: int, *, timestamp: int, packets: int = 5, ends: int = 3) -> None:
        for i in range(packets):
            self.send(code, 160 * (i + 1), timestamp=timestamp)
        for _ in range(ends):
            self.send(code, 160 * (packets + 1), end=True, timestamp=timestamp)

    def hang_up(self) -> None:
        self._hear(self.collector.close(0))

    def _hear(self, digit) -> None:
        if digit is not None:
            self.heard.append((digit.digit, digit.at_ns, digit.duration))

    @property
    def digits(self) -> str:
        return "".join(digit for digit, _, _ in self.heard)


def test_a_key_is_one_digit_with_its_first_arrival_and_its_length():
    phone = Phone()
    phone.press(5, timestamp=1000, packets=10)  # 13 packets, the end three times
    assert phone.heard == [("5", 20, 160 * 11)]


def test_every_code_has_its_character_as_it_came():
    phone = Phone()
    for code in range(16):
        phone.press(code, timestamp=code * 1000)
    assert phone.digits == DIGITS == "0123456789*#ABCD"


def test_a_key_whose_end_was_lost_is_told_when_the_next_begins():
    phone = Phone()
    phone.press(1, timestamp=1000, ends=0)
    assert phone.digits == ""
    phone.send(2, 160, timestamp=9000)
    assert phone.digits == "1"


def test_a_key_whose_end_was_lost_is_told_when_the_leg_ends():
    phone = Phone()
    phone.press(1, timestamp=1000, ends=0)
    phone.hang_up()
    assert phone.heard == [("1", 20, 800)]
    phone.hang_up()
    assert phone.digits == "1"


def test_a_key_of_which_only_an_end_arrived_is_a_digit():
    phone = Phone()
    phone.press(7, timestamp=1000, packets=0, ends=2)
    assert phone.digits == "7"


def test_both_keys_are_told_when_the_second_is_a_single_end_and_the_first_lost_its_own():
    phone = Phone()
    phone.press(1, timestamp=1000, ends=0)
    phone.press(2, timestamp=9000, packets=0, ends=1)
    phone.hang_up()
    assert phone.digits == "12"


def test_repetitions_after_the_end_are_not_another_digit():
    phone = Phone()
    phone.press(1, timestamp=1000, ends=13)
    phone.send(1, 320, timestamp=1000)
    phone.hang_up()
    assert phone.digits == "1"


def test_late_ends_of_a_key_do_not_disturb_the_next_one():
    phone = Phone()
    phone.press(1, timestamp=1000, ends=1)
    phone.send(2, 160, timestamp=9000)
    phone.send(1, 960, end=True, timestamp=1000)
    phone.send(2, 320, timestamp=9000)
    phone.send(1, 960, end=True, timestamp=1000)
    phone.send(2, 480, end=True, timestamp=9000)
    assert [(digit, duration) for digit, _, duration in phone.heard] == [("1", 960), ("2", 480)]


def test_the_same_key_twice_is_two_digits():
    phone = Phone()
    phone.press(4, timestamp=1000)
    phone.press(4, timestamp=9000)
    assert phone.digits == "44"


def test_the_same_timestamp_of_another_ssrc_is_another_key():
    phone = Phone()
    phone.send(4, 160, end=True, timestamp=1000, ssrc=1)
    phone.send(4, 160, end=True, timestamp=1000, ssrc=2)
    assert phone.digits == "44"


def test_legs_do_not_hear_each_other():
    collector = DigitCollector()
    for leg in (0, 1):
        assert collector.packet(leg, 1, 1000, b"\x05\x0a\x00\xa0", 1) is None
    first = collector.packet(1, 1, 1000, b"\x05\x8a\x01\x40", 2)
    assert first is not None
    assert first.leg == 1
    assert collector.close(1) is None
    last = collector.close(0)
    assert last is not None
    assert last.leg == 0


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05\x8a\x00"])
def test_a_short_payload_is_counted(payload):
    collector = DigitCollector()
    assert collector.packet(0, 1, 1, payload, 1) is None
    assert collector.malformed == 1


def test_flash_and_tones_are_no_digits():
    phone = Phone()
    for code in (16, 32, 66, 255):
        phone.press(code, timestamp=code)
    phone.hang_up()
    assert phone.digits == ""


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=6), st.data())
def test_each_key_is_told_once_in_order_whatever_is_lost_or_doubled_of_it(keys, data):
    phone = Phone()
    for i, code in enumerate(keys):
        packets = [(160 * n, n > 5) for n in range(1, 9)]
        kept = [p for p in packets if data.draw(st.booleans())] or [packets[-1]]
        for duration, end in kept:
            for _ in range(data.draw(st.integers(1, 2))):
                phone.send(code, min(duration, 960), end=end, timestamp=5000 * i)
    phone.hang_up()
    assert phone.digits == "".join(DIGITS[code] for code in keys)


def test_what_is_remembered_of_a_leg_is_bounded():
    collector = DigitCollector(remembered=4)
    for timestamp in range(1000):
        assert collector.packet(0, 1, timestamp, b"\x05\x8a\x00\xa0", 1) is not None
    repeated = [collector.packet(0, 1, t, b"\x05\x8a\x00\xa0", 1) for t in range(996, 1000)]
    assert repeated == [None] * 4
    assert collector.packet(0, 1, 0, b"\x05\x8a\x00\xa0", 1) is not None
