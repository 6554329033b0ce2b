"""A recording as `recording.json`, the journal, the catalogue and `siprec show --json` have it.

Times that end in `_at`, and `t0` and `t_end`, are RFC 3339 in UTC (see `timestamps`); `at_s` and `length_s` are seconds
from `t0`. Whatever a document holds that is not named here is kept in `extra` and written back, so that an older program
takes nothing away.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

VERSION = 1
STATES = ("recording", "ended", "recovered", "discarded", "stub", "erased")
_SCALARS = frozenset([str, int, float, bool, type(None)])
RESULTS = ("complete", "incomplete", "unverifiable")


class DocumentError(ValueError):
    """A document that is not one: the text says what is missing or of another type, and where."""


class UnknownVersion(DocumentError):
    """A document of a version that this program does not know; `version` is what it says."""

    def __init__(self, version: object) -> None:
        super().__init__(f"version {version!r}: this program reads version {VERSION}")
        self.version = version


class _Key(NamedTuple):
    """How one field is found in a document."""

    field: str
    key: str
    part: type[Part] | None
    required: bool
    is_list: bool


@dataclass(slots=True, kw_only=True)
class Part:
    """What every part of a document can: become plain data and come back from it."""

    extra: dict[str, Any] = field(default_factory=dict)
    "Keys that are not named here, at the same level."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; lists are copied."""
        out = {
            known.key: value if type(value := getattr(self, known.field)) in _SCALARS else _plain(value)
            for known in _keys(type(self))
        }
        if self.extra:
            out |= {key: value for key, value in self.extra.items() if key not in out}
        return out

    @classmethod
    def from_dict(cls, data: Any, *, where: str = "document") -> Self:
        """The part that `to_dict` was made from. Raises DocumentError, naming the place below `where`."""
        if not isinstance(data, dict):
            raise DocumentError(f"{where}: an object is needed, not {type(data).__name__}")
        rest, values = dict(data), {}
        for known in _keys(cls):
            if known.key in rest:
                values[known.field] = _typed(rest.pop(known.key), known, f"{where}.{known.key}")
            elif known.required:
                raise DocumentError(f"{where}.{known.key} is missing")
        return cls(**values, extra=rest)


_KEYS: dict[type[Part], tuple[_Key, ...]] = {}


def _keys(cls: type[Part]) -> tuple[_Key, ...]:
    if cls not in _KEYS:
        _KEYS[cls] = tuple(_key(f) for f in dataclasses.fields(cls) if f.name != "extra")
    return _KEYS[cls]


def _key(f: dataclasses.Field[Any]) -> _Key:
    required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    return _Key(
        f.name, f.metadata.get("key", f.name), f.metadata.get("part"), required, f.default_factory is list
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [item.to_dict() if isinstance(item, Part) else item for item in value]
    return value.to_dict() if isinstance(value, Part) else value


def _typed(value: Any, known: _Key, where: str) -> Any:
    if not known.is_list:
        return value if known.part is None else known.part.from_dict(value, where=where)
    if not isinstance(value, list):
        raise DocumentError(f"{where}: a list is needed, not {type(value).__name__}")
    if known.part is None:
        return list(value)
    return [known.part.from_dict(item, where=f"{where}[{i}]") for i, item in enumerate(value)]


@dataclass(slots=True, kw_only=True)
class Participant(Part):
    """Who took part: address of record as received, display name."""

    aor: str
    name: str | None = None


@dataclass(slots=True, kw_only=True)
class Finding(Part):
    """One thing that a verdict rests on: what (`gap`, `loss`, ...), on which leg, where and how long."""

    reason: str
    leg: int | None = None
    at_s: float | None = None
    length_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Verdict(Part):
    """Whether what should be there is there: one of RESULTS, None while it runs; the reasons, and each with its place."""

    result: str | None = None
    reasons: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list, metadata={"part": Finding})


@dataclass(slots=True, kw_only=True)
class Channel(Part):
    """One channel of the file: its index, whose voice it is (`caller`, `callee`, `mixed`), the ids of its legs."""

    index: int
    role: str
    legs: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Leg(Part):
    """One m-line of one dialog in this recording: what was negotiated and what was received."""

    id: int
    "Its place in the recording's legs, from 0; names its files."
    channel: int | None = None
    label: str | None = None
    "a=label as received (RFC 4574)."
    call_id: str | None = None
    "The dialog it belongs to."
    participants: list[Participant] = field(default_factory=list, metadata={"part": Participant})
    codecs: list[str] = field(default_factory=list)
    "Encodings that arrived, in order of appearance."
    ssrcs: list[int] = field(default_factory=list)
    packets: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    dropped: int = 0
    "By the kernel, or because a limit was reached."
    jitter_ms: float | None = None
    first_packet_at: str | None = None
    last_packet_at: str | None = None
    skew_ppm: float | None = None
    mos: float | None = None
    verdict: Verdict = field(default_factory=Verdict, metadata={"part": Verdict})


@dataclass(slots=True, kw_only=True)
class Dialog(Part):
    """A SIP dialog (RFC 3261 12) that carried this recording, or part of it."""

    call_id: str
    from_: str = field(default="", metadata={"key": "from"})
    to: str = ""
    src: str = ""
    "Address and port the dialog came from."
    from_tag: str = ""
    to_tag: str = ""
    started_at: str | None = None
    ended_at: str | None = None


@dataclass(slots=True, kw_only=True)
class Event(Part):
    """Something that happened while recording, at `at_s`; details are in `extra`."""

    at_s: float
    type: str


@dataclass(slots=True, kw_only=True)
class SearchKey(Part):
    """A name and a value that the vendor's headers or metadata gave, to find the recording by."""

    name: str
    value: str


@dataclass(slots=True, kw_only=True)
class Recording(Part):
    """A recording of one communication session (RFC 7865)."""

    id: str
    started_at: str
    tenant: str = "default"
    state: str = "recording"
    verdict: Verdict = field(default_factory=Verdict, metadata={"part": Verdict})
    t0: str | None = None
    "The file's first frame: the first accepted packet or the 200 OK, whichever is earlier."
    t_end: str | None = None
    "The file's end: the BYE, or the last packet when silence closed the call."
    ended_at: str | None = None
    duration_s: float | None = None
    path: str | None = None
    "The audio file."
    format: str | None = None
    sample_rate: int | None = None
    channels: list[Channel] = field(default_factory=list, metadata={"part": Channel})
    legs: list[Leg] = field(default_factory=list, metadata={"part": Leg})
    dialogs: list[Dialog] = field(default_factory=list, metadata={"part": Dialog})
    session_id: str | None = None
    group_id: str | None = None
    participants: list[Participant] = field(default_factory=list, metadata={"part": Participant})
    events: list[Event] = field(default_factory=list, metadata={"part": Event})
    search_keys: list[SearchKey] = field(default_factory=list, metadata={"part": SearchKey})

    def to_document(self) -> dict[str, Any]:
        """`to_dict` with the version in front: what is written to disk."""
        return {"version": VERSION, **self.to_dict()}

    @classmethod
    def from_document(cls, data: Any) -> Recording:
        """Read a document back. Raises UnknownVersion, else DocumentError."""
        if not isinstance(data, dict):
            raise DocumentError(f"an object is needed, not {type(data).__name__}")
        if data.get("version") != VERSION:
            raise UnknownVersion(data.get("version"))
        recording = cls.from_dict({key: value for key, value in data.items() if key != "version"})
        if recording.state not in STATES:
            raise DocumentError(f"document.state: {recording.state!r} is none of {', '.join(STATES)}")
        return recording
