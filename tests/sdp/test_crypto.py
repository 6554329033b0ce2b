"""Keys for SRTP in the SDP (RFC 4568; INTEROP 21 and 29)."""

from __future__ import annotations

import base64
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.sdp.crypto import SUITES, CryptoLine, SrtpKey, choose, read_crypto, suites_in
from siprec.sdp.error import SdpError
from siprec.sdp.media import SessionDescription
from siprec.sdp.offer import OfferedStream, build_offer, read_answer
from siprec.sdp.offer_answer import Answer, OfferAnswer, build_answer
from siprec.sdp.parser import parse_sdp
from siprec.sdp.stream import LocalPorts

CM80, CM32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
GCM128, GCM256 = "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"
PORTS = {i: LocalPorts(10000 + 2 * i, 10001 + 2 * i) for i in range(4)}


def secret(suite: str, seed: int = 1) -> bytes:
    return Random(seed).randbytes(sum(SUITES[suite]))


def value(suite: str = CM80, *, tag: int = 1, more: str = "", seed: int = 1, session: str = "") -> str:
    inline = base64.b64encode(secret(suite, seed)).decode()
    return f"{tag} {suite} inline:{inline}{more}{session}"


def offer(proto: str = "RTP/SAVP", *crypto: str, version: int = 1) -> SessionDescription:
    lines = [
        "v=0",
        f"o=- 1 {version} IN IP4 10.0.0.1",
        "s=-",
        "c=IN IP4 10.0.0.1",
        "t=0 0",
        f"m=audio 4000 {proto} 0",
    ]
    lines += [f"a=crypto:{line}" for line in crypto]
    return parse_sdp("\r\n".join([*lines, "a=sendonly", ""]).encode())


def our_key(index: int, suite: str) -> SrtpKey:
    return SrtpKey(secret(suite, 100 + index))


def answer_to(offered: SessionDescription) -> Answer:
    return build_answer(offered, address="192.0.2.9", ports=PORTS, session_id=7, version=1, our_key=our_key)


@pytest.mark.parametrize("suite", SUITES)
def test_a_line_of_each_suite_is_read_and_written(suite):
    line = read_crypto(value(suite, tag=7))
    assert line == CryptoLine(7, suite, (SrtpKey(secret(suite)),))
    assert read_crypto(str(line)) == line


def test_the_examples_of_rfc_4568_are_read():
    first = read_crypto(
        f"1 {CM80} inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 FEC_ORDER=FEC_SRTP"
    )
    assert first is not None  # FEC_SRTP is the default, written out
    assert first.keys[0].mki == b"\0\0\0\1"
    plain = read_crypto(f"1 {CM80} inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:32")
    assert plain is not None
    assert plain.keys[0].mki == bytes(31) + b"\1"
    two = read_crypto(
        f"2 {CM80} inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm|2^20|1:4;"
        "inline:QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5|2^20|2:4"
    )
    assert two is not None
    assert [key.mki for key in two.keys] == [b"\0\0\0\1", b"\0\0\0\2"]


@pytest.mark.parametrize("more", ["", "|2^31", "|1048576", "|2^20|1:4", "|1:4"])
def test_lifetime_and_mki_may_be_there_or_not(more):
    line = read_crypto(value(more=more))
    assert line is not None
    assert line.keys[0].secret == secret(CM80)


def test_a_key_without_the_padding_of_its_base64_is_read():
    line = read_crypto(value(GCM256).rstrip("="))
    assert line is not None
    assert line.keys[0].secret == secret(GCM256)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "1",
        f"1 {CM80}",
        f"x {CM80} inline:{'A' * 40}",
        f"1 F8_128_HMAC_SHA1_80 inline:{'A' * 40}",
        f"1 {CM80} inline:{'A' * 39}",
        f"1 {CM80} inline:{'A' * 41}",
        f"1 {CM80} inline:{'A' * 44}",
        f"1 {CM80} inline:{'*' * 40}",
        f"1 {CM80} uri:{'A' * 40}",
        value(more="|2^20|1:0"),
        value(more="|2^20|256:1"),
        value(more="|2^20|1:200"),
        value(more="|forever"),
        value() + ";" + value().split(" ", 2)[2],
        value(session=" UNENCRYPTED_SRTP"),
        value(session=" UNENCRYPTED_SRTCP"),
        value(session=" UNAUTHENTICATED_SRTP"),
        value(session=" KDR=1"),
        value(session=" FEC_KEY=inline:" + "A" * 40),
        value(session=" FEC_ORDER=SRTP_FEC"),
        value(session=" SOMETHING_NEW"),
    ],
)
def test_a_line_that_cannot_be_used_is_none(bad):
    assert read_crypto(bad) is None


