import base64
import binascii
import contextlib
import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.recording.content_type import parse_header_value
from siprec.recording.multipart import (
    BodyLimits,
    MultipartError,
    Part,
    build_multipart,
    find_metadata,
    find_sdp,
    parse_body,
    unsupported_required,
)

SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nm=audio 4000 RTP/AVP 0\r\n"
XML = b'<?xml version="1.0"?>\r\n<recording xmlns="urn:ietf:params:xml:ns:recording:1"/>\r\n'
SDP_PART = b"Content-Type: application/sdp\r\n\r\n" + SDP
XML_PART = (
    b"Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n" + XML
)


def mixed(*parts: bytes, boundary: bytes = b"foobar", end: bytes = b"--") -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + p + b"\r\n" for p in parts)
    return body + b"--" + boundary + end + b"\r\n"


def found(parts: list[Part]) -> tuple[bytes, bytes]:
    sdp, metadata = find_sdp(parts), find_metadata(parts)
    assert sdp is not None
    assert metadata is not None
    return sdp.body.strip(), metadata.body.strip()


BOTH = (SDP.strip(), XML.strip())


def test_two_parts_with_their_headers():
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(SDP_PART, XML_PART))
    assert [(p.content_type, p.disposition, p.body) for p in parts] == [
        ("application/sdp", "", SDP),
        ("application/rs-metadata+xml", "recording-session", XML),
    ]
    assert all(p.problems == () for p in parts)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed;boundary=foobar",
        "MULTIPART/Mixed ; Boundary = foobar",
        'multipart/mixed; boundary="foobar"',
        "multipart/mixed;boundary=foobar  \t",
        'multipart/mixed; charset=x; boundary="foobar "; foo',
        "multipart/related; boundary=foobar",
        "multipart/x-unknown; boundary=foobar",
    ],
)
def test_boundary_is_found_however_it_is_written(content_type: str):
    assert found(parse_body(content_type, mixed(SDP_PART, XML_PART))) == BOTH


def test_metaswitch_blanks_behind_boundary_and_delimiters_and_a_preamble():
    body = b"\r\n\r\n" + mixed(SDP_PART, XML_PART, boundary=b"metaswitch-boundary").replace(
        b"boundary\r\n", b"boundary  \r\n"
    ).replace(b"boundary--\r\n", b"boundary-- \t\r\n")
    assert found(parse_body("multipart/mixed;boundary=metaswitch-boundary  ", body)) == BOTH


def test_cube_missing_final_delimiter_and_third_part():
    """The third part is application/gtd, handling optional: nobody has to understand it."""
    gtd = b"Content-Type: application/gtd\r\nContent-Disposition: signal;handling=optional\r\n\r\nIAM,\r\n"
    sdp = b"Content-Disposition: session;handling=required\r\n" + SDP_PART
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(sdp, XML_PART, gtd, end=b""))
    assert found(parts) == BOTH
    assert parts[0].handling == "required"
    assert unsupported_required(parts) == []


def test_delimiter_cut_off_at_the_end_of_the_body():
    body = mixed(SDP_PART, XML_PART).removesuffix(b"--foobar--\r\n")
    parts = parse_body("multipart/mixed;boundary=foobar", body)
    assert found(parts) == BOTH
    assert parts[0].problems == ("final delimiter missing",)


def test_broadworks_metadata_first_and_part_level_content_length():
    xml = b"Content-Length: 7\r\n" + XML_PART
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(xml, SDP_PART))
    assert found(parts) == BOTH, "the delimiter decides, whatever the part says of its length"
    assert parts[0].headers["content-length"] == "7"


@pytest.mark.parametrize("content_type", ["multipart/mixed", "multipart/mixed;boundary=wrong", None, ""])
def test_missing_or_wrong_boundary_is_guessed_from_the_first_delimiter(content_type: str | None):
    parts = parse_body(content_type, mixed(SDP_PART, XML_PART))
    assert found(parts) == BOTH
    assert parts[0].problems == ("boundary guessed from the body",)


def test_line_feeds_only():
    body = mixed(SDP_PART, XML_PART).replace(b"\r\n", b"\n")
    sdp, metadata = found(parse_body("multipart/mixed;boundary=foobar", body))
    assert (sdp, metadata) == (BOTH[0].replace(b"\r\n", b"\n"), BOTH[1].replace(b"\r\n", b"\n"))


def test_nested_multipart_with_inner_final_delimiter_missing():
    inner = b"Content-Type: multipart/alternative;boundary=in\r\n\r\n" + mixed(
        SDP_PART, boundary=b"in"
    ).removesuffix(b"--in--\r\n")
    assert found(parse_body("multipart/mixed;boundary=out", mixed(inner, XML_PART, boundary=b"out"))) == BOTH


def test_boundary_that_begins_like_another_one_is_kept_apart():
    inner = b"Content-Type: multipart/mixed;boundary=foobar2\r\n\r\n" + mixed(SDP_PART, boundary=b"foobar2")
    assert found(parse_body("multipart/mixed;boundary=foobar", mixed(inner, XML_PART))) == BOTH


