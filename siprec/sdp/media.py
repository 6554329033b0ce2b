"""Session and media descriptions as values: what RFC 8866 lines mean, and how they are written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from siprec.sdp.payload import PayloadFormat, RtpMap, number, read_payloads, read_rtpmaps


class Direction(StrEnum):
    """Media direction seen from whoever wrote it, RFC 8866 6.7."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    def reversed(self) -> "Direction":
        """The same direction seen from the other side."""
        return _REVERSED.get(self, self)


_DIRECTIONS = {direction.value: direction for direction in Direction}
READ_ATTRIBUTES = frozenset(
    [*_DIRECTIONS, "label", "mid", "rtpmap", "fmtp", "ptime", "maxptime", "rtcp", "rtcp-mux", "crypto"]
)
"Names by which attributes are looked up here; the parser writes them in lower case, others as they came."
_REVERSED = {Direction.SENDONLY: Direction.RECVONLY, Direction.RECVONLY: Direction.SENDONLY}


@dataclass(frozen=True, slots=True)
class Attribute:
    """An `a=` line. `value` is None for a flag such as `a=rtcp-mux`."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return f"a={self.name}" if self.value is None else f"a={self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class Connection:
    """A `c=` line without its TTL; the address may be a host name."""

    address: str

    @property
    def is_null(self) -> bool:
        """True for 0.0.0.0 and ::, the old way to put a call on hold (RFC 3264 8.4)."""
        return self.address in ("0.0.0.0", "::", "0:0:0:0:0:0:0:0")

    def __str__(self) -> str:
        return f"IN {address_family(self.address)} {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """An `o=` line. The numbers stay text: peers send more than 64 bits and let them run backwards."""

    username: str = "-"
    session_id: str
    version: str
    address: str

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} {Connection(self.address)}"


@dataclass(slots=True, kw_only=True)
class MediaDescription:
    """One m-line with its attributes in the order they came. Its identity in a dialog is `index`."""

    index: int
    media: str
    port: int
    proto: str
    formats: list[str]
    connection: Connection | None = None
    "In force for this m-line: its own `c=`, else the session's."
    default_direction: Direction = Direction.SENDRECV
    "From the session level, for an m-line that says nothing."
    attributes: list[Attribute] = field(default_factory=list)
    port_count: int = 1
    line: int | None = None
    "Where the m-line was in the text that was parsed."

    def values(self, name: str) -> list[str]:
        """The values of every attribute called `name`, in order; a flag counts as ""."""
        return [a.value or "" for a in self.attributes if a.name == name]

    def first(self, name: str) -> str | None:
        """The value of the first attribute called `name`; duplicates are ignored."""
        return next((a.value or "" for a in self.attributes if a.name == name), None)

    @property
    def label(self) -> str | None:
        """`a=label` (RFC 4574), any token; None when it was not sent."""
        return self.first("label") or None

    @property
    def mid(self) -> str | None:
        return self.first("mid") or None

    @property
    def direction(self) -> Direction:
        """Of the m-line, else of the session, else sendrecv (RFC 8866 6.7)."""
        return direction_in(self.attributes) or self.default_direction

    @property
    def rtcp_mux(self) -> bool:
        return self.first("rtcp-mux") is not None

    @property
    def crypto(self) -> list[str]:
        """The values of the `a=crypto` lines (RFC 4568), not interpreted."""
        return self.values("crypto")

    @property
    def ptime(self) -> float | None:
        """Packet time in ms."""
        return _milliseconds(self.first("ptime"))

    @property
    def maxptime(self) -> float | None:
        return _milliseconds(self.first("maxptime"))

    @property
    def rtcp(self) -> tuple[int, str | None] | None:
        """Port and, if given, address of `a=rtcp` (RFC 3605 2.1)."""
        words = (self.first("rtcp") or "").split()
        port = number(words[0], limit=65535) if words else None
        if not port:
            return None
        return port, words[3] if len(words) >= 4 else None

    @property
    def rtpmaps(self) -> dict[int, RtpMap]:
        """Payload type to `a=rtpmap`; lines that make no sense are left out."""
        return read_rtpmaps(self.values("rtpmap"))

    def payloads(self) -> Mapping[int, PayloadFormat]:
        """Every RTP payload type of the m-line, in order, with its meaning."""
        return read_payloads(tuple(self.formats), tuple(self.values("rtpmap")), tuple(self.values("fmtp")))

    def lines(self, session_connection: Connection | None) -> list[str]:
        """The section as text lines; `c=` only where it differs from the session's."""
        port = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        out = [f"m={self.media} {port} {self.proto} {' '.join(self.formats)}".rstrip()]
        if self.connection is not None and self.connection != session_connection:
            out.append(f"c={self.connection}")
        return out + [str(a) for a in self.attributes]


@dataclass(slots=True, kw_only=True)
class SessionDescription:
    """A whole description. What was odd in the text it came from is in `problems`."""

    origin: Origin | None = None
    name: str = "-"
    connection: Connection | None = None
    timing: list[str] = field(default_factory=list)
    "Values of the `t=` lines."
    attributes: list[Attribute] = field(default_factory=list)
    media: list[MediaDescription] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """The description on the wire, in the order RFC 8866 5 asks for."""
        lines = ["v=0", f"o={self.origin}"] if self.origin else ["v=0"]
        lines.append(f"s={self.name}")
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines += [f"t={t}" for t in self.timing or ["0 0"]]
        lines += [str(a) for a in self.attributes]
        for media in self.media:
            lines += media.lines(self.connection)
        return ("\r\n".join(lines) + "\r\n").encode("utf-8")


def direction_in(attributes: Iterable[Attribute]) -> Direction | None:
    """The first direction among attributes, None if there is none."""
    return next((_DIRECTIONS[a.name] for a in attributes if a.name in _DIRECTIONS), None)


def address_family(address: str) -> str:
    """`IP6` for an IPv6 literal, else `IP4` (host names too)."""
    return "IP6" if ":" in address else "IP4"


def _milliseconds(text: str | None) -> float | None:
    whole, _, fraction = (text or "").strip().partition(".")
    if number(whole, limit=10_000) is None or (fraction and number(fraction, limit=10**10) is None):
        return None
    return float(f"{whole}.{fraction or 0}") or None
