"""The header fields of one message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from siprec.sip.grammar import split_outside

_COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
_LONG = """
    Accept Accept-Encoding Accept-Language Alert-Info Allow Authorization Call-Info Content-Disposition
    Content-Language CSeq Date Diversion Error-Info Expires History-Info In-Reply-To Max-Forwards Min-Expires
    Min-SE MIME-Version Organization P-Asserted-Identity Path Priority Privacy Proxy-Authenticate
    Proxy-Authorization Proxy-Require RAck Reason Record-Route Recv-Info Replaces Reply-To Require
    Resource-Priority Retry-After Route RSeq Server Session-ID Supported Timestamp Unsupported User-Agent
    User-to-User Warning WWW-Authenticate
"""
_CANONICAL = {name.lower(): name for name in (*_COMPACT.values(), *_LONG.split())} | _COMPACT

_LISTS = """
    Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Call-Info Contact
    Content-Encoding Content-Language Diversion Error-Info History-Info In-Reply-To P-Asserted-Identity Path
    Proxy-Require Reason Record-Route Recv-Info Reject-Contact Require Resource-Priority Route Supported
    Unsupported User-to-User Via Warning
"""
_LIST_KEYS = frozenset(_LISTS.lower().split())
"""Headers whose grammar is a comma list, so that one line with commas equals repeated lines (RFC 3261 7.3.1)."""


def canonical_name(name: str) -> str:
    """The long name in its usual spelling; an unknown name comes back as it was written."""
    return _CANONICAL.get(name.lower(), name)


@lru_cache(1024)
def _key(name: str) -> str:
    """What names are compared by."""
    return canonical_name(name).lower()


class Headers:
    """Ordered multi-dictionary of header fields; names compare without case, compact forms are long ones.

    Values are str decoded as UTF-8 with surrogateescape, so any bytes survive a round trip.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str, str]] = []
        for name, value in fields:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Append a field. Raises ValueError for a value with a line break, which would forge another header."""
        self._fields.append(self._field(name, value))

    def set(self, name: str, *values: str) -> None:
        """Replace all fields of that name, at the place of the first one (else at the end)."""
        fields = [self._field(name, value) for value in values]
        key = _key(name)
        places = [index for index, field in enumerate(self._fields) if field[0] == key]
        at = places[0] if places else len(self._fields)
        self.remove(name)
        self._fields[at:at] = fields

    def remove(self, name: str) -> None:
        """Delete all fields of that name, if any."""
        key = _key(name)
        self._fields = [field for field in self._fields if field[0] != key]

    def get(self, name: str) -> str | None:
        """The first field of that name as it stands, or None."""
        key = _key(name)
        for field, _, value in self._fields:
            if field == key:
                return value
        return None

    def lines(self, name: str) -> list[str]:
        """All fields of that name as they stand, comma lists not split."""
        key = _key(name)
        return [value for field, _, value in self._fields if field == key]

    def get_all(self, name: str) -> list[str]:
        """All values of that name: repeated fields and, where the grammar has one, the elements of comma lists."""
        lines = self.lines(name)
        if not lines or _key(name) not in _LIST_KEYS:
            return lines
        return [part for line in lines for part in split_outside(line, ",") if part]

    def items(self) -> Iterator[tuple[str, str]]:
        """(name, value) in order."""
        return ((name, value) for _, name, value in self._fields)

    def copy(self) -> Headers:
        """An independent copy."""
        other = Headers()
        other._fields = list(self._fields)
        return other

    @staticmethod
    def _field(name: str, value: str) -> tuple[str, str, str]:
        if "\r" in value or "\n" in value:
            raise ValueError(f"line break in the value of {name}")
        name = canonical_name(name)
        return name.lower(), name, value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({list(self.items())!r})"
