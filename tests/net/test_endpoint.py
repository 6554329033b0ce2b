import asyncio
import subprocess

import pytest

from siprec.net.limits import NetLimits
from siprec.sip.config import StackConfig
from siprec.sip.events import (
    AckReceived,
    DialogEnded,
    InviteReceived,
    RequestReceived,
    ResponseReceived,
    TransportFailed,
)
from siprec.sip.parser import parse_datagram
from siprec.sip.transaction import TimerConfig
from siprec.sip.uac import Destination
from tests.net.loops import Answering, both_loops, endpoint, run, udp_peer
from tests.sip.wire import request


def destination(caller, callee, transport):
    address = next(url for url in callee.addresses if url.transport == transport).address
    uri = f"sip:rec@{address[0]}:{address[1]}"
    return Destination(uri=uri, flow=caller.flow_to(transport, address), from_uri="sip:us@127.0.0.1")


@both_loops
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_two_endpoints_make_and_end_a_call(loop, transport):
    async def main():
        urls = ("udp://127.0.0.1:0", "tcp://127.0.0.1:0")
        async with endpoint(*urls) as callee, endpoint(*urls) as caller:
            caller.request(destination(caller, callee, transport), "INVITE", body=b"offer")
            answer = await caller.handler.next(ResponseReceived)
            assert (answer.response.status, answer.response.body) == (200, b"answer")
            caller.acknowledge(answer.transaction, answer.dialog)
            await callee.handler.next(AckReceived)
            (dialog,) = callee.stack.dialogs
            assert dialog.flow.transport == transport
            callee.request(dialog, "OPTIONS")
            options = await caller.handler.next(RequestReceived)
            assert options.dialog is answer.dialog
            caller.request(answer.dialog, "BYE")
            await callee.handler.next(DialogEnded)
            await caller.handler.next(DialogEnded)
            assert callee.stack.dialogs == caller.stack.dialogs == []

    run(main(), loop)


@both_loops
def test_a_caller_without_listener_calls_over_tcp(loop):
    async def main():
        async with endpoint("tcp://127.0.0.1:0") as callee, endpoint() as caller:
            caller.request(destination(caller, callee, "tcp"), "OPTIONS")
            assert (await caller.handler.next(ResponseReceived)).response.status == 200
            assert (callee.connections, caller.connections) == (1, 1)
            caller.request(destination(caller, callee, "tcp"), "OPTIONS")
            assert (await caller.handler.next(ResponseReceived)).response.status == 200
            assert callee.connections == 1

    run(main(), loop)


@both_loops
def test_a_peer_that_does_not_listen_fails_the_request(loop, free_port):
    async def main():
        async with endpoint() as caller:
            flow = caller.flow_to("tcp", ("127.0.0.1", free_port()))
            target = Destination(uri="sip:x@127.0.0.1", flow=flow, from_uri="sip:us@127.0.0.1")
            sent = caller.request(target, "OPTIONS")
            assert (await caller.handler.next(TransportFailed)).transaction is sent
            assert caller.counters["connect_failed", "tcp"] == 1

    run(main(), loop)


@both_loops
def test_udp_without_listener_fails_the_request(loop):
    async def main():
        async with endpoint() as caller:
            flow = caller.flow_to("udp", ("127.0.0.1", 9))
            caller.request(Destination(uri="sip:x@127.0.0.1", flow=flow, from_uri="sip:a@b"), "OPTIONS")
            await caller.handler.next(TransportFailed)

    run(main(), loop)


@both_loops
def test_timers_run_so_that_a_lost_answer_comes_again(loop):
    async def main():
        config = StackConfig(timers=TimerConfig(t1=0.02, t2=0.04))
        url = "udp://127.0.0.1:0"
        async with endpoint(url, config=config) as sip, udp_peer(sip.addresses[0].address) as peer:
            via = f"SIP/2.0/UDP 127.0.0.1:{peer.local[1]};branch=z9hG4bK1;rport"
            await peer.send(request("INVITE", via=via).encode())
            first = await peer.receive()
            assert [await peer.receive() for _ in range(3)] == [first] * 3
            to = parse_datagram(first).headers.get("To")
            await peer.send(request("ACK", via=via + "a", to=to).encode())
            await sip.handler.next(AckReceived)

    run(main(), loop)


