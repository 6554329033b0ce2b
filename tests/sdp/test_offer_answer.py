from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sdp.error import SdpError
from siprec.sdp.media import Direction, SessionDescription
from siprec.sdp.offer import OfferedStream, build_offer, read_answer
from siprec.sdp.offer_answer import Answer, OfferAnswer, build_answer, refusals
from siprec.sdp.parser import parse_sdp
from siprec.sdp.payload import PayloadFormat
from siprec.sdp.stream import LocalPorts

OURS = "192.0.2.9"
PORTS = {i: LocalPorts(10000 + 2 * i, 10001 + 2 * i) for i in range(64)}


def offer_of(*sections: str, head: str = "c=IN IP4 10.0.0.1\nt=0 0\n") -> SessionDescription:
    return parse_sdp(f"v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\n{head}{''.join(sections)}".encode())


def answer_to(*sections: str, head: str = "c=IN IP4 10.0.0.1\nt=0 0\n") -> Answer:
    return build_answer(offer_of(*sections, head=head), address=OURS, ports=PORTS, session_id=7, version=1)


def section(port: int = 4000, formats: str = "0 8", *attributes: str, proto: str = "RTP/AVP") -> str:
    return f"m=audio {port} {proto} {formats}\n" + "".join(f"a={a}\n" for a in attributes)


def text(answer: Answer) -> list[str]:
    return answer.description.to_bytes().decode().split("\r\n")


def test_answer_mirrors_order_labels_and_payload_types():
    answer = answer_to(
        section(4000, "8 0 101", "rtpmap:101 telephone-event/8000", "fmtp:101 0-15", "sendonly", "label:2"),
        section(4002, "0 13 19", "sendonly", "label:1"),
    )
    assert text(answer) == [
        "v=0", "o=siprec 7 1 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0",
        "m=audio 10000 RTP/AVP 8 0 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=recvonly", "a=label:2",
        "m=audio 10002 RTP/AVP 0 13 19", "a=rtpmap:0 PCMU/8000", "a=rtpmap:13 CN/8000", "a=rtpmap:19 CN/8000",
        "a=recvonly", "a=label:1", "",
    ]  # fmt: skip
    assert [(s.index, s.label, s.remote_rtp, s.remote_rtcp) for s in answer.streams] == [
        (0, "2", ("10.0.0.1", 4000), ("10.0.0.1", 4001)),
        (1, "1", ("10.0.0.1", 4002), ("10.0.0.1", 4003)),
    ]
    assert answer.streams[0].payloads[101].name == "TELEPHONE-EVENT"


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("sendonly", Direction.RECVONLY),
        ("sendrecv", Direction.RECVONLY),
        (None, Direction.RECVONLY),
        ("inactive", Direction.INACTIVE),
        ("recvonly", Direction.INACTIVE),
    ],
)
def test_direction_of_the_answer(offered: str | None, answered: Direction):
    answer = answer_to(section(4000, "0", *([offered] if offered else [])))
    assert answer.streams[0].direction is answered
    assert f"a={answered}" in text(answer)
    assert answer.streams[0].held is (answered is Direction.INACTIVE)


def test_hold_is_answered_inactive_and_resume_goes_back_to_recvonly():
    """AudioCodes holds with inactive; CUBE loops when the recorder stays inactive."""
    dialog = OfferAnswer(session_id=7, address=OURS, random_bytes=Random(7).randbytes)
    seen = []
    for direction in ("sendonly", "inactive", "sendonly"):
        offer = offer_of(section(4000, "0", direction))
        answer = dialog.answer(offer, PORTS)
        dialog.commit(answer.description, offer, PORTS)
        seen.append((str(answer.streams[0].direction), text(answer)[1].split()[2]))
    assert seen == [("recvonly", "1"), ("inactive", "2"), ("recvonly", "3")]


def test_cube_start_inactive_still_binds_and_answers_its_port():
    answer = answer_to(section(4000, "0 101 19", "inactive", "label:1"))
    assert answer.description.media[0].port == 10000


def test_broadworks_pause_by_null_address_without_inactive():
    answer = answer_to(section(4000, "0", "label:1"), head="c=IN IP4 0.0.0.0\nt=0 0\n")
    stream = answer.streams[0]
    assert (stream.held, stream.remote_rtp, stream.remote_rtcp) == (True, None, None)
    assert "c=IN IP4 192.0.2.9" in text(answer)


