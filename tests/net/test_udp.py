import asyncio
import socket

import pytest

from siprec.net.limits import NetLimits
from siprec.sip.events import InviteReceived, RequestReceived
from siprec.sip.parser import parse_datagram
from tests.net.loops import both_loops, endpoint, run, udp_peer
from tests.sip.wire import request


def options(local, number=0, **fields):
    via = f"SIP/2.0/UDP {local[0]}:{local[1]};branch=z9hG4bK{number};rport"
    return request("OPTIONS", via=via, **fields).encode()


@both_loops
def test_a_datagram_is_answered_where_it_came_from(loop):
    async def main():
        async with endpoint("udp://127.0.0.1:0") as sip, udp_peer(sip.addresses[0].address) as peer:
            await peer.send(b"\r\n\r\n")
            await peer.send(options(peer.local))
            response = parse_datagram(await peer.receive())
            assert response.status == 200
            assert response.body == b"answer"
            event = await sip.handler.next(RequestReceived)
            assert (event.flow.local, event.flow.remote) == (sip.addresses[0].address, peer.local)
            assert sip.counters["keep_alives", "udp"] == 1

    run(main(), loop)


@both_loops
@pytest.mark.parametrize(
    ("wildcard", "reached", "family"),
    [("0.0.0.0", "127.0.0.7", socket.AF_INET), ("[::]", "::1", socket.AF_INET6)],
)
def test_on_a_wildcard_bind_the_answer_comes_from_and_names_the_address_that_was_reached(
    loop, wildcard, reached, family
):
    async def main():
        async with endpoint(f"udp://{wildcard}:0") as sip:
            port = sip.addresses[0].port
            async with udp_peer((reached, port), family=family) as peer:
                host = f"[{peer.local[0]}]" if family == socket.AF_INET6 else peer.local[0]
                via = f"SIP/2.0/UDP {host}:{peer.local[1]};branch=z9hG4bK1;rport"
                await peer.send(request("INVITE", via=via).encode())
                response = parse_datagram(await peer.receive())
                event = await sip.handler.next(InviteReceived)
                assert event.flow.local == (reached, port)
                assert f"{reached}" in response.headers.get("Contact")

    run(main(), loop)


@both_loops
def test_garbage_is_counted_and_a_malformed_request_gets_400(loop):
    async def main():
        async with endpoint("udp://127.0.0.1:0") as sip, udp_peer(sip.addresses[0].address) as peer:
            await peer.send(b"\xff" * 1400)
            await peer.send(options(peer.local).replace(b"CSeq: 1", b"CSeq: x"))
            assert parse_datagram((await peer.receive()).replace(b"CSeq: x", b"CSeq: 1")).status == 400
            assert sip.stack.counters["dropped", "unparsable"] == 1

    run(main(), loop)


@both_loops
def test_a_datagram_from_elsewhere_is_dropped_before_it_is_parsed(loop):
    async def main():
        async with endpoint("udp://127.0.0.1:0", allow=["127.0.0.2"]) as sip:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as allowed:
                allowed.bind(("127.0.0.2", 0))
                async with udp_peer(sip.addresses[0].address) as stranger:
                    await stranger.send(options(stranger.local))
                    await stranger.send(b"garbage")
                allowed.sendto(options(allowed.getsockname()), sip.addresses[0].address)
                await sip.handler.next(RequestReceived)
            assert sip.counters["source_refused", "udp"] == 2
            assert sip.stack.counters["dropped", "unparsable"] == 0
            assert sip.stack.counters["requests_received", "OPTIONS"] == 1

    run(main(), loop)


@both_loops
def test_more_datagrams_than_one_batch_are_all_answered(loop):
    async def main():
        limits = NetLimits(udp_batch=4)
        url = "udp://127.0.0.1:0"
        async with endpoint(url, limits=limits) as sip, udp_peer(sip.addresses[0].address) as peer:
            for number in range(50):
                await peer.send(options(peer.local, number))
            branches = {parse_datagram(await peer.receive()).via.branch for _ in range(50)}
            assert len(branches) == 50

    run(main(), loop)


@both_loops
def test_an_invite_of_many_kilobytes_arrives_whole(loop):
    async def main():
        async with endpoint("udp://127.0.0.1:0") as sip, udp_peer(sip.addresses[0].address) as peer:
            via = f"SIP/2.0/UDP 127.0.0.1:{peer.local[1]};branch=z9hG4bK1;rport"
            body = b"x" * 60_000
            await peer.send(request("INVITE", via=via, body=body).encode())
            event = await sip.handler.next(InviteReceived)
            assert event.request.body == body

    run(main(), loop)


def test_a_taken_port_is_an_error_and_leaves_nothing_open():
    async def main():
        async with endpoint("udp://127.0.0.1:0") as sip:
            taken = sip.addresses[0].port
            with pytest.raises(OSError, match="in use"):
                async with endpoint("tcp://127.0.0.1:0", f"udp://127.0.0.1:{taken}"):
                    pass

    run(main(), asyncio.new_event_loop)
