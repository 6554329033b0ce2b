"""Message bodies to parts and back (RFC 2046 5.1, RFC 5621): SDP and rs-metadata out of whatever carries them."""

import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from siprec.recording.content_type import HeaderValue, parse_header_value

SDP_TYPE = "application/sdp"
METADATA_TYPE = "application/rs-metadata+xml"
METADATA_TYPES = frozenset({METADATA_TYPE, "application/rs-metadata"})
"RFC 7865 and RFC 7866 spell it differently; both are in use."
UNDERSTOOD_TYPES = METADATA_TYPES | {SDP_TYPE}

_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,80})[ \t]*:[ \t]*(.*)", re.DOTALL)
_SDP_START = re.compile(rb"(?m)^v=0[ \t]*\r?$")
_XML_START = re.compile(rb"<(?:\?xml|(?:[A-Za-z_][\w.-]{0,60}:)?recording)")
_METADATA_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,60}:)?recording")


class MultipartError(ValueError):
    """A body that yields no parts, or more or deeper ones than are allowed. `status` is the SIP reply."""

    status = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One body that is not itself a multipart.

    `content_type` is lower case, "" when there was none; `handling` is `required` or `optional` as stated or
    None (RFC 5621 8); `headers` have lower-case names; `body` is free of any transfer encoding.
    """

    content_type: str
    parameters: dict[str, str] = field(default_factory=dict)
    disposition: str = ""
    handling: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    problems: tuple[str, ...] = ()
    "What had to be repaired to get at this part."


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """What a body may cost."""

    depth: int = 4
    "Multiparts within each other."
    parts: int = 64
    headers: int = 64


def parse_body(
    content_type: str | None, body: bytes, *, disposition: str | None = None, limits: BodyLimits | None = None
) -> list[Part]:
    """The parts of a message body, nested ones in line, in their order.

    content_type, disposition: the header values of the message, None where they are missing.
    A body without a multipart is one part; an empty one none. Of a multipart/alternative the best part comes
    first (RFC 2046 5.1.4). Raises MultipartError when a multipart has nothing usable in it or breaks `limits`.
    """
    if not body.strip():
        return []
    headers = {"content-type": content_type or ""}
    if disposition:
        headers["content-disposition"] = disposition
    parts = list(_Reader(limits or BodyLimits()).read(headers, body, depth=0))
    if not parts:
        raise MultipartError("no part found in the multipart body")
    return parts


def find_sdp(parts: Sequence[Part]) -> Part | None:
    """The session description: by type, else by its looks. Empty ones and early media (RFC 3959) do not count."""
    filled = [p for p in parts if p.body.strip() and p.disposition != "early-session"]
    typed = (p for p in filled if p.content_type == SDP_TYPE and not _looks_like_metadata(p.body))
    return next(typed, None) or next((p for p in filled if _looks_like_sdp(p.body)), None)


def find_metadata(parts: Sequence[Part]) -> Part | None:
    """The rs-metadata document: by type, else by its looks. Empty ones do not count."""
    filled = [p for p in parts if p.body.strip()]
    typed = (p for p in filled if p.content_type in METADATA_TYPES and not _looks_like_sdp(p.body))
    return next(typed, None) or next((p for p in filled if _looks_like_metadata(p.body)), None)


def unsupported_required(parts: Sequence[Part]) -> list[str]:
    """Types that make the request a 415 (RFC 5621 8.4).

    A part that says `handling=required` and is not understood; and if neither SDP nor metadata was found, a part
    that does not say `optional`. A strange part beside the two is kept and harms nobody.
    """
    useful = find_sdp(parts), find_metadata(parts)
    stranger = [
        p for p in parts if p.body.strip() and p.content_type not in UNDERSTOOD_TYPES and p not in useful
    ]
    lenient = any(useful)
    return [
        p.content_type or "unknown"
        for p in stranger
        if p.handling == "required" or (not p.handling and not lenient)
    ]


def build_multipart(parts: Sequence[Part], *, boundary: str) -> tuple[str, bytes]:
    """A multipart/mixed of the parts: its Content-Type value and its bytes."""
    out = []
    for part in parts:
        headers = [f"Content-Type: {part.content_type}"]
        if part.disposition:
            handling = f";handling={part.handling}" if part.handling else ""
            headers.append(f"Content-Disposition: {part.disposition}{handling}")
        head = "\r\n".join([f"--{boundary}", *headers]).encode()
        out.append(head + b"\r\n\r\n" + part.body + b"\r\n")
    return f"multipart/mixed;boundary={boundary}", b"".join(out) + f"--{boundary}--\r\n".encode()


class _Reader:
    """One pass over a body, counting what it costs."""

    def __init__(self, limits: BodyLimits) -> None:
        self.limits, self.count = limits, 0

    def read(self, headers: dict[str, str], body: bytes, *, depth: int) -> Iterator[Part]:
        content = parse_header_value(headers.get("content-type", ""))
        if not content.value and body.lstrip().startswith(b"--"):
            content = HeaderValue("multipart/mixed")
        if content.value.startswith("multipart/"):
            yield from self._read_multipart(content, body, depth + 1)
            return
        self.count += 1
        if self.count > self.limits.parts:
            raise MultipartError(f"more than {self.limits.parts} parts")
        yield _leaf(content, headers, body)

    def _read_multipart(self, content: HeaderValue, body: bytes, depth: int) -> Iterator[Part]:
        if depth > self.limits.depth:
            raise MultipartError(f"multiparts nested deeper than {self.limits.depth}")
        sections, problems = _sections(body, content.parameters.get("boundary", ""), self.limits.parts)
        found: list[list[Part]] = []
        for section in sections:
            headers, rest = _part_headers(section, self.limits.headers)
            if headers or rest.strip():
                found.append(list(self.read(headers, rest, depth=depth)))
        if not found:
            found, problems = [list(_by_looks(body))], ("no multipart delimiter found",)
        if content.value == "multipart/alternative":
            found = _best_first(found)
        for part in (p for parts in found for p in parts):
            yield replace(part, problems=part.problems + problems) if problems else part


def _sections(body: bytes, boundary: str, most: int) -> tuple[list[bytes], tuple[str, ...]]:
    """What stands between the delimiter lines, and what was wrong with them."""
    sections, closed = (
        _between(body, boundary.strip().encode("utf-8", "surrogateescape"), most)
        if boundary.strip()
        else ([], True)
    )
    if sections:
        return sections, () if closed else ("final delimiter missing",)
    guess = next((m.group(1) for m in re.finditer(rb"(?m)^--([^\r\n]{1,200})", body)), b"").strip()
    sections, _ = _between(body, guess, most) if guess else ([], True)
    return sections, ("boundary guessed from the body",)


def _between(body: bytes, boundary: bytes, most: int) -> tuple[list[bytes], bool]:
    delimiter = re.compile(rb"(?m)^--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\r?\Z)")
    sections: list[bytes] = []
    start: int | None = None
    for match in delimiter.finditer(body):
        if start is not None:
            sections.append(_without_last_line_end(body[start : match.start()]))
        if match.group(1):
            return sections, True
        if len(sections) > most:
            raise MultipartError(f"more than {most} parts")
        start = match.end()
    if start is not None:
        sections.append(body[start:])
    return sections, False


def _without_last_line_end(section: bytes) -> bytes:
    """The line end before a delimiter belongs to the delimiter (RFC 2046 5.1.1)."""
    for end in (b"\r\n", b"\n"):
        if section.endswith(end):
            return section[: -len(end)]
    return section


def _part_headers(section: bytes, most: int) -> tuple[dict[str, str], bytes]:
    """Header lines up to a blank line, or up to the first line that is none; and the rest."""
    headers: dict[str, str] = {}
    last = ""
    place = 0
    while place < len(section) and len(headers) < most:
        end = section.find(b"\n", place)
        end = len(section) if end < 0 else end + 1
        line = section[place:end].rstrip(b"\r\n")
        if not line.strip():
            return headers, section[end:]
        if line[:1] in b" \t" and last:
            headers[last] += " " + line.strip().decode("utf-8", "replace")
        elif match := _HEADER.fullmatch(line):
            last = match.group(1).decode("ascii").lower()
            headers.setdefault(last, match.group(2).strip().decode("utf-8", "replace"))
        else:
            break
        place = end
    return headers, section[place:]


def _leaf(content: HeaderValue, headers: dict[str, str], body: bytes) -> Part:
    disposition = parse_header_value(headers.get("content-disposition", ""))
    decoded, problems = _decoded(headers.get("content-transfer-encoding", ""), body)
    handling = disposition.parameters.get("handling", "").lower()
    return Part(
        content_type=content.value or _type_by_looks(decoded),
        parameters=content.parameters,
        disposition=disposition.value,
        handling=handling if handling in ("required", "optional") else None,
        headers=headers,
        body=decoded,
        problems=problems,
    )


def _decoded(encoding: str, body: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Undo base64 and quoted-printable (RFC 2045 6); what cannot be undone stays as it is."""
    encoding = encoding.strip().lower()
    try:
        if encoding == "base64":
            return binascii.a2b_base64(body), ()
        if encoding == "quoted-printable":
            return binascii.a2b_qp(body), ()
    except binascii.Error:
        return body, ("broken base64 left as it came",)
    return body, ()


