"""The client against a recorder made of the same cores, over real sockets."""

import asyncio
import socket

import pytest

from siprec.probe import caller
from siprec.probe.call import ProbeCall
from siprec.probe.errors import CallFailed, ProbeError
from siprec.probe.invite import CALLEE, CALLER
from siprec.probe.plan import CallPlan
from siprec.probe.target import Target
from siprec.recording.intake import read_intake
from siprec.rtp.rtcp import SenderReport, parse_compound
from siprec.rtp.srtp import LegSrtp, MasterKey, Outcome
from siprec.sdp.crypto import SUITES
from tests.probe.answering import Answering


def called(plan, transport="udp", look=lambda recorder, call, result: None, **behaviour):
    """Place a call; (call, result). look: told before the recorder closes."""

    async def run():
        recorder = Answering(**behaviour)
        await recorder.endpoint.start()
        try:
            call = ProbeCall(plan, Target.parse(recorder.uri(transport)))
            result = await call.run()
            look(recorder, call, result)
            return call, result
        finally:
            await recorder.close()

    return asyncio.run(run())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_every_packet_of_the_script_arrives_in_its_order(transport):
    def look(recorder, call, result):
        for leg in (0, 1):
            planned = [p.data for p in call.script.packets if p.leg == leg and not p.lost]
            assert list(recorder.datagrams(leg)) == planned

    plan = CallPlan(duration_s=0.6, loss_pct=10.0, reorder=4, duplicate_pct=10.0, ssrc_change=True)
    _, result = called(plan, transport, look)
    assert result.faults == []
    assert [leg.lost for leg in result.legs] == [3, 3]
    assert (result.rtp_received, result.client) == (0, "siprec")


def test_the_invite_is_one_of_a_recording_client():
    def look(recorder, call, result):
        invite, bye = recorder.requests
        assert (invite.method, bye.method) == ("INVITE", "BYE")
        assert invite.call_id == bye.call_id == result.call_id
        intake = read_intake(invite, accept="")
        assert intake.metadata is not None
        assert "siprec" in invite.headers.get_all("Require")
        assert "+sip.src" in (invite.headers.get("Contact") or "")

    called(CallPlan(duration_s=0.04), look=look)


def test_without_metadata_the_headers_name_the_parties():
    def look(recorder, call, result):
        invite = recorder.requests[0]
        assert read_intake(invite, accept="").metadata is None
        assert (invite.from_.uri, invite.to.uri) == (CALLER.aor, CALLEE.aor)

    called(CallPlan(duration_s=0.04, metadata=False), look=look)


def test_a_hold_is_two_requests_between_two_halves_of_the_media():
    def look(recorder, call, result):
        bodies = [request.body for request in recorder.requests[1:3]]
        assert [request.method for request in recorder.requests] == ["INVITE", "INVITE", "INVITE", "BYE"]
        assert [body.count(b"a=inactive") for body in bodies] == [2, 0]
        assert [body.count(b"a=sendonly") for body in bodies] == [0, 2]
        assert len(list(recorder.datagrams(0))) == 10

    _, result = called(CallPlan(duration_s=0.2, hold_s=1.0), look=look)
    assert result.faults == []
    assert result.bye_sent - result.answered > 1.2


def test_sender_reports_count_what_was_sent_and_name_the_ssrc():
    """RFC 3550 6.4.1. What the network lost was sent all the same."""

    def look(recorder, call, result):
        (*_, last) = recorder.datagrams(0, rtcp=True)
        (report,) = [part for part in parse_compound(last) if isinstance(part, SenderReport)]
        second = call.script.legs[0].segments[1]
        assert report.ssrc == second.ssrc
        assert report.packets == 30 - second.slot
        assert report.octets == 160 * report.packets
        elapsed = (report.rtp_timestamp - second.timestamp) % 2**32 / 8000
        assert 0.6 <= elapsed < 10

    called(CallPlan(duration_s=0.6, ssrc_change=True, loss_pct=20.0), look=look)