def test_an_mki_may_be_as_long_as_rfc_4568_allows():
    line = read_crypto(value(more=f"|{2**1024 - 1}:128"))
    assert line is not None
    assert line.keys[0].mki == b"\xff" * 128
    assert read_crypto(value(more=f"|{2**1024}:128")) is None
    assert read_crypto(value(more="|" + "9" * 5000 + ":128")) is None


@pytest.mark.parametrize("harmless", [" WSH=128", " -SOMETHING_NEW=1", " FEC_ORDER=FEC_SRTP"])
def test_session_parameters_that_leave_the_packets_alone_are_passed_over(harmless):
    assert read_crypto(value(session=harmless)) is not None


@given(st.text(max_size=200))
def test_no_text_makes_reading_raise(text):
    read_crypto(text)
    read_crypto(f"1 {CM80} {text}")
    read_crypto(f"1 {CM80} inline:{text}")


def test_the_first_line_that_we_can_do_is_taken_and_the_others_are_passed_over():
    lines = ["9 AES_CM_256_HMAC_SHA1_80 inline:AAAA", "junk", value(GCM256, tag=3), value(CM80, tag=4)]
    chosen = choose(lines)
    assert chosen is not None
    assert (chosen.tag, chosen.suite) == (3, GCM256)
    assert choose(lines[:2]) is None
    assert suites_in(lines) == ["AES_CM_256_HMAC_SHA1_80", GCM256, CM80]


def test_no_representation_shows_a_key():
    line = read_crypto(value())
    assert "keys" in repr(line)
    assert str(secret(CM80)) not in repr(line)
    assert base64.b64encode(secret(CM80)).decode() not in repr(line)


