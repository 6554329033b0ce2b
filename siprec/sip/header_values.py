"""Structured header values: name-addr, Contact, Via, CSeq and Content-Type (RFC 3261 20, 25.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from siprec.sip.errors import SipParseError
from siprec.sip.grammar import (
    BLANK,
    NO_PARAMS,
    QUOTED_STRING,
    TOKEN,
    Params,
    is_number,
    parse_params,
    quote,
    unquote,
)
from siprec.sip.headers import Headers
from siprec.sip.uri import format_host

MAGIC_COOKIE = "z9hG4bK"
_BARE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s;]*")
_VIA = re.compile(
    r"SIP[ \t]*/[ \t]*(?P<version>[^/ \t]+)[ \t]*/[ \t]*(?P<transport>[^/ \t;]+)[ \t]+"
    r"(?P<host>\[[^\]\s]+\]|[^\s:;,\[\]]+)[ \t]*(?::[ \t]*(?P<port>[^\s;]*))?[ \t]*(?:;(?P<params>.*))?",
    re.IGNORECASE | re.DOTALL,
)


_REMEMBERED = 512
"Parsed values remembered: several layers ask for the same headers of a message."


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAddr:
    """From, To, Contact, Route, ...: display name, URI as written (parse_uri takes it apart), header parameters."""

    uri: str
    display: str = ""
    params: Params = NO_PARAMS

    @property
    def tag(self) -> str | None:
        """The tag parameter; an empty one counts as absent."""
        return self.params.get("tag") or None

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{self.params}"


@lru_cache(_REMEMBERED)
def parse_name_addr(value: str, *, where: str = "name-addr") -> NameAddr:
    """Parse one name-addr or addr-spec with its parameters (RFC 3261 20.10, 20.20).

    Taken as well, because equipment sends it: no closing `>`, doubled `<<`, anything between `>` and the next `;`,
    display names with any bytes, a display name before a URI without brackets. Raises SipParseError (400) only if
    there is no URI at all.
    """
    value = value.strip(BLANK)
    quoted = QUOTED_STRING.match(value)
    opening = value.find("<", quoted.end() if quoted else 0)
    if opening >= 0:
        return _parse_bracketed(value, opening, where)
    return _parse_bare(value, quoted.end() if quoted else 0, where)


def _parse_bare(value: str, start: int, where: str) -> NameAddr:
    address, _, params = value[start:].partition(";")
    found = _BARE_URI.search(address)
    uri = found[0] if found else address.strip(BLANK)
    if not uri:
        raise SipParseError("no URI", where=where)
    display = value[:start] + address[: found.start() if found else 0]
    return NameAddr(uri=uri, display=unquote(display.strip(BLANK)), params=parse_params(params))


def _parse_bracketed(value: str, opening: int, where: str) -> NameAddr:
    display = unquote(value[:opening].strip(BLANK))
    uri, closing, after = value[opening + 1 :].lstrip("<" + BLANK).partition(">")
    uri = uri.strip(BLANK)
    if not uri:
        raise SipParseError("no URI", where=where)
    # Without `>` nobody can say whose the parameters are, so they are the URI's and the header's.
    _, _, params = (after.rstrip(">" + BLANK) if closing else uri).partition(";")
    return NameAddr(uri=uri, display=display, params=parse_params(params))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One Contact value; `features` are its parameters whether they stand behind or inside the URI."""

    address: NameAddr
    features: Params

    @property
    def recording_client(self) -> bool:
        """`+sip.src` is there, wherever it stands (RFC 7866 6.1.1; Avaya and Metaswitch write it into the URI)."""
        return "+sip.src" in self.features


@lru_cache(_REMEMBERED)
def parse_contact(value: str) -> Contact:
    """Parse one Contact. Raises SipParseError if there is no URI in it."""
    address = parse_name_addr(value, where="Contact")
    _, _, uri_params = address.uri.partition(";")
    inside = parse_params(uri_params.partition("?")[0])
    return Contact(address=address, features=Params((*address.params.pairs, *inside.pairs)))


def contacts(headers: Headers) -> list[Contact]:
    """The Contacts that can be read; the others, and `*`, are left out."""
    found: list[Contact] = []
    for value in headers.get_all("Contact"):
        try:
            found.append(parse_contact(value))
        except SipParseError:
            continue
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """One Via value (RFC 3261 20.42, RFC 3581)."""

    transport: str
    "As written: UDP, TCP, TLS, ..."
    host: str
    "Host of sent-by, without brackets."
    port: int | None = None
    params: Params = NO_PARAMS

    @property
    def branch(self) -> str:
        return self.params.get("branch") or ""

    @property
    def sent_by(self) -> str:
        """Lower case, so that two ways of writing one host compare equal."""
        return format_host(self.host, self.port).lower()

    def with_source(self, host: str, port: int) -> Via:
        """Note where the request came from: `received` (RFC 3261 18.2.1) and the `rport` asked for (RFC 3581 4)."""
        params = self.params
        if "rport" in params:
            params = params.replace("rport", str(port)).replace("received", host)
        elif self.host.lower() != host.lower():
            params = params.replace("received", host)
        return replace(self, params=params)

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {format_host(self.host, self.port)}{self.params}"


@lru_cache(_REMEMBERED)
def parse_via(value: str) -> Via:
    """Parse one Via. A port that is no number counts as absent. Raises SipParseError (400)."""
    match = _VIA.fullmatch(value.strip(BLANK))
    if match is None:
        raise SipParseError(f"bad value {value[:48]!r}", where="Via")
    digits = match["port"] or ""
    return Via(
        transport=match["transport"],
        host=match["host"].strip("[]"),
        port=int(digits) if is_number(digits, digits=5) and 0 < int(digits) < 65536 else None,
        params=parse_params(match["params"] or ""),
    )


@dataclass(frozen=True, slots=True)
class CSeq:
    """Sequence number and method (RFC 3261 20.16)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@lru_cache(_REMEMBERED)
def parse_cseq(value: str) -> CSeq:
    """Parse a CSeq: a number below 2**31, one method. Raises SipParseError (400)."""
    digits, _, method = value.strip(BLANK).replace("\t", " ").partition(" ")
    method = method.strip(BLANK)
    if not is_number(digits) or int(digits) >= 2**31 or not TOKEN.fullmatch(method):
        raise SipParseError(f"bad value {value[:32]!r}", where="CSeq")
    return CSeq(int(digits), method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parametrized:
    """A value with parameters: Content-Type, Content-Disposition, Reason, ... `value` is in lower case."""

    value: str
    params: Params = NO_PARAMS


def parse_parametrized(text: str) -> Parametrized:
    """Parse `value;name=value;...`, blanks anywhere between. Never fails."""
    value, _, params = text.partition(";")
    return Parametrized(value="".join(value.split()).lower(), params=parse_params(params))
