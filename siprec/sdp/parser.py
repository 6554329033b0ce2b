"""SDP bytes to a description (RFC 8866), tolerant of what real senders leave out or get wrong."""

from collections.abc import Iterable, Iterator

from siprec.sdp.error import SdpError
from siprec.sdp.media import (
    READ_ATTRIBUTES,
    Attribute,
    Connection,
    Direction,
    MediaDescription,
    Origin,
    SessionDescription,
    direction_in,
)
from siprec.sdp.payload import number, payload_type_of

MAX_PROBLEMS = 20

Line = tuple[int, str, str]
"Line number from 1, type letter, value."


def parse_sdp(data: bytes, *, max_bytes: int = 65_536, max_media: int = 64) -> SessionDescription:
    """Read a description; oddities end up in its `problems`.

    Missing lines, unknown lines and any line ending are accepted. The description ends at the first blank line or
    at a second `v=`. Raises SdpError: 400 for what is no SDP, is too long or has an m-line that cannot be
    understood; 488 for more than `max_media` m-lines.
    """
    if len(data) > max_bytes:
        raise SdpError(f"{len(data)} bytes of SDP, at most {max_bytes} are read")
    problems: list[str] = []
    session_part, media_parts = _sections(_lines(_decode(data, problems), problems), max_media)
    session = _session(session_part, problems)
    session.media = [_media(i, part, session, problems) for i, part in enumerate(media_parts)]
    session.problems = problems[:MAX_PROBLEMS]
    return session


def _decode(data: bytes, problems: list[str]) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.append("not UTF-8, read as Latin-1")
        text = data.decode("latin-1")
    return text.replace("\0", "")


def _lines(text: str, problems: list[str]) -> Iterator[Line]:
    """The lines of one description: from the first `x=` to a blank line or the next `v=`."""
    seen = False
    for count, raw in enumerate(_split(text), start=1):
        kind, equals, value = raw.partition("=")
        kind = kind.strip()
        if seen and (not raw.strip() or kind == "v"):
            return
        if equals and len(kind) == 1:
            seen = True
            yield count, kind, value.strip()
        elif raw.strip():
            problems.append(f"line {count} is not SDP, ignored")


def _split(text: str) -> Iterator[str]:
    """CRLF, LF, a lone CR and CRCRLF all end a line."""
    for chunk in text.split("\n"):
        yield from chunk.rstrip("\r").split("\r")


def _sections(lines: Iterable[Line], max_media: int) -> tuple[list[Line], list[list[Line]]]:
    session: list[Line] = []
    media: list[list[Line]] = []
    for line in lines:
        if line[1] == "m":
            media.append([line])
        else:
            (media[-1] if media else session).append(line)
        if len(media) > max_media:
            raise SdpError(f"more than {max_media} m-lines", line=line[0], status=488)
    if not media and not any(kind in "vo" for _, kind, _ in session):
        raise SdpError("no SDP in the body")
    return session, media


def _session(lines: list[Line], problems: list[str]) -> SessionDescription:
    session = SessionDescription()
    session.timing = [value for _, kind, value in lines if kind == "t" and value]
    session.attributes = [_attribute(value) for _, kind, value in lines if kind == "a" and value]
    session.connection = _connection(lines, problems)
    for count, kind, value in lines:
        if kind == "s" and value:
            session.name = value
        elif kind == "o" and session.origin is None:
            session.origin = _origin(value)
            if session.origin is None:
                problems.append(f"line {count}: o= not understood")
    return session


def _origin(value: str) -> Origin | None:
    words = value.split()
    if len(words) < 5:
        return None
    # Counted from the end, because a user name with blanks has been seen.
    return Origin(username=words[0], session_id=words[-5], version=words[-4], address=words[-1])


def _connection(lines: list[Line], problems: list[str]) -> Connection | None:
    """The first `c=` that has an address; TTL and count behind a slash are dropped."""
    for count, kind, value in lines:
        if kind == "c":
            words = value.split()
            address = words[2].partition("/")[0] if len(words) >= 3 else ""
            if address:
                return Connection(address)
            problems.append(f"line {count}: c= without an address")
    return None


def _attribute(value: str) -> Attribute:
    name, colon, rest = value.partition(":")
    name = name.strip()
    if (lower := name.lower()) in READ_ATTRIBUTES:
        name = lower
    return Attribute(name, rest.strip() if colon else None)


def _media(
    index: int, lines: list[Line], session: SessionDescription, problems: list[str]
) -> MediaDescription:
    count, _, value = lines[0]
    words = value.split()
    if len(words) < 3:
        raise SdpError("m= needs media, port and transport", line=count)
    port_text, slash, ports = words[1].partition("/")
    port = number(port_text, limit=65535)
    if port is None:
        raise SdpError(f"bad port {words[1][:16]!r}", line=count)
    media = MediaDescription(
        index=index,
        media=words[0],
        port=port,
        port_count=(number(ports, limit=65535) or 1) if slash else 1,
        proto=words[2],
        formats=words[3:],
        connection=_connection(lines[1:], problems) or session.connection,
        default_direction=direction_in(session.attributes) or Direction.SENDRECV,
        attributes=[_attribute(text) for _, kind, text in lines[1:] if kind == "a" and text],
        line=count,
    )
    problems += _media_problems(media)
    return media


def _media_problems(media: MediaDescription) -> Iterator[str]:
    """What a reader of the log wants to know about an m-line that is used nevertheless."""
    where = f"m-line {media.index}"
    if not media.formats:
        yield f"{where}: no format"
    if media.port and media.connection is None:
        yield f"{where}: no c= line"
    if media.label is None:
        yield f"{where}: no label"
    if any(payload_type_of(v) is None for name in ("rtpmap", "fmtp") for v in media.values(name)):
        yield f"{where}: rtpmap or fmtp without a payload type"
