"""Port pairs: bound for real, kept out of use after a call, and none left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import socket

import pytest

from siprec.rtp.ports import PortAllocator, PortPair, PortsExhausted, kernel_drops
from siprec.rtp.slab import SO_RXQ_OVFL, SO_TIMESTAMPNS

HOST = "127.0.0.1"


@pytest.fixture
def bounds(rtp_ports):
    """`bounds(pairs)`: first and last port of a range that is this test's own."""

    def find(pairs: int) -> tuple[int, int]:
        first, last = rtp_ports(pairs).split("-")
        return int(first), int(last)

    return find


@pytest.fixture
def allocated():
    """Pairs that are closed at the end."""
    pairs: list[PortPair] = []
    yield pairs
    for pair in pairs:
        pair.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_rtp_is_on_an_even_port_and_rtcp_on_the_next(bounds, allocated):
    first, last = bounds(3)
    ports = PortAllocator(HOST, first + 1, last, quarantine_s=10)  # begins with an odd one
    assert ports.total == 2
    for _ in range(2):
        allocated.append(ports.allocate(0.0))
        pair = allocated[-1]
        assert pair.port % 2 == 0
        assert pair.rtp.getsockname() == (HOST, pair.port)
        assert pair.rtcp is not None
        assert pair.rtcp.getsockname() == (HOST, pair.port + 1) == (HOST, pair.rtcp_port)
        assert first < pair.port < last
    assert (ports.in_use, ports.available(0.0)) == (2, 0)


def test_a_range_that_ends_on_an_even_port_has_no_half_pair():
    assert PortAllocator(HOST, 20000, 20002, quarantine_s=10).total == 1
    assert PortAllocator(HOST, 20000, 20000, quarantine_s=10).total == 0


def test_with_rtcp_mux_the_next_port_stays_free(bounds, allocated):
    first, last = bounds(1)
    ports = PortAllocator(HOST, first, last, quarantine_s=10)
    allocated.append(ports.allocate(0.0, mux=True))
    assert allocated[0].rtcp is None
    assert allocated[0].rtcp_port == first
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, first + 1))


def test_the_sockets_do_not_block_and_tell_arrival_and_drops(bounds, allocated):
    first, last = bounds(1)
    allocated.append(PortAllocator(HOST, first, last, quarantine_s=10, rcvbuf=65536).allocate(0.0))
    for sock in (allocated[0].rtp, allocated[0].rtcp):
        assert sock is not None
        assert not os.get_blocking(sock.fileno())
        assert not sock.get_inheritable()
        assert sock.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS)
        assert sock.getsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 65536


def test_a_port_rests_after_a_call_and_then_serves_again(bounds, allocated):
    first, last = bounds(1)
    ports = PortAllocator(HOST, first, last, quarantine_s=10)
    ports.release(ports.allocate(0.0), 100.0)
    assert ports.available(109.9) == 0
    with pytest.raises(PortsExhausted, match="1 resting"):
        ports.allocate(109.9)
    allocated.append(ports.allocate(110.0))
    assert allocated[0].port == first


def test_ports_are_handed_out_in_turn(bounds):
    first, last = bounds(4)
    ports = PortAllocator(HOST, first, last, quarantine_s=0)
    seen = []
    for now in range(8):
        pair = ports.allocate(float(now))
        seen.append(pair.port)
        ports.release(pair, float(now))
    assert seen == [first, first + 2, first + 4, first + 6] * 2


@pytest.mark.parametrize("taken", [0, 1])
def test_a_port_in_use_is_skipped_and_counted_and_its_partner_let_go(bounds, allocated, taken):
    first, last = bounds(2)
    ports = PortAllocator(HOST, first, last, quarantine_s=10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, first + taken))
        before = descriptors()
        allocated.append(ports.allocate(0.0))
        assert allocated[0].port == first + 2
        assert ports.skipped == 1
        assert descriptors() == before + 2
        with pytest.raises(PortsExhausted):
            ports.allocate(0.0)
        assert descriptors() == before + 2
    allocated.append(ports.allocate(0.0))  # it is free now
    assert allocated[1].port == first


def test_exhaustion_says_where_the_ports_are(bounds, allocated):
    first, last = bounds(2)
    ports = PortAllocator(HOST, first, last, quarantine_s=10)
    allocated.append(ports.allocate(0.0))
    ports.release(ports.allocate(0.0), 0.0)
    with pytest.raises(PortsExhausted, match="1 in use, 1 resting, of 2"):
        ports.allocate(0.0)
    assert ports.in_use == 1


def test_an_address_that_is_not_ours_is_refused_at_once_without_a_leak():
    ports = PortAllocator("192.0.2.1", 20000, 20009, quarantine_s=10)
    before = descriptors()
    with pytest.raises(PortsExhausted, match=r"192\.0\.2\.1"):
        ports.allocate(0.0)
    assert descriptors() == before
    assert (ports.in_use, ports.skipped, ports.available(0.0)) == (0, 0, 5)


def test_without_descriptors_the_call_is_refused_and_the_port_kept(bounds):
    first, last = bounds(1)
    ports = PortAllocator(HOST, first, last, quarantine_s=10)
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        os.close(held.pop())  # one left: RTP can be opened, RTCP cannot
        with pytest.raises(PortsExhausted, match="open files"):
            ports.allocate(0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in [highest, *held]:
            os.close(fd)
    assert descriptors() == before
    pair = ports.allocate(0.0)
    assert pair.port == first
    ports.release(pair, 0.0)


def test_ipv6_addresses_are_bound_as_such(bounds, allocated):
    first, last = bounds(1)
    try:
        allocated.append(PortAllocator("::1", first, last, quarantine_s=10).allocate(0.0))
    except PortsExhausted:
        pytest.skip("no IPv6 here")
    assert allocated[0].rtp.getsockname()[:2] == ("::1", first)


def test_kernel_drops_are_counted_and_the_socket_stays_open(bounds, allocated):
    first, last = bounds(1)
    allocated.append(PortAllocator(HOST, first, last, quarantine_s=10, rcvbuf=4096).allocate(0.0))
    sock = allocated[0].rtp
    assert kernel_drops(sock.fileno()) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(200):
            sender.sendto(bytes(500), (HOST, first))
    received = 0
    while True:
        try:
            sock.recv(2048)
        except BlockingIOError:
            break
        received += 1
    assert 0 < received < 200
    assert kernel_drops(sock.fileno()) == 200 - received
