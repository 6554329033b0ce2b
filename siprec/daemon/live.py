"""A recording that is going on, and its document at any moment."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from siprec.media.meaning import decodable, meaning_texts
from siprec.media.protocol import LegReport, LegSpec
from siprec.media.supervisor import MediaRecording
from siprec.recording.parties import ChannelPlan, PlannedLeg
from siprec.recording.session import RecordingSession
from siprec.recording.verdict import Judgement, LegEvidence, judge, judge_leg
from siprec.rtp.ports import PortPair
from siprec.sip.dialog import Dialog
from siprec.storage import model
from siprec.storage.timestamps import from_unix_ns, rfc3339

IMPORTANT_EVENTS = 100
"Room that is kept for the end of a recording and for alarms, whatever came before."
MAX_EVENTS = 1000
"Events kept per recording; what comes later is counted."
_MORE_COUNTS = (
    "octets",
    "recovered",
    "foreign",
    "broken",
    "capped",
    "undecodable",
    "undecryptable",
    "probable_srtp",
    "second_sender",
    "stun",
    "dtls",
    "t38",
    "not_kept",
    "discarded",
    "rtcp",
    "noise",
    "events",
)
"Of a leg's report, beside those that every document has."


@dataclass(slots=True)
class LiveLeg:
    """One m-line of a dialog, recorded on one channel."""

    id: int
    "Its place in the recording's legs."
    index: int
    "Of the m-line."
    call_id: str
    pair: PortPair
    spec: LegSpec
    label: str | None
    was_active: bool
    active_since: float | None
    "Monotonic seconds since when it is to send; None while it is not."
    planned: PlannedLeg | None = None
    joined: float = field(default_factory=time.monotonic)
    "Monotonic seconds."
    alarmed: bool = False
    srtp_index: dict[int, int] = field(default_factory=dict)
    "Highest extended sequence number that was opened, by SSRC; of encrypted streams."
    report: LegReport | None = None
    judgement: Judgement | None = None


@dataclass(slots=True)
class LiveDialog:
    """A dialog that carries the recording, or did."""

    call_id: str
    from_: str
    to: str
    src: str
    from_tag: str
    to_tag: str
    started_unix_ns: int
    ended_unix_ns: int | None = None


@dataclass(slots=True)
class LiveEvent:
    """Something that happened. at_ns: monotonic."""

    at_ns: int
    type: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class LiveRecording:
    """One recording from its admission to its document's last form."""

    id: str
    folder: Path
    audio: Path
    format: str
    rate: int
    "Of the file [Hz]; the most that is allowed, until it is fixed."
    started: datetime
    opened_ns: int
    "Monotonic, at admission."
    opened_unix_ns: int
    session: RecordingSession
    audio_fd: int = -1
    media: MediaRecording | None = None
    dialog: Dialog | None = None
    dialogs: list[LiveDialog] = field(default_factory=list)
    legs: list[LiveLeg] = field(default_factory=list)
    events: list[LiveEvent] = field(default_factory=list)
    events_left_out: int = 0
    search_keys: list[tuple[str, str]] = field(default_factory=list)
    participants: dict[tuple[str, str], None] = field(default_factory=dict)
    "Everybody who took part, in order of appearance."
    answered_ns: int | None = None
    t0_ns: int | None = None
    end_ns: int | None = None
    frames: int | None = None
    ended_by_peer: bool = False
    interrupted: list[int] = field(default_factory=list)
    "When a media worker died that had it [monotonic ns], up to MAX_EVENTS times."
    write_error: str | None = None
    state: str = "recording"
    judgement: Judgement | None = None

    def event(self, at_ns: int, type_: str, *, important: bool = False, **data: Any) -> None:
        """Note something, up to MAX_EVENTS; what is important has room beyond them."""
        if len(self.events) >= MAX_EVENTS + (IMPORTANT_EVENTS if important else 0):
            self.events_left_out += 1
            return
        self.events.append(LiveEvent(at_ns, type_, data))

    def leg_of(self, index: int) -> LiveLeg | None:
        """The newest leg of an m-line."""
        return next((leg for leg in reversed(self.legs) if leg.index == index), None)

    def apply_plan(self, plan: ChannelPlan) -> None:
        """Who is on which leg, as known now."""
        for leg in self.legs:
            leg.planned = plan.leg(leg.index) or leg.planned
        for party in plan.participants:
            self.participants.setdefault((party.aor, party.name))

    def unix_ns(self, at_ns: int) -> int:
        """Wall-clock time of a monotonic one, by the clocks at admission."""
        return self.opened_unix_ns + at_ns - self.opened_ns

    @property
    def zero_ns(self) -> int:
        """Where the recording's clock begins, as far as it is known [monotonic ns]."""
        return self.t0_ns or self.answered_ns or self.opened_ns

    @property
    def duration_s(self) -> float | None:
        """From its zero to its end, once it has one."""
        return (self.end_ns - self.zero_ns) / 1e9 if self.end_ns is not None else None

    def seconds_of(self, at: float) -> float:
        """A time [monotonic seconds] on the recording's clock; 0 for what was before it began."""
        return max(0.0, at - self.zero_ns / 1e9)

    def interrupt(self, at_ns: int) -> None:
        """Note that a media worker died [monotonic ns]."""
        if len(self.interrupted) < MAX_EVENTS:
            self.interrupted.append(at_ns)

    def judge(self, *, no_media_s: float) -> Judgement:
        """Reach the verdict on every leg and on the whole by the reports of all legs; returns the latter."""
        duration_s = self.duration_s
        legs = [evidence(self, leg) for leg in self.legs]
        for leg, counted in zip(self.legs, legs, strict=True):
            leg.judgement = judge_leg(counted, duration_s=duration_s, no_media_s=no_media_s)
        self.judgement = judge(
            legs,
            duration_s=duration_s,
            no_media_s=no_media_s,
            ended_by_peer=self.ended_by_peer,
            write_error=self.write_error is not None,
            written_s=self.frames / self.rate if self.frames is not None else None,
            interrupted=[self.seconds_of(at_ns / 1e9) for at_ns in self.interrupted],
        )
        return self.judgement