def _best_first(found: list[list[Part]]) -> list[list[Part]]:
    """The last alternative is the richest; once one is understood, none of the others is required."""
    understood = any(p.content_type in UNDERSTOOD_TYPES for parts in found for p in parts)
    return [
        [
            p if p.content_type in UNDERSTOOD_TYPES or not understood else replace(p, handling="optional")
            for p in ps
        ]
        for ps in reversed(found)
    ]


def _by_looks(body: bytes) -> Iterator[Part]:
    """SDP and metadata cut out of a body that has no delimiters."""
    sdp, xml = _SDP_START.search(body), _XML_START.search(body)
    if sdp:
        text = body[sdp.start() :]
        if xml and xml.start() > sdp.start():
            text = body[sdp.start() : xml.start()]
        yield Part(content_type=SDP_TYPE, body=text)
    if xml:
        text = body[xml.start() : body.rfind(b">") + 1]
        yield Part(content_type=METADATA_TYPE, body=text)


def _type_by_looks(body: bytes) -> str:
    if _looks_like_sdp(body):
        return SDP_TYPE
    return METADATA_TYPE if _looks_like_metadata(body) else ""


def _looks_like_sdp(body: bytes) -> bool:
    return body.lstrip()[:4] in (b"v=0\r", b"v=0\n")


def _looks_like_metadata(body: bytes) -> bool:
    text = body[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n")
    return text.startswith(b"<") and _METADATA_ROOT.search(text) is not None
