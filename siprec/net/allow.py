"""Who may send us anything at all."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

_MAX_REMEMBERED = 4096


class AllowList:
    """Networks whose packets are looked at; `any` stands for all of them.

    Raises ValueError for an entry that is neither.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        entries = [entry.strip() for entry in entries]
        self._any = "any" in entries
        self._networks = [ipaddress.ip_network(entry, strict=False) for entry in entries if entry != "any"]
        self._known: dict[str, bool] = {}

    def allows(self, host: str) -> bool:
        """`host` is an address literal as a socket gives it. An IPv4 address mapped into IPv6 counts as IPv4."""
        if self._any:
            return True
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            known = self._known[host] = self._decide(host)
        return known

    def _decide(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