@pytest.mark.parametrize("suite", SUITES)
def test_an_encrypted_call_is_opened_by_the_keys_of_its_offer(suite):
    def look(recorder, call, result):
        for leg, crypto in enumerate(recorder.crypto):
            keys = [MasterKey(key.secret, key.mki) for key in crypto.remote]
            srtp = LegSrtp(suite, keys, crypto.local.secret)
            planned = [p.data for p in call.script.packets if p.leg == leg and not p.lost and not p.repeated]
            opened = [srtp.open(data) for data in recorder.datagrams(leg)]
            assert [data for data, outcome in opened if outcome is Outcome.OPENED] == planned
            assert {outcome for _, outcome in opened} == {Outcome.OPENED, Outcome.REPEATED}
            reports = [parse_compound(srtp.open_rtcp(data)) for data in recorder.datagrams(leg, rtcp=True)]
            assert all(isinstance(report[0], SenderReport) for report in reports)
            assert reports
        assert recorder.crypto[0].remote != recorder.crypto[1].remote

    plan = CallPlan(
        duration_s=0.6, reorder=3, loss_pct=10.0, duplicate_pct=30.0, ssrc_change=True, srtp=suite
    )
    assert called(plan, look=look)[1].faults == []


def test_an_answer_without_one_of_our_keys_ends_an_encrypted_call():
    with pytest.raises(CallFailed, match="none of the crypto lines"):
        called(
            CallPlan(duration_s=0.1, srtp="AEAD_AES_128_GCM"),
            spoil=lambda sdp: sdp.replace(b"a=crypto:1", b"a=crypto:2"),
        )


def test_a_mixed_call_has_one_m_line():
    def look(recorder, call, result):
        assert recorder.requests[0].body.count(b"m=audio") == 1

    _, result = called(CallPlan(duration_s=0.1, mixed=True), look=look)
    assert [leg.aor for leg in result.legs] == [None]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"spoil": lambda sdp: sdp.replace(b"a=label:2\r\n", b"")}, "m-line 2: label None answers 2"),
        ({"contact": "<sip:rec@127.0.0.1:{port}>"}, "no +sip.srs in the Contact of the 2xx"),
    ],
)
def test_what_is_wrong_with_the_answer_is_in_the_result(behaviour, said):
    assert called(CallPlan(duration_s=0.04), **behaviour)[1].faults == [said]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"status": 503}, "INVITE was answered 503"),
        ({"hang_up": True}, "the recorder ended the call"),
        ({"spoil": lambda sdp: b""}, "no SDP"),
        (
            {"spoil": lambda sdp: sdp.replace(b"m=audio", b"m=audio 0 RTP/AVP 0\r\na=x:")},
            "no address for m-line 1",
        ),
    ],
)
def test_a_call_that_cannot_go_on_fails_and_says_why(behaviour, said):
    seen = []
    behaviour = dict(behaviour)

    async def run():
        recorder = Answering(**behaviour)
        await recorder.endpoint.start()
        try:
            await ProbeCall(CallPlan(duration_s=5.0), Target.parse(recorder.uri())).run()
        finally:
            seen.extend(request.method for request in recorder.requests)
            await recorder.close()

    with pytest.raises(CallFailed, match=said):
        asyncio.run(run())
    answered = behaviour.get("status", 200) == 200 and not behaviour.get("hang_up")
    assert seen == (["INVITE", "BYE"] if answered else ["INVITE"])


def test_a_cancelled_call_hangs_up():
    async def run():
        recorder = Answering()
        await recorder.endpoint.start()
        call = asyncio.create_task(ProbeCall(CallPlan(duration_s=60.0), Target.parse(recorder.uri())).run())
        while not recorder.media or not list(recorder.datagrams(0)):
            await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        methods = [request.method for request in recorder.requests]
        await recorder.close()
        return methods, call.cancelled()

    assert asyncio.run(run()) == (["INVITE", "BYE"], True)


def closed_port(kind):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_recorder_that_is_not_there_is_named_by_tcp():
    target = Target.parse(f"sip:127.0.0.1:{closed_port(socket.SOCK_STREAM)};transport=tcp")
    with pytest.raises(CallFailed, match="cannot be reached; is the recorder running there"):
        asyncio.run(ProbeCall(CallPlan(), target).run())


def test_a_recorder_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(caller, "ANSWER_S", 0.0)
    target = Target.parse(f"sip:127.0.0.1:{closed_port(socket.SOCK_DGRAM)}")
    with pytest.raises(CallFailed, match="did not answer INVITE"):
        asyncio.run(ProbeCall(CallPlan(), target).run())


def test_a_host_that_has_no_address_is_named():
    with pytest.raises(ProbeError, match=r"no host nowhere\.invalid"):
        asyncio.run(ProbeCall(CallPlan(), Target.parse("sip:nowhere.invalid")).run())