class Failing(Answering):
    def __call__(self, event):
        self.events.put_nowait(event)
        raise RuntimeError("no disk")


@both_loops
def test_when_the_handler_fails_the_request_gets_500_and_the_next_one_is_served(loop, caplog):
    async def main():
        async with endpoint("udp://127.0.0.1:0", handler=Failing()) as sip:
            async with udp_peer(sip.addresses[0].address) as peer:
                for number in range(2):
                    via = f"SIP/2.0/UDP 127.0.0.1:{peer.local[1]};branch=z9hG4bK{number};rport"
                    await peer.send(request("INVITE", via=via, call_id=f"c{number}").encode())
                    assert parse_datagram(await peer.receive()).status == 500
            assert sip.stack.dialogs == []

    run(main(), loop)
    assert "no disk" in caplog.text


@both_loops
def test_a_later_answer_goes_out_by_itself(loop):
    async def main():
        async with endpoint("udp://127.0.0.1:0") as sip:
            sip.handler.status = None
            async with udp_peer(sip.addresses[0].address) as peer:
                via = f"SIP/2.0/UDP 127.0.0.1:{peer.local[1]};branch=z9hG4bK1;rport"
                await peer.send(request("INVITE", via=via).encode())
                event = await sip.handler.next(InviteReceived)
                assert sip.respond(event.transaction, 503, headers=[("Retry-After", "5")])
                assert parse_datagram(await peer.receive()).status == 503

    run(main(), loop)


def test_malformed_messages_fill_no_log(caplog):
    async def main():
        async with endpoint("udp://127.0.0.1:0", limits=NetLimits(udp_batch=8)) as sip:
            async with udp_peer(sip.addresses[0].address) as peer:
                for _ in range(60):
                    await peer.send(b"INVITE sip:x SIP/2.0\r\n\r\n")
                via = f"SIP/2.0/UDP 127.0.0.1:{peer.local[1]};branch=z9hG4bK1;rport"
                await peer.send(request("OPTIONS", via=via).encode())
                await sip.handler.next(RequestReceived)
            assert sip.stack.counters["parse_errors", "Via"] == 60

    run(main(), asyncio.new_event_loop)
    assert len(caplog.records) == 20


async def run_sipp(sipp, sip, transport, folder, *scenario):
    """Twenty calls; the exit status says whether all went as the scenario wants."""
    url = next(url for url in sip.addresses if url.transport == transport)
    process = await asyncio.create_subprocess_exec(
        sipp,
        *(*scenario, "-m", "20", "-r", "100", "-i", "127.0.0.1", "-nostdin", "-timeout", "15"),
        *("-t", "u1" if transport == "udp" else "t1", f"127.0.0.1:{url.port}"),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_gets_its_options_answered(require_tool, tmp_path, transport):
    sipp = require_tool("sipp", "sip-tester")
    scenario = tmp_path / "options.xml"
    scenario.write_text(OPTIONS_SCENARIO)

    async def main():
        async with endpoint("udp://127.0.0.1:0", "tcp://127.0.0.1:0") as sip:
            await run_sipp(sipp, sip, transport, tmp_path, "-sf", str(scenario))
            assert sip.stack.counters["responses_sent", "200"] == 20

    run(main(), asyncio.new_event_loop)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_makes_and_ends_calls(require_tool, tmp_path, transport):
    sipp = require_tool("sipp", "sip-tester")

    async def main():
        async with endpoint("udp://127.0.0.1:0", "tcp://127.0.0.1:0") as sip:
            await run_sipp(sipp, sip, transport, tmp_path, "-sn", "uac", "-d", "10")
            assert sip.stack.counters["requests_received", "ACK"] == 20
            assert sip.stack.counters["retransmissions_sent", "response"] == 0
            assert sip.stack.dialogs == []

    run(main(), asyncio.new_event_loop)


OPTIONS_SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="options">
  <send retrans="500"><![CDATA[
    OPTIONS sip:recorder@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:recorder@[remote_ip]:[remote_port]>
    Call-ID: [call_id]
    CSeq: 1 OPTIONS
    Max-Forwards: 70
    Content-Length: 0
  ]]></send>
  <recv response="200"/>
</scenario>
"""
