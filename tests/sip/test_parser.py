from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sip.errors import SipParseError
from siprec.sip.grammar import TOKEN
from siprec.sip.headers import Headers
from siprec.sip.message import Request, Response
from siprec.sip.parser import SipLimits, is_keep_alive, parse_datagram

HEAD = b"v: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nf: <sip:a@b>;tag=1\r\nt: <sip:c@d>\r\ni: x\r\nCSeq: 1 INVITE\r\n"
START = b"INVITE sip:c@d SIP/2.0\r\n"


def refused(data: bytes, limits: SipLimits | None = None) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        parse_datagram(data, limits or SipLimits())
    return caught.value


def test_a_request_is_taken_apart():
    message = parse_datagram(START + HEAD + b"l: 3\r\n\r\nabc")
    assert isinstance(message, Request)
    assert (message.method, message.uri, message.version) == ("INVITE", "sip:c@d", "2.0")
    assert (message.call_id, message.cseq.number, message.from_.tag, message.to.tag) == ("x", 1, "1", None)
    assert message.via.branch == "z9hG4bKx"
    assert message.body == b"abc"


def test_a_response_is_taken_apart_with_any_reason_phrase():
    message = parse_datagram(b"SIP/2.0 200 \xff = 2**3 * 9**2\r\n" + HEAD + b"\r\n")
    assert isinstance(message, Response)
    assert message.status == 200
    assert message.encode().startswith(b"SIP/2.0 200 \xff = 2**3 * 9**2\r\n")


def test_folding_lf_lines_blanks_and_case_are_understood():
    data = (
        b"\r\n\r\nINVITE sip:c@d SIP/2.0\nVIA  :\tSIP / 2.0\n /UDP\n  192.0.2.9;branch=z9hG4bKx\n"
        b"FROM:<sip:a@b>;\n tag=1\nto:<sip:c@d>\ncall-id:x\ncseq: 0009\n INVITE\nSubject: a\n\tb \n\n"
    )
    message = parse_datagram(data)
    assert message.via.branch == "z9hG4bKx"
    assert message.cseq.number == 9
    assert message.from_.tag == "1"
    assert message.headers.get("subject") == "a b"


def test_bytes_beyond_content_length_are_discarded_and_without_one_the_body_goes_to_the_end():
    assert parse_datagram(START + HEAD + b"Content-Length: 2\r\n\r\nabc").body == b"ab"
    assert parse_datagram(START + HEAD + b"\r\nabc").body == b"abc"


def test_a_short_datagram_is_answered_400_and_called_a_suspected_fragment():
    error = refused(START + HEAD + b"Content-Length: 9\r\n\r\nabc")
    assert error.status == 400
    assert "fragment suspected" in error.reason
    assert error.partial is not None
    assert error.partial.method == "INVITE"
    assert error.partial.headers.get("Call-ID") == "x"


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (b"-1", 400),
        (b"abc", 400),
        (b"1e3", 400),
        (b"", 400),
        (b"99999", 413),
        (b"9" * 400, 413),
        (b"\xd9\xa3", 400),
    ],
)
def test_a_false_content_length_is_refused(length, status):
    assert refused(START + HEAD + b"Content-Length: " + length + b"\r\n\r\n").status == status


def test_contradicting_content_lengths_are_refused_and_equal_ones_taken():
    assert refused(START + HEAD + b"l: 1\r\nContent-Length: 2\r\n\r\nab").status == 400
    assert parse_datagram(START + HEAD + b"l: 2\r\nContent-Length: 2\r\n\r\nab").body == b"ab"


@pytest.mark.parametrize("name", [b"v", b"f", b"t", b"i", b"CSeq"])
def test_a_missing_essential_header_is_named(name):
    lines = [line for line in HEAD.split(b"\r\n") if not line.startswith(name + b":")]
    error = refused(START + b"\r\n".join(lines) + b"\r\n")
    assert error.reason == "missing"
    assert error.status == (None if name == b"v" else 400)


@pytest.mark.parametrize(
    "cseq",
    [b"x INVITE", b"-1 INVITE", b"2147483648 INVITE", b"36893488147419103232 INVITE", b"1", b"1 IN VITE"],
)
def test_a_cseq_that_is_no_number_below_2_31_and_a_method_is_refused(cseq):
    error = refused(START + HEAD.replace(b"1 INVITE", cseq) + b"\r\n")
    assert (error.status, error.where) == (400, "CSeq")


def test_a_cseq_with_another_method_is_accepted():
    message = parse_datagram(b"BYE sip:c@d SIP/2.0\r\n" + HEAD + b"\r\n")
    assert isinstance(message, Request)
    assert (message.method, str(message.cseq)) == ("BYE", "1 INVITE")


def test_two_different_call_ids_are_refused_and_two_equal_ones_taken():
    assert refused(START + HEAD + b"Call-ID: y\r\n\r\n").where == "Call-ID"
    assert parse_datagram(START + HEAD + b"Call-ID: x\r\n\r\n").call_id == "x"


