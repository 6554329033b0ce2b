"""The recording metadata model (RFC 7865 6) as plain values, whatever dialect it arrived in.

Ids are opaque strings: base64, hex, URNs and Call-IDs are all in use.
"""

from dataclasses import dataclass, field
from datetime import datetime


class MetadataError(ValueError):
    """A document of which nothing can be used. The call is recorded all the same."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A time as it was written, and in UTC if it could be understood."""

    raw: str
    utc: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameId:
    """An address of record and the display name that came with it, "" if none."""

    aor: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A communication session group, RFC 7865 6.2."""

    id: str
    associated: Timestamp | None = None
    disassociated: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A communication session, RFC 7865 6.3."""

    id: str
    sip_session_ids: tuple[str, ...] = ()
    "RFC 7989 ids, or whatever the sender puts there: OpenSIPS the Call-ID of the recorded call."
    group_id: str = ""
    reasons: tuple[str, ...] = ()
    started: Timestamp | None = None
    stopped: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A participant, RFC 7865 6.5. The first of its names is the primary one."""

    id: str
    names: tuple[NameId, ...] = ()

    @property
    def aor(self) -> str:
        return self.names[0].aor if self.names else ""

    @property
    def name(self) -> str:
        return self.names[0].name if self.names else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A media stream, RFC 7865 6.7; `label` is that of an m-line, "" when it was not sent."""

    id: str
    label: str = ""
    session_id: str = ""
    mode: str = ""
    "`mixed` or `separate` in the forms before the RFC."


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecording:
    """A communication session is in this recording session, RFC 7865 6.4."""

    session_id: str
    associated: Timestamp | None = None
    disassociated: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantSession:
    """A participant is in a communication session, RFC 7865 6.6."""

    participant_id: str
    session_id: str = ""
    associated: Timestamp | None = None
    disassociated: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantStreams:
    """The streams a participant sends and receives, RFC 7865 6.8."""

    participant_id: str
    send: tuple[str, ...] = ()
    recv: tuple[str, ...] = ()
    associated: Timestamp | None = None
    disassociated: Timestamp | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """A text or attribute of a foreign element.

    path: local names from below the root, `session/extensiondata/callType`, an attribute as `.../@name`.
    owner: id of the group, session, participant or stream it stands in, "" outside of them.
    """

    path: str
    text: str
    owner: str = ""


@dataclass(slots=True, kw_only=True)
class MetadataDocument:
    """One rs-metadata document, RFC 7865 5.1. Each list is in the order of the document."""

    partial: bool = False
    "datamode; complete when it is missing."
    incomplete: bool = False
    "The text was damaged and parts may be lost: what is not in it must not count as gone."
    groups: list[Group] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    participants: list[Participant] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    session_recordings: list[SessionRecording] = field(default_factory=list)
    participant_sessions: list[ParticipantSession] = field(default_factory=list)
    participant_streams: list[ParticipantStreams] = field(default_factory=list)
    extensions: list[Extension] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
