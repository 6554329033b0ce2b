"""Pieces of the SIP grammar that many headers share (RFC 3261 25.1): tokens, quoted strings, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

TOKEN = re.compile(r"[-.!%*_+`'~0-9A-Za-z]+")
QUOTED_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
BLANK = " \t"


def is_number(text: str, *, digits: int = 10) -> bool:
    """True for 1 to `digits` ASCII digits; str.isdigit alone takes other scripts' digits too."""
    return 0 < len(text) <= digits and text.isascii() and text.isdigit()


def split_outside(text: str, separator: str) -> list[str]:
    """Split at `separator` (one character) outside quoted strings and <...>; blanks around parts are removed.

    A quote or bracket that is never closed is an ordinary character: one bad display name must not swallow the
    rest of a line. Linear in the length of the text.
    """
    if separator not in text:
        return [text.strip(BLANK)]
    parts: list[str] = []
    start = 0
    for cut in _separators(text, separator):
        parts.append(text[start:cut].strip(BLANK))
        start = cut + 1
    parts.append(text[start:].strip(BLANK))
    return parts


@cache
def _special(separator: str) -> re.Pattern[str]:
    return re.compile(f'["<{re.escape(separator)}]')


def _separators(text: str, separator: str) -> Iterator[int]:
    special = _special(separator)
    quotes_close = brackets_close = True
    at = 0
    while found := special.search(text, at):
        at = found.end()
        if found[0] == separator:
            yield found.start()
        elif found[0] == '"' and quotes_close:
            quoted = QUOTED_STRING.match(text, found.start())
            quotes_close = quoted is not None
            at = quoted.end() if quoted else at
        elif found[0] == "<" and brackets_close:
            closing = text.find(">", at)
            brackets_close = closing >= 0
            at = closing + 1 if brackets_close else at


def unquote(text: str) -> str:
    """The content of a quoted string; anything else comes back as it is."""
    if len(text) >= 2 and QUOTED_STRING.fullmatch(text):
        return _ESCAPE.sub(r"\1", text[1:-1])
    return text


def quote(text: str) -> str:
    """`text` as a quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters `;name` and `;name=value` in order; names compare without case, values are kept as they came."""

    pairs: tuple[tuple[str, str | None], ...] = ()

    def get(self, name: str) -> str | None:
        """Value without its quotes, "" for a parameter without value, None if absent."""
        wanted = name.lower()
        for key, value in self.pairs:
            if key.lower() == wanted:
                return unquote(value) if value is not None else ""
        return None

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def replace(self, name: str, value: str | None) -> Params:
        """A copy with `name` set in its place, or at the end."""
        if name not in self:
            return Params((*self.pairs, (name, value)))
        wanted = name.lower()
        return Params(tuple((k, value) if k.lower() == wanted else (k, v) for k, v in self.pairs))

    def without(self, name: str) -> Params:
        """A copy without `name`."""
        wanted = name.lower()
        return Params(tuple((k, v) for k, v in self.pairs if k.lower() != wanted))

    def __str__(self) -> str:
        return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in self.pairs)


NO_PARAMS = Params()


def parse_params(text: str) -> Params:
    """Parse what stands after the first `;`. Never fails: an empty parameter is skipped, odd names are kept."""
    pairs: list[tuple[str, str | None]] = []
    for part in split_outside(text, ";"):
        name, equals, value = part.partition("=")
        if name := name.strip(BLANK):
            pairs.append((name, value.strip(BLANK) if equals else None))
    return Params(tuple(pairs))
