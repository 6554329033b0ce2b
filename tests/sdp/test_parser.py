import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sdp.error import SdpError
from siprec.sdp.media import Connection, Direction, MediaDescription, SessionDescription
from siprec.sdp.parser import parse_sdp
from siprec.sdp.payload import STATIC_PAYLOADS, PayloadFormat, RtpMap

TWO_LEGS = b"""v=0\r
o=SRC 2890844526 2890844526 IN IP4 198.51.100.1\r
s=-\r
c=IN IP4 198.51.100.1\r
t=0 0\r
m=audio 12240 RTP/AVP 0 101\r
a=rtpmap:0 PCMU/8000\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-16\r
a=ptime:20\r
a=sendonly\r
a=label:1\r
m=audio 12242 RTP/AVP 8\r
c=IN IP4 198.51.100.2\r
a=sendonly\r
a=label:2\r
"""


def one(text: str) -> MediaDescription:
    session = parse_sdp(text.encode())
    assert len(session.media) == 1
    return session.media[0]


def test_reads_a_two_leg_offer():
    session = parse_sdp(TWO_LEGS)
    first, second = session.media
    assert session.problems == []
    assert session.timing == ["0 0"]
    assert session.origin is not None
    assert (session.origin.username, session.origin.session_id) == ("SRC", "2890844526")
    assert (first.media, first.port, first.proto, first.formats) == ("audio", 12240, "RTP/AVP", ["0", "101"])
    assert (first.label, first.direction, first.ptime) == ("1", Direction.SENDONLY, 20.0)
    assert first.rtpmaps == {0: RtpMap("PCMU", 8000), 101: RtpMap("telephone-event", 8000)}
    assert first.payloads()[101] == PayloadFormat(
        payload_type=101, name="TELEPHONE-EVENT", clock=8000, fmtp="0-16"
    )
    assert first.connection == Connection("198.51.100.1")
    assert second.connection == Connection("198.51.100.2"), "the m-line's own c= wins"
    assert second.index == 1


def test_attributes_keep_their_order_and_unknown_ones_stay():
    media = one("v=0\nm=audio 4000 RTP/AVP 0\na=3gOoBTC\na=label:x\na=direction:both\na=x-y: z \n")
    assert [str(a) for a in media.attributes] == ["a=3gOoBTC", "a=label:x", "a=direction:both", "a=x-y:z"]
    assert media.direction is Direction.SENDRECV


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n", b"\r", b" \t\r\n"])
def test_every_line_ending_and_trailing_blanks_read_alike(end: bytes):
    session = parse_sdp(TWO_LEGS.replace(b"\r\n", end))
    assert [m.label for m in session.media] == ["1", "2"]
    assert session.problems == []


def test_opensips_rtpproxy_without_c_and_t_lines():
    """Two m-lines, no c=, no t=, o= with a null address, labels from 0."""
    session = parse_sdp(
        b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\n"
        b"m=audio 35000 RTP/AVP 0\r\na=label:0\r\nm=audio 35002 RTP/AVP 0\r\na=label:1\r\n"
    )
    assert [(m.label, m.connection) for m in session.media] == [("0", None), ("1", None)]
    assert session.timing == []
    assert "m-line 0: no c= line" in session.problems


def test_missing_o_s_t_and_rtpmap():
    media = one("v=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 18 0 8\n")
    assert [p.name for p in media.payloads().values()] == ["G729", "PCMU", "PCMA"]


def test_description_without_v_line_is_read():
    assert one("o=- 1 1 IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\n").port == 4000


def test_metaswitch_static_types_and_101_without_rtpmap():
    """`2 0 8 101`, nothing mapped, no direction: 101 can only be telephone-event."""
    media = one("v=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 2 0 8 101\na=label:1\n")
    names = {pt: (p.name, p.clock) for pt, p in media.payloads().items()}
    assert names == {
        2: ("G726-32", 8000),
        0: ("PCMU", 8000),
        8: ("PCMA", 8000),
        101: ("TELEPHONE-EVENT", 8000),
    }
    assert media.direction is Direction.SENDRECV


def test_cisco_comfort_noise_19():
    assert one("v=0\nm=audio 4000 RTP/AVP 0 101 19\n").payloads()[19].name == "CN"


def test_webex_opus_and_two_event_clocks():
    media = one(
        "v=0\nm=audio 4000 RTP/AVP 111 101 0 8 9 107\na=rtpmap:111 opus/48000/2\na=rtpmap:101 telephone-event/48000\n"
        "a=rtpmap:107 telephone-event/8000\na=fmtp:111 useinbandfec=1; stereo=0\n"
    )
    payloads = media.payloads()
    assert list(payloads) == [111, 101, 0, 8, 9, 107]
    assert (payloads[111].name, payloads[111].clock, payloads[111].channels) == ("OPUS", 48000, 2)
    assert payloads[111].fmtp == "useinbandfec=1; stereo=0"
    assert (payloads[101].clock, payloads[107].clock) == (48000, 8000)
    assert payloads[9].clock == 8000, "G.722 has the wrong clock on purpose"


