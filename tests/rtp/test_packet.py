"""Headers of whole batches: what each datagram is, where its payload lies, and lies about it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp import packet
from siprec.rtp.packet import FIXED_HEADER, PacketColumns, parse_columns

STRIDE = 512


def parse(datagrams: list[bytes]) -> PacketColumns:
    rows = np.full((len(datagrams), STRIDE), 0xEE, np.uint8)  # what the datagram before left in the row
    for row, data in zip(rows, datagrams, strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return parse_columns(rows, np.array([len(d) for d in datagrams], np.int32))


def rtp(
    payload: bytes,
    *,
    csrc: int = 0,
    extension: bytes | None = None,
    padding: int = 0,
    first: int = 0x80,
    marker: bool = False,
    pt: int = 0,
) -> bytes:
    first |= csrc | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    data = struct.pack("!BBHII", first, marker << 7 | pt, 0xFFFE, 0xFFFFFF60, 0x80000001)
    data += b"\x01\x02\x03\x04" * csrc
    if extension is not None:
        data += struct.pack("!HH", 0xBEDE, len(extension) // 4) + extension
    return data + payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def payload_of(datagram: bytes) -> bytes | None:
    """The payload by the columns, None for what is not RTP."""
    columns = parse([datagram])
    if columns.kind[0] != packet.RTP:
        return None
    start = int(columns.offset[0])
    return datagram[start : start + int(columns.size[0])]


def kinds(heads: list[bytes], size: int) -> list[int]:
    return parse([head + bytes(size - len(head)) for head in heads]).kind.tolist()


def test_every_first_byte_is_what_rfc_7983_says():
    """What has no RTP version and no mark of its own is foreign."""
    assert kinds([bytes([first]) for first in range(256)], 200) == (
        [packet.FOREIGN] * 128 + [packet.RTP] * 64 + [packet.FOREIGN] * 64
    )


def test_packet_types_192_to_223_are_rtcp_and_the_marker_alone_is_not():
    kind = np.array(kinds([bytes([0x80, second]) for second in range(256)], 200))
    assert np.flatnonzero(kind == packet.RTCP).tolist() == list(range(192, 224))
    assert (np.delete(kind, range(192, 224)) == packet.RTP).all()


def stun(attributes: bytes = b"", *, size: int | None = None, cookie: int = 0x2112A442) -> bytes:
    size = len(attributes) if size is None else size
    return struct.pack("!HHI", 1, size, cookie) + b"transaction." + attributes


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (stun(), packet.STUN),
        (stun(bytes(96)), packet.STUN),
        (b"\x01\x01" + stun(bytes(12))[2:], packet.STUN),  # a response
        (stun(cookie=0x2112A443), packet.FOREIGN),
        (stun(bytes(8), size=12), packet.FOREIGN),
        (stun(bytes(7)), packet.FOREIGN),
        (stun()[:19], packet.FOREIGN),
        (b"\x40" + stun()[1:], packet.FOREIGN),
    ],
)
def test_stun_has_its_cookie_and_says_its_length(data, kind):
    """RFC 8489 5."""
    assert parse([data]).kind[0] == kind


def dtls(version: int, *, content: int = 22, size: int = 40, body: int = 40) -> bytes:
    return struct.pack("!BHQH", content, version, 7, size) + bytes(body)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (dtls(0xFEFF), packet.DTLS),
        (dtls(0xFEFD, content=20, size=1, body=1), packet.DTLS),
        (dtls(0xFEFD, content=63), packet.DTLS),
        (dtls(0xFEFD, body=200), packet.DTLS),  # further records
        (dtls(0xFEFD, size=41), packet.FOREIGN),
        (dtls(0xFEFD)[:12], packet.FOREIGN),
        (dtls(0x0303), packet.FOREIGN),
        (dtls(0xFEFD, content=64), packet.FOREIGN),
        (dtls(0xFEFD, content=19), packet.FOREIGN),
    ],
)
def test_dtls_has_its_version_and_a_record_that_fits(data, kind):
    """RFC 6347 4.1, RFC 7983 7."""
    assert parse([data]).kind[0] == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", packet.EMPTY),
        (b"\x80", packet.SHORT),
        (b"\x80" + bytes(10), packet.SHORT),
        (b"\x80\xc8" + bytes(5), packet.SHORT),
        (b"\x80\xc8\0\0" + bytes(4), packet.RTCP),
        (b"\x80" + bytes(11), packet.RTP),
    ],
)
def test_what_is_too_short_says_so(data, kind):
    assert parse([data]).kind[0] == kind


def test_the_fields_are_read_as_sent():
    columns = parse([rtp(b"voice", marker=True, pt=8)])
    assert columns.kind.tolist() == [packet.RTP]
    assert columns.payload_type.tolist() == [8]
    assert columns.marker.tolist() == [True]
    assert columns.seq.tolist() == [0xFFFE]
    assert columns.timestamp.tolist() == [0xFFFFFF60]
    assert columns.ssrc.tolist() == [0x80000001]


@pytest.mark.parametrize("csrc", [0, 1, 15])
@pytest.mark.parametrize("extension", [None, b"", b"abcd" * 3])
@pytest.mark.parametrize("padding", [0, 1, 4, 160])
def test_csrc_extension_and_padding_are_stripped(csrc, extension, padding):
    assert payload_of(rtp(b"v" * 160, csrc=csrc, extension=extension, padding=padding)) == b"v" * 160


def test_padding_that_is_longer_than_the_payload_is_taken_for_payload():
    """A sender that sets the bit without padding loses no packet."""
    data = rtp(b"\xff" * 160, first=0xA0)
    assert payload_of(data) == b"\xff" * 160


def test_padding_as_long_as_the_payload_leaves_nothing():
    assert payload_of(rtp(b"", padding=20)) == b""


@pytest.mark.parametrize(
    "data",
    [
        rtp(b"", first=0x8F),  # 15 contributing sources that are not there
        rtp(b"abc", first=0x90),  # an extension of 3 bytes
        rtp(b"\xbe\xde\xff\xff" + bytes(100), first=0x90),  # an extension of 65,535 words
        rtp(b"\xbe\xde\0\x01" + bytes(3), first=0x90),
        rtp(b"", csrc=3)[:-1],
    ],
)
def test_a_header_that_ends_behind_its_datagram_is_broken(data):
    assert parse([data]).kind[0] == packet.BROKEN


def test_an_extension_that_fills_the_datagram_leaves_an_empty_payload():
    assert payload_of(rtp(b"", extension=b"abcd")) == b""


def damaged(wire: bytes):
    yield from (wire[:n] for n in range(len(wire)))
    for k in range(min(len(wire), 40)):
        for bit in range(8):
            yield bytes(b ^ (1 << bit) if i == k else b for i, b in enumerate(wire))


@pytest.mark.parametrize(
    "good", [rtp(b"v" * 20), rtp(b"v" * 20, csrc=2, extension=b"wxyz" * 2, padding=4), rtp(b"", padding=8)]
)
def test_no_truncation_and_no_flipped_bit_leads_outside_the_datagram(good):
    everything = list(damaged(good))
    columns = parse(everything)
    rtp_rows = columns.kind == packet.RTP
    lengths = np.array([len(d) for d in everything])
    assert rtp_rows.any()
    assert (columns.offset[rtp_rows] >= FIXED_HEADER).all()
    assert (columns.size[rtp_rows] >= 0).all()
    assert (columns.offset + columns.size <= lengths)[rtp_rows].all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=STRIDE), min_size=1, max_size=20))
def test_rows_are_parsed_alike_alone_and_in_a_batch_whatever_they_hold(datagrams):
    together = parse(datagrams)
    for i, data in enumerate(datagrams):
        alone = parse([data])
        assert together.kind[i] == alone.kind[0]
        if alone.kind[0] == packet.RTP:
            assert 0 <= together.size[i] == alone.size[0]
            assert together.offset[i] == alone.offset[0]
            assert together.offset[i] + together.size[i] <= len(data)
