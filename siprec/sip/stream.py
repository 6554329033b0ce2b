"""Messages out of a byte stream, framed by Content-Length (RFC 3261 18.3, 7.5; RFC 5626 4.4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from siprec.sip.errors import SipParseError
from siprec.sip.message import Request, Response
from siprec.sip.parser import (
    TCP_LIMITS,
    Head,
    SipLimits,
    build_message,
    content_length,
    find_head_end,
    read_head,
    refusal,
)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The peer sent CRLFCRLF: answer CRLF (RFC 5626 4.4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFault:
    """A refused message. `fatal`: where the next one begins is unknown, close after the answer."""

    error: SipParseError
    fatal: bool


StreamItem = Request | Response | KeepAlive | StreamFault

PONG = b"\r\n"
"The answer to KeepAlive."
_BLANK_LINE = (b"\r\n", b"\n")


class StreamFramer:
    """Bytes of one connection in, messages out. Holds at most one header section and one body.

    A bad message whose length is clear costs only itself. After a fatal fault everything more is ignored.
    """

    def __init__(self, limits: SipLimits = TCP_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._scanned = 0
        self._blank_lines = 0
        self._head: Head | None = None
        self._body_length = 0
        self.closed = False
        "A fatal fault was reported."

    @property
    def pending(self) -> bool:
        """A message has begun and is not yet whole."""
        return not self.closed and (self._head is not None or len(self._buffer) > 0)

    def feed(self, data: bytes) -> list[StreamItem]:
        """Take what was received; return what became whole, in order. Never raises."""
        if self.closed:
            return []
        self._buffer += data
        items: list[StreamItem] = []
        if self._skip_blank_lines():
            items.append(KeepAlive())
        while not self.closed and (item := self._next_message()) is not None:
            items.append(item)
            if not self.closed and self._skip_blank_lines():
                items.append(KeepAlive())
        return items

    def _skip_blank_lines(self) -> bool:
        """Drop line breaks in front of a message; True if they were a ping (at most one a call)."""
        if self._head is not None:
            return False
        at = 0
        while self._buffer.startswith(_BLANK_LINE, at):
            at += 1 if self._buffer[at] == 0x0A else 2
            self._blank_lines += 1
        del self._buffer[:at]
        ping = self._blank_lines >= 2
        if ping or self._buffer.strip(b"\r"):
            self._blank_lines = 0
        return ping

    def _next_message(self) -> StreamItem | None:
        try:
            if self._head is None and not self._read_head():
                return None
        except SipParseError as error:
            return self._fatal(error)
        if self._head is None or len(self._buffer) < self._body_length:
            return None
        head, body = self._head, bytes(self._buffer[: self._body_length])
        del self._buffer[: self._body_length]
        self._head, self._scanned = None, 0
        try:
            return build_message(head, body)
        except SipParseError as error:
            if error.where == "start line" and error.partial is None:
                return self._fatal(error)
            return StreamFault(error=error, fatal=False)

    def _read_head(self) -> bool:
        found = find_head_end(self._buffer, self._scanned)
        if found is None:
            self._check_unfinished_head()
            self._scanned = max(0, len(self._buffer) - 3)
            return False
        end, body_start = found
        head = read_head(bytes(self._buffer[:end]), self._limits)
        if end > self._limits.header_section:
            raise refusal(head, "too long", where="header section")
        self._body_length = self._length_of_body(head)
        del self._buffer[:body_start]
        self._head = head
        return True

    def _check_unfinished_head(self) -> None:
        """Refuse what can no longer become a header section of lawful size."""
        limits = self._limits
        if self._buffer and (self._buffer[0] <= 0x20 or self._buffer[0] >= 0x7F) and self._buffer != b"\r":
            raise SipParseError("not SIP", where="start line", status=None)
        if len(self._buffer) > limits.header_section:
            head = read_head(bytes(self._buffer[: limits.header_section]), limits)
            raise refusal(head, "too long", where="header section")
        if len(self._buffer) > limits.start_line and self._buffer.find(b"\n", 0, limits.start_line + 2) < 0:
            raise SipParseError("too long", where="start line", status=None)

    def _length_of_body(self, head: Head) -> int:
        """Content-Length; without one no body follows, unless Content-Type says that there is one."""
        length = content_length(head, self._limits)
        if head.truncated and head.fault is not None:
            raise refusal(head, head.fault.reason, where=head.fault.where)
        if length is None and "Content-Type" in head.headers:
            raise refusal(head, "missing, with a body on a stream", where="Content-Length")
        return length or 0

    def _fatal(self, error: SipParseError) -> StreamFault:
        self.closed = True
        self._buffer.clear()
        return StreamFault(error=error, fatal=True)
