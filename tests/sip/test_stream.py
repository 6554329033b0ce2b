import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sip.message import Request, Response
from siprec.sip.parser import SipLimits
from siprec.sip.stream import KeepAlive, StreamFault, StreamFramer
from tests.sip.wire import request

INVITE = request("INVITE", "Content-Type: application/sdp", body=b"v=0\r\n\r\nx").encode()
BYE = request("BYE").encode()


def kinds(items):
    return [item.method if isinstance(item, Request) else type(item).__name__ for item in items]


def test_two_messages_in_one_segment_are_two():
    framer = StreamFramer()
    assert kinds(framer.feed(INVITE + BYE)) == ["INVITE", "BYE"]
    assert not framer.pending


def test_one_byte_a_segment_gives_the_same():
    framer = StreamFramer()
    items = [item for byte in INVITE + BYE for item in framer.feed(bytes([byte]))]
    assert kinds(items) == ["INVITE", "BYE"]
    assert isinstance(items[0], Request)
    assert items[0].body == b"v=0\r\n\r\nx"


def test_a_half_message_is_pending():
    framer = StreamFramer()
    assert framer.feed(INVITE[:-1]) == []
    assert framer.pending
    assert kinds(framer.feed(INVITE[-1:])) == ["INVITE"]
    assert not framer.pending


def test_a_ping_is_reported_once_and_single_line_breaks_are_ignored():
    framer = StreamFramer()
    assert framer.feed(b"\r\n" + BYE[:10]) == []
    assert kinds(framer.feed(BYE[10:] + b"\r\n\r\n" + BYE)) == ["BYE", "KeepAlive", "BYE"]
    assert framer.feed(b"\r") + framer.feed(b"\n\r") + framer.feed(b"\n") == [KeepAlive()]
    assert len(framer.feed(b"\r\n" * 1000)) == 1
    assert not framer.pending


def test_a_bad_message_whose_length_is_clear_costs_only_itself():
    framer = StreamFramer()
    bad = BYE.replace(b"CSeq: 1 BYE", b"CSeq: what")
    items = framer.feed(bad + INVITE)
    assert isinstance(items[0], StreamFault)
    assert (items[0].fatal, items[0].error.status) == (False, 400)
    assert kinds(items[1:]) == ["INVITE"]


def test_a_bad_ack_is_dropped_and_the_stream_goes_on():
    bad = request("ACK").encode().replace(b"CSeq: 1 ACK", b"CSeq: ")
    items = StreamFramer().feed(bad + BYE)
    assert isinstance(items[0], StreamFault)
    assert (items[0].fatal, items[0].error.status) == (False, None)
    assert kinds(items[1:]) == ["BYE"]


def test_lf_only_messages_are_framed():
    wire = BYE.replace(b"\r\n", b"\n")
    assert kinds(StreamFramer().feed(wire + wire)) == ["BYE", "BYE"]


def test_without_content_length_no_body_follows():
    wire = BYE.replace(b"Content-Length: 0\r\n", b"")
    assert kinds(StreamFramer().feed(wire + BYE)) == ["BYE", "BYE"]


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Content-Length: 8", b"Content-Length: -8", 400),
        (b"Content-Length: 8", b"Content-Length: 8\r\nl: 11", 400),
        (b"Content-Length: 8", b"Content-Length: 18446744073709551616", 413),
        (b"Content-Length: 8", b"Content-Length: 10000000", 413),
        (b"Content-Length: 8", b"X: y", 400),
        (b"Content-Length: 8", b"X: y\r\n" * 600, 400),
        (b"Content-Length: 8", b"X: " + b"y" * 100_000, 400),
        (b"Content-Length: 8", b"X: " + b"y" * 200_000, 400),
        (b"Content-Type: application/sdp\r\nContent-Length: 8", b"X: " + b"y" * 200_000, 400),
    ],
)
def test_when_the_next_message_cannot_be_found_it_is_answered_and_the_stream_ends(old, new, status):
    framer = StreamFramer()
    items = framer.feed(INVITE.replace(old, new))
    assert len(items) == 1
    assert isinstance(items[0], StreamFault)
    assert (items[0].fatal, items[0].error.status) == (True, status)
    assert items[0].error.partial is not None
    assert framer.feed(BYE) == []
    assert not framer.pending


def test_headers_and_body_together_are_bounded():
    limit = len(INVITE) - 4  # without the empty line
    assert kinds(StreamFramer(SipLimits(message=limit)).feed(INVITE)) == ["INVITE"]
    (item,) = StreamFramer(SipLimits(message=limit - 1)).feed(INVITE)
    assert isinstance(item, StreamFault)
    assert (item.fatal, item.error.status) == (True, 413)


def test_a_header_section_without_end_is_refused_in_bounded_memory():
    framer = StreamFramer(SipLimits(header_section=2000))
    items = framer.feed(BYE[:100])
    for _ in range(1000):
        items += framer.feed(b"X-More: and more\r\n")
    assert len(items) == 1
    assert isinstance(items[0], StreamFault)
    assert (items[0].fatal, items[0].error.where) == (True, "header section")


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b" " * 9, b"A" * 9000]
)
def test_what_is_not_sip_ends_the_stream_without_an_answer(data):
    (item,) = StreamFramer().feed(data)
    assert isinstance(item, StreamFault)
    assert (item.fatal, item.error.status) == (True, None)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([INVITE, BYE, BYE[:50], b"\r\n"])), max_size=8)
)
def test_any_bytes_give_items_and_never_an_exception(chunks):
    framer = StreamFramer()
    for chunk in chunks:
        for item in framer.feed(chunk):
            assert isinstance(item, Request | Response | KeepAlive | StreamFault)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([INVITE, BYE, b"\r\n"]), max_size=6), st.data())
def test_cutting_a_stream_anywhere_changes_no_message(parts, data):
    wire = b"".join(parts)
    framer, items, at = StreamFramer(), [], 0
    while at < len(wire):
        step = data.draw(st.integers(1, 200))
        items += framer.feed(wire[at : at + step])
        at += step
    expected = ["INVITE" if part == INVITE else "BYE" for part in parts if part != b"\r\n"]
    assert [kind for kind in kinds(items) if kind != "KeepAlive"] == expected
