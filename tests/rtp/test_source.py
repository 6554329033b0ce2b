"""Who may send to a leg, by the address that the kernel gives and the one in the SDP."""

from __future__ import annotations

import ipaddress
import socket
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.source import RELATCH_NS, admit, keys_of, source_address, source_key, source_text
from siprec.rtp.state import new_legs

S = 1_000_000_000
SDP, OTHER, THIRD = (source_key(host, 4000) for host in ("192.0.2.1", "192.0.2.2", "2001:db8::3"))


def sockaddr(host: str, port: int) -> bytes:
    """struct sockaddr_in or sockaddr_in6, as the kernel writes it."""
    if ":" in host:
        return struct.pack("=H", socket.AF_INET6) + struct.pack(
            "!HI16sI", port, 7, socket.inet_pton(socket.AF_INET6, host), 0
        )
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))


def kernel_keys(*addresses: tuple[str, int]) -> list[int]:
    names = np.full((len(addresses), 32), 0xCC, np.uint8)
    for row, (host, port) in zip(names, addresses, strict=True):
        data = sockaddr(host, port)
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return keys_of(names).tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.ip_addresses(), st.integers(0, 65535)), min_size=1, max_size=8))
def test_an_address_has_the_same_key_as_text_and_as_the_kernel_gives_it(addresses):
    pairs = [(str(host), port) for host, port in addresses]
    assert kernel_keys(*pairs) == [source_key(*pair) for pair in pairs]


@settings(max_examples=50, deadline=None)
@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_an_ipv4_address_mapped_into_ipv6_is_the_same_source(host, port):
    mapped = f"::ffff:{host}"
    assert kernel_keys((mapped, port)) == [source_key(str(host), port)] == [source_key(mapped, port)]


def test_different_sources_have_different_keys():
    hosts = [str(ipaddress.ip_address("2001:db8::") + i) for i in range(500)]
    hosts += [f"2001:db8:{i:x}::1" for i in range(1, 500)] + [
        f"10.0.{i % 256}.{i // 256}" for i in range(500)
    ]
    keys = {source_key(host, port) for host in hosts for port in (4000, 4002)}
    assert len(keys) == 2 * len(hosts)


@pytest.mark.parametrize("host", ["", "sbc.example.com", "1.2.3", "[::1]", "300.1.1.1"])
def test_a_name_is_no_source(host):
    assert source_key(host, 4000) == 0


def test_a_key_reads_as_an_address():
    assert source_text(source_key("192.0.2.17", 65535)) == "192.0.2.17:65535"
    assert "IPv6" in source_text(source_key("2001:db8::1", 1))


class Latch:
    def __init__(self, sdp: int = 0) -> None:
        self.legs = new_legs(1)
        self.legs["sdp_source"] = sdp

    def take(self, *rows: tuple[int, float]) -> tuple[list[bool], list[int]]:
        """(key, seconds) of each row."""
        keys = np.array([key for key, _ in rows], np.uint64)
        arrival = np.array([round(at * S) for _, at in rows], np.int64)
        accepted, moves = admit(self.legs[0], keys, arrival)
        return accepted.tolist(), moves


def test_the_first_source_is_taken_and_others_are_kept_out():
    latch = Latch()
    assert latch.take((OTHER, 1), (THIRD, 1.1), (OTHER, 1.2)) == ([True, False, True], [OTHER])
    assert latch.take((THIRD, 2), (OTHER, 2.1)) == ([False, True], [])


def test_the_address_in_the_sdp_wins_over_an_earlier_stranger_for_good():
    latch = Latch(SDP)
    assert latch.take((OTHER, 1), (SDP, 1.1), (OTHER, 1.2), (SDP, 1.3)) == (
        [True, True, False, True],
        [OTHER, SDP],
    )
    assert latch.take((OTHER, 2)) == ([False], [])


def test_a_stranger_takes_over_only_after_silence():
    latch = Latch(SDP)
    latch.take((SDP, 1))
    silence = RELATCH_NS / S
    assert latch.take((OTHER, 1 + silence))[0] == [False]
    assert latch.take((OTHER, 1.001 + silence), (OTHER, 1.002 + silence)) == ([True, True], [OTHER])
    assert latch.take((SDP, 1.003 + silence)) == ([True], [SDP])


def test_packets_of_strangers_do_not_keep_the_latch_alive():
    latch = Latch()
    latch.take((OTHER, 0))
    rows = [(THIRD, i / 10) for i in range(1, 40)]
    accepted, moves = latch.take(*rows)
    assert moves == [THIRD]
    assert accepted == [at > RELATCH_NS / S for _, at in rows]


@pytest.mark.parametrize("family", ["192.0.2.{}", "2001:db8::{}"])
def test_the_host_in_the_sdp_wins_with_another_port_too(family):
    """An SBC need not send from the port that its SDP names; a stranger that came first does not keep it out."""
    near, stranger = source_key(family.format(1), 7000), source_key(family.format(9), 4000)
    said = source_key(family.format(1), 4000)
    latch = Latch(said)
    assert latch.take((stranger, 1), (near, 1.1), (stranger, 1.2)) == (
        [True, True, False],
        [stranger, near],
    )
    assert latch.take((said, 1.3), (near, 1.4)) == ([True, False], [said])


def test_ports_of_one_ipv6_host_are_different_sources_of_one_host():
    one, other = source_key("2001:db8::1", 4000), source_key("2001:db8::1", 65535)
    assert one != other
    assert one >> 16 == other >> 16 != source_key("2001:db8::2", 4000) >> 16


def test_a_key_gives_its_address_back_where_it_has_one():
    assert source_address(source_key("192.0.2.17", 4001)) == ("192.0.2.17", 4001)
    assert source_address(source_key("2001:db8::1", 4001)) is source_address(0) is None