def test_alternative_lists_the_last_part_first_and_requires_only_one():
    old = b"Content-Type: application/x-old\r\nContent-Disposition: session;handling=required\r\n\r\nold"
    second = SDP_PART.replace(b"4000", b"5000")
    parts = parse_body("multipart/alternative;boundary=foobar", mixed(old, SDP_PART, second))
    assert [p.content_type for p in parts] == ["application/sdp", "application/sdp", "application/x-old"]
    assert b"5000" in parts[0].body
    assert unsupported_required(parts) == []


@pytest.mark.parametrize(
    ("name", "encode"), [("base64", base64.encodebytes), ("Quoted-Printable", quopri.encodestring)]
)
def test_transfer_encodings_are_undone(name: str, encode):
    part = (
        b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: "
        + name.encode()
        + b"\r\n\r\n"
        + encode(SDP)
    )
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(part, XML_PART))
    assert parts[0].body.replace(b"\r\n", b"\n") == SDP.replace(b"\r\n", b"\n")


def test_broken_base64_is_left_alone():
    part = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nabcde"
    with pytest.raises(binascii.Error):
        binascii.a2b_base64(b"abcde")
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(part, XML_PART))
    assert (parts[0].body, parts[0].problems) == (b"abcde", ("broken base64 left as it came",))


def test_folded_part_headers_and_any_case():
    part = b"content-TYPE:\r\n application/sdp;\r\n\tcharset=utf-8\r\n\r\n" + SDP
    first = parse_body("multipart/mixed;boundary=foobar", mixed(part))[0]
    assert (first.content_type, first.parameters) == ("application/sdp", {"charset": "utf-8"})


@pytest.mark.parametrize("head", [b"", b"\r\n", b"Content-Type: application/sdp\r\n"])
def test_part_without_headers_or_without_the_blank_line(head: bytes):
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(head + SDP, XML_PART))
    assert found(parts) == BOTH


def test_empty_sdp_part_does_not_hide_the_second_one():
    empty = b"Content-Type: application/sdp\r\n\r\n"
    assert found(parse_body("multipart/mixed;boundary=foobar", mixed(empty, SDP_PART, XML_PART))) == BOTH


def test_duplicate_sdp_first_one_counts_and_early_media_does_not():
    early = b"Content-Disposition: early-session\r\n" + SDP_PART.replace(b"4000", b"6000")
    parts = parse_body(
        "multipart/mixed;boundary=foobar", mixed(early, SDP_PART, SDP_PART.replace(b"4000", b"7000"))
    )
    sdp = find_sdp(parts)
    assert sdp is not None
    assert sdp.body == SDP


def test_types_swapped_by_the_sender_are_told_apart_by_their_looks():
    parts = parse_body(
        "multipart/mixed;boundary=foobar",
        mixed(b"Content-Type: application/sdp\r\n\r\n" + XML, b"Content-Type: text/plain\r\n\r\n" + SDP),
    )
    assert found(parts) == BOTH


def test_body_without_any_delimiter_is_searched():
    parts = parse_body("multipart/mixed;boundary=foobar", b"garbage\r\n" + SDP + b"\r\n" + XML + b"tail")
    assert found(parts) == BOTH
    assert parts[0].problems == ("no multipart delimiter found",)


def test_foreign_delimiter_inside_a_part_does_no_harm():
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(SDP_PART + b"--other--\r\n", XML_PART))
    assert found(parts)[0] == SDP + b"--other--"


@pytest.mark.parametrize(
    "content_type", ["application/rs-metadata", "Application/RS-Metadata+XML; charset=UTF-8"]
)
def test_metadata_alone_and_both_spellings(content_type: str):
    """Avaya sends an UPDATE with the document as its whole body."""
    parts = parse_body(content_type, XML, disposition="recording-session; handling=optional")
    metadata = find_metadata(parts)
    assert metadata is not None
    assert (metadata.body, metadata.disposition, metadata.handling) == (XML, "recording-session", "optional")
    assert find_sdp(parts) is None


def test_snapshot_request_is_no_metadata():
    request = b'<requestsnapshot xmlns="urn:ietf:params:xml:ns:recording:1"/>'
    assert find_metadata(parse_body("application/rs-metadata-request", request)) is None


def test_sdp_alone_with_and_without_content_type():
    for content_type in ("application/sdp", None):
        sdp = find_sdp(parse_body(content_type, SDP))
        assert sdp is not None
        assert sdp.content_type == "application/sdp"


def test_metadata_in_utf16_is_recognised():
    body = '<?xml version="1.0" encoding="UTF-16"?><recording/>'.encode("utf-16")
    assert find_metadata(parse_body(None, body)) is not None


