"""The requests of a probe call: offer, metadata and headers (RFC 7866 7.1, 9.1; RFC 7865). Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from siprec.probe.plan import CODECS, RATE, CallPlan
from siprec.probe.script import EVENT_PAYLOAD_TYPE
from siprec.recording.metadata import (
    MetadataDocument,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStreams,
    Session,
    SessionRecording,
    Stream,
)
from siprec.recording.metadata_writer import write_metadata
from siprec.recording.multipart import METADATA_TYPE, SDP_TYPE, Part, build_multipart
from siprec.sdp.crypto import SUITES, CryptoLine, SrtpKey
from siprec.sdp.media import Direction, SessionDescription
from siprec.sdp.offer import OfferedStream, build_offer
from siprec.sdp.payload import PayloadFormat
from siprec.sdp.stream import LocalPorts

CALLER = NameId(aor="sip:1001@probe.invalid", name="Probe caller")
CALLEE = NameId(aor="sip:1002@probe.invalid", name="Probe callee")
LABELS = ("1", "2")
"Of the m-lines: the caller's first."

REQUIRED = (("Require", "siprec"), ("Accept", "application/sdp, application/rs-metadata"))
_BOUNDARY = "siprec-probe-boundary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A message body and its Content-Type."""

    content_type: str
    data: bytes

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Content-Type and, for a multipart, MIME-Version (RFC 2045 4)."""
        mime = (("MIME-Version", "1.0"),) if self.content_type.startswith("multipart/") else ()
        return (("Content-Type", self.content_type), *mime)


def build_call_offer(
    plan: CallPlan,
    ports: Sequence[LocalPorts],
    *,
    address: str,
    session_id: int,
    version: int = 1,
    held: bool = False,
    crypto: Sequence[CryptoLine | None] = (None, None),
) -> SessionDescription:
    """One sendonly m-line a leg with its label; all inactive while held. crypto: our key of each leg."""
    _, payload_type, name = CODECS[plan.codec]
    payloads = [
        PayloadFormat(payload_type=payload_type, name=name, clock=RATE),
        PayloadFormat(payload_type=EVENT_PAYLOAD_TYPE, name="TELEPHONE-EVENT", clock=RATE, fmtp="0-15"),
    ]
    direction = Direction.INACTIVE if held else Direction.SENDONLY
    streams = [
        OfferedStream(label=label, ports=pair, direction=direction, payloads=payloads, crypto=line)
        for label, pair, line in zip(LABELS, ports, crypto, strict=False)
    ]
    return build_offer(streams, address=address, session_id=session_id, version=version)


def build_crypto(plan: CallPlan, rng: Random) -> list[CryptoLine | None]:
    """A key for each leg; None for plain RTP. rng: one that nobody can guess."""
    if not plan.srtp:
        return [None] * plan.legs
    length = sum(SUITES[plan.srtp])
    return [CryptoLine(1, plan.srtp, (SrtpKey(rng.randbytes(length)),)) for _ in range(plan.legs)]


def build_metadata(plan: CallPlan, rng: Random) -> bytes:
    """Caller and callee, each with the stream it sends; both with the one stream of a mixed call."""
    session, *ids = (_unique(rng) for _ in range(5))
    people, streams = ids[:2], ids[2:]
    labels = LABELS[: plan.legs]
    sends = [streams[0], streams[0]] if plan.mixed else streams
    document = MetadataDocument(
        sessions=[Session(id=session)],
        participants=[
            Participant(id=person, names=(name,))
            for person, name in zip(people, (CALLER, CALLEE), strict=True)
        ],
        streams=[
            Stream(id=stream, label=label, session_id=session)
            for stream, label in zip(streams, labels, strict=False)
        ],
        session_recordings=[SessionRecording(session_id=session)],
        participant_sessions=[ParticipantSession(participant_id=p, session_id=session) for p in people],
        participant_streams=[
            ParticipantStreams(participant_id=person, send=(stream,))
            for person, stream in zip(people, sends, strict=True)
        ],
    )
    return write_metadata(document)


def build_body(offer: SessionDescription, metadata: bytes | None = None) -> Body:
    """The offer, and the metadata beside it if there is any."""
    if metadata is None:
        return Body(content_type=SDP_TYPE, data=offer.to_bytes())
    parts = [
        Part(content_type=SDP_TYPE, body=offer.to_bytes()),
        Part(content_type=METADATA_TYPE, disposition="recording-session", body=metadata),
    ]
    content_type, data = build_multipart(parts, boundary=_BOUNDARY)
    return Body(content_type=content_type, data=data)


def _unique(rng: Random) -> str:
    """An id as RFC 7865 6.10 wants it: 16 bytes in base64."""
    return b64encode(rng.randbytes(16)).decode()
