"""RFC 2198: the blocks of a redundant payload, and lies about them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.redundancy import MAX_BLOCKS, Block, blocks


def red(primary: tuple[int, bytes], *repeated: tuple[int, int, bytes]) -> bytes:
    """A payload: (payload type, bytes), and before it (payload type, timestamp offset, bytes) of what is repeated."""
    heads = b"".join(
        bytes([0x80 | pt]) + (offset << 10 | len(data)).to_bytes(3, "big") for pt, offset, data in repeated
    )
    return heads + bytes([primary[0]]) + b"".join(data for _, _, data in repeated) + primary[1]


def test_the_primary_alone_is_one_block():
    assert blocks(red((0, b"voice"))) == [Block(0, 0, 1, 5)]
    assert blocks(b"\x08") == [Block(8, 0, 1, 0)]


def test_the_example_of_the_rfc_has_its_blocks():
    """Section 7: DVI4 primary, one block of LPC, 20 ms before."""
    payload = red((5, bytes(84)), (7, 160, b"l" * 14))
    assert blocks(payload) == [Block(7, 160, 5, 14), Block(5, 0, 19, 84)]


def test_the_largest_offset_and_length_are_read_whole():
    payload = red((0, b""), (127, 0x3FFF, bytes(0x3FF)))
    assert blocks(payload) == [Block(127, 0x3FFF, 5, 0x3FF), Block(0, 0, 5 + 0x3FF, 0)]


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.integers(0, 127), st.binary(max_size=40)),
    st.lists(
        st.tuples(st.integers(0, 127), st.integers(0, 0x3FFF), st.binary(max_size=40)),
        max_size=MAX_BLOCKS - 1,
    ),
)
def test_what_was_packed_is_found_in_its_order(primary, repeated):
    payload = red(primary, *repeated)
    found = blocks(payload)
    assert found is not None
    unpacked = [(b.payload_type, b.offset, payload[b.start : b.start + b.length]) for b in found]
    assert unpacked == [*repeated, (primary[0], 0, primary[1])]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80",
        b"\x80\0\0",
        b"\x80\0\0\0",  # a header that says that another one follows
        b"\x80\0\0\x05\0abcd",  # a block that ends behind the payload
        b"\xff" * 160,
        red((0, b"abc"), *[(0, 160, b"x")] * MAX_BLOCKS),
    ],
)
def test_a_malformed_payload_has_no_blocks(payload):
    assert blocks(payload) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_block_ever_lies_outside_its_payload(payload):
    found = blocks(payload)
    if found is not None:
        assert 1 <= len(found) <= MAX_BLOCKS
        assert all(0 < b.start <= b.start + b.length <= len(payload) for b in found)
        assert found[-1].start + found[-1].length == len(payload)
