"""Who is on a call according to the SIP headers of its INVITE, for peers that send no metadata or not all of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from siprec.recording.content_type import parse_header_value

_SCHEME = re.compile(r"^(?:sips?|tel):", re.IGNORECASE)
_QUOTED_PAIR = re.compile(r"\\(.)")
_MEDIA_INDEX = re.compile(r"[0-9]{1,3}")
_REMEMBERED = 512
"Addresses whose reading is remembered: the same few are asked for several times a call."
_VISUAL_SEPARATORS = str.maketrans("", "", "-.() ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A person on a call. `id` is that of the metadata participant, "" when headers named the party."""

    aor: str
    name: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipFacts:
    """Header values of an INVITE as they came, "" or empty where there were none."""

    request_uri: str = ""
    from_: str = ""
    to: str = ""
    asserted_identity: Sequence[str] = ()
    "P-Asserted-Identity (RFC 3325)."
    remote_party_id: Sequence[str] = ()
    cisco_participant: Sequence[str] = ()
    "X-Cisco-Recording-Participant, with `media-index` naming m-lines."


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderParties:
    """What headers say of the parties. `by_line`: m-line index to party, where a header gives it.

    `near_is_left`: the sides are near end and far end of a forking phone; who called whom is not known.
    """

    caller: Party | None = None
    callee: Party | None = None
    by_line: Mapping[int, Party] = field(default_factory=dict)
    near_is_left: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAddress:
    """A `name-addr` or `addr-spec` (RFC 3261 25.1) with the parameters inside and outside of its brackets."""

    aor: str
    name: str = ""
    uri_parameters: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def party(self) -> Party:
        return Party(aor=self.aor, name=self.name)


@lru_cache(_REMEMBERED)
def parse_name_address(value: str) -> NameAddress:
    """Read an address without ever refusing it: brackets missing or not closed, names unquoted or not in UTF-8."""
    value = _readable(value)
    name, opened, rest = _split_at_bracket(value)
    if opened:
        uri, _, outside = rest.partition(">")
    else:
        name, (uri, _, outside) = "", value.partition(";")
    inner = uri.strip().lstrip("<")
    aor = inner.partition(";")[0].partition("?")[0].strip()
    return NameAddress(
        aor=aor,
        name=_display_name(name),
        uri_parameters=parse_header_value(inner).parameters,
        parameters=parse_header_value(";" + outside.lstrip("; ")).parameters,
    )


def parties_of(facts: SipFacts) -> HeaderParties:
    """The parties that the headers name.

    In this order: X-Cisco-Recording-Participant; the From parameters of a forking Cisco phone; nothing if From, To
    and request URI are all the recorder itself (OpenSIPS); else From (P-Asserted-Identity or Remote-Party-ID if that
    is anonymous) as the caller and Remote-Party-ID `party=called` or To as the callee.
    """
    if facts.cisco_participant:
        return _cisco_participants(facts.cisco_participant)
    sender, to = parse_name_address(facts.from_), parse_name_address(facts.to)
    if bridge := _forking_phone(sender):
        return bridge
    own = address_key(facts.request_uri)
    if address_key(sender.aor) == address_key(to.aor) == own:
        return HeaderParties()
    remote = [parse_name_address(v) for v in facts.remote_party_id]
    calling = [sender, *map(parse_name_address, facts.asserted_identity)]
    calling += [r for r in remote if r.parameters.get("party", "calling").lower() == "calling"]
    called = [r for r in remote if r.parameters.get("party", "").lower() == "called"] + [to]
    return HeaderParties(caller=_first_known(calling), callee=_first_known(called))


@lru_cache(_REMEMBERED)
def user_of(aor: str) -> str:
    """The user part, or the whole when there is no `@`; numbers without `+` and separators, for comparison."""
    user = _SCHEME.sub("", aor.strip()).partition(";")[0].partition("@")[0].lower()
    digits = user.lstrip("+").translate(_VISUAL_SEPARATORS)
    return digits if digits.isdigit() else user


@lru_cache(_REMEMBERED)
def address_key(uri: str) -> tuple[str, str]:
    """User and host without scheme, port and parameters: equal for the same address however it is written."""
    bare = _SCHEME.sub("", parse_name_address(uri).aor)
    user, at, host = bare.rpartition("@")
    host = host if at else bare
    return user_of(user), (host if host.startswith("[") else host.partition(":")[0]).lower()


def _readable(value: str) -> str:
    """A header value whose bytes were no UTF-8, as Latin-1."""
    if value.isascii():
        return value
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _split_at_bracket(value: str) -> tuple[str, bool, str]:
    """Text before the `<` of the URI, whether there is one, and what follows it. A quote may never be closed."""
    quoted = escaped = False
    for i, char in enumerate(value):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "<" and not quoted:
            return value[:i], True, value[i + 1 :]
    name, opened, rest = value.rpartition("<")
    return name, bool(opened), rest


def _display_name(text: str) -> str:
    text = text.strip()
    if text.startswith('"'):
        text = _QUOTED_PAIR.sub(r"\1", text[1:].removesuffix('"'))
    return " ".join(text.split())


def _first_known(addresses: list[NameAddress]) -> Party | None:
    known = (
        a.party for a in addresses if a.aor and user_of(a.aor) not in ("anonymous", "unknown", "unavailable")
    )
    return next(known, None)


def _cisco_participants(values: Sequence[str]) -> HeaderParties:
    by_line: dict[int, Party] = {}
    for place, value in enumerate(values):
        address = parse_name_address(value)
        if not address.aor:
            continue
        for index in _MEDIA_INDEX.findall(address.parameters.get("media-index", str(place))):
            by_line.setdefault(int(index), address.party)
    parties = list(dict.fromkeys(by_line[i] for i in sorted(by_line)))
    return HeaderParties(
        caller=parties[0] if parties else None,
        callee=parties[1] if len(parties) > 1 else None,
        by_line=by_line,
    )


def _forking_phone(sender: NameAddress) -> HeaderParties | None:
    """Cisco's built-in bridge: each end is a call of its own with one m-line, both ends are named in each."""
    parameters = sender.uri_parameters
    is_far = any(p in parameters for p in ("x-farend", "x-farrend"))
    if not is_far and "x-nearend" not in parameters:
        return None
    near = Party(aor=parameters.get("x-nearendaddr", "") or sender.aor, name="" if is_far else sender.name)
    far = Party(aor=parameters.get("x-farendaddr", ""), name=sender.name if is_far else "")
    return HeaderParties(caller=near, callee=far, by_line={0: far if is_far else near}, near_is_left=True)
