"""The recorder to call."""

from __future__ import annotations

from dataclasses import dataclass

from siprec.sip.errors import SipParseError
from siprec.sip.flow import default_port
from siprec.sip.uri import Uri, format_host, parse_uri

TRANSPORTS = ("udp", "tcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Host (a name or an address), port and transport of a recorder."""

    host: str
    port: int
    transport: str = "udp"
    user: str | None = None

    @property
    def uri(self) -> str:
        """The request URI."""
        user = f"{self.user}@" if self.user else ""
        transport = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:{user}{format_host(self.host, self.port)}{transport}"

    @classmethod
    def parse(cls, text: str, *, transport: str | None = None) -> Target:
        """`sip:HOST[:PORT][;transport=tcp]`; `transport` must not contradict it. Raises ValueError."""
        uri = _parsed(text)
        said = (uri.params.get("transport") or "").lower() or None
        if said is not None and transport is not None and said != transport:
            raise ValueError(f"{text} says transport {said}, the option {transport}")
        chosen = said or transport or "udp"
        if chosen not in TRANSPORTS:
            raise ValueError(f"transport {chosen!r} is none of {', '.join(TRANSPORTS)}")
        return cls(host=uri.host, port=uri.port or default_port(chosen), transport=chosen, user=uri.user)


def _parsed(text: str) -> Uri:
    try:
        uri = parse_uri(text)
    except SipParseError as error:
        raise ValueError(f"{text!r} is not sip:HOST:PORT: {error.reason}") from None
    if uri.scheme != "sip" or not uri.host:
        raise ValueError(f"{text!r} is not sip:HOST:PORT")
    return uri
