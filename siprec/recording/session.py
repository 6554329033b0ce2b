"""A recording session: one dialog's negotiation, metadata, parties and legs over time (RFC 7866 6 to 9).

Pure: requests in; an answer and the changes to carry out on the media side out. `prepare` changes nothing, so that
a request that fails on the way leaves the session as it was (RFC 3261 14.1); `commit` makes it so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from siprec.recording.intake import Intake, Refused
from siprec.recording.metadata_state import MetadataEvent, RecordingMetadata
from siprec.recording.parties import ChannelPlan, MediaLine, plan_channels
from siprec.sdp.error import SdpError
from siprec.sdp.media import SessionDescription
from siprec.sdp.offer_answer import Answer, OfferAnswer
from siprec.sdp.stream import AcceptedStream, LocalPorts

MAX_DOCUMENT_BYTES = 16_000_000
"""Metadata documents of one session that are kept as received, together; later ones are used all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a new offer means for the legs, by m-line index."""

    answer: Answer
    offer: SessionDescription
    ports: Mapping[int, LocalPorts]
    added: tuple[AcceptedStream, ...]
    changed: tuple[AcceptedStream, ...]
    removed: tuple[int, ...]


@dataclass(slots=True)
class RecordingSession:
    """One dialog. `at` is in seconds of the caller's clock throughout."""

    negotiation: OfferAnswer
    metadata: RecordingMetadata = field(default_factory=RecordingMetadata)
    streams: dict[int, AcceptedStream] = field(default_factory=dict)
    "The agreed state of each m-line that is recorded."
    plan: ChannelPlan | None = None
    intake: Intake | None = None
    "The first one: its headers name the parties when metadata does not."
    documents: int = 0
    "Metadata documents received."
    document_bytes: int = 0
    "Their length."

    @classmethod
    def begin(cls, session_id: int, address: str, random_bytes: Callable[[int], bytes]) -> RecordingSession:
        """A session of a new dialog. session_id, address: for `o=` and `c=` of our answers; random_bytes: for keys."""
        return cls(OfferAnswer(session_id=session_id, address=address, random_bytes=random_bytes))

    def needs_ports(self, offer: SessionDescription) -> list[int]:
        """m-lines of an offer that need ports of their own. Raises Refused."""
        try:
            reasons = self.negotiation.refusals(offer)
        except SdpError as exc:
            raise Refused(exc.status, str(exc)) from exc
        return [i for i, reason in enumerate(reasons) if reason is None and i not in self.streams]

    def prepare(self, offer: SessionDescription, new_ports: Mapping[int, LocalPorts]) -> Changes:
        """The answer to an offer and what it changes; nothing is changed yet. Raises Refused."""
        ports = {index: stream.local for index, stream in self.streams.items()} | dict(new_ports)
        try:
            answer = self.negotiation.answer(offer, ports)
        except SdpError as exc:
            raise Refused(exc.status, str(exc)) from exc
        agreed = {stream.index: stream for stream in answer.streams}
        return Changes(
            answer=answer,
            offer=offer,
            ports={index: stream.local for index, stream in agreed.items()},
            added=tuple(s for i, s in agreed.items() if i not in self.streams),
            changed=tuple(s for i, s in agreed.items() if i in self.streams and s != self.streams[i]),
            removed=tuple(i for i in self.streams if i not in agreed),
        )

    def commit(self, changes: Changes) -> None:
        """The answer was sent: it is the state now."""
        self.negotiation.commit(changes.answer.description, changes.offer, changes.ports)
        self.streams = {stream.index: stream for stream in changes.answer.streams}

    def take_metadata(self, intake: Intake, at: float) -> list[MetadataEvent]:
        """Take the metadata of a request over, if it brought any."""
        if self.intake is None:
            self.intake = intake
        if intake.metadata_raw is not None:
            self.documents += 1
            self.document_bytes += len(intake.metadata_raw)
        if intake.metadata is None:
            return []
        return self.metadata.apply(intake.metadata, at)

    def keeps_last_document(self) -> bool:
        """Whether the metadata document that came last is one to keep as received."""
        return self.document_bytes <= MAX_DOCUMENT_BYTES

    def replan(self, streams: Mapping[int, AcceptedStream] | None = None) -> ChannelPlan:
        """Who is on which leg and channel by what is known now; the channels of legs that stand stay."""
        assert self.intake is not None
        lines = [
            MediaLine(index=index, label=stream.label)
            for index, stream in sorted((self.streams if streams is None else streams).items())
        ]
        known = self.metadata if self.metadata.revision else None
        self.plan = plan_channels(lines, known, self.intake.facts, self.plan)
        return self.plan


DECODER_PARAMETERS = frozenset({"octet-align", "crc", "robust-sorting", "interleaving"})
"Of AMR (RFC 4867 8.1): they change the packing."
PayloadMeaning = tuple[str, int, int, str]
"Encoding, clock, channels, fmtp."


def payload_names(
    stream: AcceptedStream, known: Mapping[int, PayloadMeaning] | None = None
) -> dict[int, PayloadMeaning]:
    """Payload types of a leg; types of earlier offers keep their meaning until mapped anew."""
    names = dict(known or {})
    for number, payload in stream.payloads.items():
        names[number] = (payload.name, payload.clock, payload.channels, _telling(payload.fmtp))
    return names


def _telling(fmtp: str) -> str:
    """The format parameters that choose a decoder; the others are the sender's business."""
    given = (part.strip() for part in fmtp.split(";"))
    return ";".join(part for part in given if part.partition("=")[0].strip().lower() in DECODER_PARAMETERS)


def numeric(address: tuple[str, int] | None, is_address: Callable[[str], bool]) -> tuple[str, int] | None:
    """The address if its host is an IP literal: names are never looked up on the media path."""
    return address if address is not None and address[1] and is_address(address[0]) else None
