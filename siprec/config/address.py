"""Where the recorder listens: addresses, ports and port ranges as the configuration writes them."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)):(?P<port>[0-9]{1,5})")
_RANGE = re.compile(r"([0-9]{1,5}) ?- ?([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class HostPort:
    """An IP address and a port; port 0 lets the kernel choose a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ip(self) -> IPv4Address | IPv6Address:
        """The address as a number, for comparisons."""
        return ip_address(self.host)

    @classmethod
    def parse(cls, text: str) -> "HostPort":
        """`127.0.0.1:5060` or `[::1]:5060`. Raises ValueError."""
        match = _HOST_PORT.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(f"{text!r} is not ADDRESS:PORT")
        return cls(str(ip_address(match["v6"] or match["v4"])), int(match["port"]))


@dataclass(frozen=True, slots=True)
class Listener:
    """One SIP listener, written as a URL: `udp://127.0.0.1:5060`."""

    transport: str
    "`udp` or `tcp`."
    at: HostPort

    def __str__(self) -> str:
        return f"{self.transport}://{self.at}"

    @classmethod
    def parse(cls, text: str) -> "Listener":
        """Raises ValueError for another transport or a bad address."""
        transport, separator, rest = text.partition("://")
        if not separator or transport not in ("udp", "tcp"):
            raise ValueError(f"{text!r} is not udp://… or tcp://…")
        return cls(transport, HostPort.parse(rest))


@dataclass(frozen=True, slots=True)
class PortRange:
    """UDP ports from `first` (even) to `last` (odd), used in pairs RTP/RTCP (RFC 3550 11)."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def pairs(self) -> int:
        """How many RTP/RTCP pairs fit."""
        return (self.last - self.first + 1) // 2

    @classmethod
    def parse(cls, text: str) -> "PortRange":
        """`10000-31999`. Raises ValueError unless it is whole pairs in 1024..65535."""
        match = _RANGE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not FIRST-LAST")
        first, last = int(match[1]), int(match[2])
        if not 1024 <= first < last <= 65535 or first % 2 or not last % 2:
            raise ValueError(f"{text!r} is not whole pairs of ports")
        return cls(first, last)