def evidence(live: LiveRecording, leg: LiveLeg) -> LegEvidence:
    """What was counted on a leg, for the verdict."""
    report, joined = leg.report, live.seconds_of(leg.joined)
    if report is None:
        return LegEvidence(leg=leg.id, was_active=leg.was_active, packets=0, joined=joined)
    counts = report.counts
    spans = {reason: (first, last) for reason, (first, last) in report.spans.items()}
    heard = [at for at in (report.last_at, report.covered_until) if at is not None]
    heard += [last for _, last in spans.values()]
    return LegEvidence(
        leg=leg.id,
        was_active=leg.was_active,
        packets=counts["packets"],
        lost=counts["lost"],
        late=counts["late"],
        dropped=counts["dropped"],
        undecodable=counts["undecodable"],
        undecryptable=counts["undecryptable"],
        probable_srtp=counts["probable_srtp"],
        second_sender=counts["second_sender"],
        t38=counts["t38"],
        dtls=counts["dtls"],
        stun=counts["stun"],
        spans=spans,
        joined=joined,
        heard_until=max(heard, default=None),
        to_send_from=live.seconds_of(leg.active_since) if leg.active_since is not None else None,
        sender_packets=report.sender_packets,
        gaps=tuple((start, end, packets) for start, end, packets in report.gaps),
    )


