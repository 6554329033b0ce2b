"""One RTP sender per m-line, and what a recording of it has to sound like."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tests.helpers.daemon import wait_for
from tests.helpers.voices import I16, PAYLOAD_TYPES, RATE, expand

PACKET = 160
"Samples in a packet of 20 ms."
START_S = 0.03
"Between the answer and the first packet, so that all players of a call can start at the same moment."


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram. at_s: when it leaves; place: its first sample, both counted from the player's start."""

    at_s: float
    wire: bytes
    place: int = 0
    audio: I16 | None = None
    "What is to be heard of it; None: nothing."


def rtp(payload: bytes, *, pt: int, seq: int, timestamp: int, ssrc: int, marker: bool = False) -> bytes:
    """An RTP packet (RFC 3550 5.1)."""
    head = struct.pack("!BBHII", 0x80, marker << 7 | pt, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return head + payload


def talk(
    words: bytes,
    law: str = "PCMU",
    *,
    ssrc: int,
    seq: int = 0,
    timestamp: int = 0,
    start: int = 0,
) -> list[Packet]:
    """Code words as packets of 20 ms from sample `start` on. seq, timestamp: of the first packet."""
    packets = []
    for i in range(0, len(words), PACKET):
        payload = words[i : i + PACKET]
        wire = rtp(
            payload,
            pt=PAYLOAD_TYPES[law],
            seq=seq + i // PACKET,
            timestamp=timestamp + i,
            ssrc=ssrc,
            marker=i == 0,
        )
        packets.append(Packet((start + i) / RATE, wire, start + i, expand(law, payload)))
    return packets


def digit(
    event: int, *, ssrc: int, seq: int, timestamp: int, start: int, packets: int = 5, pt: int = 101
) -> list[Packet]:
    """A pressed key (RFC 4733 2.5): one event, its duration growing by 20 ms a packet, its end sent three times."""
    made = []
    for i in range(packets + 2):
        duration, end = min(i + 1, packets) * PACKET, i >= packets - 1
        payload = struct.pack("!BBH", event, end << 7 | 10, duration)
        wire = rtp(payload, pt=pt, seq=seq + i, timestamp=timestamp, ssrc=ssrc, marker=i == 0)
        made.append(Packet((start + min(i, packets - 1) * PACKET) / RATE, wire))
    return made


def without(packets: Sequence[Packet], lost: Iterable[int]) -> list[Packet]:
    """The packets without those at the indices `lost`."""
    gone = set(lost)
    return [packet for i, packet in enumerate(packets) if i not in gone]


def shuffled(packets: Sequence[Packet], depth: int, rng: random.Random) -> list[Packet]:
    """The packets in disorder: each group of `depth` leaves at the same moments as before in another order."""
    out: list[Packet] = []
    for i in range(0, len(packets), depth):
        group = list(packets[i : i + depth])
        times = [packet.at_s for packet in group]
        rng.shuffle(group)
        out += [replace(packet, at_s=at_s) for packet, at_s in zip(group, times, strict=True)]
    return out


def doubled(packets: Sequence[Packet], which: Iterable[int]) -> list[Packet]:
    """The packets, those at the indices `which` twice."""
    twice = set(which)
    return [packet for i, one in enumerate(packets) for packet in ([one, one] if i in twice else [one])]


def heard(packets: Iterable[Packet], frames: int, at: int) -> I16:
    """The channel that a recording of the packets must have, the player's start being frame `at`: int16[frames]."""
    channel = np.zeros(frames, np.int16)
    for packet in packets:
        if packet.audio is not None:
            channel[at + packet.place : at + packet.place + packet.audio.size] = packet.audio
    return channel


class Player:
    """The source of one m-line: two sockets of its own, the second for RTCP, and a thread that sends on time."""

    def __init__(self, packets: Sequence[Packet] = ()) -> None:
        self.packets = list(packets)
        self.rtp, self.rtcp = _pair()
        self.sent: list[tuple[int, int]] = []
        "For each packet, monotonic ns before and after it was sent: it arrived between the two."
        self._thread: threading.Thread | None = None
        self._to, self._began = 0, 0.0

    @property
    def port(self) -> int:
        """Where it sends from, as its SDP says."""
        port: int = self.rtp.getsockname()[1]
        return port

    @property
    def audible(self) -> int:
        """How many samples of its packets are to be heard."""
        return sum(packet.audio.size for packet in self.packets if packet.audio is not None)

    def start(self, port: int, at: float) -> None:
        """Send everything to a port of the recorder. at: the monotonic second of the player's start."""
        self._to, self._began = port, at
        self._send(self.packets)

    def now(self) -> int:
        """Where the next packet boundary is: samples from the player's start."""
        return (int((time.monotonic() - self._began) * RATE) // PACKET + 1) * PACKET

    def wait_for(self, packets: int) -> None:
        """Wait until so many have left."""
        wait_for(f"{packets} packets from {self.port}", lambda: len(self.sent) >= packets)

    def more(self, packets: Sequence[Packet]) -> None:
        """Send further packets, of the same clock."""
        self.finish()
        self.packets += packets
        self._send(packets)

    def _send(self, packets: Sequence[Packet]) -> None:
        self._thread = threading.Thread(target=self._play, args=(packets,), name=f"player {self.port}")
        self._thread.start()

    def _play(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            while (left := self._began + packet.at_s - time.monotonic()) > 0:
                time.sleep(left)
            before = time.monotonic_ns()
            self.rtp.sendto(packet.wire, ("127.0.0.1", self._to))
            self.sent.append((before, time.monotonic_ns()))

    def finish(self) -> None:
        """Wait until everything is sent."""
        if self._thread is not None:
            self._thread.join()
        assert len(self.sent) == len(self.packets)

    def assert_report(self, *ssrcs: int, mux: bool = False) -> None:
        """A receiver report on one of these streams is there, or comes within seconds (RFC 3550 6.4.2)."""
        sock = self.rtp if mux else self.rtcp
        while (data := sock.recv(2048))[:2] == b"\x80\xc9":
            pass  # an empty one, from before the first packet
        assert (data[0] & 0xDF, data[1]) == (0x81, 201)
        assert int.from_bytes(data[8:12], "big") in ssrcs

    def close(self) -> None:
        """Stop waiting for anything."""
        if self._thread is not None:
            self._thread.join()
        self.rtp.close()
        self.rtcp.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    """Sockets on an even port and the next one."""
    while True:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind(("127.0.0.1", 0))
        port = rtp.getsockname()[1]
        try:
            if port % 2 == 0 and port < 65535:
                rtcp.bind(("127.0.0.1", port + 1))
                rtp.settimeout(10)
                rtcp.settimeout(10)
                return rtp, rtcp
        except OSError:
            pass
        rtp.close()
        rtcp.close()


def play(players: Sequence[Player], ports: Sequence[int]) -> None:
    """Start all players at the same moment, each at the port of its m-line."""
    at = time.monotonic() + START_S
    for player, port in zip(players, ports, strict=True):
        player.start(port, at)


def assert_heard(channel: I16, packets: Sequence[Packet]) -> int:
    """Every packet is in its place and everything else is silence; returns the frame at which the player started."""
    audible = [packet.place for packet in packets if packet.audio is not None]
    at = int(np.flatnonzero(channel)[0]) - min(audible)
    wrong = np.flatnonzero(channel != heard(packets, channel.size, at))
    assert not wrong.size, f"{wrong.size} wrong samples from frame {wrong[0]} to {wrong[-1]}, start at {at}"
    return at


def assert_aligned(players: tuple[Player, Player], at: tuple[int, int]) -> None:
    """The first packets of two players are as far apart in the file as they arrived.

    at: the frames of their first samples, each of which has been rounded.
    """
    (before, after), (other_before, other_after) = (player.sent[0] for player in players)
    least, most = (other_before - after) * RATE / 1e9, (other_after - before) * RATE / 1e9
    assert least - 2 <= at[1] - at[0] <= most + 2
