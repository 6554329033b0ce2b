import asyncio
import socket
from contextlib import asynccontextmanager, suppress

import pytest

from siprec.net.limits import NetLimits
from siprec.sip.events import RequestReceived
from siprec.sip.stream import StreamFramer
from tests.net.loops import both_loops, endpoint, run
from tests.sip.wire import request

VIA = "SIP/2.0/TCP 127.0.0.1:5099;branch=z9hG4bK{}"


def options(number=0):
    return request("OPTIONS", via=VIA.format(number)).encode()


@asynccontextmanager
async def connected(sip, **options):
    reader, writer = await asyncio.open_connection(*sip.addresses[0].address, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def rest(reader):
    """What comes until the end; a reset is an end too."""
    with suppress(ConnectionResetError):
        return await reader.read()
    return b""


async def responses(reader, count):
    framer, found = StreamFramer(), []
    while len(found) < count:
        data = await reader.read(65536)
        assert data, "closed early"
        found += framer.feed(data)
    return found


@both_loops
def test_requests_are_answered_on_their_connection_however_they_are_cut(loop):
    async def main():
        async with endpoint("tcp://127.0.0.1:0") as sip, connected(sip) as (reader, writer):
            wire = options(1) + options(2)
            for byte in wire[:700]:
                writer.write(bytes([byte]))
                await writer.drain()
            writer.write(wire[700:])
            assert [response.status for response in await responses(reader, 2)] == [200, 200]
            event = await sip.handler.next(RequestReceived)
            assert event.flow.local == sip.addresses[0].address
            assert event.flow.connection is not None

    run(main(), loop)


@both_loops
def test_a_ping_gets_its_pong(loop):
    async def main():
        async with endpoint("tcp://127.0.0.1:0") as sip, connected(sip) as (reader, writer):
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"
            writer.write(options())
            assert (await responses(reader, 1))[0].status == 200

    run(main(), loop)


@both_loops
def test_a_bad_message_costs_neither_the_connection_nor_the_next_message(loop):
    async def main():
        async with endpoint("tcp://127.0.0.1:0") as sip, connected(sip) as (reader, writer):
            writer.write(options(1).replace(b"From: <sip:src@192.0.2.9>;tag=peer", b"From: <>"))
            writer.write(request("ACK").encode().replace(b"CSeq: 1 ACK", b"CSeq: zzz"))
            writer.write(options(2))
            reader_bytes = await reader.readuntil(b"\r\n")
            assert reader_bytes == b"SIP/2.0 400 Bad Request\r\n"
            assert b"SIP/2.0 200 OK\r\n" in await reader.readuntil(b"answer")

    run(main(), loop)


@both_loops
@pytest.mark.parametrize(
    ("length", "status"),
    [
        (b"Content-Length: -1", b"400"),
        (b"Content-Length: 10000000", b"413"),
        (b"Content-Type: a/b", b"400"),
        (b"X: " + b"y" * 200_000, b"400"),
        (b"X: y\r\n" * 10_000 + b"Content-Length: 0", b"400"),
    ],
)
def test_when_framing_is_lost_the_answer_goes_out_before_the_connection_closes(loop, length, status):
    async def main():
        async with endpoint("tcp://127.0.0.1:0") as sip, connected(sip) as (reader, writer):
            writer.write(options(1).replace(b"Content-Length: 0", length))
            assert (await reader.readline()).startswith(b"SIP/2.0 " + status)
            assert sip.counters["closed_by_fault", "tcp"] == 1

    run(main(), loop)


@both_loops
def test_what_is_not_sip_is_closed_without_an_answer(loop):
    async def main():
        async with endpoint("tcp://127.0.0.1:0") as sip, connected(sip) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.read() == b""
            assert sip.counters["closed_by_fault", "tcp"] == 1

    run(main(), loop)


@both_loops
def test_a_message_that_never_ends_is_cut_off_and_counted(loop):
    async def main():
        limits = NetLimits(message=0.05)
        async with endpoint("tcp://127.0.0.1:0", limits=limits) as sip, connected(sip) as (reader, writer):
            writer.write(options(1))
            await responses(reader, 1)
            writer.write(options(2)[:40])
            assert await rest(reader) == b""
            assert sip.counters["half_messages", "tcp"] == 1

    run(main(), loop)


@both_loops
def test_an_idle_connection_is_closed_and_counted(loop):
    async def main():
        limits = NetLimits(idle=0.05)
        async with endpoint("tcp://127.0.0.1:0", limits=limits) as sip, connected(sip) as (reader, _):
            assert await rest(reader) == b""
            assert sip.counters["idle_closed", "tcp"] == 1

    run(main(), loop)


@both_loops
def test_a_connection_from_elsewhere_is_closed_unread(loop):
    async def main():
        async with endpoint("tcp://127.0.0.1:0", allow=["127.0.0.2"]) as sip:
            async with connected(sip) as (reader, writer):
                writer.write(options())
                assert await rest(reader) == b""
            assert sip.counters["source_refused", "tcp"] == 1
            assert sip.stack.counters["requests_received", "OPTIONS"] == 0
            async with connected(sip, local_addr=("127.0.0.2", 0)) as (reader, writer):
                writer.write(options())
                assert (await responses(reader, 1))[0].status == 200

    run(main(), loop)


@both_loops
def test_connections_beyond_the_cap_are_refused_and_counted(loop):
    async def main():
        limits = NetLimits(connections=1)
        async with endpoint("tcp://127.0.0.1:0", limits=limits) as sip, connected(sip) as (reader, writer):
            writer.write(options(1))
            await responses(reader, 1)
            async with connected(sip) as (second, _):
                assert await rest(second) == b""
            assert sip.counters["connections_refused", "tcp"] == 1
            writer.write(options(2))
            assert (await responses(reader, 1))[0].status == 200
            assert sip.connections == 1

    run(main(), loop)


async def send_all(peer, wires):
    for wire in wires:
        await asyncio.get_running_loop().sock_sendall(peer, wire)


@both_loops
def test_a_peer_that_does_not_read_is_cut_off(loop):
    async def main():
        limits = NetLimits(write_buffer=100_000)
        async with endpoint("tcp://127.0.0.1:0", limits=limits) as sip:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.setblocking(False)
                await asyncio.get_running_loop().sock_connect(peer, sip.addresses[0].address)
                wires = (options(number) for number in range(100_000))
                with pytest.raises((ConnectionResetError, BrokenPipeError)):
                    await send_all(peer, wires)
            assert sip.counters["write_overflow", "tcp"] == 1

    run(main(), loop)


@both_loops
def test_an_answer_finds_the_peer_on_a_new_connection_when_its_own_is_gone(loop):
    async def main():
        came: asyncio.Queue = asyncio.Queue()
        server = await asyncio.start_server(lambda r, w: came.put_nowait((r, w)), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with endpoint("tcp://127.0.0.1:0") as sip:
            sip.handler.status = None
            async with connected(sip) as (_, writer):
                via = f"SIP/2.0/TCP 127.0.0.1:{port};branch=z9hG4bK1"
                writer.write(request("OPTIONS", via=via).encode())
                event = await sip.handler.next(RequestReceived)
            while sip.connections:
                await asyncio.sleep(0)
            sip.respond(event.transaction, 200)
            reader, writer = await came.get()
            assert (await responses(reader, 1))[0].status == 200
            writer.transport.abort()
        server.close()

    run(main(), loop)
