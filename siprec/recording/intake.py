"""What an INVITE, re-INVITE or UPDATE brings for a recording: offer, metadata, parties and ids, read tolerantly.

Odd metadata never costs a recording (DESIGN rule 1): it is kept as received and what could be read of it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from siprec.recording.content_type import parse_header_value
from siprec.recording.header_parties import SipFacts
from siprec.recording.metadata import MetadataDocument, MetadataError
from siprec.recording.metadata_reader import read_metadata
from siprec.recording.multipart import (
    MultipartError,
    find_metadata,
    find_sdp,
    parse_body,
    unsupported_required,
)
from siprec.sdp.error import SdpError
from siprec.sdp.media import SessionDescription
from siprec.sdp.parser import parse_sdp
from siprec.sip.message import Request

MAX_KEYS = 64
MAX_KEY_CHARS = 2048

_SEARCH_HEADERS = (
    "Session-ID",
    "User-to-User",
    "Cisco-Guid",
    "X-Cisco-Recording-Participant",
    "P-Asserted-Identity",
    "Diversion",
    "Call-Info",
)
"Headers that other systems know a call by; every X- header is kept too."


class Refused(Exception):
    """The request is answered with `status`; the text says why."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


@dataclass(slots=True, kw_only=True)
class Intake:
    """What a request brought. `problems` says what was odd and went on all the same."""

    facts: SipFacts
    offer: SessionDescription | None = None
    metadata: MetadataDocument | None = None
    metadata_raw: bytes | None = None
    "The document as received, readable or not."
    search_keys: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    "Each once."
    siprec: bool = False
    "By RFC 7866 6.2 a recording session: `siprec` required and `+sip.src` in Contact."


def read_intake(request: Request, *, accept: str) -> Intake:
    """Read a request. Raises Refused for what RFC 3261, 3264 and 5621 leave no choice about.

    accept: value of the Accept header of a 415.
    """
    headers = request.headers
    try:
        parts = parse_body(
            headers.get("Content-Type"), request.body, disposition=headers.get("Content-Disposition")
        )
    except MultipartError as exc:
        raise Refused(exc.status, str(exc)) from exc
    if strange := unsupported_required(parts):
        raise Refused(415, f"cannot handle {', '.join(strange)}", (("Accept", accept),))
    intake = Intake(facts=sip_facts(request), search_keys=search_keys(request))
    intake.siprec = _is_recording_session(request)
    intake.problems += [problem for part in parts for problem in part.problems]
    sdp = find_sdp(parts)
    if sdp is not None:
        try:
            intake.offer = parse_sdp(sdp.body)
        except SdpError as exc:
            raise Refused(exc.status, str(exc)) from exc
    metadata = find_metadata(parts)
    if metadata is not None:
        _read_metadata(intake, metadata.body, metadata.parameters.get("charset"))
    intake.problems = list(dict.fromkeys(intake.problems))
    return intake


def _read_metadata(intake: Intake, body: bytes, charset: str | None) -> None:
    intake.metadata_raw = body
    try:
        intake.metadata = read_metadata(body, charset=charset)
    except MetadataError as exc:
        intake.problems.append(f"metadata: {exc}")
        return
    intake.problems += [f"metadata: {problem}" for problem in intake.metadata.problems]
    for extension in intake.metadata.extensions:
        if len(intake.search_keys) < MAX_KEYS and extension.text:
            intake.search_keys.append((extension.path[:MAX_KEY_CHARS], extension.text[:MAX_KEY_CHARS]))


def _is_recording_session(request: Request) -> bool:
    required = ",".join(request.headers.get_all("Require")).lower()
    contact = ",".join(request.headers.get_all("Contact")).lower()
    return "siprec" in required and "+sip.src" in contact


def sip_facts(request: Request) -> SipFacts:
    """The headers that name parties."""
    headers = request.headers
    return SipFacts(
        request_uri=request.uri,
        from_=headers.get("From") or "",
        to=headers.get("To") or "",
        asserted_identity=headers.get_all("P-Asserted-Identity"),
        remote_party_id=headers.get_all("Remote-Party-ID"),
        cisco_participant=headers.get_all("X-Cisco-Recording-Participant"),
    )


def search_keys(request: Request) -> list[tuple[str, str]]:
    """Headers to find a recording by, and the From parameters of a forking phone."""
    wanted = {name.lower() for name in _SEARCH_HEADERS}
    keys = [
        (name, _text(value)[:MAX_KEY_CHARS])
        for name, value in request.headers.items()
        if name.lower() in wanted or name.lower().startswith("x-")
    ]
    parameters = parse_header_value(request.headers.get("From") or "").parameters
    keys += [(name, _text(value)) for name, value in parameters.items() if name.startswith("x-")]
    return keys[:MAX_KEYS]


def _text(value: str) -> str:
    """Header text as proper Unicode: undecodable bytes become replacement characters."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
