from siprec.probe.pjsua_sdp import labelled
from siprec.sdp.parser import parse_sdp

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=pjmedia\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 120\r\na=sendonly\r\nm=audio 4002 RTP/AVP 0 120\r\na=sendonly\r\n"
)


def test_each_m_line_gets_its_label_and_keeps_the_rest():
    parsed = parse_sdp(labelled(OFFER, ["1", "2"]).encode())
    assert [(m.port, m.label, m.direction) for m in parsed.media] == [
        (4000, "1", "sendonly"),
        (4002, "2", "sendonly"),
    ]
    assert parsed.problems == []


def test_m_lines_without_a_name_left_stay_as_they_are():
    assert [m.label for m in parse_sdp(labelled(OFFER, ["1"]).encode()).media] == ["1", None]
    assert labelled(OFFER, []) == OFFER