def test_uppercase_codec_names_and_lowercase_ones_are_the_same_codec():
    upper = one("v=0\nm=audio 4000 RTP/AVP 96\na=rtpmap:96 OPUS/48000/2\n").payloads()
    lower = one("v=0\nm=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n").payloads()
    assert upper == lower


def test_direction_and_label_may_come_before_rtpmap():
    media = one("v=0\nm=audio 4000 RTP/AVP 97\na=recvonly\na=label:5\na=rtpmap:97 iLBC/8000\n")
    assert (media.direction, media.label) == (Direction.RECVONLY, "5")
    assert media.payloads()[97].name == "ILBC"


def test_direction_of_the_session_is_the_default():
    session = parse_sdp(b"v=0\na=inactive\nm=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0\na=sendonly\n")
    assert [m.direction for m in session.media] == [Direction.INACTIVE, Direction.SENDONLY]


@pytest.mark.parametrize("label", ["0", "16777227", "a_leg", "771757897", "x y"])
def test_labels_are_any_token(label: str):
    assert one(f"v=0\nm=audio 4000 RTP/AVP 0\na=label:{label}\n").label == label


def test_missing_and_duplicate_labels_leave_the_index_as_identity():
    session = parse_sdp(
        b"v=0\nm=audio 4000 RTP/AVP 0\na=label:1\nm=audio 4002 RTP/AVP 0\na=label:1\nm=audio 4004 RTP/AVP 0\n"
    )
    assert [(m.index, m.label) for m in session.media] == [(0, "1"), (1, "1"), (2, None)]
    assert "m-line 2: no label" in session.problems


def test_duplicate_lines_first_one_wins():
    media = one(
        "v=0\nc=IN IP4 10.0.0.1\nc=IN IP4 10.0.0.2\nm=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n"
        "a=rtpmap:96 PCMU/8000\na=label:1\na=label:2\n"
    )
    assert media.connection == Connection("10.0.0.1")
    assert media.payloads()[96].name == "OPUS"
    assert media.label == "1"


@pytest.mark.parametrize("end", ["\r\n", "v=0\r\n"])
def test_oracle_description_ends_at_a_blank_line_or_a_second_v_line(end: str):
    session = parse_sdp(TWO_LEGS + f"{end}m=audio 9 RTP/AVP 0\r\n".encode())
    assert len(session.media) == 2


def test_blank_lines_in_front_are_skipped():
    assert len(parse_sdp(b"\r\n\r\n" + TWO_LEGS).media) == 2


def test_origin_numbers_beyond_64_bits_stay_text():
    session = parse_sdp(
        b"v=0\no=jam 1 123456789012345678901234567890 IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\n"
    )
    assert session.origin is not None
    assert session.origin.version == "123456789012345678901234567890"


def test_rtcp_attribute_with_and_without_address():
    assert one("v=0\nm=audio 4000 RTP/AVP 0\na=rtcp:53020\n").rtcp == (53020, None)
    assert one("v=0\nm=audio 4000 RTP/AVP 0\na=rtcp:53020 IN IP4 10.0.0.9\n").rtcp == (53020, "10.0.0.9")
    assert one("v=0\nm=audio 4000 RTP/AVP 0\na=rtcp:nonsense\n").rtcp is None


def test_crypto_mid_maxptime_and_mux_are_read():
    media = one(
        "v=0\nm=audio 4000/2 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc\n"
        "a=crypto:2 AEAD_AES_256_GCM inline:def\na=mid:audio0\na=maxptime:150\na=rtcp-mux\n"
    )
    assert [c.split()[0] for c in media.crypto] == ["1", "2"]
    assert (media.mid, media.maxptime, media.rtcp_mux, media.port_count) == ("audio0", 150.0, True, 2)


def test_address_is_taken_without_ttl_and_may_be_ipv6_or_a_name():
    assert one("v=0\nc=IN IP4 224.2.1.1/127/3\nm=audio 4000 RTP/AVP 0\n").connection == Connection(
        "224.2.1.1"
    )
    assert one("v=0\nc=IN IP6 2001:db8::1\nm=audio 4000 RTP/AVP 0\n").connection == Connection("2001:db8::1")
    assert one("v=0\nc=IN IP4 sbc.example\nm=audio 4000 RTP/AVP 0\n").connection == Connection("sbc.example")


def test_null_addresses_are_recognised():
    assert Connection("0.0.0.0").is_null
    assert Connection("::").is_null
    assert not Connection("10.0.0.1").is_null


