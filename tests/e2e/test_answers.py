"""What is answered to requests that are lost, repeated, taken back or impossible, and that they leave nothing behind."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.caller import Caller
from tests.helpers.calls import Start, offered, recorded, simple_call
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.offers import MULTIPART, SDP, Line, metadata, multipart, sdp
from tests.helpers.player import Player, assert_heard, play, talk
from tests.helpers.sipp import Message, Scenario, Sipp
from tests.helpers.voices import voice

NewPlayer = Callable[..., Player]

OFFER = sdp([Line(40_000, "1"), Line(40_002, "2")])
BODY = multipart(OFFER, metadata())


def folders(daemon: Daemon) -> set[Path]:
    """The folders of recordings on disk."""
    return set(daemon.storage.glob("*/*/*/*"))


def assert_nothing_taken(daemon: Daemon) -> None:
    """No call runs, and no port or space is taken any more; ports of a call that ended rest for a second."""
    wait_for(
        "all ports to be free",
        lambda: daemon.metric("siprec_port_pairs_free") == daemon.metric("siprec_port_pairs"),
    )
    assert daemon.metric("siprec_space_reserved_bytes") == 0
    assert daemon.metric("siprec_calls") == 0
    assert daemon.control("top")["calls"] == []


def statuses(call: Sipp, method: str) -> list[int]:
    """The final responses that came to a method, repeated ones included."""
    return [int(m.start.split()[1]) for m in call.responses(method)]


def refused(status: int, body: str, content_type: str, **options: object) -> Scenario:
    """An INVITE that gets a final response other than 200."""
    require = str(options.pop("require", "siprec"))
    return Scenario(require=require).invite(body, content_type, tagged=False, **options).answered(status)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("scenario", "status", "header", "value"),
    [
        (refused(420, BODY, MULTIPART, require="siprec, teleport"), 420, "Unsupported", "teleport"),
        (refused(415, "<x/>", "application/x-strange"), 415, "Accept", "application/sdp"),
        (refused(488, sdp([Line(40_000, "1", (96,), media="video")]), SDP), 488, "Warning", "399"),
        (refused(488, sdp([Line(40_000, "1", proto="RTP/SAVP")]), SDP), 488, "Warning", "399"),
        (refused(488, "", ""), 488, "Warning", "399"),
        (refused(400, "rubbish\n", MULTIPART), 400, "Warning", "399"),
    ],
    ids=["unknown extension", "unknown body", "video only", "secure media only", "no offer", "rubbish"],
)
def test_an_invite_that_cannot_be_recorded_is_refused_with_its_reason(
    daemon: Daemon, sipp: Start, transport: str, scenario: Scenario, status: int, header: str, value: str
) -> None:
    before, counted = folders(daemon), daemon.metric("siprec_calls_admitted_total")
    with sipp(daemon, scenario, transport=transport) as call:
        assert call.answer().start.startswith(f"SIP/2.0 {status} ")
        assert value in (call.answer().header(header) or "")
    assert statuses(call, "INVITE") == [status]
    assert folders(daemon) == before
    assert daemon.metric("siprec_calls_admitted_total") == counted
    assert daemon.recordings_of(call.call_id) == []
    assert_nothing_taken(daemon)


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [
        ("OPTIONS", 200, {"Allow": "INVITE", "Accept": "application/rs-metadata+xml", "Supported": "siprec"}),
        ("SUBSCRIBE", 405, {"Allow": "INVITE"}),
        ("BYE", 481, {}),
        ("UPDATE", 481, {}),
        ("CANCEL", 481, {}),
    ],
)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_requests_outside_of_a_call(
    daemon: Daemon, sipp: Start, transport: str, method: str, status: int, headers: dict[str, str]
) -> None:
    """A BYE or UPDATE is for a dialog that nobody knows."""
    callee = "<sip:srs@127.0.0.1>" + (";tag=nobody" if method in ("BYE", "UPDATE") else "")
    scenario = Scenario(callee=callee).request(method, tagged=False).receive(status)
    with sipp(daemon, scenario, transport=transport) as call:
        answer = call.answer(method=method)
    assert answer.start.startswith(f"SIP/2.0 {status} ")
    for name, value in headers.items():
        assert value in (answer.header(name) or "")
    if method == "OPTIONS":
        assert "+sip.srs" in (answer.header("Contact") or "")


def test_a_repeated_invite_gets_the_same_answer_and_makes_no_second_call(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    """To tag, ports and all (RFC 3261 13.3.1.4, 17.2.1)."""
    one = player(talk(voice(1, 0.5), ssrc=1))
    repeated = daemon.metric("siprec_sip_total", event="retransmissions_received", label="INVITE")
    scenario = Scenario().invite(multipart(sdp(offered(one)), metadata()), MULTIPART, tagged=False)
    scenario.receive(200).wait().request("ACK").wait().bye()
    with sipp(daemon, scenario) as call:
        answer = call.answer()
        again = Scenario().repeat(call.messages()[0]).receive(200)
        with sipp(daemon, again, call_id=call.call_id) as second:
            assert without_via(second.answer()) == without_via(answer)
        call.go_on()
        play([one], answer.ports())
        one.finish()
        call.go_on()
    assert daemon.metric("siprec_sip_total", event="retransmissions_received", label="INVITE") > repeated
    got = recorded(daemon, call)
    assert_heard(got.audio[:, 0], one.packets)
    assert got.shown["verdict"]["result"] == "complete"


def without_via(message: Message) -> list[str]:
    """The lines of a message but that which says where it goes to."""
    return [line for line in message.text.splitlines() if not line.startswith("Via:")]


def test_a_bye_may_be_repeated_and_a_second_one_is_for_nobody(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    one = player(talk(voice(2, 0.5), ssrc=2))
    scenario = simple_call(multipart(sdp(offered(one)), metadata()), hang_up=False).bye()
    scenario.request("BYE").receive(481)
    with sipp(daemon, scenario) as call:
        play([one], call.answer().ports())
        one.finish()
        call.go_on()
    bye = next(m for m in call.messages() if m.sent and m.start.startswith("BYE"))
    with sipp(daemon, Scenario().repeat(bye).receive(200), call_id=call.call_id) as second:
        assert without_via(second.answer(method="BYE")) == without_via(call.answer(method="BYE"))
    assert statuses(call, "BYE") == [200, 481]
    got = recorded(daemon, call)
    assert_heard(got.audio[:, 0], one.packets)
    assert got.shown["verdict"]["result"] == "complete"
    assert [e["type"] for e in got.shown["events"]].count("ended") == 1


def test_a_cancelled_invite_leaves_nothing_behind(daemon: Daemon, sipp: Start) -> None:
    """INVITE and CANCEL are both there when the recorder looks: 487, and no trace on disk."""
    before = folders(daemon)
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        scenario = Scenario().invite(BODY, MULTIPART, tagged=False, patient=True)
        scenario.cancel().receive(200).answered(487)
        call = sipp(daemon, scenario)
        with call:
            wait_for("both requests", lambda: len([m for m in call.messages() if m.sent]) == 2)
            os.kill(daemon.pid, signal.SIGCONT)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert (statuses(call, "INVITE"), statuses(call, "CANCEL")) == ([487], [200])
    assert folders(daemon) == before
    assert daemon.recordings_of(call.call_id) == []
    assert_nothing_taken(daemon)


def test_a_bye_before_the_answer_leaves_nothing_behind(daemon: Daemon) -> None:
    """The caller gives up by BYE instead of CANCEL (RFC 3261 15.1.2): 487, and no trace on disk."""
    before, given_up = folders(daemon), daemon.metric("siprec_calls_refused_total", status="487")
    with Caller(daemon.ports["udp"]) as caller:
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            caller.send(caller.request("INVITE", BODY, MULTIPART))
            caller.send(caller.request("BYE"))
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        answers = [caller.final(0.0) for _ in range(2)]
        assert [(a.status, a.message.header("CSeq")) for a in answers] == [(487, "1 INVITE"), (200, "2 BYE")]
        caller.acknowledge(answers[0])
    assert daemon.metric("siprec_calls_refused_total", status="487") == given_up + 1
    assert folders(daemon) == before
    assert daemon.recordings_of(caller.call_id) == []
    assert_nothing_taken(daemon)


def test_a_cancel_after_the_answer_changes_nothing(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """RFC 3261 9.2."""
    one = player(talk(voice(3, 0.5), ssrc=3))
    scenario = Scenario().invite(multipart(sdp(offered(one)), metadata()), MULTIPART, tagged=False)
    scenario.answered().cancel().receive(200).wait().bye()
    with sipp(daemon, scenario) as call:
        play([one], call.answer().ports())
        one.finish()
        call.go_on()
    got = recorded(daemon, call)
    assert_heard(got.audio[:, 0], one.packets)
    assert got.shown["verdict"]["result"] == "complete"


def test_a_refused_offer_leaves_the_call_as_it_was(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """488 to a re-INVITE, and the recording goes on (RFC 3261 14.1)."""
    one = player(talk(voice(4, 1.0), ssrc=4))
    scenario = simple_call(multipart(sdp(offered(one)), metadata()), hang_up=False)
    scenario.invite(sdp([Line(40_000, "1", proto="RTP/SAVP")], version=2), SDP).answered(488).wait().bye()
    with sipp(daemon, scenario) as call:
        play([one], call.answer().ports())
        one.wait_for(20)
        call.go_on()
        assert call.answer(1).start.startswith("SIP/2.0 488 ")
        one.finish()
        call.go_on()
    got = recorded(daemon, call)
    assert_heard(got.audio[:, 0], one.packets)
    assert got.shown["verdict"]["result"] == "complete"
    assert "request_refused" in [e["type"] for e in got.shown["events"]]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_held_call_is_answered_inactive_and_a_resumed_one_recvonly_again(
    daemon: Daemon, method: str
) -> None:
    """On the same ports, with labels, and with a version that rises with every change (RFC 3264 6.1, 8)."""
    with Caller(daemon.ports["udp"]) as caller:
        first = caller.call()
        assert first.status == 200
        session, version = origin(first.message)
        for step, (offered_as, answered_as) in enumerate(
            [("inactive", "inactive"), ("sendonly", "recvonly"), ("sendonly", "recvonly")], start=1
        ):
            offer = sdp([Line(40_000 + 2 * i, str(i + 1), direction=offered_as) for i in range(2)])
            answer = caller.ask(caller.request(method, offer, SDP))
            if method == "INVITE":
                caller.acknowledge(answer)
            assert answer.status == 200
            assert "+sip.srs" in (answer.message.header("Contact") or "")
            assert origin(answer.message) == (session, version + min(step, 2))
            assert answer.message.ports() == first.message.ports()
            assert answer.message.body.count(f"a={answered_as}\n") == 2
            assert re.findall(r"a=label:(\S+)", answer.message.body) == ["1", "2"]
        assert caller.bye().status == 200
    assert daemon.recording_of(caller.call_id)["state"] == "ended"


def test_an_m_line_that_the_answer_in_an_ack_removes_is_over_and_may_come_back(daemon: Daemon) -> None:
    """A re-INVITE without offer is answered with ours (RFC 3261 14.2); m-lines may be refused in the ACK."""
    with Caller(daemon.ports["udp"]) as caller:
        assert caller.call().status == 200
        answer = caller.ask(caller.request("INVITE"))
        assert answer.message.body.count("a=recvonly") == 2
        left = sdp([Line(40_000, "1"), Line(0, "2")])
        caller.send(caller.request("ACK", left, SDP))
        again = caller.invite(sdp([Line(40_000, "1"), Line(40_002, "2")]), SDP)
        assert again.message.ports()[0] == answer.message.ports()[0]
        assert again.message.ports()[1] != answer.message.ports()[1]
        assert caller.bye().status == 200
    shown = daemon.recording_of(caller.call_id)
    assert [leg["label"] for leg in shown["legs"]] == ["1", "2", "2"]
    assert [e["type"] for e in shown["events"] if e["type"].startswith("leg_")] == [
        "leg_removed",
        "leg_added",
    ]


def origin(message: Message) -> tuple[int, int]:
    """Session id and version in the `o=` line of an answer."""
    found = re.search(r"o=\S+ (\d+) (\d+) ", message.body)
    assert found is not None
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_on_a_wildcard_bind_each_peer_is_told_the_address_that_it_reached(
    start_daemon: Callable[..., Daemon], transport: str
) -> None:
    """In Contact, o= and c=."""
    daemon = start_daemon(
        sip={"listen": ["udp://0.0.0.0:0", "tcp://0.0.0.0:0"], "allow": ["127.0.0.0/8"]},
        rtp={"address": "0.0.0.0"},
    )
    for reached in ("127.0.0.1", "127.0.0.7"):
        with Caller(daemon.ports[transport], transport=transport, recorder=reached) as caller:
            answer = caller.call()
            assert answer.status == 200
            contact = answer.message.header("Contact") or ""
            assert contact.startswith(f"<sip:{reached}:{daemon.ports[transport]}")
            assert set(re.findall(r"IN IP4 (\S+)", answer.message.body)) == {reached}
            assert caller.bye().status == 200
        assert daemon.recording_of(caller.call_id)["state"] == "ended"
    daemon.stop()


@pytest.mark.parametrize(("rtp", "status"), [("0.0.0.0", 488), ("::", 200), ("::1", 200)])
def test_a_peer_is_never_sent_to_an_address_of_another_ip_version_than_the_rtp_sockets(
    start_daemon: Callable[..., Daemon], rtp: str, status: int
) -> None:
    daemon = start_daemon(
        sip={"listen": ["udp://127.0.0.1:0", "udp://[::1]:0"], "allow": ["127.0.0.0/8", "::1"]},
        rtp={"address": rtp},
    )
    (port,) = re.findall(r"recording: .*udp://\[::1\]:(\d+)", daemon.log)
    with Caller(int(port), recorder="::1") as caller:
        answer = caller.call()
        assert answer.status == status
        if status == 200:
            assert set(re.findall(r"IN (IP\d \S+)", answer.message.body)) == {"IP6 ::1"}
            assert caller.bye().status == 200
            assert daemon.recording_of(caller.call_id)["state"] == "ended"
        else:
            assert "rtp.address 0.0.0.0" in (answer.message.header("Warning") or "")
            assert daemon.metric("siprec_calls_refused_total", status="488") == 1
    daemon.stop()


def test_a_full_recorder_says_so_and_takes_calls_again(
    start_daemon: Callable[..., Daemon], sipp: Start, player: NewPlayer
) -> None:
    """503 with Retry-After, counted, while the call in progress is untouched."""
    daemon = start_daemon(recording={"max_calls": 1})
    one = player(talk(voice(5, 1.0), ssrc=5))
    with sipp(daemon, simple_call(multipart(sdp(offered(one)), metadata()))) as first:
        play([one], first.answer().ports())
        with sipp(daemon, refused(503, BODY, MULTIPART)) as second:
            refusal = second.answer()
        with sipp(daemon, Scenario().request("OPTIONS", tagged=False).receive(503)) as asked:
            assert asked.answer(method="OPTIONS").header("Retry-After") is not None
        assert daemon.metric("siprec_calls") == 1
        assert daemon.http("/readyz")[0] == 503
        one.finish()
        first.go_on()
    assert refusal.start.startswith("SIP/2.0 503 ")
    assert int(refusal.header("Retry-After") or "") > 0
    assert daemon.metric("siprec_calls_refused_total", status="503") == 1
    assert daemon.recordings_of(second.call_id) == []
    got = recorded(daemon, first)
    assert_heard(got.audio[:, 0], one.packets)
    assert got.shown["verdict"]["result"] == "complete"
    with sipp(daemon, simple_call(BODY)) as third:
        third.answer()
        third.go_on()
    assert daemon.recording_of(third.call_id)["verdict"]["reasons"] == ["no_media"]
    assert daemon.metric("siprec_calls_admitted_total") == 2
    daemon.stop()
