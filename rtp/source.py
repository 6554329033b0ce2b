"""Who may send to a leg: one latched source at a time, and the address in the SDP always wins.

A source is one 64-bit key: its port in the low 16 bits, its host above. A port is a leg's alone, so packets are told apart by our
port; the latch only keeps strangers out of a leg that already has a sender (INTEROP 2.2, 3.10).
"""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.packet import U8, Bool

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

RELATCH_NS = 3_000_000_000
"A stranger may take over a leg whose sender has been silent for this long."
AF_INET, AF_INET6 = 2, 10
_V6 = np.uint64(1 << 63)
_MIX = np.uint64(0x9E3779B97F4A7C15)


def source_key(host: str, port: int) -> int:
    """The key of an address as text: IPv4 exact, IPv6 folded to 47 bits. 0 when `host` is no address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return 0
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == 4:
        return (int(address) << 16) | port
    high, low = int(address) >> 64, int(address) & (2**64 - 1)
    return int(_fold(np.array([high], np.uint64), np.array([low], np.uint64), np.array([port], np.uint64))[0])


def source_text(key: int) -> str:
    """Host and port of an IPv4 key for people to read; an IPv6 key is only named as such."""
    if key >> 63:
        return "an IPv6 source"
    return f"{ipaddress.IPv4Address(key >> 16)}:{key & 0xFFFF}"


def _fold(high: U64, low: U64, port: U64) -> U64:
    mixed: U64 = ((high * _MIX) ^ (low >> np.uint64(7)) ^ low) * _MIX
    return (mixed >> np.uint64(17) << np.uint64(16)) | port | _V6


def source_address(key: int) -> tuple[str, int] | None:
    """Host and port of an IPv4 key; None for one that is folded, or none."""
    if not key or key >> 63:
        return None
    return str(ipaddress.IPv4Address(key >> 16)), key & 0xFFFF


def keys_of(names: U8) -> U64:
    """Source keys of n `struct sockaddr_in` or `sockaddr_in6`: uint8[n, >=28] in, uint64[n] out."""
    head = np.ascontiguousarray(names[:, :8])
    port = head.view(">u2")[:, 1].astype(np.uint64)
    keys: U64 = (head.view(">u4")[:, 1].astype(np.uint64) << np.uint64(16)) | port
    six = np.flatnonzero(head.view("=u2")[:, 0] == AF_INET6)
    if six.size:
        keys[six] = _keys_of_v6(names[six], port[six])
    return keys


def _keys_of_v6(names: U8, port: U64) -> U64:
    halves: npt.NDArray[Any] = np.ascontiguousarray(names[:, 8:24]).view(">u8").astype(np.uint64)
    keys = _fold(halves[:, 0], halves[:, 1], port)
    mapped = (halves[:, 0] == 0) & ((halves[:, 1] >> np.uint64(32)) == 0xFFFF)
    plain: U64 = ((halves[:, 1] & np.uint64(0xFFFFFFFF)) << np.uint64(16)) | port
    return np.where(mapped, plain, keys)


def admit(leg: Any, keys: U64, arrival: I64) -> tuple[Bool, list[int]]:
    """Which rows of one leg count, when not all come from its latched source; moves the latch.

    leg: one LEG row. keys, arrival [ns]: one entry a row in order of arrival.
    The source in the SDP takes the leg from any other, its host with another port from any other host; what is no
    nearer than the latched source takes over only once that one has been silent for a while.
    Returns bool[n] and the keys that the leg was latched to on the way.
    """
    accepted = np.zeros(keys.shape, np.bool_)
    moves: list[int] = []
    sdp = int(leg["sdp_source"])
    latched, seen = int(leg["source"]), int(leg["source_ns"])
    for i, (key, at) in enumerate(zip(keys.tolist(), arrival.tolist(), strict=True)):
        if key != latched and (
            latched == 0 or _rank(key, sdp) > _rank(latched, sdp) or at - seen > RELATCH_NS
        ):
            latched = key
            moves.append(key)
        if key == latched:
            accepted[i] = True
            seen = at
    leg["source"], leg["source_ns"] = latched, seen
    return accepted, moves


def _rank(key: int, sdp: int) -> int:
    """How near a source is to what the SDP says: the same, of the same host, or another."""
    if not sdp:
        return 0
    return 2 if key == sdp else int(key >> 16 == sdp >> 16)