def test_senseless_attributes_cost_nothing():
    media = one(
        "v=0\nm=audio 4000 RTP/AVP 0 96\na=rtpmap:\na=rtpmap:96\na=rtpmap:999 X/1\na=rtpmap:0 PCMU/abc/x\na=fmtp:\n"
        "a=ptime:fast\na=ptime:\na=:\na=\n"
    )
    assert media.payloads()[0].clock == 8000
    assert media.payloads()[96].name == "UNKNOWN"
    assert media.ptime is None


def test_latin1_text_is_read_and_reported():
    session = parse_sdp(b"v=0\ns=caf\xe9\nm=audio 4000 RTP/AVP 0\n")
    assert session.name == "caf\xe9"
    assert "not UTF-8, read as Latin-1" in session.problems


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m=audio", "m= needs"),
        ("m=audio 4000", "m= needs"),
        ("m=audio x RTP/AVP 0", "bad port"),
        ("m=audio 70000 RTP/AVP 0", "bad port"),
        ("m=audio -1 RTP/AVP 0", "bad port"),
        ("m=audio " + "9" * 5000 + " RTP/AVP 0", "bad port"),
    ],
)
def test_m_line_that_cannot_be_understood_is_refused_with_its_line(line: str, reason: str):
    with pytest.raises(SdpError, match=reason) as refused:
        parse_sdp(f"v=0\ns=-\n{line}\n".encode())
    assert (refused.value.line, refused.value.status) == (3, 400)


@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", b"\x00\x01\x02", b"hello", b"<recording/>", b"x=1"])
def test_what_is_no_sdp_is_refused(body: bytes):
    with pytest.raises(SdpError) as refused:
        parse_sdp(body)
    assert refused.value.status == 400


def test_a_thousand_m_lines_are_refused_and_the_limit_can_be_set():
    body = b"v=0\n" + b"m=audio 4000 RTP/AVP 0\n" * 1000
    with pytest.raises(SdpError, match="more than 64 m-lines") as refused:
        parse_sdp(body)
    assert (refused.value.status, refused.value.line) == (488, 66)
    assert len(parse_sdp(body, max_media=1000).media) == 1000


def test_too_many_bytes_are_refused_unread():
    with pytest.raises(SdpError, match="at most 65536"):
        parse_sdp(b"v=0\n" + b"a=x\n" * 20_000)


def test_problems_are_bounded():
    assert len(parse_sdp(b"v=0\n" + b"junk\n" * 5000 + b"m=audio 4000 RTP/AVP 0\n").problems) == 20


def test_static_table_is_that_of_rfc_3551():
    assert STATIC_PAYLOADS[10] == ("L16", 44100, 2)
    assert STATIC_PAYLOADS[16] == ("DVI4", 11025, 1)
    assert 1 not in STATIC_PAYLOADS, "1 is reserved"


def test_description_survives_writing_and_reading():
    session = parse_sdp(TWO_LEGS)
    assert session.to_bytes() == parse_sdp(session.to_bytes()).to_bytes()
    assert parse_sdp(session.to_bytes()).media[1].connection == Connection("198.51.100.2")


def check_is_consistent(session: SessionDescription) -> None:
    for media in session.media:
        assert isinstance(media.direction, Direction)
        assert all(0 <= pt <= 127 and p.clock > 0 for pt, p in media.payloads().items())
        assert media.rtcp is None or 0 < media.rtcp[0] <= 65535
    assert parse_sdp(session.to_bytes()).to_bytes() == session.to_bytes()


LINES = st.sampled_from(
    [
        "v=0", "o=- 1 1 IN IP4 10.0.0.1", "o=", "s=-", "t=0 0", "c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0", "c=IN", "",
        "m=audio 4000 RTP/AVP 0 8 101", "m=audio 0 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "m=audio 4004 RTP/SAVP 0",
        "m=audio 4006 RTP/AVP", "m=image 4008 udptl t38", "m=audio 65535 RTP/AVP 96 96 200 x", "m=audio",
        "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000", "a=fmtp:96 x=1", "a=sendonly", "a=inactive",
        "a=recvonly", "a=label:1", "a=label:", "a=rtcp-mux", "a=rtcp:5", "a=ptime:20.5", "a=ptime:0", "junk", "a=\xe9",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=400), st.lists(LINES, max_size=20).map(lambda ls: "\r\n".join(ls).encode()))
)
def test_any_input_is_read_or_refused_with_sdp_error(data: bytes):
    with contextlib.suppress(SdpError):
        check_is_consistent(parse_sdp(data))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(TWO_LEGS) - 1), st.integers(0, 255))
def test_any_damaged_byte_is_read_or_refused(place: int, value: int):
    damaged = TWO_LEGS[:place] + bytes([value]) + TWO_LEGS[place + 1 :]
    with contextlib.suppress(SdpError):
        check_is_consistent(parse_sdp(damaged))