def test_video_unknown_transport_secure_transport_and_port_zero_are_refused_in_place():
    answer = answer_to(
        "m=video 5000 RTP/AVP 96 97\na=label:9\n",
        section(4000, "0", "label:1"),
        section(4002, "0", proto="RTP/SAVP"),
        section(0, "0"),
        "m=image 5002 udptl t38\n",
        section(4004, "0", proto="RTP/AVPF"),
        "m=application 5004 DTLS/SCTP webrtc\n",
        "m=audio 4006 RTP/AVP\n",
    )
    assert [line for line in text(answer) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 96 97", "m=audio 10002 RTP/AVP 0", "m=audio 0 RTP/SAVP 0", "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38", "m=audio 10010 RTP/AVPF 0", "m=application 0 DTLS/SCTP webrtc", "m=audio 0 RTP/AVP 0",
    ]  # fmt: skip
    assert answer.refused == {
        0: "media type video is not recorded",
        2: "RTP/SAVP without a crypto line that can be used (offered: none)",
        3: "offered with port 0",
        4: "media type image is not recorded",
        6: "media type application is not recorded",
        7: "no RTP payload type offered",
    }
    assert "a=label:9" in text(answer)


@pytest.mark.parametrize(
    "sections", [[], ["m=video 5000 RTP/AVP 96\n"], [section(0)], [section(proto="RTP/SAVP")]]
)
def test_offer_with_nothing_to_record_is_refused_with_488_and_reasons(sections: list[str]):
    with pytest.raises(SdpError, match=r"nothing to record: .*m-line") as refused:
        refusals(offer_of(*sections))
    assert refused.value.status == 488


def test_later_offer_may_remove_every_line_but_not_offer_only_what_cannot_be_taken():
    dialog = OfferAnswer(session_id=7, address=OURS, random_bytes=Random(7).randbytes)
    offer = offer_of(section())
    dialog.commit(dialog.answer(offer, PORTS).description, offer, PORTS)
    removed = dialog.answer(offer_of(section(0)), PORTS)
    assert (removed.streams, [m.port for m in removed.description.media]) == ([], [0])
    with pytest.raises(SdpError):
        dialog.answer(offer_of(section(proto="RTP/SAVP")), PORTS)


def test_refusals_say_where_ports_are_needed():
    assert refusals(offer_of(section(), "m=video 5000 RTP/AVP 96\n")) == [
        None,
        "media type video is not recorded",
    ]


def test_line_without_a_local_port_is_refused():
    answer = build_answer(
        offer_of(section(), section()), address=OURS, ports={0: LocalPorts(9)}, session_id=1, version=1
    )
    assert answer.refused == {1: "no local port"}
    with pytest.raises(SdpError, match="no local port"):
        build_answer(offer_of(section()), address=OURS, ports={}, session_id=1, version=1)


def test_only_decodable_formats_can_be_demanded_and_then_all_are_echoed():
    def pcmu(payload: PayloadFormat) -> bool:
        return payload.name == "PCMU"

    offer = offer_of(section(4000, "18 0"), section(4002, "18"))
    answer = build_answer(offer, address=OURS, ports=PORTS, session_id=1, version=1, accepts=pcmu)
    assert answer.description.media[0].formats == ["18", "0"]
    assert answer.refused == {1: "no acceptable format"}


def test_version_rises_only_when_the_content_changes():
    """rtpengine changes a direction with the same o=; Webex lets o= run backwards: neither is looked at."""
    dialog = OfferAnswer(session_id=7, address=OURS, random_bytes=Random(7).randbytes)
    versions = []
    for sections in (
        [section()],
        [section()],
        [section(), section()],
        [section(4444), section()],
        [section(4444)],
    ):
        offer = offer_of(*sections)
        answer = dialog.answer(offer, PORTS)
        dialog.commit(answer.description, offer, PORTS)
        versions.append(text(answer)[1])
    assert [v.split()[2] for v in versions] == ["1", "1", "2", "2", "3"]


def test_answer_that_was_not_committed_changes_nothing():
    dialog = OfferAnswer(session_id=7, address=OURS, random_bytes=Random(7).randbytes)
    dialog.answer(offer_of(section(4000, "0")), PORTS)
    dialog.answer(offer_of(section(4000, "8")), PORTS)
    assert dialog.local is None
    assert text(dialog.answer(offer_of(section()), PORTS))[1].split()[2] == "1"


def test_timing_of_the_offer_is_repeated():
    assert "t=100 200" in text(answer_to(section(), head="t=100 200\n"))
    assert "t=0 0" in text(answer_to(section(), head=""))


