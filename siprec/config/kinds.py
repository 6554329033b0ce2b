"""What a value of the configuration may be: each kind turns a YAML value into a typed one or says what is allowed."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar

from siprec.config.address import HostPort, Listener, PortRange

T = TypeVar("T")
Kind = Callable[[object], T]
Network = IPv4Network | IPv6Network

ANY: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class RefusedError(ValueError):
    """A value outside what its key allows; the text says what is allowed."""


def integer(low: int, high: int) -> Kind[int]:
    """A whole number from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise RefusedError(f"a whole number from {low} to {high}")
        return value

    return read


def number(low: float, high: float) -> Kind[float]:
    """A number from `low` to `high`, with or without a fraction."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise RefusedError(f"a number from {low:g} to {high:g}")
        return float(value)

    return read


def one_of(*words: str, later: tuple[str, ...] = ()) -> Kind[str]:
    """One of `words`; those in `later` are known but refused as not available yet.

    YAML reads a plain `off` as false: where it is one of the words, that is what was meant.
    """

    def read(value: object) -> str:
        if value is False and "off" in words:
            return "off"
        if isinstance(value, str) and value in words:
            return value
        allowed = " or ".join(words)
        raise RefusedError(f"{allowed} ({value} is not available yet)" if value in later else allowed)

    return read


def optional(kind: Kind[T]) -> Kind[T | None]:
    """`null`, or what `kind` allows."""

    def read(value: object) -> T | None:
        if value is None:
            return None
        try:
            return kind(value)
        except RefusedError as refused:
            raise RefusedError(f"null or {refused}") from None

    return read


def auto_or(kind: Kind[T]) -> Kind[T | None]:
    """The word `auto`, which becomes None, or what `kind` allows."""

    def read(value: object) -> T | None:
        if value == "auto":
            return None
        try:
            return kind(value)
        except RefusedError as refused:
            raise RefusedError(f"auto or {refused}") from None

    return read


def many(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list of at least one; a single value counts as a list of one."""

    def read(value: object) -> tuple[T, ...]:
        try:
            items = tuple(kind(item) for item in (value if isinstance(value, list) else [value]))
        except RefusedError as refused:
            raise RefusedError(f"a list, each {refused}") from None
        if not items:
            raise RefusedError("a list with at least one entry")
        return items

    return read


def _parsed(parse: Callable[[str], T], allowed: str) -> Kind[T]:
    def read(value: object) -> T:
        try:
            return parse(value) if isinstance(value, str) else parse("")
        except ValueError:
            raise RefusedError(allowed) from None

    return read


def text(value: object) -> str:
    """A string with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise RefusedError("a text")
    return value


def path(value: object) -> Path:
    """A file or folder; relative ones are completed by the loader."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise RefusedError("a path")
    return Path(value).expanduser() if value.startswith("~") else Path(value)


address: Kind[str] = _parsed(
    lambda given: str(ip_address(given)), "an IP address such as 192.0.2.10 or 2001:db8::10"
)
host_port: Kind[HostPort] = _parsed(HostPort.parse, "ADDRESS:PORT such as 127.0.0.1:9590 or [::1]:9590")
listener: Kind[Listener] = _parsed(
    Listener.parse, "udp://ADDRESS:PORT or tcp://ADDRESS:PORT with an IP address (tls is not available yet)"
)
ports: Kind[PortRange] = _parsed(
    PortRange.parse,
    "FIRST-LAST within 1024-65535, first even and last odd (RTP/RTCP pairs), such as 10000-31999",
)
_network: Kind[Network] = _parsed(ip_network, "a network such as 192.0.2.0/24, an address, or `any`")


def networks(value: object) -> tuple[Network, ...]:
    """A list of networks and addresses; `any` means everyone."""
    given = value if isinstance(value, list) else [value]
    if given == ["any"]:
        return ANY
    return many(_network)(given)
