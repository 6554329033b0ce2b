"""Fax datagrams (T.38 over UDPTL): known by their form up to the last byte, and by what follows them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp import packet
from siprec.rtp.packet import parse_columns
from siprec.rtp.state import new_legs
from siprec.rtp.udptl import confirm, looks_like_udptl
from tests.helpers.fax import udptl

STRIDE = 512


def looks(datagrams: list[bytes]) -> list[bool]:
    rows = np.full((len(datagrams), STRIDE), 0xEE, np.uint8)
    for row, data in zip(rows, datagrams, strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return looks_like_udptl(rows, np.array([len(d) for d in datagrams], np.int32)).tolist()


CED = b"\x04"
PAGE = b"\xc0\x01\x80\x27" + bytes(40)


@pytest.mark.parametrize(
    "data",
    [
        udptl(0, CED),
        udptl(7, CED, earlier=[CED, CED, CED]),
        udptl(0x1403, PAGE, earlier=[PAGE, PAGE]),  # looks like DTLS by its first byte
        udptl(300, b"\xc0" + bytes(140), earlier=[b"\xc0" + bytes(140)]),  # lengths of two bytes
        udptl(9, PAGE, parity=[bytes(44), bytes(44), bytes(44)]),
        udptl(9, PAGE),
    ],
)
def test_a_fax_datagram_is_known_whatever_its_recovery(data):
    assert looks([data]) == [True]
    assert looks([data + b"\0", data[:-1]]) == [False, False]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(5),
        bytes(160),
        b"\xff" * 160,
        b"\xd5" * 160,
        b"\x55" * 20,
        udptl(1, b"\x04" + bytes(9)),  # an indicator has no data
        udptl(1, b"\x80" + bytes(9)),
        udptl(1, CED, earlier=[CED] * 17),
        b"hello, is this port in use?\r\n",
    ],
)
def test_silence_text_and_odd_forms_are_no_fax(data):
    assert looks([data]) == [False]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=STRIDE), min_size=1, max_size=20))
def test_rows_are_judged_alike_alone_and_in_a_batch_whatever_they_hold(datagrams):
    assert looks(datagrams) == [looks([data])[0] for data in datagrams]


def test_random_datagrams_hardly_ever_look_like_a_fax():
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 256, (20_000, 200), np.uint8)
    length = rng.integers(6, 200, 20_000).astype(np.int32)
    assert looks_like_udptl(rows, length).sum() < 20


def test_the_kind_of_a_row_is_fax_where_no_other_mark_is():
    rows = np.zeros((2, STRIDE), np.uint8)
    for row, data in zip(rows, (udptl(0x1403, PAGE), udptl(0x8003, PAGE)), strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    kind = parse_columns(rows, np.array([len(udptl(0, PAGE))] * 2, np.int32)).kind
    assert kind.tolist() == [packet.T38, packet.RTP]  # in the second half of its numbers it has RTP's version


def test_a_fax_is_certain_once_a_datagram_goes_on_where_another_ended():
    legs = new_legs(3)

    def take(leg: list[int], seq: list[int]) -> list[bool]:
        return confirm(legs, np.array(leg, np.int64), np.array(seq, np.int32)).tolist()

    assert take([0, 0, 1, 2], [5, 6, 9, 65535]) == [True, True, False, False]
    assert take([0, 1, 2], [7, 30, 0]) == [True, False, True]  # 65535 and 0 follow each other
    assert take([0, 0, 0], [7, 9, 40]) == [True, True, False]
