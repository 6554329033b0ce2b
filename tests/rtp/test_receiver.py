"""Batches out of real sockets: caps, drops, empty and overlong datagrams, stamps of the kernel."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from siprec.rtp.ports import PortAllocator, PortsExhausted
from siprec.rtp.receiver import BURST, ReceivedRows, UdpReceiver, receive_stamped
from siprec.rtp.slab import LAYOUT, MMSGHDR, ROWS, STRIDE, UNTOUCHED, Slab
from siprec.rtp.source import source_key

Open = Callable[..., socket.socket]


@pytest.fixture
def opened() -> Iterator[Open]:
    """`opened(host, rcvbuf)`: a bound socket as legs have it, closed at the end."""
    made: list[socket.socket] = []

    def open_(host: str = "127.0.0.1", rcvbuf: int | None = None) -> socket.socket:
        ports = PortAllocator(host, 0, 1, quarantine_s=0, rcvbuf=rcvbuf)
        made.append(ports.allocate(0.0, mux=True).rtp)
        return made[-1]

    yield open_
    for sock in made:
        sock.close()


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def drain(receiver: UdpReceiver, *sockets: socket.socket) -> list[tuple[int, bytes]]:
    """(leg, datagram) of everything that one drain gives; leg is the position of the socket."""
    got = []
    for rows in receiver.batches([(leg, sock.fileno()) for leg, sock in enumerate(sockets)]):
        got += [
            (int(leg), bytes(row[:n]))
            for leg, row, n in zip(rows.leg, rows.data, rows.length.tolist(), strict=True)
        ]
    return got


def one_batch(receiver: UdpReceiver, sock: socket.socket) -> ReceivedRows:
    (rows,) = receiver.batches([(0, sock.fileno())])
    return rows


def receiver(cap: int = 256) -> UdpReceiver:
    return UdpReceiver(Slab.private(), cap=cap)


def test_a_row_is_as_long_as_the_kernel_says():
    assert MMSGHDR.itemsize == 64
    sizes = {name: int(np.prod(shape)) * dtype.itemsize for name, dtype, shape in LAYOUT}
    assert sizes == {
        "header": ROWS * 64,
        "iovec": ROWS * 16,
        "name": ROWS * 32,
        "control": ROWS * 64,
        "drain": ROWS * 16,
        "data": ROWS * STRIDE,
    }


def test_datagrams_come_leg_by_leg_in_order_of_arrival(opened, sender):
    socks = [opened() for _ in range(3)]
    expected = []
    for i in range(90):
        for leg in (0, 2):
            sender.sendto(b"%d.%d" % (leg, i), socks[leg].getsockname())
    for leg in (0, 2):
        expected += [(leg, b"%d.%d" % (leg, i)) for i in range(90)]
    drained = receiver()
    assert drain(drained, *socks) == expected
    assert drain(drained, *socks) == []
    assert drained.errors == 0
    assert drained.capped == []


def test_the_source_is_the_senders_address(opened, sender):
    sock = opened()
    sender.sendto(b"x", sock.getsockname())
    assert one_batch(receiver(), sock).source.tolist() == [source_key(*sender.getsockname())]


def test_arrival_is_stamped_by_the_kernel_on_the_real_time_clock(opened, sender):
    sock = opened()
    before = time.time_ns()
    sender.sendto(b"x", sock.getsockname())
    sender.sendto(b"y", sock.getsockname())
    rows = one_batch(receiver(), sock)
    first, second = rows.stamp.tolist()
    assert before <= first <= second <= time.time_ns()


def test_a_socket_without_stamps_gives_zero(sender):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as plain:
        plain.bind(("127.0.0.1", 0))
        sender.sendto(b"x", plain.getsockname())
        rows = one_batch(receiver(), plain)
    assert (rows.stamp.tolist(), rows.drops.tolist()) == ([0], [-1])


def test_an_empty_datagram_keeps_the_packets_behind_it(opened, sender):
    sock = opened()
    for data in (b"a", b"", b"b", b"", b"", b"c"):
        sender.sendto(data, sock.getsockname())
    assert [data for _, data in drain(receiver(), sock)] == [b"a", b"", b"b", b"", b"", b"c"]


def test_a_datagram_longer_than_a_row_is_marked_cut(opened, sender):
    sock = opened()
    for size in (STRIDE - 1, STRIDE, STRIDE + 1, 60000):
        sender.sendto(bytes(size), sock.getsockname())
    rows = one_batch(receiver(), sock)
    assert rows.length.tolist() == [STRIDE - 1, STRIDE, STRIDE, STRIDE]
    assert rows.cut.tolist() == [False, False, True, True]


@pytest.mark.parametrize("cap", [1, 10, BURST, BURST + 1, 100])
def test_a_socket_gives_up_to_the_cap_a_tick_and_the_rest_waits(opened, sender, cap):
    flooded, quiet = opened(rcvbuf=1 << 20), opened()
    for i in range(cap + 3):
        sender.sendto(b"%d" % i, flooded.getsockname())
    sender.sendto(b"other", quiet.getsockname())
    drained = receiver(cap)
    got = drain(drained, flooded, quiet)
    assert got == [(0, b"%d" % i) for i in range(cap)] + [(1, b"other")]
    assert drained.capped == ([0, 1] if cap == 1 else [0])
    rest = [(0, b"%d" % i) for i in range(cap, cap + 3)]
    assert drain(drained, flooded, quiet) == rest[:cap]
    assert drained.capped == ([0] if cap == 1 else [])


def test_more_than_a_slab_comes_in_several_batches_and_nothing_is_missing(opened, sender):
    socks = [opened(rcvbuf=1 << 20) for _ in range(20)]
    for leg, sock in enumerate(socks):
        for i in range(250):
            sender.sendto(b"%d.%d" % (leg, i), sock.getsockname())
    drained = receiver()
    sizes, got = [], []
    for rows in drained.batches([(leg, sock.fileno()) for leg, sock in enumerate(socks)]):
        sizes.append(rows.leg.size)
        got += [bytes(row[:n]) for row, n in zip(rows.data, rows.length.tolist(), strict=True)]
    assert got == [b"%d.%d" % (leg, i) for leg in range(20) for i in range(250)]
    assert len(sizes) == 2
    assert max(sizes) <= ROWS


def test_what_the_kernel_dropped_is_told_with_the_next_packet(opened, sender):
    sock = opened(rcvbuf=4096)
    for _ in range(100):
        sender.sendto(bytes(300), sock.getsockname())
    drained = receiver()
    rows = one_batch(drained, sock)
    held = rows.leg.size
    assert 0 < held < 100
    assert rows.drops.max() <= 0
    sender.sendto(b"next", sock.getsockname())
    assert one_batch(drained, sock).drops.tolist() == [100 - held]


def test_a_descriptor_that_is_no_socket_costs_only_itself(opened, sender):
    sock = opened()
    sender.sendto(b"x", sock.getsockname())
    read, write = os.pipe()
    drained = receiver()
    rows = list(drained.batches([(0, read), (1, sock.fileno())]))
    os.close(read)
    os.close(write)
    assert [batch.leg.tolist() for batch in rows] == [[1]]
    assert drained.errors == 1


def test_rows_that_the_kernel_filled_can_be_told_after_a_death(opened, sender):
    """The first row of each drain is noted before it, and untouched rows keep their mark."""
    socks = [opened(), opened()]
    slab = Slab.private()
    for leg, count in enumerate((3, 2)):
        for _ in range(count):
            sender.sendto(b"x" * (leg + 1), socks[leg].getsockname())
    rows = UdpReceiver(slab, cap=256).batches([(leg, sock.fileno()) for leg, sock in enumerate(socks)])
    next(rows)
    assert slab.header["msg_len"][:6].tolist() == [1, 1, 1, 2, 2, UNTOUCHED]
    assert slab.drain[:2].tolist() == [[0, 0], [1, 3]]
    assert (slab.drain[2:, 0] == -1).all()


def test_ipv6_packets_are_taken_with_their_source(opened):
    try:
        sock = opened("::1")
    except PortsExhausted:
        pytest.skip("no IPv6 here")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.bind(("::1", 0))
        sender.sendto(b"six", sock.getsockname()[:2])
        rows = one_batch(receiver(), sock)
        host, port = sender.getsockname()[:2]
    assert bytes(rows.data[0, :3]) == b"six"
    assert rows.source.tolist() == [source_key(host, port)]
    assert rows.stamp[0] > 0


def test_a_single_datagram_comes_with_its_source_and_the_stamp_of_the_kernel(opened, sender):
    sock = opened()
    before = time.time_ns()
    sender.sendto(b"hello", sock.getsockname())
    after = time.time_ns()
    time.sleep(0.05)
    data, stamp, source = receive_stamped(sock, 2048)
    assert (data, source) == (b"hello", sender.getsockname())
    assert before <= stamp <= after
    with pytest.raises(BlockingIOError):
        receive_stamped(sock, 2048)
