"""Bytes of an XML document to an element tree, safely: no DTD, no entity, no network, bounded in every way.

A document that is not well-formed gets one repair (raw `&` and `<` in names) and is then read as far as it goes.
"""

import re
from dataclasses import dataclass
from functools import cache

from lxml import etree

from siprec.recording.metadata import MetadataError
from siprec.recording.metadata_elements import Element, read_elements

TEXT_ENCODINGS = frozenset(
    [
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "utf-16",
        "utf-16le",
        "utf-16be",
        "utf-32",
        "iso-8859-1",
        "iso-8859-2",
        "iso-8859-5",
        "iso-8859-9",
        "iso-8859-15",
        "latin-1",
        "latin1",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1254",
        "windows-1256",
        "koi8-r",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
        "shift_jis",
        "euc-jp",
        "euc-kr",
    ]
)
"Only these names reach Python's decoders; some of the others are no text encodings at all."

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})""")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*>")
_FORBIDDEN = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_RAW_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_RAW_LESS_THAN = re.compile(r"<(?![A-Za-z_/!?])")
_NAME_TAG_JUNK = re.compile(r"<((?:[\w.-]{1,60}:)?name);[^<>]{0,80}>")
_NAME = re.compile(
    r"(<(?:[\w.-]{1,60}:)?name(?:\s[^<>]*)?(?<!/)>)(?!<!\[CDATA\[)"
    r"((?:[^<]++|<(?!/?(?:[\w.-]{1,60}:)?(?:name|nameID|aor|participant|recording)[\s>/]))*+)"
    r"(</(?:[\w.-]{1,60}:)?name\s*>)"
)
_AOR = re.compile(r"""(\saor\s*=\s*)(?:"([^"]{0,2000})"|'([^']{0,2000})')""")


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlLimits:
    """What a document may cost."""

    bytes: int = 1 << 19
    depth: int = 64
    elements: int = 5_000


@dataclass(frozen=True, slots=True)
class XmlTree:
    """The root, whether parts may have been lost on the way to it, and what was wrong."""

    root: Element
    incomplete: bool
    problems: list[str]


def read_xml(data: bytes, *, charset: str | None = None, limits: XmlLimits | None = None) -> XmlTree:
    """Parse a document; `charset` of the MIME type beats the XML declaration (RFC 7865 5.1).

    Raises MetadataError for a DOCTYPE, for what breaks `limits` and for what has no element in it.
    """
    limits = limits or XmlLimits()
    if len(data) > limits.bytes:
        raise MetadataError(f"{len(data)} bytes of metadata, at most {limits.bytes} are read")
    problems: list[str] = []
    text = _bare_document(_decode(data, charset, problems), problems)
    if _FORBIDDEN.search(text):
        raise MetadataError("DOCTYPE and ENTITY are not allowed")
    root = _parse(text, recover=False)
    incomplete = False
    if root is None:
        problems.append("not well-formed")
        repaired = _repaired(text)
        root = _parse(repaired, recover=False)
        if root is None:
            incomplete = True
            problems.append("recovered, parts may be missing")
            root = _parse(repaired, recover=True)
    if root is None:
        raise MetadataError("no XML element in the metadata")
    elements = read_elements(root, depth=limits.depth, elements=limits.elements)
    return XmlTree(elements, incomplete, problems)


def _decode(data: bytes, charset: str | None, problems: list[str]) -> str:
    """The text: by the MIME charset unless that finds no XML, else by what the bytes themselves say."""
    if charset:
        text = _decode_as(charset.strip().lower(), data, problems)
        if "<" in text:
            return text
        problems.append("charset parameter is wrong")
    return _decode_as(_encoding_by_looks(data), data, problems)


def _decode_as(encoding: str, data: bytes, problems: list[str]) -> str:
    if encoding not in TEXT_ENCODINGS:
        problems.append(f"unknown encoding {encoding[:40]!r}, read as UTF-8")
        encoding = "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeError:
        problems.append(f"not valid {encoding}, read as Windows-1252")
        return data.decode("windows-1252", "replace")


def _encoding_by_looks(data: bytes) -> str:
    """A byte order mark, the pattern of UTF-16, the XML declaration, else UTF-8."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    if data[:4] == b"<\0?\0" or data[:2] == b"<\0":
        return "utf-16le"
    if data[:2] == b"\0<":
        return "utf-16be"
    declared = _DECLARED.search(data[:300])
    name = declared.group(1).decode("ascii").lower() if declared else "utf-8"
    # Readable up to here as single bytes, so whoever declares UTF-16 is wrong.
    return "utf-8" if name.startswith(("utf-16", "utf-32")) else name


def _bare_document(text: str, problems: list[str]) -> str:
    """From the first `<` to the last `>`, without declaration and characters that XML does not have."""
    start, end = text.find("<"), text.rfind(">")
    bare = _DECLARATION.sub("", text[start : end + 1]) if 0 <= start < end else ""
    clean, removed = _NOT_XML.subn("", bare)
    if removed:
        problems.append(f"{removed} characters removed that XML does not allow")
    return clean


@cache
def _parser(recover: bool) -> etree.XMLParser:
    return etree.XMLParser(
        recover=recover,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
    )


def _parse(text: str, *, recover: bool) -> "etree._Element | None":
    try:
        return etree.fromstring(text.encode("utf-8"), _parser(recover))
    except etree.XMLSyntaxError:
        return None


def _repaired(text: str) -> str:
    """Escape what display names bring along unescaped: `R&D <lab>`, `a < b`, `<name;lang=en>`."""
    text = _NAME_TAG_JUNK.sub(r"<\1>", text)
    text = _RAW_AMPERSAND.sub("&amp;", text)
    text = _NAME.sub(lambda m: m[1] + _escaped(m[2]) + m[3], text)
    text = _AOR.sub(lambda m: f'{m[1]}"{_escaped(m[2] or m[3] or "").replace(chr(34), "&quot;")}"', text)
    return _RAW_LESS_THAN.sub("&lt;", text)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")