def document(live: LiveRecording) -> model.Recording:
    """The recording as `recording.json`, journal and catalogue have it."""
    zero, end, duration_s = live.zero_ns, live.end_ns, live.duration_s
    extra: dict[str, Any] = {"events_left_out": live.events_left_out} if live.events_left_out else {}
    if live.write_error:
        extra["write_error"] = live.write_error
    return model.Recording(
        id=live.id,
        started_at=rfc3339(live.started),
        state=live.state,
        verdict=_verdict(live.judgement),
        t0=_moment(live, live.t0_ns),
        t_end=_moment(live, end),
        ended_at=_moment(live, end),
        duration_s=round(duration_s, 3) if duration_s is not None else None,
        path=str(live.audio),
        format=live.format,
        sample_rate=live.rate,
        channels=_channels(live),
        legs=[_leg(live, leg, zero) for leg in live.legs],
        dialogs=[_dialog(dialog) for dialog in live.dialogs],
        session_id=next(iter(live.session.metadata.sessions), None),
        group_id=next(iter(live.session.metadata.groups), None),
        participants=[model.Participant(aor=aor, name=name or None) for aor, name in live.participants],
        events=[
            model.Event(at_s=round((event.at_ns - zero) / 1e9, 3), type=event.type, extra=event.data)
            for event in sorted(live.events, key=lambda event: event.at_ns)
        ],
        search_keys=[model.SearchKey(name=name, value=value) for name, value in live.search_keys],
        extra=extra,
    )


def _moment(live: LiveRecording, at_ns: int | None) -> str | None:
    return rfc3339(from_unix_ns(live.unix_ns(at_ns))) if at_ns is not None else None


def _verdict(judgement: Judgement | None) -> model.Verdict:
    if judgement is None:
        return model.Verdict()
    findings = [
        model.Finding(
            reason=item.reason,
            leg=item.leg,
            at_s=round(item.at_s, 4) if item.at_s is not None else None,
            length_s=round(item.length_s, 4) if item.length_s is not None else None,
        )
        for item in judgement.found
    ]
    return model.Verdict(result=judgement.result, reasons=judgement.reasons, findings=findings)


def _channels(live: LiveRecording) -> list[model.Channel]:
    count = live.session.plan.channels if live.session.plan is not None else 0
    channels = []
    for index in range(count):
        legs = [leg for leg in live.legs if leg.planned is not None and leg.planned.channel == index]
        roles = {leg.planned.role.value for leg in legs if leg.planned is not None}
        role = roles.pop() if len(roles) == 1 else "mixed" if roles else "unknown"
        channels.append(model.Channel(index=index, role=role, legs=[leg.id for leg in legs]))
    return channels


def _leg(live: LiveRecording, leg: LiveLeg, zero: int) -> model.Leg:
    owners = leg.planned.participants if leg.planned is not None else ()
    out = model.Leg(
        id=leg.id,
        channel=leg.spec.channel,
        label=leg.label,
        call_id=leg.call_id,
        participants=[model.Participant(aor=party.aor, name=party.name or None) for party in owners],
    )
    out.extra = payloads_of(leg.spec)
    if leg.srtp_index:
        out.extra["srtp_index"] = {str(ssrc): index for ssrc, index in leg.srtp_index.items()}
    report = leg.report
    if report is None:
        return out
    counts = report.counts
    out.codecs, out.ssrcs, out.jitter_ms = report.codecs, report.ssrcs, report.jitter_ms
    out.packets, out.lost, out.late = counts["packets"], counts["lost"], counts["late"]
    out.duplicates, out.dropped = counts["duplicates"], counts["dropped"]
    out.first_packet_at = _moment(live, _ns(zero, report.first_at))
    out.last_packet_at = _moment(live, _ns(zero, report.last_at))
    out.extra |= {name: counts[name] for name in _MORE_COUNTS}
    out.verdict = _verdict(leg.judgement)
    return out


def payloads_of(spec: LegSpec) -> dict[str, Any]:
    """What is needed to decode a leg's raw packets later: what its payload types mean, and which we could read.

    Never a key.
    """
    return {"payloads": meaning_texts(spec.payloads), "decodable": decodable(spec.payloads)}


def _ns(zero: int, seconds: float | None) -> int | None:
    return zero + round(seconds * 1e9) if seconds is not None else None


def _dialog(dialog: LiveDialog) -> model.Dialog:
    ended = dialog.ended_unix_ns
    return model.Dialog(
        call_id=dialog.call_id,
        from_=dialog.from_,
        to=dialog.to,
        src=dialog.src,
        from_tag=dialog.from_tag,
        to_tag=dialog.to_tag,
        started_at=rfc3339(from_unix_ns(dialog.started_unix_ns)),
        ended_at=rfc3339(from_unix_ns(ended)) if ended is not None else None,
    )
