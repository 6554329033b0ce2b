"""Listen addresses: `udp://127.0.0.1:5060`, `tcp://[::1]:5060`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from siprec.sip.flow import Address, default_port
from siprec.sip.uri import format_host


@dataclass(frozen=True, slots=True)
class ListenUrl:
    """Transport, address literal and port of a listener; port 0 takes a free one."""

    transport: str
    host: str
    port: int

    @property
    def address(self) -> Address:
        return (self.host, self.port)

    @property
    def wildcard(self) -> bool:
        """Bound to every address of the machine."""
        return ipaddress.ip_address(self.host).is_unspecified

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.host).version

    def __str__(self) -> str:
        return f"{self.transport}://{format_host(self.host)}:{self.port}"


def parse_listen_url(text: str) -> ListenUrl:
    """Parse a listen address; without a port it is 5060. Raises ValueError that says what is wrong."""
    url = urlsplit(text.strip())
    if url.scheme not in ("udp", "tcp"):
        raise ValueError(f"{text}: must begin with udp:// or tcp://")
    if url.path not in ("", "/") or url.query or url.username is not None:
        raise ValueError(f"{text}: only an address and a port may follow {url.scheme}://")
    try:
        host = str(ipaddress.ip_address(url.hostname or ""))
    except ValueError:
        raise ValueError(f"{text}: {url.hostname or 'nothing'} is no IP address") from None
    return ListenUrl(url.scheme, host, default_port(url.scheme) if url.port is None else url.port)
