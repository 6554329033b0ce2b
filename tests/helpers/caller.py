"""A recording client over a plain socket: what it sends may be as wrong as a test wants."""

from __future__ import annotations

import itertools
import re
import socket
import time
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.helpers.offers import MULTIPART, Line, metadata, multipart, sdp
from tests.helpers.sipp import Message

ANSWER_S = 2.0
"Within this time every call has its final answer: the recorder's 500 ms, and what a busy machine adds."
WAIT_S = 10.0
_branches = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """A final response and how long it took."""

    status: int
    seconds: float
    message: Message

    def is_refusal(self, status: int) -> bool:
        """Whether it is this status and came in time."""
        return self.status == status and self.seconds < ANSWER_S


class Caller:
    """One dialog from one socket. As a context manager it closes the socket."""

    def __init__(
        self, port: int, *, transport: str = "udp", source: str = "127.0.0.1", recorder: str = "127.0.0.1"
    ) -> None:
        """port, recorder: of the recorder, for the transport. source: the local address, of an IPv4 recorder."""
        self.transport = transport
        self.call_id = f"{uuid.uuid4().hex}@caller"
        self.cseq, self.to_tag = 0, ""
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        is_v6 = ":" in recorder
        self.socket = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, kind)
        self.socket.settimeout(WAIT_S)
        self._buffer = b""
        try:
            self.socket.bind(("::1" if is_v6 else source, 0))
            self.socket.connect((recorder, port))
        except OSError:
            self.socket.close()
            raise
        host, self.port = self.socket.getsockname()[:2]
        self.host = f"[{host}]" if is_v6 else host
        self._remote_port = port
        self._invite_branch = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    # -- what it says --

    def request(
        self,
        method: str,
        body: str | bytes = b"",
        content_type: str = "",
        *,
        headers: tuple[str, ...] = (),
        length: object = None,
    ) -> bytes:
        """A request, its own in every field. length: Content-Length instead of the true one; "" leaves it out."""
        body = body.encode() if isinstance(body, str) else body
        if method not in ("ACK", "CANCEL"):
            self.cseq += 1
        branch = f"z9hG4bK-{self.call_id[:12]}-{next(_branches)}"
        if method == "INVITE":
            self._invite_branch = branch
        if method == "CANCEL":
            branch = self._invite_branch
        length = len(body) if length is None else length
        lines = [
            f"{method} sip:srs@127.0.0.1:{self._remote_port};transport={self.transport} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.upper()} {self.host}:{self.port};branch={branch};rport",
            "From: <sip:src@127.0.0.1>;tag=src",
            f"To: <sip:srs@127.0.0.1>{self.to_tag if method != 'CANCEL' else ''}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            "Max-Forwards: 70",
            f"Contact: <sip:src@{self.host}:{self.port};transport={self.transport}>;+sip.src",
            *(["Require: siprec"] if method not in ("ACK", "CANCEL") else []),
            *headers,
            *([f"Content-Type: {content_type}"] if content_type else []),
            *([] if length == "" else [f"Content-Length: {length}"]),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        """Put bytes on the wire."""
        self.socket.sendall(data)

    def ask(self, data: bytes) -> Answer:
        """Send a request and wait for its final response."""
        began = time.monotonic()
        self.send(data)
        return self.final(began)

    def final(self, began: float) -> Answer:
        """The next final response; a request of the recorder or a provisional response is passed over."""
        while True:
            message = self.receive()
            found = re.match(r"SIP/2\.0 ([2-6]\d\d) ", message.text)
            if found:
                return Answer(int(found[1]), time.monotonic() - began, message)

    def receive(self) -> Message:
        """The next message. Raises TimeoutError, and ConnectionError at the end of a connection."""
        if self.transport == "udp":
            return Message(time.time(), False, self.socket.recv(65_535).decode(errors="surrogateescape"))
        while not (message := self._whole()):
            data = self.socket.recv(65_535)
            if not data:
                raise ConnectionResetError("the recorder closed the connection")
            self._buffer += data
        return message

    def _whole(self) -> Message | None:
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length:[ \t]*(\d+)", head)
        if not blank or (length and len(rest) < int(length[1])):
            return None
        end = len(head) + 4 + (int(length[1]) if length else 0)
        text, self._buffer = self._buffer[:end], self._buffer[end:]
        return Message(time.time(), False, text.decode(errors="surrogateescape"))

    def is_closed(self) -> bool:
        """Whether the recorder has closed the connection; what it sent before is thrown away."""
        try:
            while self.socket.recv(65_535):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def hears_nothing(self, seconds: float = 0.3) -> bool:
        """Whether nothing at all comes for so long."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(65_535)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WAIT_S)
        return False

    # -- calls --

    def invite(
        self, body: str | bytes, content_type: str = MULTIPART, *, headers: tuple[str, ...] = ()
    ) -> Answer:
        """INVITE or re-INVITE; a 200 is acknowledged, a refusal too."""
        answer = self.ask(self.request("INVITE", body, content_type, headers=headers))
        self.acknowledge(answer)
        return answer

    def call(self, lines: tuple[Line, ...] = (), document: str | None = None) -> Answer:
        """Place a call. lines: the offer; else two m-lines. document: the metadata; else Alice and Bob."""
        return self.invite(two_parties(lines, document))

    def acknowledge(self, answer: Answer) -> None:
        """ACK for a final response to the INVITE."""
        to = answer.message.header("To") or ""
        before, self.to_tag = self.to_tag, "".join(re.findall(r";tag=[^;\s]+", to)[:1])
        ack = self.request("ACK")
        if answer.status >= 300:
            ack = re.sub(rb"branch=[^;]+", b"branch=" + self._invite_branch.encode(), ack, count=1)
            self.to_tag = before
        self.send(ack)

    def bye(self) -> Answer:
        """End the call."""
        return self.ask(self.request("BYE"))


def two_parties(lines: tuple[Line, ...] = (), document: str | None = None) -> str:
    """The body of an ordinary INVITE."""
    offer = sdp(lines or (Line(40_000, "1"), Line(40_002, "2")))
    return multipart(offer, metadata() if document is None else document)
