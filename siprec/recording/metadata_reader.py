"""rs-metadata documents to the model: RFC 7865 and the forms that came before it, told apart by nothing.

Elements and attributes are matched by local name, without case, `-` and `_`, in any namespace.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from siprec.recording.metadata import (
    Extension,
    Group,
    MetadataDocument,
    MetadataError,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStreams,
    Session,
    SessionRecording,
    Stream,
    Timestamp,
)
from siprec.recording.metadata_elements import Element, clipped
from siprec.recording.metadata_time import read_time
from siprec.recording.metadata_xml import XmlLimits, read_xml

MAX_EXTENSIONS = 2000
MAX_PROBLEMS = 50

_LANGUAGE_SUFFIX = re.compile(r";\s*lang=[A-Za-z-]{1,20}$")


def read_metadata(
    data: bytes, *, charset: str | None = None, limits: XmlLimits | None = None
) -> MetadataDocument:
    """Read a document; whatever is odd in it is told in `problems`.

    charset: the parameter of its Content-Type. Raises MetadataError when nothing in it can be used.
    """
    tree = read_xml(data, charset=charset, limits=limits)
    root = next((e for e in tree.root.all() if e.kind in ("recording", "recordingmetadata")), None)
    if root is None:
        raise MetadataError("no recording element in the metadata")
    reader = _Reader(MetadataDocument(incomplete=tree.incomplete, problems=list(tree.problems)))
    reader.recording(root)
    document = reader.finished()
    document.problems = document.problems[:MAX_PROBLEMS]
    return document


@dataclass(slots=True)
class _Link:
    """What is known so far of the streams of a participant; dicts keep the order and drop repetitions."""

    send: dict[str, None] = field(default_factory=dict)
    recv: dict[str, None] = field(default_factory=dict)
    associated: Timestamp | None = None
    disassociated: Timestamp | None = None

    def of(self, participant: str) -> ParticipantStreams:
        return ParticipantStreams(
            participant_id=participant,
            send=tuple(self.send),
            recv=tuple(self.recv),
            associated=self.associated,
            disassociated=self.disassociated,
        )


class _Reader:
    """Walks the known elements; all others below them become extensions."""

    def __init__(self, document: MetadataDocument) -> None:
        self.document = document
        self._links: dict[str, _Link] = {}
        self._seen: dict[str, set[str]] = {}

    def recording(self, element: Element) -> None:
        """The root; drafts have a `recording` of their own inside it."""
        for child in element.children:
            match child.kind:
                case "datamode":
                    self.document.partial = child.whole_text().lower() == "partial"
                case "recording":
                    self.recording(child)
                case "group":
                    self._group(child)
                case "session":
                    self._session(child)
                case "participant":
                    self._participant(child)
                case "stream":
                    self._stream(child)
                case "sessionrecordingassoc":
                    self._session_recording(child)
                case "participantsessionassoc":
                    self._participant_session(child)
                case "participantstreamassoc":
                    self._participant_streams(child)
                case _:
                    self._extension(child, "", "")

    def finished(self) -> MetadataDocument:
        """The document, with references checked."""
        document = self.document
        document.participant_streams = [link.of(participant) for participant, link in self._links.items()]
        participants = {p.id for p in document.participants}
        streams = {s.id for s in document.streams}
        for link in document.participant_streams:
            if link.participant_id not in participants and not document.partial:
                self._problem(f"streams of unknown participant {link.participant_id!r}")
            for stream in link.send:
                if stream not in streams and not document.partial:
                    self._problem(f"participant {link.participant_id!r} sends unknown stream {stream!r}")
        return document

    def _group(self, element: Element) -> None:
        identity = self._identity(element, "group", "groupid", "id")
        if identity is not None:
            associated, disassociated = self._times(element)
            self.document.groups.append(
                Group(id=identity, associated=associated, disassociated=disassociated)
            )
            self._foreign(element, "group", identity, {"associatetime", "disassociatetime"})

    def _session(self, element: Element) -> None:
        identity = self._identity(element, "session", "sessionid", "id")
        if identity is None:
            return
        group = element.first_text("groupref", "group") or element.attribute("groupref", "groupid", "group")
        self.document.sessions.append(
            Session(
                id=identity,
                sip_session_ids=tuple(element.texts("sipsessionid")),
                group_id=group,
                reasons=tuple(element.texts("reason")),
                started=read_time(element.first_text("starttime", "associatetime")),
                stopped=read_time(element.first_text("stoptime", "disassociatetime")),
            )
        )
        for child in element.children:
            if child.kind == "participant":
                self._participant(child, session=identity)
        known = {"sipsessionid", "reason", "groupref", "group", "starttime", "stoptime", "participant"}
        self._foreign(element, "session", identity, known | {"associatetime", "disassociatetime"})

    def _participant(self, element: Element, session: str = "") -> None:
        identity = self._identity(element, "participant", "participantid", "id")
        if identity is None:
            return
        self.document.participants.append(Participant(id=identity, names=tuple(_names(element))))
        session = element.attribute("sessionid", "session") or session
        associated, disassociated = self._times(element)
        if session or associated or disassociated:
            self.document.participant_sessions.append(
                ParticipantSession(
                    participant_id=identity,
                    session_id=session,
                    associated=associated,
                    disassociated=disassociated,
                )
            )
        if any(child.kind in ("send", "recv") for child in element.children):
            self._link(identity, element)
        known = {"nameid", "aor", "name", "send", "recv", "associatetime", "disassociatetime"}
        self._foreign(element, "participant", identity, known)

    def _stream(self, element: Element) -> None:
        identity = self._identity(element, "stream", "streamid", "id")
        if identity is None:
            return
        label = element.first_text("label") or element.attribute("label")
        if not label:
            self._problem(f"stream {identity!r} has no label")
        self.document.streams.append(
            Stream(
                id=identity,
                label=label,
                session_id=element.attribute("sessionid", "session"),
                mode=element.first_text("mode").lower(),
            )
        )
        self._foreign(element, "stream", identity, {"label", "mode"})

    def _session_recording(self, element: Element) -> None:
        identity = element.attribute("sessionid", "session", "id")
        associated, disassociated = self._times(element)
        self.document.session_recordings.append(
            SessionRecording(session_id=identity, associated=associated, disassociated=disassociated)
        )

    def _participant_session(self, element: Element) -> None:
        associated, disassociated = self._times(element)
        link = ParticipantSession(
            participant_id=element.attribute("participantid", "participant", "id"),
            session_id=element.attribute("sessionid", "session"),
            associated=associated,
            disassociated=disassociated,
        )
        self.document.participant_sessions.append(link)
        known = {"associatetime", "disassociatetime"}
        self._foreign(element, "participantsessionassoc", link.participant_id, known)

    def _participant_streams(self, element: Element) -> None:
        participant = element.attribute("participantid", "participant", "id")
        self._link(participant, element)
        known = {"send", "recv", "associatetime", "disassociatetime"}
        self._foreign(element, "participantstreamassoc", participant, known)

    def _link(self, participant: str, element: Element) -> None:
        """Several associations of one participant in a document add up."""
        link = self._links.setdefault(participant, _Link())
        link.send.update(dict.fromkeys(_stream_ids(element, "send")))
        link.recv.update(dict.fromkeys(_stream_ids(element, "recv")))
        associated, disassociated = self._times(element)
        link.associated, link.disassociated = (
            associated or link.associated,
            disassociated or link.disassociated,
        )

    def _identity(self, element: Element, kind: str, *names: str) -> str | None:
        """The id; made up from its place if empty. None for one that an earlier element of the kind has.

        One that an element of another kind has (RFC 7865 6.10) is told, and both are kept.
        """
        seen = self._seen.setdefault(kind, set())
        identity = element.attribute(*names)
        if not identity:
            identity = f"#{kind}-{len(seen) + 1}"
            self._problem(f"{kind} without an id, called {identity}")
        if identity in seen:
            self._problem(f"second {kind} with id {identity[:80]!r} ignored")
            return None
        if other := next((name for name, ids in self._seen.items() if identity in ids), None):
            self._problem(f"{other} and {kind} with the same id {identity[:80]!r}")
        seen.add(identity)
        return identity

    def _times(self, element: Element) -> tuple[Timestamp | None, Timestamp | None]:
        associated = read_time(element.first_text("associatetime"))
        disassociated = read_time(element.first_text("disassociatetime"))
        for time in (associated, disassociated):
            if time is not None and time.utc is None:
                self._problem(f"time {time.raw[:40]!r} not understood")
        return associated, disassociated

    def _foreign(self, element: Element, path: str, owner: str, known: set[str]) -> None:
        for child in element.children:
            if child.kind not in known:
                self._extension(child, path + "/", owner)

    def _extension(self, element: Element, prefix: str, owner: str) -> None:
        path = prefix + element.name
        found = [Extension(f"{path}/@{name}", value, owner) for name, value in element.stated]
        if text := clipped(element.text):
            found.insert(0, Extension(path, text, owner))
        room = MAX_EXTENSIONS - len(self.document.extensions)
        self.document.extensions += found[:room]
        for child in element.children:
            self._extension(child, path + "/", owner)

    def _problem(self, text: str) -> None:
        if len(self.document.problems) < MAX_PROBLEMS:
            self.document.problems.append(text)


def _names(participant: Element) -> Iterator[NameId]:
    """`<nameID aor><name>`, `<nameID><aor><name>`, or `<aor>` and `<name>` right in the participant."""
    bare_name, found = _display_name(participant), False
    for child in participant.children:
        if child.kind == "nameid":
            aor = child.attribute("aor") or child.first_text("aor")
            name = _display_name(child) or bare_name
        elif child.kind == "aor":
            aor, name = child.whole_text(), child.attribute("name") or bare_name
        else:
            continue
        if aor or name:
            found = True
            yield NameId(aor=aor if "[" in aor else aor.rstrip("] "), name=name)
    if bare_name and not found:
        yield NameId(aor="", name=bare_name)


def _display_name(element: Element) -> str:
    return _LANGUAGE_SUFFIX.sub("", element.first_text("name")).strip()


def _stream_ids(element: Element, kind: str) -> Iterator[str]:
    """`<send>id</send>` or `<send><id>id</id>...</send>`; empty ones are nobody's."""
    for child in element.children:
        if child.kind == kind:
            inner = list(child.texts("id", "streamid"))
            yield from inner or filter(None, [child.whole_text()])
