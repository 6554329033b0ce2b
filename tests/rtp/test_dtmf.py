"""Telephone events (INTEROP 50): one digit per key, whatever the network and the sender did to its packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.dtmf import DIGITS, MAX_BLOCKS, MAX_SENDERS, DigitCollector


class Phone:
    """One leg's packets, 20 ms apart; digits come out as text."""

    def __init__(self) -> None:
        self.collector = DigitCollector()
        self.at = 0
        self.heard: list[tuple[str, int, int]] = []
        "(digit, arrival of its first packet, duration)"

    def send(self, code: int, duration: int, *, end: bool = False, timestamp: int = 0, ssrc: int = 1) -> None:
        self.send_blocks([(code, duration, end)], timestamp=timestamp, ssrc=ssrc)

    def send_blocks(self, blocks, *, timestamp: int, ssrc: int = 1) -> None:
        """Several events in one packet: (code, duration, end) each."""
        self.at += 20
        payload = b"".join(struct.pack("!BBH", code, end << 7 | 10, length) for code, length, end in blocks)
        self._hear(self.collector.packet(0, ssrc, timestamp & 0xFFFFFFFF, payload, self.at))

    def press(self, code: int, *, timestamp: int, packets: int = 5, ends: int = 3) -> None:
        for i in range(packets):
            self.send(code, 160 * (i + 1), timestamp=timestamp)
        for _ in range(ends):
            self.send(code, 160 * (packets + 1), end=True, timestamp=timestamp)

    def hang_up(self) -> None:
        self._hear(self.collector.close(0))

    def _hear(self, digits) -> None:
        self.heard += [(digit.digit, digit.at_ns, digit.duration) for digit in digits]

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
        assert collector.packet(leg, 1, 1000, b"\x05\x0a\x00\xa0", 1) == []
    assert [digit.leg for digit in collector.packet(1, 1, 1000, b"\x05\x8a\x01\x40", 2)] == [1]
    assert collector.close(1) == []
    assert [digit.leg for digit in collector.close(0)] == [0]


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05\x8a\x00"])
def test_a_short_payload_is_counted(payload):
    collector = DigitCollector()
    assert collector.packet(0, 1, 1, payload, 1) == []
    assert collector.malformed == 1


def test_bytes_behind_a_whole_event_are_counted_and_cost_it_nothing():
    phone = Phone()
    phone._hear(phone.collector.packet(0, 1, 1, b"\x05\x8a\x00\xa0\x01\x02", 1))
    assert (phone.digits, phone.collector.malformed) == ("5", 1)
    phone._hear(phone.collector.packet(0, 1, 1000, b"\x06\x8a\x00\xa0" + bytes(8), 1))
    assert (phone.digits, phone.collector.malformed) == ("56", 1)


# -- INTEROP 50, RFC 4733 2.5 --


@pytest.mark.parametrize("last_reports", [0, 1, 3])
def test_interop_50_a_key_held_for_long_is_one_digit_over_all_segments(last_reports):
    """2.5.1.3: a segment ends at 0xFFFF, the next begins there; 2.5.2.3: its length is the sum."""
    phone = Phone()
    start = 2**32 - 70_000
    for segment in range(3):
        at = start + segment * 0xFFFF
        for duration in range(160, 0xFFFF, 16_000):
            phone.send(7, duration, timestamp=at)
        for _ in range(last_reports):
            phone.send(7, 0xFFFF, timestamp=at)
    assert phone.heard == []
    for _ in range(3):
        phone.send(7, 800, end=True, timestamp=start + 3 * 0xFFFF)
    assert phone.heard == [("7", 20, 3 * 0xFFFF + 800)]


def test_interop_50_late_reports_of_an_earlier_segment_are_of_the_same_digit():
    phone = Phone()
    phone.send(7, 0xFFFF, timestamp=1000)
    phone.send(7, 160, timestamp=1000 + 0xFFFF)
    phone.send(7, 0xFFFF, timestamp=1000)
    phone.send(7, 320, end=True, timestamp=1000 + 0xFFFF)
    phone.send(7, 0xFFFF, timestamp=1000)
    phone.hang_up()
    assert phone.heard == [("7", 20, 0xFFFF + 320)]


def test_interop_50_short_segments_that_adjoin_are_one_digit():
    """2.5.2.3.1: with RFC 2198 a segment is 0x3FFF or less."""
    phone = Phone()
    for segment in range(3):
        phone.send(7, 0x3FFF, timestamp=segment * 0x3FFF, end=segment == 2)
    assert phone.heard == [("7", 20, 3 * 0x3FFF)]


def test_interop_50_another_key_where_a_segment_would_go_on_is_another_digit():
    phone = Phone()
    phone.send(7, 0xFFFF, timestamp=0)
    phone.press(8, timestamp=0xFFFF)
    assert phone.digits == "78"


