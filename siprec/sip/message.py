"""SIP messages as values (RFC 3261 7)."""

from __future__ import annotations

from dataclasses import dataclass, field

from siprec.sip.header_values import CSeq, NameAddr, Via, parse_cseq, parse_name_addr, parse_via
from siprec.sip.headers import Headers


@dataclass(slots=True, kw_only=True)
class Message:
    """What requests and responses share. The properties raise SipParseError if their header is absent or bad;
    a message that came from the parser has all of them."""

    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    flaws: tuple[str, ...] = ()
    "What the parser overlooked, for the log."

    @property
    def call_id(self) -> str:
        return self.headers.get("Call-ID") or ""

    @property
    def cseq(self) -> CSeq:
        return parse_cseq(self.headers.get("CSeq") or "")

    @property
    def from_(self) -> NameAddr:
        return parse_name_addr(self.headers.get("From") or "", where="From")

    @property
    def to(self) -> NameAddr:
        return parse_name_addr(self.headers.get("To") or "", where="To")

    @property
    def via(self) -> Via:
        """The topmost Via."""
        return parse_via(next(iter(self.headers.get_all("Via")), ""))

    def _encode(self, start_line: str) -> bytes:
        lines = [start_line]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name != "Content-Length"]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


@dataclass(slots=True, kw_only=True)
class Request(Message):
    """A request; `uri` as written. `version` is 2.0 unless somebody sends another (505)."""

    method: str
    uri: str
    version: str = "2.0"

    def encode(self) -> bytes:
        """The message on the wire, with a true Content-Length."""
        return self._encode(f"{self.method} {self.uri} SIP/{self.version}")


@dataclass(slots=True, kw_only=True)
class Response(Message):
    """A response."""

    status: int
    reason: str = ""

    def encode(self) -> bytes:
        """The message on the wire, with a true Content-Length."""
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")
