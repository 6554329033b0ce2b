"""Bytes to messages (RFC 3261 7, 18.3). One rule above all: a bad optional header never fails a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from siprec.sip.errors import SipParseError
from siprec.sip.grammar import BLANK, TOKEN
from siprec.sip.headers import Headers
from siprec.sip.message import Message, Request, Response

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([^ \t]+)[ \t]+([^ \t]+)[ \t]+SIP/([0-9]+\.[0-9]+)[ \t]*", re.IGNORECASE)
_STATUS_LINE = re.compile(r"SIP/2\.0[ \t]+([1-6][0-9][0-9])(?:[ \t]+(.*))?", re.IGNORECASE | re.DOTALL)
_SIP_AT_END = re.compile(r"[ \t]SIP/[^ \t]*[ \t]*$", re.IGNORECASE)
_SINGLE = ("From", "To", "Call-ID", "CSeq")


@dataclass(frozen=True, slots=True, kw_only=True)
class SipLimits:
    """Sizes beyond which a message is refused, in bytes."""

    start_line: int = 8 * 1024
    header_line: int = 16 * 1024
    "One field, unfolded."
    header_count: int = 512
    header_section: int = 128 * 1024
    message: int = 65_535
    "Headers and body together."


UDP_LIMITS = SipLimits()
TCP_LIMITS = SipLimits(message=2 * 1024 * 1024)


@dataclass(slots=True, kw_only=True)
class Head:
    """Start line and headers, read but not yet judged. `fault` is the first limit that was broken."""

    start_line: str
    size: int
    "Bytes of start line and headers."
    headers: Headers = field(default_factory=Headers)
    offsets: dict[str, int] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)
    fault: SipParseError | None = None
    truncated: bool = False
    "Headers were left unread, so that the length of the body is not known for sure."


def find_head_end(data: bytes | bytearray, start: int = 0) -> tuple[int, int] | None:
    """(end of the header section, start of the body), or None if the empty line has not come."""
    match = _HEAD_END.search(data, start)
    return (match.start(), match.end()) if match else None


def parse_datagram(data: bytes, limits: SipLimits = UDP_LIMITS) -> Request | Response:
    """Parse one datagram: CRLFs in front are skipped, bytes beyond Content-Length discarded (RFC 3261 18.3).

    Raises SipParseError, with the status to answer and the partial request where there is one.
    """
    data = data.lstrip(b"\r\n")
    if not data:
        raise SipParseError("empty", where="start line", status=None)
    end, body_start = find_head_end(data) or (len(data), len(data))
    head = read_head(data[:end], limits)
    if len(data) > limits.message and head.fault is None:
        raise refusal(head, f"{len(data)} bytes", where="message", status=513)
    body = data[body_start:]
    length = content_length(head, limits)
    if length is not None and length > len(body):
        reason = f"{length} bytes announced, {len(body)} received: fragment suspected"
        raise refusal(head, reason, where="Content-Length")
    return build_message(head, body if length is None else body[:length])


def read_head(data: bytes, limits: SipLimits) -> Head:
    """Split a header section into fields: folding undone, CRLF or LF, unreadable lines noted and left out."""
    start, _, rest = data.partition(b"\n")
    head = Head(start_line=_text(start), size=len(data))
    if len(start) > limits.start_line:
        head.fault = SipParseError("too long", where="start line")
    if len(data) > limits.header_section:
        head.fault = head.fault or SipParseError("too long", where="header section")
    offset = len(start) + 1
    for line in _unfold(rest):
        if len(head.headers) >= limits.header_count:
            head.fault = head.fault or SipParseError(
                "too many headers", where="header section", offset=offset
            )
            head.truncated = True
            break
        _read_field(head, line, offset, limits)
        offset += len(line) + 1
    return head


def _unfold(section: bytes) -> list[bytes]:
    lines: list[bytes] = []
    folded: list[bytes] = []
    for line in section.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            folded.append(line.strip(b" \t\r"))
            continue
        if folded:
            lines.append(b" ".join(folded))
        folded = [line.removesuffix(b"\r")]
    lines.append(b" ".join(folded))
    return lines


def _read_field(head: Head, line: bytes, offset: int, limits: SipLimits) -> None:
    if not line:
        return
    raw_name, colon, raw_value = line.partition(b":")
    name = _text(raw_name[:128]).strip(BLANK)
    if not colon or not TOKEN.fullmatch(name):
        head.flaws.append(f"header line at {offset} ignored: {line[:48]!r}")
    elif len(line) > limits.header_line:
        head.fault = head.fault or SipParseError(f"{name} too long", where="header line", offset=offset)
        if name.lower() in ("l", "content-length"):
            head.truncated = True
    else:
        head.headers.add(name, _text(raw_value).strip(BLANK))
        head.offsets.setdefault(name.lower(), offset)


def _text(raw: bytes) -> str:
    return raw.removesuffix(b"\r").replace(b"\r", b" ").decode("utf-8", "surrogateescape")


def content_length(head: Head, limits: SipLimits) -> int | None:
    """Announced length of the body, None if absent.

    Raises SipParseError: 400 for no number or two that differ, 413 when the message is to be longer than `limits.message`.
    """
    values = {value.strip(BLANK) for value in head.headers.lines("Content-Length")}
    if not values:
        return None
    value = values.pop()
    if values:
        raise refusal(head, "two different values", where="Content-Length")
    if not value.isascii() or not value.isdigit():
        raise refusal(head, f"bad value {value[:32]!r}", where="Content-Length")
    if len(value) > 18 or head.size + int(value) > limits.message:
        raise refusal(head, f"{value[:32]} bytes announced", where="Content-Length", status=413)
    return int(value)


def refusal(head: Head, reason: str, *, where: str, status: int | None = 400) -> SipParseError:
    """The error for this message: answerable if it is a request, but for ACK, with at least a Via."""
    partial = _partial_request(head)
    if partial is None or partial.method == "ACK" or "Via" not in head.headers:
        status = None
    return SipParseError(
        reason, where=where, offset=head.offsets.get(where.lower(), 0), status=status, partial=partial
    )


def _partial_request(head: Head) -> Request | None:
    if not _SIP_AT_END.search(head.start_line):
        return None
    method = head.start_line.split(maxsplit=1)[0]
    method = method if TOKEN.fullmatch(method) else "UNKNOWN"
    return Request(method=method, uri="", headers=head.headers, flaws=tuple(head.flaws))


def build_message(head: Head, body: bytes) -> Request | Response:
    """Judge the head and join it with its body. Raises SipParseError."""
    status_line = _STATUS_LINE.fullmatch(head.start_line)
    message: Request | Response
    if status_line:
        message = Response(status=int(status_line[1]), reason=(status_line[2] or "").strip(BLANK))
    else:
        message = _build_request(head)
    message.headers, message.body, message.flaws = head.headers, body, tuple(head.flaws)
    if head.fault is not None:
        raise refusal(head, head.fault.reason, where=head.fault.where)
    _check_essentials(head, message)
    return message


def _build_request(head: Head) -> Request:
    line = _REQUEST_LINE.fullmatch(head.start_line)
    if line and TOKEN.fullmatch(line[1]):
        return Request(method=line[1], uri=line[2], version=line[3])
    if _SIP_AT_END.search(head.start_line):
        raise refusal(head, f"bad request line {head.start_line[:64]!r}", where="start line")
    raise SipParseError(f"not SIP: {head.start_line[:32]!r}", where="start line", status=None)


def _check_essentials(head: Head, message: Message) -> None:
    """Via, From, To, Call-ID, CSeq must be there, once, and readable: without them there is no transaction."""
    for name in ("Via", *_SINGLE):
        if not message.headers.get(name):
            raise refusal(head, "missing", where=name)
    for name in _SINGLE:
        if len(set(message.headers.lines(name))) > 1:
            raise refusal(head, "two different values", where=name)
    try:
        _ = message.via, message.cseq, message.from_, message.to
    except SipParseError as error:
        raise refusal(head, error.reason, where=error.where) from error


def is_keep_alive(data: bytes) -> bool:
    """True for a datagram that only keeps a NAT binding open: line breaks, blanks or zeros."""
    return not data.strip(b"\r\n \t\0")
