"""Where a message came from, and where one goes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A path between us and a peer.

    local: the address that the peer reached, never a wildcard; its port is the listener's.
    remote: the peer's address; only on a stream that is still to be opened may its host be a name.
    connection: id of the stream; None for UDP, and for a stream to `remote` that is to be opened or found.
    """

    transport: str
    "udp, tcp or tls."
    local: Address
    remote: Address
    connection: int | None = None

    @property
    def reliable(self) -> bool:
        """The transport retransmits by itself."""
        return self.transport != "udp"


@lru_cache(1024)
def is_ip_address(host: str) -> bool:
    """True for an IPv4 or IPv6 literal (without brackets; a zone is allowed)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def default_port(transport: str) -> int:
    """RFC 3261 18.2.2: 5061 for TLS, else 5060."""
    return 5061 if transport == "tls" else 5060
