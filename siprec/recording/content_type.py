"""Values like `type/subtype; name=value` (RFC 2045 5.1, RFC 2183), read without ever refusing them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeaderValue:
    """A value and its parameters; the value and the names are lower case."""

    value: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_header_value(text: str) -> HeaderValue:
    """Split at the semicolons outside of quotes; the first parameter of a name wins, blanks around are dropped."""
    first, *rest = _split_unquoted(text)
    parameters: dict[str, str] = {}
    for item in rest:
        name, equals, value = item.partition("=")
        if name.strip():
            parameters.setdefault(name.strip().lower(), _unquoted(value.strip()) if equals else "")
    return HeaderValue("".join(first.split()).lower(), parameters)


def _split_unquoted(text: str) -> list[str]:
    if '"' not in text:
        return text.split(";")
    items, start, quoted, escaped = [], 0, False, False
    for i, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == ";" and not quoted:
            items.append(text[start:i])
            start = i + 1
    return [*items, text[start:]]


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    out, escaped = [], False
    for char in value[1:]:
        if escaped or char not in '\\"':
            out.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            break
    return "".join(out).strip()