def test_unreadable_optional_header_lines_are_noted_and_left_out():
    message = parse_datagram(START + HEAD + b"no colon here\r\nbad name: x\r\n: y\r\nContact: \x7f<<\r\n\r\n")
    assert len(message.flaws) == 3
    assert message.headers.get("Contact") == "\x7f<<"


def test_any_bytes_in_a_header_survive():
    message = parse_datagram(START + HEAD + b"Subject: \xff\x00\x7f\xc3\xa9\r\n\r\n")
    assert b"Subject: \xff\x00\x7f\xc3\xa9\r\n" in message.encode()


def test_a_lone_cr_cannot_become_a_line_break_later():
    message = parse_datagram(START + HEAD + b"Subject: a\rEvil: b\r\n\r\n")
    assert message.headers.get("Subject") == "a Evil: b"


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1",
        b"",
        b"hello",
        b"SIP/2.0 99 no",
        b"SIP/3.0 200 OK",
        b"\x80\x80\x80",
        b"INVITE sip:c@d",
    ],
)
def test_what_is_not_a_sip_request_is_dropped_silently(start):
    assert refused(start + b"\r\n" + HEAD + b"\r\n").status is None


@pytest.mark.parametrize("start", [b"INVITE sip:c d SIP/2.0", b"IN@VITE sip:c@d SIP/2.0", b"INVITE SIP/2.0"])
def test_a_broken_request_line_is_answered_400(start):
    error = refused(start + b"\r\n" + HEAD + b"\r\n")
    assert (error.status, error.where) == (400, "start line")


def test_another_version_is_a_request_all_the_same():
    message = parse_datagram(b"OPTIONS sip:c@d SIP/7.0\r\n" + HEAD + b"\r\n")
    assert isinstance(message, Request)
    assert message.version == "7.0"


def test_a_bad_ack_or_response_is_never_answered():
    assert refused(b"ACK sip:c@d SIP/2.0\r\n" + HEAD + b"l: 9\r\n\r\n").status is None
    assert refused(b"SIP/2.0 200 OK\r\n" + HEAD + b"l: 9\r\n\r\n").status is None


@pytest.mark.parametrize(
    ("start", "more", "where"),
    [
        (b"INVITE sip:" + b"a" * 9000 + b" SIP/2.0\r\n", b"", "start line"),
        (START, b"X: " + b"a" * 20_000 + b"\r\n", "header line"),
        (START, b"X: a\r\n" * 600, "header section"),
        (START, (b"X: " + b"a" * 10_000 + b"\r\n") * 14, "header section"),
        (START, b"X: a\r\n" + b" b\r\n" * 9000, "header line"),
    ],
)
def test_beyond_the_limits_a_request_is_answered_400(start, more, where):
    error = refused(start + HEAD + more + b"\r\n")
    assert (error.status, error.where) == (400, where)
    assert error.partial is not None
    assert error.partial.headers.get("Via") is not None


def test_a_datagram_beyond_its_limit_is_answered_513():
    data = START + HEAD + b"\r\nabc"
    assert parse_datagram(data, SipLimits(message=len(data))).body == b"abc"
    error = refused(data, SipLimits(message=len(data) - 1))
    assert (error.status, error.where) == (513, "message")


def test_keep_alives_are_recognised():
    assert all(is_keep_alive(data) for data in (b"", b"\r\n\r\n", b"\0\0\0\0", b" "))
    assert not is_keep_alive(b"\r\nOPTIONS")


def test_hostile_quotes_and_brackets_take_linear_time():
    nasty = b"Contact: " + b'"\\' * 8000 + b"\r\nRoute: " + b"<" * 16000 + b"\r\n"
    message = parse_datagram(START + HEAD + nasty + b"\r\n")
    assert len(message.headers.get_all("Contact")) == 1
    assert len(message.headers.get_all("Route")) == 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused_and_never_crashes(data):
    with suppress(SipParseError):
        parse_datagram(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_message_is_parsed_or_refused_and_what_is_parsed_can_be_encoded(data):
    wire = bytearray(START + HEAD + b'Contact: "x" <sip:a@b;lr>;q=1\r\nContent-Length: 3\r\n\r\nabc')
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(wire) - 1))
        wire[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        wire = wire or bytearray(b"x")
    try:
        message = parse_datagram(bytes(wire))
    except SipParseError:
        return
    assert parse_datagram(message.encode()).body == message.body


names = st.from_regex(TOKEN, fullmatch=True).filter(
    lambda name: Headers([(name, "")]).get("Content-Length") is None
)
values = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=30).map(
    lambda value: value.strip(" \t")
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(names, values), max_size=8), st.binary(max_size=60))
def test_a_request_survives_encode_and_parse(extra, body):
    single = {"from", "f", "to", "t", "call-id", "i", "cseq", "via", "v"}
    headers = parse_datagram(START + HEAD + b"\r\n").headers
    for name, value in extra:
        if name.lower() not in single:
            headers.add(name, value)
    request = Request(method="INVITE", uri="sip:c@d", headers=headers, body=body)
    again = parse_datagram(request.encode())
    assert isinstance(again, Request)
    assert (again.method, again.uri, again.body) == ("INVITE", "sip:c@d", body)
    assert [item for item in again.headers.items() if item[0] != "Content-Length"] == list(headers.items())
