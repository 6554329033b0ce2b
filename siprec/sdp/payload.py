"""RTP payload types: the static table of RFC 3551, `a=rtpmap` and `a=fmtp` (RFC 8866 6.6, 6.15)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

UNKNOWN_CODEC = "UNKNOWN"

STATIC_PAYLOADS: dict[int, tuple[str, int, int]] = {
    0: ("PCMU", 8000, 1),
    2: ("G726-32", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    6: ("DVI4", 16000, 1),
    7: ("LPC", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    12: ("QCELP", 8000, 1),
    13: ("CN", 8000, 1),
    14: ("MPA", 90000, 1),
    15: ("G728", 8000, 1),
    16: ("DVI4", 11025, 1),
    17: ("DVI4", 22050, 1),
    18: ("G729", 8000, 1),
    19: ("CN", 8000, 1),
}
"Payload type to (encoding, clock rate in Hz, channels), RFC 3551 table 4; 19 is comfort noise of old Cisco gear."

UNMAPPED_EVENT_PAYLOAD = 101
"What everybody means by 101 when they send no rtpmap for it: telephone-event/8000."

_REMEMBERED = 256
"Sets of formats whose meaning is remembered: a peer offers the same ones call after call."


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadFormat:
    """What one RTP payload type means in one m-line. `name` is upper case (`PCMU`, `TELEPHONE-EVENT`)."""

    payload_type: int
    name: str
    clock: int
    "RTP clock rate in Hz. 8000 for G.722 although its audio has 16000 (RFC 3551 4.5.2)."
    channels: int = 1
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class RtpMap:
    """An `a=rtpmap` line; `encoding` as it was written."""

    encoding: str
    clock: int
    channels: int = 1


def read_rtpmaps(values: Iterable[str]) -> dict[int, RtpMap]:
    """`<pt> <encoding>/<clock>[/<channels>]` lines; the first for a type wins, senseless ones are left out."""
    result: dict[int, RtpMap] = {}
    for pt, text in _numbered(values):
        encoding, _, rest = text.strip().partition("/")
        clock, _, channels = rest.partition("/")
        default = default_rtpmap(pt) or RtpMap(UNKNOWN_CODEC, 8000)
        if encoding.strip():
            mapped = RtpMap(
                encoding.strip(),
                number(clock.strip(), limit=1_000_000) or default.clock,
                number(channels.strip(), limit=255) or 1,
            )
            result.setdefault(pt, mapped)
    return result


def read_fmtp(values: Iterable[str]) -> dict[int, str]:
    """`<pt> <parameters>` lines; the first for a type wins."""
    result: dict[int, str] = {}
    for pt, text in _numbered(values):
        result.setdefault(pt, text.strip())
    return result


@lru_cache(_REMEMBERED)
def read_payloads(
    formats: tuple[str, ...], rtpmap_values: tuple[str, ...], fmtp_values: tuple[str, ...]
) -> Mapping[int, PayloadFormat]:
    """What each format of an m-line means, in order; the values are those of its `a=rtpmap` and `a=fmtp` lines.

    rtpmap first, then the static table; a dynamic type without rtpmap is `UNKNOWN` (101: telephone-event).
    """
    rtpmaps, fmtp = read_rtpmaps(rtpmap_values), read_fmtp(fmtp_values)
    result: dict[int, PayloadFormat] = {}
    for token in formats:
        pt = number(token, limit=127)
        if pt is None or pt in result:
            continue
        m = rtpmaps.get(pt) or default_rtpmap(pt) or RtpMap(UNKNOWN_CODEC, 8000)
        result[pt] = PayloadFormat(
            payload_type=pt,
            name=m.encoding.upper(),
            clock=m.clock,
            channels=m.channels,
            fmtp=fmtp.get(pt, ""),
        )
    return MappingProxyType(result)


def default_rtpmap(payload_type: int) -> RtpMap | None:
    """What a payload type means that has no rtpmap, None when nobody can know."""
    if payload_type == UNMAPPED_EVENT_PAYLOAD:
        return RtpMap("telephone-event", 8000)
    static = STATIC_PAYLOADS.get(payload_type)
    return RtpMap(*static) if static else None


def number(text: str, *, limit: int) -> int | None:
    """A plain decimal number from 0 to `limit`, else None."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= limit else None


def rtpmap_text(payload: PayloadFormat) -> str:
    """`<encoding>/<clock>[/<channels>]`, as an rtpmap carries it."""
    name = "telephone-event" if payload.name == "TELEPHONE-EVENT" else payload.name
    channels = f"/{payload.channels}" if payload.channels > 1 else ""
    return f"{name}/{payload.clock}{channels}"


def payload_type_of(value: str) -> int | None:
    """The payload type an rtpmap or fmtp value begins with."""
    words = value.split(None, 1)
    return number(words[0], limit=127) if words else None


def _numbered(values: Iterable[str]) -> Iterable[tuple[int, str]]:
    for value in values:
        pt = payload_type_of(value)
        words = value.split(None, 1)
        if pt is not None and len(words) == 2:
            yield pt, words[1]
