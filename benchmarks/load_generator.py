"""SIPREC calls with two legs of paced RTP at a rate, held, and ended again; a process of its own.

`python -m benchmarks.load_generator OPTIONS` with OPTIONS as JSON. One line of JSON on stdout at the end of each
phase: `up` (all calls stand), `held`, `down` (all calls ended).

Plain G.711 is sent from one long table; all else as loops of a few seconds, encoded before the calls.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from benchmarks import loops
from benchmarks.loop_sender import LoopSender, Network
from benchmarks.rtp_sender import PTIME_S, TABLE, RtpSender, voice_table

GROUPS = 4
"Senders, each a part of a packet time later than the one before: an SBC does not send all legs at once."
_PORT = re.compile(rb"m=audio (\d+)")
_TAG = re.compile(rb"\r\nTo:[^\r]*;tag=([^;\r\s]+)")
_CALL_ID = re.compile(rb"\r\nCall-ID: (\S+)")
_STRIDE = 7919
"Distance of the voices of two legs in the table, in samples; a prime."
_LOOP_STRIDE = 37
"The same in a loop, in packet times."


@dataclass(slots=True, kw_only=True)
class Options:
    """What to do."""

    host: str
    port: int
    calls: int
    rate: float
    "Set-ups, and later ends, a second."
    hold_s: float
    codecs: tuple[str, ...] = ()
    "Of the two legs, as `benchmarks.loops.make` names them; none for plain G.711."
    loss_pct: float = 0.0
    reorder_pct: float = 0.0
    jitter_ms: float = 0.0
    dtx: bool = False
    srtp: bool = False

    def loops(self) -> list[loops.Loop]:
        """What the two legs send; none for plain G.711."""
        return [loops.make(codec, dtx=self.dtx) for codec in self.codecs]


@dataclass(slots=True)
class Call:
    """One call. Legs are rows of the senders."""

    number: int
    call_id: str
    began: float = 0.0
    answered: float | None = None
    tag: bytes = b""
    status: int = 0
    first: tuple[int, int] = (0, 0)
    sent: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    "Packets that were left out, to be missed."
    slots: list[int] = field(default_factory=list)
    "Packet times that each leg lasted."
    ended: bool = False


class Media(threading.Thread):
    """Sends to all legs, every 20 ms, until `stop`."""

    def __init__(self, options: Options) -> None:
        super().__init__(name="rtp", daemon=True)
        legs = 2 * options.calls
        self.loops = options.loops()
        self.senders: list[RtpSender | LoopSender]
        if self.loops:
            network = Network(
                loss_pct=options.loss_pct, reorder_pct=options.reorder_pct, jitter_ms=options.jitter_ms
            )
            self.senders = [LoopSender(self.loops, legs, network, seed=seed) for seed in range(GROUPS)]
        else:
            table = voice_table()
            self.senders = [RtpSender(table, legs) for _ in range(GROUPS)]
        self.lock = threading.Lock()
        self.late = 0
        "Rounds that began more than a packet time late: the generator was too slow."
        self._stopping = False

    def run(self) -> None:
        """Until `stop`."""
        start, step = time.monotonic(), PTIME_S / GROUPS
        number = 0
        while not self._stopping:
            due = start + number * step
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            elif wait < -PTIME_S:
                self.late += 1
            with self.lock:
                for sender in self.senders:
                    if isinstance(sender, LoopSender):
                        sender.step()
                self.senders[number % GROUPS].round()
            number += 1

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self.join()


class Generator(asyncio.DatagramProtocol):
    """The calls' signalling over one UDP socket."""

    def __init__(self, options: Options, media: Media) -> None:
        self._options, self._media = options, media
        self.calls = [Call(number, f"bench-{number}@127.0.0.1") for number in range(options.calls)]
        self._by_id = {call.call_id.encode(): call for call in self.calls}
        self.settled = asyncio.Event()
        self._waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._local = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """A response: the answer to an INVITE or to a BYE."""
        found = _CALL_ID.search(data)
        call = self._by_id.get(found.group(1)) if found else None
        if call is None or not data.startswith(b"SIP/2.0 "):
            return
        status = int(data[8:11])
        if status < 200:
            return
        if b" INVITE\r\n" in data:
            self._answered(call, status, data)
        elif not call.ended:
            call.ended = True
            self._count_down()

    def _answered(self, call: Call, status: int, data: bytes) -> None:
        if call.answered is None:
            call.answered, call.status = time.monotonic(), status
            tag = _TAG.search(data)
            call.tag = tag.group(1) if tag else b""
            if status == 200:
                self._start_media(call, [int(port) for port in _PORT.findall(data)])
            self._count_down()
        self._send(call, "ACK", 1)

    def _start_media(self, call: Call, ports: list[int]) -> None:
        sender, host = self._media.senders[call.number % GROUPS], self._options.host
        rows = (2 * call.number, 2 * call.number + 1)
        with self._media.lock:
            if isinstance(sender, LoopSender):
                call.first = (rows[0] * _LOOP_STRIDE % loops.SLOTS, rows[1] * _LOOP_STRIDE % loops.SLOTS)
                for side, port in enumerate(ports[:2]):
                    first, key = call.first[side], _key(rows[side]) if self._options.srtp else b""
                    sender.join(rows[side], host, port, ssrc=rows[side] + 1, first=first, loop=side, key=key)
            else:
                call.first = (rows[0] * _STRIDE % TABLE, rows[1] * _STRIDE % TABLE)
                for side, port in enumerate(ports[:2]):
                    sender.join(rows[side], host, port, ssrc=rows[side] + 1, first=call.first[side])

    def _count_down(self) -> None:
        self._waiting -= 1
        if self._waiting == 0:
            self.settled.set()

    async def up(self) -> None:
        """Place all calls at the rate; wait for every answer."""
        await self._paced(self._invite)

    async def down(self) -> None:
        """End all calls at the rate; wait for every answer."""
        await self._paced(self._bye)

    async def _paced(self, act: Callable[[Call], None]) -> None:
        self.settled.clear()
        self._waiting = len(self.calls)
        start = time.monotonic()
        for number, call in enumerate(self.calls):
            wait = start + number / self._options.rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            act(call)
        await asyncio.wait_for(self.settled.wait(), 40)

    def _invite(self, call: Call) -> None:
        call.began = time.monotonic()
        self._send(call, "INVITE", 1, _body(call.number, self._lines(call.number)))

    def _lines(self, number: int) -> list[str]:
        """The m-lines of a call."""
        if not self._media.loops:
            return [*_line(1, "RTP/AVP", "0 8 101", []), *_line(2, "RTP/AVP", "0 8 101", [])]
        proto = "RTP/SAVP" if self._options.srtp else "RTP/AVP"
        lines = []
        for side, loop in enumerate(self._media.loops):
            key = base64.b64encode(_key(2 * number + side)).decode()
            crypto = [f"crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}"] * self._options.srtp
            lines += _line(side + 1, proto, f"{loop.payload_type} 101", [*loop.attributes(), *crypto])
        return lines

    def _bye(self, call: Call) -> None:
        sender = self._media.senders[call.number % GROUPS]
        with self._media.lock:
            rows = (2 * call.number, 2 * call.number + 1)
            for row in rows:
                sender.leave(row)
            call.sent = [int(sender.sent[row]) for row in rows]
            if isinstance(sender, LoopSender):
                call.lost = [sender.lost(row) for row in rows]
                call.slots = [int(sender.slots[row]) for row in rows]
        self._send(call, "BYE", 2)

    def _send(self, call: Call, method: str, cseq: int, body: bytes = b"") -> None:
        host, port = self._options.host, self._options.port
        tag = b";tag=" + call.tag if method != "INVITE" else b""
        kind = "Content-Type: multipart/mixed;boundary=bench\r\n" if body else ""
        head = (
            f"{method} sip:srs@{host}:{port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self._local};branch=z9hG4bK{method}{call.number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:src@127.0.0.1>;tag=src{call.number}\r\n"
            f"To: <sip:srs@{host}>{tag.decode()}\r\nCall-ID: {call.call_id}\r\nCSeq: {cseq} {method}\r\n"
            f"Contact: <sip:src@127.0.0.1:{self._local}>;+sip.src\r\nRequire: siprec\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._transport.sendto(head.encode() + body, (host, port))


def _key(leg: int) -> bytes:
    """Master key and salt of a leg's SRTP (RFC 4568 6.1)."""
    return random.Random(leg).randbytes(30)


def _line(label: int, proto: str, formats: str, attributes: list[str]) -> list[str]:
    """An m-line of an offer."""
    about = [*attributes, "rtpmap:101 telephone-event/8000", "sendonly", f"label:{label}"]
    return [f"m=audio 9 {proto} {formats}", *(f"a={text}" for text in about)]


def _body(number: int, lines: list[str]) -> bytes:
    sdp = ["v=0", f"o=- {number} 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", *lines]
    people = "".join(
        f'<participant participant_id="p{side}"><nameID aor="sip:{side}{number:06}@example.com"/></participant>'
        f'<stream stream_id="s{side}" session_id="c"><label>{side}</label></stream>'
        f'<participantstreamassoc participant_id="p{side}"><send>s{side}</send></participantstreamassoc>'
        for side in (1, 2)
    )
    metadata = (
        '<?xml version="1.0" encoding="UTF-8"?><recording xmlns="urn:ietf:params:xml:ns:recording:1">'
        f'<datamode>complete</datamode><session session_id="c"/>{people}</recording>'
    )
    parts = [
        *("--bench", "Content-Type: application/sdp", "", *sdp, ""),
        *("--bench", "Content-Type: application/rs-metadata+xml"),
        *("Content-Disposition: recording-session", "", metadata, "--bench--", ""),
    ]
    return "\r\n".join(parts).encode()


def _say(phase: str, **values: object) -> None:
    print(json.dumps({"phase": phase, **values}), flush=True)


async def run(options: Options) -> None:
    """All phases."""
    media = Media(options)
    loop = asyncio.get_running_loop()
    transport, generator = await loop.create_datagram_endpoint(
        lambda: Generator(options, media), local_addr=("127.0.0.1", 0)
    )
    media.start()
    await generator.up()
    took = [call.answered - call.began for call in generator.calls if call.answered is not None]
    failed = sum(call.status != 200 for call in generator.calls)
    _say("up", setup_s=took, failed=failed)
    await asyncio.sleep(options.hold_s)
    _say("held", late=media.late)
    await generator.down()
    media.stop()
    errors = sum(sender.errors for sender in media.senders)
    _say("down", errors=errors, calls=[asdict(call) | {"tag": ""} for call in generator.calls])
    transport.close()


if __name__ == "__main__":
    uvloop.run(run(Options(**json.loads(sys.argv[1]))))