@pytest.mark.parametrize("proto", ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP", "RTP/AVPF"])
@pytest.mark.parametrize("suite", SUITES)
def test_interop_29_an_offer_with_keys_is_answered_in_kind_with_one_line_and_a_key_of_ours(proto, suite):
    answer = answer_to(offer(proto, value(suite, tag=5), value(CM80, tag=6, seed=2)))
    (media,) = answer.description.media
    assert (media.proto, media.port) == (proto, 10000)
    assert media.crypto == [str(CryptoLine(5, suite, (our_key(0, suite),)))]
    (stream,) = answer.streams
    assert stream.crypto is not None
    assert (stream.crypto.tag, stream.crypto.suite) == (5, suite)
    assert stream.crypto.remote == (SrtpKey(secret(suite)),)
    assert stream.crypto.local == our_key(0, suite)
    assert stream.crypto.required is ("SAVP" in proto)


@pytest.mark.parametrize(
    ("proto", "crypto", "reason"),
    [
        ("RTP/SAVP", [], "without a crypto line that can be used (offered: none)"),
        ("RTP/SAVPF", [f"1 F8_128_HMAC_SHA1_80 inline:{'A' * 40}"], "(offered: F8_128_HMAC_SHA1_80)"),
        ("UDP/TLS/RTP/SAVP", [], "DTLS-SRTP is not supported"),
        ("UDP/TLS/RTP/SAVPF", [value()], "DTLS-SRTP is not supported"),
    ],
)
def test_interop_29_a_secure_line_without_usable_keys_is_refused_with_the_reason(proto, crypto, reason):
    with pytest.raises(SdpError) as refused:
        answer_to(offer(proto, *crypto))
    assert refused.value.status == 488
    assert reason in str(refused.value)
    assert "AAAA" not in str(refused.value)


def test_a_plain_line_whose_keys_cannot_be_used_is_a_plain_line():
    answer = answer_to(offer("RTP/AVP", "1 F8_128_HMAC_SHA1_80 inline:AAAA"))
    assert answer.description.media[0].crypto == []
    assert answer.streams[0].crypto is None


def dialog() -> OfferAnswer:
    return OfferAnswer(session_id=7, address="192.0.2.9", random_bytes=Random(3).randbytes)


def test_an_unchanged_offer_has_an_unchanged_answer_with_the_same_key():
    talks = dialog()
    offered = offer("RTP/SAVP", value())
    first = talks.answer(offered, PORTS)
    talks.commit(first.description, offered, PORTS)
    again = talks.answer(offer("RTP/SAVP", value(), version=2), PORTS)
    assert again.description.to_bytes() == first.description.to_bytes()


def test_new_keys_of_the_peer_change_theirs_and_leave_ours():
    talks = dialog()
    offered = offer("RTP/SAVP", value())
    first = talks.answer(offered, PORTS)
    talks.commit(first.description, offered, PORTS)
    anew = talks.answer(offer("RTP/SAVP", value(seed=9)), PORTS).streams[0].crypto
    before = first.streams[0].crypto
    assert anew is not None
    assert before is not None
    assert anew.local == before.local
    assert anew.remote == (SrtpKey(secret(CM80, 9)),) != before.remote


def test_two_lines_have_keys_of_their_own():
    both = offer("RTP/SAVP", value())
    both.media.append(offer("RTP/SAVP", value(seed=2)).media[0])
    both.media[1].index = 1
    one, two = (stream.crypto for stream in dialog().answer(both, PORTS).streams)
    assert one is not None
    assert two is not None
    assert one.local != two.local


def test_our_offer_in_a_running_dialog_carries_our_key_again():
    talks = dialog()
    offered = offer("RTP/SAVP", value())
    first = talks.answer(offered, PORTS)
    talks.commit(first.description, offered, PORTS)
    ours = talks.offer()
    assert ours.media[0].crypto == first.description.media[0].crypto
    theirs = offer("RTP/SAVP", value(seed=5))
    (stream,) = talks.read_answer(ours, theirs)
    assert stream.crypto is not None
    assert first.streams[0].crypto is not None
    assert stream.crypto.local == first.streams[0].crypto.local
    assert stream.crypto.remote == (SrtpKey(secret(CM80, 5)),)


def test_client_and_recorder_know_each_other_s_keys():
    mine = CryptoLine(1, GCM128, (SrtpKey(secret(GCM128, 4)),))
    stream = OfferedStream(label="1", ports=LocalPorts(6000, 6001), crypto=mine)
    offered = build_offer([stream], address="127.0.0.1", session_id=3)
    answer = answer_to(parse_sdp(offered.to_bytes()))
    assert offered.media[0].proto == answer.description.media[0].proto == "RTP/SAVP"
    (settled,) = read_answer(offered, parse_sdp(answer.description.to_bytes()), {0: LocalPorts(6000, 6001)})
    recorder, client = answer.streams[0].crypto, settled.crypto
    assert recorder is not None
    assert client is not None
    assert client.local == recorder.remote[0] == mine.keys[0]
    assert recorder.local == client.remote[0]


@pytest.mark.parametrize("crypto", [[], [value(tag=2)], [value(GCM128)]])
def test_an_answer_to_our_secure_offer_without_one_of_its_lines_changes_nothing(crypto):
    """RFC 4568 5.1.3."""
    talks = dialog()
    offered = offer("RTP/SAVP", value())
    first = talks.answer(offered, PORTS)
    talks.commit(first.description, offered, PORTS)
    with pytest.raises(SdpError) as refused:
        talks.read_answer(talks.offer(), offer("RTP/SAVP", *crypto))
    assert refused.value.status == 488
    assert talks.remote is offered


def test_an_answer_to_our_plain_offer_with_keys_may_do_without():
    talks = dialog()
    offered = offer("RTP/AVP", value())
    first = talks.answer(offered, PORTS)
    talks.commit(first.description, offered, PORTS)
    (stream,) = talks.read_answer(talks.offer(), offer("RTP/AVP"))
    assert stream.crypto is None
