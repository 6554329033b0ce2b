"""SIP, SIPS and tel URIs (RFC 3261 19.1, RFC 3966), read as tolerantly as the equipment in the field needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from siprec.sip.errors import SipParseError
from siprec.sip.grammar import BLANK, NO_PARAMS, Params, is_number, parse_params

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?\]|[^\s<>\"@:;?,\[\]]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uri:
    """One URI, taken apart. `host` has no brackets; a tel URI has its number in `user` and no host."""

    scheme: str
    user: str | None = None
    "User part (with password, if any) as written, escapes kept."
    host: str = ""
    port: int | None = None
    params: Params = NO_PARAMS
    headers: str | None = None
    "What stands after `?`."

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{self.params}"
        user = f"{self.user}@" if self.user is not None else ""
        headers = f"?{self.headers}" if self.headers is not None else ""
        return f"{self.scheme}:{user}{format_host(self.host, self.port)}{self.params}{headers}"


def format_host(host: str, port: int | None = None) -> str:
    """`host[:port]` with brackets around an IPv6 address."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" if port else name


def uri_scheme(text: str) -> str | None:
    """The scheme in lower case, or None if there is none."""
    scheme, colon, _ = text.partition(":")
    return scheme.lower() if colon and _SCHEME.fullmatch(scheme) else None


def parse_uri(text: str) -> Uri:
    """Parse a sip, sips or tel URI.

    A port that is no number (Cisco writes `:remote_port` into Route) counts as absent; the user part may hold any
    character but `@`. Raises SipParseError: 416 for another scheme, 400 for no host.
    """
    text = text.strip(BLANK)
    scheme = uri_scheme(text)
    if scheme is None:
        raise SipParseError(f"no scheme in {text[:32]!r}", where="URI")
    rest = text[len(scheme) + 1 :]
    if scheme == "tel":
        return _parse_tel(rest)
    if scheme not in ("sip", "sips"):
        raise SipParseError(f"scheme {scheme[:32]}", where="URI", status=416)
    user, at, host_and_more = rest.partition("@")
    if not at:
        user, host_and_more = "", rest
    return _parse_host_part(scheme, user if at else None, host_and_more)


def _parse_tel(rest: str) -> Uri:
    number, _, params = rest.partition(";")
    if not number:
        raise SipParseError("no number", where="URI")
    return Uri(scheme="tel", user=number, params=parse_params(params))


def _parse_host_part(scheme: str, user: str | None, text: str) -> Uri:
    address, question, headers = text.partition("?")
    host = _HOST.match(address)
    if host is None:
        raise SipParseError(f"no host in {text[:32]!r}", where="URI")
    port, _, params = address[host.end() :].partition(";")
    digits = port.strip(BLANK).removeprefix(":").strip(BLANK)
    return Uri(
        scheme=scheme,
        user=user,
        host=host[0].strip("[]"),
        port=int(digits) if is_number(digits, digits=5) and 0 < int(digits) < 65536 else None,
        params=parse_params(params),
        headers=headers if question else None,
    )