def test_rtcp_mux_only_if_offered_and_one_port_given():
    one_port = {0: LocalPorts(20000)}
    offers = {mux: offer_of(section(4000, "0", *(["rtcp-mux"] if mux else []))) for mux in (True, False)}
    muxed = build_answer(offers[True], address=OURS, ports=one_port, session_id=1, version=1)
    assert "a=rtcp-mux" in text(muxed)
    assert muxed.streams[0].remote_rtcp == muxed.streams[0].remote_rtp == ("10.0.0.1", 4000)
    plain = build_answer(offers[False], address=OURS, ports=one_port, session_id=1, version=1)
    assert "a=rtcp-mux" not in text(plain)
    two_ports = build_answer(offers[True], address=OURS, ports=PORTS, session_id=1, version=1)
    assert "a=rtcp-mux" not in text(two_ports)
    assert two_ports.streams[0].remote_rtcp == ("10.0.0.1", 4001)


def test_rtcp_attribute_is_written_when_the_port_is_not_the_next_one_and_read_from_the_offer():
    offer = offer_of(section(4000, "0", "rtcp:4999 IN IP4 10.0.0.8"))
    answer = build_answer(offer, address=OURS, ports={0: LocalPorts(20000, 30001)}, session_id=1, version=1)
    assert "a=rtcp:30001" in text(answer)
    assert answer.streams[0].remote_rtcp == ("10.0.0.8", 4999)
    assert not any(line.startswith("a=rtcp") for line in text(answer_to(section())))


def test_last_port_has_no_next_one():
    assert answer_to(section(65535)).streams[0].remote_rtcp is None


def test_answer_has_the_address_family_of_the_local_address():
    answer = build_answer(offer_of(section()), address="2001:db8::9", ports=PORTS, session_id=1, version=1)
    assert "o=siprec 1 1 IN IP6 2001:db8::9" in text(answer)
    assert "c=IN IP6 2001:db8::9" in text(answer)


def test_opensips_offer_without_any_address_is_accepted():
    answer = answer_to(section(35000, "0", "label:0"), section(35002, "0", "label:1"), head="")
    assert [s.remote_rtp for s in answer.streams] == [None, None]
    assert [m.label for m in answer.description.media] == ["0", "1"]


def test_label_is_not_invented_and_duplicates_stay():
    answer = answer_to(section(), section(4002, "0", "label:1"), section(4004, "0", "label:1"))
    assert [s.label for s in answer.streams] == [None, "1", "1"]
    assert text(answer).count("a=label:1") == 2


def test_oracle_codec_lists_differ_per_leg_and_big_labels():
    answer = answer_to(
        section(4000, "18 0 2 100", "rtpmap:100 telephone-event/8000", "label:16777227", "maxptime:150"),
        section(4002, "18 100", "rtpmap:100 telephone-event/8000", "label:771757897"),
    )
    assert [m.formats for m in answer.description.media] == [["18", "0", "2", "100"], ["18", "100"]]


def test_unknown_dynamic_type_is_taken_without_inventing_an_rtpmap():
    answer = answer_to(section(4000, "96"))
    assert "m=audio 10000 RTP/AVP 96" in text(answer)
    assert not any("rtpmap" in line for line in text(answer))


def test_offer_for_a_request_without_sdp_reopens_what_is_held_and_keeps_ports():
    """Metadata-only re-INVITE: our 200 carries an offer, the ACK the answer."""
    dialog = OfferAnswer(session_id=7, address=OURS, random_bytes=Random(7).randbytes)
    held = offer_of(section(4000, "0", "inactive", "label:1"), "m=video 5000 RTP/AVP 96\n")
    dialog.commit(dialog.answer(held, PORTS).description, held, PORTS)
    ours = dialog.offer()
    assert [m.port for m in ours.media] == [10000, 0]
    assert ours.media[0].direction is Direction.RECVONLY
    theirs = offer_of(section(4400, "0", "sendonly", "label:1"), "m=video 0 RTP/AVP 96\n")
    streams = dialog.read_answer(ours, theirs)
    assert [(s.index, s.remote_rtp, s.direction, s.local) for s in streams] == [
        (0, ("10.0.0.1", 4400), Direction.RECVONLY, PORTS[0])
    ]
    assert dialog.offer().to_bytes() == ours.to_bytes()


def test_offer_before_anything_was_negotiated_is_refused():
    with pytest.raises(SdpError) as refused:
        OfferAnswer(session_id=7, address=OURS, random_bytes=Random(7).randbytes).offer()
    assert refused.value.status == 488