@pytest.mark.parametrize("body", [b"", b"\r\n \t"])
def test_empty_body_has_no_parts(body: bytes):
    assert parse_body("multipart/mixed;boundary=x", body) == []


def part_of(content_type: str, disposition: str = "", body: bytes = b"x") -> bytes:
    head = f"Content-Type: {content_type}\r\n" + (
        f"Content-Disposition: {disposition}\r\n" if disposition else ""
    )
    return head.encode() + b"\r\n" + body


@pytest.mark.parametrize(
    ("stranger", "refused"),
    [
        (part_of("application/isup", "signal;handling=required"), ["application/isup"]),
        (part_of("application/isup", "signal;HANDLING=Required"), ["application/isup"]),
        (part_of("application/isup", "signal;handling=optional"), []),
        (part_of("application/isup", "signal"), []),
        (part_of("application/isup"), []),
        (part_of("application/isup", "signal;handling=required", b""), []),
    ],
)
def test_stranger_beside_sdp_is_refused_only_when_it_says_required(stranger: bytes, refused: list[str]):
    parts = parse_body("multipart/mixed;boundary=foobar", mixed(SDP_PART, stranger))
    assert unsupported_required(parts) == refused


def test_stranger_alone_is_refused_unless_optional():
    assert unsupported_required(parse_body("application/dtmf-relay", b"Signal=5")) == [
        "application/dtmf-relay"
    ]
    assert unsupported_required(parse_body("text/x", b"5", disposition="render;handling=optional")) == []
    assert unsupported_required(parse_body("application/sdp", SDP)) == []


def test_multipart_with_nothing_in_it_is_refused():
    with pytest.raises(MultipartError) as refused:
        parse_body("multipart/mixed;boundary=foobar", b"nothing here")
    assert refused.value.status == 400


def nest(depth: int) -> bytes:
    body = SDP_PART
    for level in range(depth):
        name = b"b%d" % level
        body = b"Content-Type: multipart/mixed;boundary=" + name + b"\r\n\r\n" + mixed(body, boundary=name)
    return body


def test_deep_nesting_and_many_parts_are_refused_and_limits_can_be_set():
    assert find_sdp(parse_body("multipart/mixed;boundary=o", mixed(nest(3), boundary=b"o"))) is not None
    with pytest.raises(MultipartError, match="nested deeper than 4"):
        parse_body("multipart/mixed;boundary=o", mixed(nest(4), boundary=b"o"))
    with pytest.raises(MultipartError, match="more than 64 parts"):
        parse_body("multipart/mixed;boundary=foobar", mixed(*[SDP_PART] * 65))
    assert (
        len(
            parse_body(
                "multipart/mixed;boundary=foobar", mixed(*[SDP_PART] * 65), limits=BodyLimits(parts=65)
            )
        )
        == 65
    )


def test_what_is_built_is_read_back():
    parts = [
        Part(content_type="application/sdp", body=SDP),
        Part(
            content_type="application/rs-metadata+xml",
            disposition="recording-session",
            handling="required",
            body=XML,
        ),
    ]
    content_type, body = build_multipart(parts, boundary="unique-7")
    read = parse_body(content_type, body)
    assert [(p.content_type, p.disposition, p.handling, p.body, p.problems) for p in read] == [
        (p.content_type, p.disposition, p.handling, p.body, ()) for p in parts
    ]


@pytest.mark.parametrize(
    ("text", "value", "parameters"),
    [
        ("a/b", "a/b", {}),
        ("A/B;X=1;x=2", "a/b", {"x": "1"}),
        ('a/b; x="1;2"; y="q\\"z"', "a/b", {"x": "1;2", "y": 'q"z'}),
        ('a/b; x="open', "a/b", {"x": "open"}),
        ("", "", {}),
        (";;=;x", "", {"x": ""}),
    ],
)
def test_header_values(text: str, value: str, parameters: dict[str, str]):
    parsed = parse_header_value(text)
    assert (parsed.value, parsed.parameters) == (value, parameters)


FRAGMENTS = st.sampled_from(
    [b"--b", b"--b--", b"--c", b"--", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Type: application/sdp", b"v=0", SDP, XML,
     b"Content-Type: multipart/mixed;boundary=c", b"Content-Type: multipart/alternative", b" folded", b"\xff\xfe",
     b"Content-Transfer-Encoding: base64", b"<recording", b"x" * 50, b"Content-Disposition: x;handling=required"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.none(), st.text(max_size=40), st.sampled_from(["multipart/mixed;boundary=b", "multipart/mixed"])
    ),
    st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=16).map(b"".join)),
)
def test_any_body_is_read_or_refused_with_multipart_error(content_type: str | None, body: bytes):
    with contextlib.suppress(MultipartError):
        parts = parse_body(content_type, body)
        assert len(parts) <= 64
        sdp = find_sdp(parts)
        assert sdp is None or sdp.body.strip()
        assert all(isinstance(t, str) and t for t in unsupported_required(parts))
        assert bool(parts) == bool(body.strip())
