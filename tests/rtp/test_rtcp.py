"""RTCP as it goes over the wire, ours and that of others."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.rtcp import (
    Goodbye,
    ReportBlock,
    RtcpError,
    SenderReport,
    middle_of_ntp,
    parse_compound,
    receiver_report,
    sender_report,
)

CNAME = b"someone@192.0.2.1"


def packets(data: bytes) -> list[tuple[int, int, bytes]]:
    """(type, count, body) of each packet, by the lengths alone (RFC 3550 6.4)."""
    out = []
    while data:
        assert data[0] >> 6 == 2
        assert data[0] & 0x20 == 0
        size = 4 + 4 * int.from_bytes(data[2:4], "big")
        assert size <= len(data)
        out.append((data[1], data[0] & 0x1F, data[4:size]))
        data = data[size:]
    return out


def report(**fields: int) -> bytes:
    known = {"ssrc": 7, "rtp_timestamp": 2**32 + 5, "packets": 100, "octets": 16000} | fields
    return sender_report(unix_time=1_000_000_000.5, cname=CNAME, **known)


def bye(*ssrcs: int, reason: bytes = b"") -> bytes:
    body = b"".join(struct.pack("!I", ssrc) for ssrc in ssrcs)
    if reason:
        body += bytes([len(reason)]) + reason
        body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x80 | len(ssrcs), 203, len(body) // 4) + body


def test_a_sender_report_is_read_as_written():
    (found,) = parse_compound(report())
    assert isinstance(found, SenderReport)
    assert (found.ssrc, found.rtp_timestamp, found.packets, found.octets) == (7, 5, 100, 16000)
    assert found.ntp == (2_208_988_800 + 1_000_000_000 << 32) + (1 << 31)
    assert middle_of_ntp(found.ntp) == ((2_208_988_800 + 1_000_000_000) & 0xFFFF) << 16 | 0x8000


@pytest.mark.parametrize("cname", [b"", b"a", b"ab", b"abc", b"abcd", b"x" * 255])
@pytest.mark.parametrize("blocks", [0, 1, 31])
def test_a_receiver_report_is_whole_packets_with_a_cname(blocks, cname):
    block = ReportBlock(
        ssrc=9, fraction_lost=64, lost=5, highest=2**32 + 70000, jitter=3, last_sr=0xABCDEF01, delay=65536
    )
    (rr, sdes) = packets(receiver_report(1, [block] * blocks, cname))
    assert rr[:2] == (201, blocks)
    assert rr[2][:4] == struct.pack("!I", 1)
    assert rr[2][4:] == struct.pack("!IIIIII", 9, 64 << 24 | 5, 70000, 3, 0xABCDEF01, 65536) * blocks
    assert sdes[:2] == (202, 1)
    assert sdes[2].startswith(struct.pack("!IBB", 1, 1, len(cname)) + cname + b"\0")


@pytest.mark.parametrize(
    ("lost", "written"), [(-1, 0xFFFFFF), (1 << 40, 0x7FFFFF), (-(1 << 40), 0x800000), (3, 3)]
)
def test_lost_is_held_within_24_bits(lost, written):
    block = ReportBlock(ssrc=9, fraction_lost=0, lost=lost, highest=0, jitter=0, last_sr=0, delay=0)
    (rr, _) = packets(receiver_report(1, [block], b"x"))
    assert int.from_bytes(rr[2][8:12], "big") == written


def test_a_goodbye_names_its_sources_and_may_give_a_reason():
    assert parse_compound(bye(1, 2)) == [Goodbye((1, 2))]
    assert parse_compound(bye(1, reason=b"camera malfunction")) == [Goodbye((1,))]
    assert parse_compound(bye()) == [Goodbye(())]


def test_all_packets_of_a_compound_count_in_any_order():
    found = parse_compound(bye(3) + receiver_report(1, [], CNAME) + report())
    assert [type(part) for part in found] == [Goodbye, SenderReport]


def test_a_packet_that_is_cut_off_is_left_out_and_those_before_it_count():
    whole = report() + bye(1, 2, 3)
    for cut in range(len(report()), len(whole)):
        (found,) = parse_compound(whole[:cut])
        assert isinstance(found, SenderReport)
    assert len(parse_compound(whole)) == 2


@pytest.mark.parametrize("data", [b"", b"\x80\xc8\0", b"\x00\xc8\0\0", b"\xc0\xc8\0\x06" + bytes(24)])
def test_what_is_not_rtcp_says_so(data):
    with pytest.raises(RtcpError):
        parse_compound(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\xc8\xff\xff" + bytes(24),  # 256 kB of report in 28 bytes
        b"\x80\xc8\0\x00",  # a sender report without a body
        b"\x9f\xcb\0\x01" + bytes(4),  # goodbye of 31 sources in one word
        b"\x80\xc8\0\x05" + bytes(20),
    ],
)
def test_a_length_that_lies_gives_nothing(data):
    assert parse_compound(data) == []


def test_a_datagram_of_empty_packets_ends():
    assert parse_compound(b"\x80\xc9\0\0" * 500) == []


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_datagram_raises_anything_else(data, valid_start):
    datagram = report()[:4] + data if valid_start else data
    if len(datagram) < 4 or datagram[0] >> 6 != 2:
        with pytest.raises(RtcpError):
            parse_compound(datagram)
    else:
        assert len(parse_compound(datagram)) <= len(datagram) // 4


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(0, 7))
def test_a_flipped_bit_raises_nothing_else(byte, bit):
    data = bytearray(report())
    data[byte % len(data)] ^= 1 << bit
    if data[0] >> 6 == 2:
        assert len(parse_compound(bytes(data))) <= 2
    else:
        with pytest.raises(RtcpError):
            parse_compound(bytes(data))
