"""Building responses (RFC 3261 8.2.6), and where they go (18.2.2, RFC 3581 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from siprec.sip.config import StackConfig
from siprec.sip.errors import SipParseError
from siprec.sip.flow import Flow, default_port
from siprec.sip.header_values import parse_name_addr
from siprec.sip.headers import Headers
from siprec.sip.message import Request, Response

_REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    603: "Decline",
}
_DIALOG_METHODS = ("INVITE", "UPDATE")


def reason_phrase(status: int) -> str:
    """The usual phrase; that of the class for a status without one."""
    return _REASONS.get(status) or _REASONS.get(status // 100 * 100, "Unknown")


def build_response(
    request: Request,
    status: int,
    *,
    to_tag: str | None = None,
    reason: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response with what RFC 3261 8.2.6.2 copies, then `headers`. Works on a request that is only partly there.

    `to_tag` is added to a To without tag. Header values are copied as they came, odd ones too.
    """
    response = Response(status=status, reason=reason_phrase(status) if reason is None else reason, body=body)
    for name in ("Via", "From"):
        for value in request.headers.lines(name):
            response.headers.add(name, value)
    if (to := request.headers.get("To")) is not None:
        response.headers.add("To", tagged(to, to_tag))
    for name in ("Call-ID", "CSeq", *(["Timestamp"] if status == 100 else [])):
        if (found := request.headers.get(name)) is not None:
            response.headers.add(name, found)
    for name, value in headers:
        response.headers.add(name, value)
    return response


def tagged(to: str, tag: str | None) -> str:
    """A To value with our tag, unless it has one."""
    if tag is None:
        return to
    try:
        address = parse_name_addr(to)
    except SipParseError:
        return to
    if address.tag is not None:
        return to
    if "<" in to and ">" not in to:
        return str(replace(address, params=address.params.replace("tag", tag)))
    return f"{to};tag={tag}"


def add_abilities(response: Response, request: Request, flow: Flow, config: StackConfig) -> None:
    """Server, and by status and method Record-Route, Contact, Allow, Supported, Accept; what is there stays."""
    headers = response.headers
    _default(headers, "Server", config.user_agent)
    success = 200 <= response.status < 300
    dialog_forming = request.method == "INVITE" and 100 < response.status < 300
    if dialog_forming or (request.method == "UPDATE" and success):
        for route in request.headers.lines("Record-Route") if dialog_forming else ():
            headers.add("Record-Route", route)
        _default(headers, "Contact", config.contact(flow))
    if success and request.method in (*_DIALOG_METHODS, "OPTIONS"):
        add_capabilities(headers, config)
    if request.method == "OPTIONS":
        _default(headers, "Accept-Encoding", "identity")
        _default(headers, "Accept-Language", "en")
        _default(headers, "Contact", config.contact(flow))


def add_capabilities(headers: Headers, config: StackConfig) -> None:
    """Allow, Supported and Accept, unless they are there."""
    _default(headers, "Allow", ", ".join(config.methods))
    _default(headers, "Supported", ", ".join(config.supported))
    _default(headers, "Accept", ", ".join(config.accept))


def _default(headers: Headers, name: str, value: str) -> None:
    if name not in headers:
        headers.add(name, value)


def response_flow(request: Request, flow: Flow, *, connected: bool) -> Flow:
    """Where a response goes.

    UDP: the source address, to the source port if the request had `rport` (RFC 3581 4), else to the port in Via.
    `maddr` is not followed: it would let anybody aim our answers. Streams: the same connection; if that is gone, a
    new one to the source address and the port in Via.
    """
    if flow.reliable and connected:
        return flow
    try:
        via = request.via
    except SipParseError:
        return flow
    if not flow.reliable and "rport" in via.params:
        return flow
    port = via.port or default_port(flow.transport)
    return replace(flow, remote=(flow.remote[0], port), connection=None)
