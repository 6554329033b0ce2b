"""A recorder for tests: answers calls by the project's own cores, and keeps the datagrams that come."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from siprec.net.allow import AllowList
from siprec.net.endpoint import SipEndpoint
from siprec.probe.media import MediaSockets
from siprec.recording.multipart import find_sdp, parse_body
from siprec.sdp.crypto import SUITES, SrtpKey, StreamCrypto
from siprec.sdp.offer_answer import build_answer
from siprec.sdp.parser import parse_sdp
from siprec.sip.config import StackConfig
from siprec.sip.dialog import Dialog
from siprec.sip.events import AckReceived, Event, InviteReceived, RequestReceived
from siprec.sip.message import Request
from siprec.sip.stack import SipStack

OK = 200


class Answering:
    """Answers like a recorder, unless told otherwise.

    status: of INVITEs. spoil: changes the SDP of answers. hang_up: BYE as soon as the ACK has come.
    """

    def __init__(
        self,
        *,
        status: int = OK,
        spoil: Callable[[bytes], bytes] = lambda sdp: sdp,
        contact: str | None = None,
        hang_up: bool = False,
    ) -> None:
        self.status, self.spoil, self.contact, self.hang_up = status, spoil, contact, hang_up
        self.requests: list[Request] = []
        self.media: list[MediaSockets] = []
        self.crypto: list[StreamCrypto | None] = []
        "What the last answer settled, by m-line."
        self.versions = 0
        self.endpoint = SipEndpoint(
            ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
            SipStack(StackConfig(), rng=random.Random(9)),
            self.handle,
            allow=AllowList(["127.0.0.0/8"]),
        )

    def uri(self, transport: str = "udp") -> str:
        (port,) = [url.port for url in self.endpoint.addresses if url.transport == transport]
        return f"sip:127.0.0.1:{port};transport={transport}"

    def handle(self, event: Event) -> None:
        if isinstance(event, InviteReceived):
            self.requests.append(event.request)
            self.answer(event)
        elif isinstance(event, RequestReceived):
            self.requests.append(event.request)
            self.endpoint.respond(event.transaction, OK)
        elif isinstance(event, AckReceived) and self.hang_up:
            self.bye(event.dialog)

    def bye(self, dialog: Dialog) -> None:
        self.endpoint.request(dialog, "BYE")

    def answer(self, event: InviteReceived) -> None:
        if self.status != OK:
            self.endpoint.respond(event.transaction, self.status)
            return
        request = event.request
        part = find_sdp(parse_body(request.headers.get("Content-Type"), request.body))
        assert part is not None
        offer = parse_sdp(part.body)
        while len(self.media) < len(offer.media):
            self.media.append(MediaSockets("127.0.0.1"))
        self.versions += 1
        answer = build_answer(
            offer,
            address="127.0.0.1",
            ports={index: sockets.ports for index, sockets in enumerate(self.media)},
            session_id=1,
            version=self.versions,
            our_key=lambda index, suite: SrtpKey(random.Random(index).randbytes(sum(SUITES[suite]))),
        )
        self.crypto = [stream.crypto for stream in answer.streams]
        headers: list[tuple[str, Any]] = [("Content-Type", "application/sdp")]
        if self.contact is not None:
            port = event.flow.local[1]
            headers.append(("Contact", self.contact.format(port=port)))
        self.endpoint.respond(
            event.transaction, OK, headers=headers, body=self.spoil(answer.description.to_bytes())
        )

    def datagrams(self, leg: int, *, rtcp: bool = False) -> Iterator[bytes]:
        """What has come for an m-line, in order."""
        sockets = self.media[leg]
        with contextlib.suppress(BlockingIOError):
            while True:
                yield (sockets.rtcp if rtcp else sockets.rtp).recv(65536)

    async def close(self) -> None:
        await self.endpoint.close()
        for sockets in self.media:
            sockets.close()