def client_offer(count: int = 2, *, mux: bool = False) -> SessionDescription:
    return build_offer(
        [
            OfferedStream(
                label=str(i + 1), ports=LocalPorts(6000 + 2 * i, None if mux else 6001 + 2 * i), rtcp_mux=mux
            )
            for i in range(count)
        ],
        address="127.0.0.1",
        session_id=3,
    )


@pytest.mark.parametrize("mux", [False, True])
def test_client_and_recorder_agree_on_each_other(mux: bool):
    offer = client_offer(mux=mux)
    ours = {0: LocalPorts(10000, None if mux else 10001), 1: LocalPorts(10002, None if mux else 10003)}
    answer = build_answer(parse_sdp(offer.to_bytes()), address=OURS, ports=ours, session_id=7, version=1)
    client_ports = {0: LocalPorts(6000), 1: LocalPorts(6002)}
    settled = read_answer(offer, parse_sdp(answer.description.to_bytes()), client_ports)
    assert [(s.label, s.remote_rtp, s.direction, s.rtcp_mux) for s in settled] == [
        ("1", (OURS, 10000), Direction.SENDONLY, mux),
        ("2", (OURS, 10002), Direction.SENDONLY, mux),
    ]
    assert list(settled[0].payloads) == [0, 8, 101]


def test_client_leaves_out_refused_lines_and_refuses_an_answer_with_too_many():
    offer = client_offer(2)
    client_ports = {0: LocalPorts(6000), 1: LocalPorts(6002)}
    assert [s.index for s in read_answer(offer, offer_of(section(9000), section(0)), client_ports)] == [0]
    assert [s.index for s in read_answer(offer, offer_of(section(9000)), client_ports)] == [0]
    with pytest.raises(SdpError, match="3 m-lines answer 2"):
        read_answer(offer, offer_of(section(), section(), section()), client_ports)


def test_client_offer_is_clean_for_the_parser():
    parsed = parse_sdp(client_offer(3).to_bytes())
    assert parsed.problems == []
    assert [(m.label, m.direction, m.ptime) for m in parsed.media] == [
        (str(i), Direction.SENDONLY, 20.0) for i in (1, 2, 3)
    ]


ATTRIBUTES = st.lists(
    st.sampled_from(
        ["sendonly", "inactive", "recvonly", "sendrecv", "label:1", "label:x", "rtcp-mux", "rtcp:9", "ptime:30",
         "rtpmap:96 opus/48000/2", "rtpmap:97 X/8000", "fmtp:96 a=1", "rtpmap:0 PCMU/8000", "crypto:1 A inline:b"]
    ),
    max_size=6,
)  # fmt: skip
MEDIA_LINES = st.builds(
    lambda media, port, proto, formats, attributes: (
        f"m={media} {port} {proto} {' '.join(formats)}\n" + "".join(f"a={a}\n" for a in attributes)
    ),
    st.sampled_from(["audio", "audio", "audio", "video", "AUDIO", "image"]),
    st.sampled_from([0, 4000, 65535]),
    st.sampled_from(["RTP/AVP", "RTP/AVP", "RTP/AVPF", "RTP/SAVP", "udptl"]),
    st.lists(st.sampled_from(["0", "8", "96", "97", "101", "13", "t38", "08", "200"]), max_size=5),
    ATTRIBUTES,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MEDIA_LINES, max_size=6))
def test_answer_has_the_same_lines_in_order_and_only_offered_payload_types(sections: list[str]):
    offer = offer_of(*sections)
    try:
        answer = build_answer(offer, address=OURS, ports=PORTS, session_id=1, version=1)
    except SdpError:
        assert not any(
            m.port and m.media.lower() == "audio" and "SAVP" not in m.proto and m.payloads()
            for m in offer.media
            if m.proto.startswith("RTP")
        )
        return
    sent = parse_sdp(answer.description.to_bytes())
    assert [(m.media, m.proto, m.label) for m in sent.media] == [
        (m.media, m.proto, m.label) for m in offer.media
    ]
    for ours, theirs in zip(sent.media, offer.media, strict=True):
        assert ours.formats == (theirs.formats or ["0"])
        assert set(ours.rtpmaps) <= set(theirs.payloads())
        assert ours.rtcp_mux <= theirs.rtcp_mux
        assert (ours.port == 0) == (ours.index in answer.refused)
        if ours.port:
            assert ours.direction in (Direction.RECVONLY, Direction.INACTIVE)
            assert ours.payloads() == theirs.payloads()
    assert sorted([s.index for s in answer.streams] + list(answer.refused)) == list(range(len(sections)))