def test_interop_50_a_key_of_which_the_beginning_is_lost_is_told_with_its_first_packet_heard():
    phone = Phone()
    phone.at = 100
    phone.send(3, 640, timestamp=1000)
    phone.send(3, 800, end=True, timestamp=1000)
    assert phone.heard == [("3", 120, 800)]


def test_interop_50_a_key_whose_packets_all_come_after_the_next_one_began_is_told_once():
    phone = Phone()
    phone.send(2, 160, timestamp=9000)
    phone.press(1, timestamp=1000)
    phone.press(2, timestamp=9000)
    phone.hang_up()
    assert sorted(phone.digits) == ["1", "2"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_interop_50_reordering_across_two_keys_gives_each_once(data):
    phone = Phone()
    sent = [(1, 160 * n, n > 5, 5000) for n in range(1, 9)] + [(2, 160 * n, n > 5, 6500) for n in range(1, 9)]
    jitter = [data.draw(st.integers(0, 6)) for _ in sent]
    order = sorted(range(len(sent)), key=lambda i: (i + jitter[i], i))
    for code, duration, end, timestamp in (sent[i] for i in order):
        phone.send(code, min(duration, 960), end=end, timestamp=timestamp)
    phone.hang_up()
    assert sorted(phone.digits) == ["1", "2"]


def test_interop_50_several_events_in_one_packet_are_a_digit_each():
    """2.5.1.5: they follow each other without a pause; the end is repeated."""
    phone = Phone()
    for _ in range(3):
        phone.send_blocks([(1, 400, True), (2, 500, True), (2, 600, False)], timestamp=1000)
    assert phone.heard == [("1", 20, 400), ("2", 20, 500)]
    phone.send(2, 800, end=True, timestamp=1900)
    assert phone.heard[2:] == [("2", 20, 800)]


def test_zeros_behind_an_event_are_no_key():
    phone = Phone()
    phone.send_blocks([(5, 160, False), (0, 0, False), (0, 0, False)], timestamp=1000)
    phone.send_blocks([(5, 320, True), (0, 0, False), (0, 0, False)], timestamp=1000)
    assert phone.heard == [("5", 20, 320)]


def test_more_events_than_fit_a_packet_are_counted_and_left_out():
    phone = Phone()
    phone.send_blocks([(n % 10, 400, True) for n in range(300)], timestamp=0)
    assert phone.digits == "01234567"[:MAX_BLOCKS]
    assert phone.collector.malformed == 1


def test_interop_50_the_same_timestamp_with_another_code_is_another_digit():
    """Some senders do not move the timestamp between two keys."""
    phone = Phone()
    phone.press(1, timestamp=1000)
    phone.press(2, timestamp=1000)
    phone.press(3, timestamp=1000, ends=0)
    phone.press(4, timestamp=1000)
    phone.send(3, 960, end=True, timestamp=1000)
    assert phone.digits == "1234"


def test_interop_50_a_sender_that_moves_the_timestamp_with_every_report_presses_one_key():
    phone = Phone()
    for n in range(6):
        phone.send(5, 160, end=n == 5, timestamp=1000 + 160 * n)
    assert phone.heard == [("5", 20, 960)]


def test_interop_50_keys_of_two_ssrcs_at_once_are_both_told():
    phone = Phone()
    for n in range(1, 6):
        phone.send(1, 160 * n, timestamp=1000, ssrc=1)
        phone.send(2, 160 * n, timestamp=70_000, ssrc=2)
    for _ in range(3):
        phone.send(1, 960, end=True, timestamp=1000, ssrc=1)
        phone.send(2, 960, end=True, timestamp=70_000, ssrc=2)
    assert phone.heard == [("1", 20, 960), ("2", 40, 960)]


def test_a_report_without_length_is_a_key_only_when_more_is_told_of_it():
    """2.3.5: a receiver ignores a zero duration; many senders begin with one."""
    phone = Phone()
    phone.send(1, 0, timestamp=1000)
    phone.send(2, 0, timestamp=9000)
    phone.send(2, 160, timestamp=9000)
    phone.send(2, 320, end=True, timestamp=9000)
    phone.send(3, 0, end=True, timestamp=20_000)
    phone.send(4, 0, timestamp=30_000)
    phone.hang_up()
    assert [(digit, at) for digit, at, _ in phone.heard] == [("2", 40), ("3", 100)]


def test_keys_that_are_down_at_a_time_are_bounded():
    phone = Phone()
    for ssrc in range(MAX_SENDERS + 3):
        phone.send(1, 160, timestamp=1000, ssrc=ssrc)
    assert phone.digits == "111"
    phone.hang_up()
    assert phone.digits == "1" * (MAX_SENDERS + 3)


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
        assert len(collector.packet(0, 1, 160 * timestamp, b"\x05\x8a\x00\xa0", 1)) == 1
    repeated = [collector.packet(0, 1, 160 * t, b"\x05\x8a\x00\xa0", 1) for t in range(996, 1000)]
    assert repeated == [[]] * 4
    assert len(collector.packet(0, 1, 0, b"\x05\x8a\x00\xa0", 1)) == 1
