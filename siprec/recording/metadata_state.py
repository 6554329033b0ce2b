"""What the metadata of a recording session says now, and what each document changed (RFC 7866 9.1)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from siprec.recording.metadata import (
    Extension,
    Group,
    MetadataDocument,
    Participant,
    ParticipantSession,
    ParticipantStreams,
    Session,
    Stream,
)

MAX_ELEMENTS = 1000
"Of each kind in the state of one recording session; partial documents could otherwise add to it for ever."


class MetadataEventType(StrEnum):
    SESSION_STARTED = "session_started"
    SESSION_ENDED = "session_ended"
    PARTICIPANT_JOINED = "participant_joined"
    PARTICIPANT_LEFT = "participant_left"
    PARTICIPANT_CHANGED = "participant_changed"
    STREAM_STARTED = "stream_started"
    STREAM_ENDED = "stream_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataEvent:
    """Something began, ended or got another name.

    at: the time that was given for the document.   stated: the time the document gives for the change itself.
    id: of the session, participant or stream; `aor` and `name` are set for participants, `label` for streams.
    """

    type: MetadataEventType
    id: str
    at: float
    session_id: str = ""
    stated: datetime | None = None
    aor: str = ""
    name: str = ""
    label: str = ""


@dataclass(slots=True)
class RecordingMetadata:
    """The state of one recording session: everything by id, in the order it was first named.

    `revision` rises whenever a document changes anything.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    participants: dict[str, Participant] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    memberships: dict[tuple[str, str], ParticipantSession] = field(default_factory=dict)
    "By participant and session."
    links: dict[str, ParticipantStreams] = field(default_factory=dict)
    "By participant."
    extensions: dict[Extension, None] = field(default_factory=dict)
    "A set that keeps its order."
    revision: int = 0
    has_base: bool = False
    "A complete document was applied: what a partial one needs (RFC 7866 9.1)."

    def apply(self, document: MetadataDocument, at: float) -> list[MetadataEvent]:
        """Take a document over; the same snapshot again changes nothing and gives no event.

        A complete one replaces everything. A partial one is merged by id, also before any complete one; so is one
        of which parts were lost. at: when it arrived, in the caller's clock.
        """
        before = self._snapshot()
        if not document.partial and not document.incomplete:
            for name in _CONTENT:
                getattr(self, name).clear()
            self.has_base = True
        self._merge(document)
        if any(getattr(self, name) != getattr(before, name) for name in _CONTENT):
            self.revision += 1
        return list(_changes(_Active.in_(before), _Active.in_(self), at))

    def active_sessions(self) -> dict[str, Session]:
        """Sessions without a stop time."""
        return {s.id: s for s in self.sessions.values() if s.stopped is None}

    def active_memberships(self) -> dict[tuple[str, str], ParticipantSession]:
        """Who is in which session now; the session is "" for those of whom the sender does not say."""
        goes_on = self._goes_on()
        placed = {participant for participant, _ in self.memberships}
        unplaced = ((p, "") for p in self.participants if p not in placed)
        members = self.memberships | {key: ParticipantSession(participant_id=key[0]) for key in unplaced}
        return {
            key: member
            for key, member in members.items()
            if key[0] in self.participants and member.disassociated is None and goes_on(key[1])
        }

    def active_participants(self) -> list[Participant]:
        """Who takes part now, each once, in order."""
        present = {participant for participant, _ in self.active_memberships()}
        return [p for p in self.participants.values() if p.id in present]

    def active_streams(self) -> dict[str, Stream]:
        """Streams whose session has not ended."""
        goes_on = self._goes_on()
        return {s.id: s for s in self.streams.values() if goes_on(s.session_id)}

    def sends(self, participant_id: str) -> tuple[str, ...]:
        """Ids of the streams that a participant sends now."""
        link = self.links.get(participant_id)
        return link.send if link is not None and link.disassociated is None else ()

    def _goes_on(self) -> Callable[[str], bool]:
        """Of a session id: an unknown session does, an unnamed one as long as any of the known ones does."""
        ended = self.sessions.keys() - self.active_sessions().keys()
        any_goes_on = not self.sessions or len(ended) < len(self.sessions)
        return lambda session_id: session_id not in ended if session_id else any_goes_on

    def _snapshot(self) -> "RecordingMetadata":
        return RecordingMetadata(
            groups=dict(self.groups),
            sessions=dict(self.sessions),
            participants=dict(self.participants),
            streams=dict(self.streams),
            memberships=dict(self.memberships),
            links=dict(self.links),
            extensions=dict(self.extensions),
        )

    def _merge(self, document: MetadataDocument) -> None:
        _merge_by_id(self.groups, document.groups)
        _merge_by_id(self.sessions, document.sessions)
        _merge_by_id(self.participants, document.participants)
        _merge_by_id(self.streams, document.streams)
        for member in document.participant_sessions:
            key = (member.participant_id, member.session_id)
            _put(self.memberships, key, _rejoined(self.memberships.get(key), member))
        for link in document.participant_streams:
            # One without send and recv means neither (RFC 7865 6.8.1), unless they may have been lost on the way.
            if link.send or link.recv or not document.incomplete:
                _put(self.links, link.participant_id, link)
        for extension in document.extensions:
            _put(self.extensions, extension, None)


_CONTENT = tuple(f.name for f in fields(RecordingMetadata) if f.name not in ("revision", "has_base"))

Key = TypeVar("Key")
Value = TypeVar("Value")
Element = TypeVar("Element", Group, Session, Participant, Stream)
Mergeable = TypeVar("Mergeable", Group, Session, Participant, Stream, ParticipantSession)


def _put(state: dict[Key, Value], key: Key, value: Value) -> None:
    if key in state or len(state) < MAX_ELEMENTS:
        state[key] = value


def _merge_by_id(state: dict[str, Element], elements: Iterable[Element]) -> None:
    for element in elements:
        old = state.get(element.id)
        _put(state, element.id, element if old is None else _overlaid(old, element))


def _overlaid(old: Mergeable, new: Mergeable) -> Mergeable:
    """What the new one says, and of the rest what the old one said."""
    return replace(old, **{f.name: value for f in fields(new) if (value := getattr(new, f.name))})


def _rejoined(old: ParticipantSession | None, new: ParticipantSession) -> ParticipantSession:
    """A new association after the end of the old one is a second interval, not a correction of the first."""
    if old is None or (old.disassociated is not None and new.disassociated is None):
        return new
    return _overlaid(old, new)


@dataclass(frozen=True, slots=True)
class _Active:
    """What goes on in a state, found once for all comparisons."""

    state: RecordingMetadata
    sessions: Mapping[str, Session]
    streams: Mapping[str, Stream]
    members: Mapping[tuple[str, str], ParticipantSession]

    @classmethod
    def in_(cls, state: RecordingMetadata) -> "_Active":
        return cls(state, state.active_sessions(), state.active_streams(), state.active_memberships())


def _changes(before: _Active, after: _Active, at: float) -> Iterator[MetadataEvent]:
    """Endings first, so that a transfer reads as one call that ends and one that begins."""
    yield from _participants_left(before, after, at)
    yield from _streams_between(MetadataEventType.STREAM_ENDED, before, after, at)
    yield from _sessions_ended(before, after, at)
    yield from _sessions_started(before, after, at)
    yield from _streams_between(MetadataEventType.STREAM_STARTED, after, before, at)
    yield from _participants_joined(before, after, at)
    yield from _participants_changed(before, after, at)


def _sessions_ended(before: _Active, after: _Active, at: float) -> Iterator[MetadataEvent]:
    for identity in _only_first(before.sessions, after.sessions):
        last = after.state.sessions.get(identity)
        stated = last.stopped.utc if last is not None and last.stopped is not None else None
        yield MetadataEvent(
            type=MetadataEventType.SESSION_ENDED, id=identity, at=at, session_id=identity, stated=stated
        )


def _sessions_started(before: _Active, after: _Active, at: float) -> Iterator[MetadataEvent]:
    for identity in _only_first(after.sessions, before.sessions):
        started = after.sessions[identity].started
        yield MetadataEvent(
            type=MetadataEventType.SESSION_STARTED,
            id=identity,
            at=at,
            session_id=identity,
            stated=started.utc if started is not None else None,
        )


def _streams_between(
    kind: MetadataEventType, here: _Active, there: _Active, at: float
) -> Iterator[MetadataEvent]:
    """One event for each stream that is active here and not there."""
    for identity in _only_first(here.streams, there.streams):
        stream = here.streams[identity]
        yield MetadataEvent(type=kind, id=identity, at=at, session_id=stream.session_id, label=stream.label)


def _participants_left(before: _Active, after: _Active, at: float) -> Iterator[MetadataEvent]:
    for key in _moved(before.members, after.members):
        member = after.state.memberships.get(key)
        stated = member.disassociated.utc if member is not None and member.disassociated is not None else None
        participant = before.state.participants[key[0]]
        yield _about(MetadataEventType.PARTICIPANT_LEFT, participant, key[1], at, stated)


def _participants_joined(before: _Active, after: _Active, at: float) -> Iterator[MetadataEvent]:
    for key in _moved(after.members, before.members):
        stated = after.members[key].associated
        utc = stated.utc if stated is not None else None
        yield _about(MetadataEventType.PARTICIPANT_JOINED, after.state.participants[key[0]], key[1], at, utc)


def _participants_changed(before: _Active, after: _Active, at: float) -> Iterator[MetadataEvent]:
    if not before.state.participants:
        return
    for participant in after.state.active_participants():
        old = before.state.participants.get(participant.id)
        if old is not None and old.names != participant.names:
            yield _about(MetadataEventType.PARTICIPANT_CHANGED, participant, "", at, None)


def _moved(
    ours: Mapping[tuple[str, str], ParticipantSession], theirs: Mapping[tuple[str, str], ParticipantSession]
) -> list[tuple[str, str]]:
    """Our memberships that are not theirs. Naming the session, or no longer naming it, moves nobody."""
    unnamed = (
        {p for p, session in (*ours, *theirs) if not session} & {p for p, _ in ours} & {p for p, _ in theirs}
    )
    return [key for key in _only_first(ours, theirs) if key[0] not in unnamed]


def _about(
    kind: MetadataEventType, participant: Participant, session_id: str, at: float, stated: datetime | None
) -> MetadataEvent:
    return MetadataEvent(
        type=kind,
        id=participant.id,
        at=at,
        session_id=session_id,
        stated=stated,
        aor=participant.aor,
        name=participant.name,
    )


def _only_first(first: Iterable[Key], second: Iterable[Key]) -> list[Key]:
    """The keys of the first that the second does not have, in their order."""
    others = set(second)
    return [key for key in first if key not in others]
