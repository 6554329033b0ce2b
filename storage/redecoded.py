"""What a recording's document says once packets that were kept raw have been decoded."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from siprec.storage.layout import AUDIO, REDECODED
from siprec.storage.model import Event, Finding, Leg, Recording, Verdict
from siprec.storage.timestamps import parse_rfc3339

EVENT = "redecoded"
KEPT_REASONS = ("undecodable", "undecryptable", "probable_srtp")
"Reasons that go once a leg's packets are decoded."
_EXPLAINING = ("dtls", "stun")
"Reasons that only said why nothing was decoded."
_MAX_TEXT = 300
_MAX_NUMBER = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRedecoded:
    """What was decoded of one leg, all of it over all times."""

    leg: int
    packets: int
    "Decoded."
    left: int
    "Packets that are still not."
    late: int
    "Of those decoded, packets whose place had passed when they came."
    first_s: float | None
    "Where the first sound stands; None: there was none."
    codecs: list[str]
    payloads: dict[str, str] = field(default_factory=dict)
    "What payload types mean by whoever had it decoded."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> LegRedecoded:
        """The opposite of `to_dict`, of data that anybody may have sent. Raises ValueError."""
        try:
            made = cls(**data)
        except TypeError as exc:
            raise ValueError(f"not a leg: {exc}") from None
        numbers = (made.leg, made.packets, made.left, made.late)
        if not all(type(n) is int and 0 <= n < _MAX_NUMBER for n in numbers):
            raise ValueError("not a leg: its counts are no whole numbers")
        first = made.first_s
        if first is not None and not (isinstance(first, int | float) and 0 <= first < _MAX_NUMBER):
            raise ValueError("not a leg: its first sound is nowhere")
        listed = isinstance(made.codecs, list) and isinstance(made.payloads, dict)
        texts = [*made.codecs, *made.payloads, *made.payloads.values()] if listed else [None]
        if len(texts) > _MAX_TEXT or not all(isinstance(t, str) and len(t) <= _MAX_TEXT for t in texts):
            raise ValueError("not a leg: its codecs are no short texts")
        return made


def decoded_before(leg: Leg) -> int:
    """Packets of a leg that an earlier run has decoded."""
    count = leg.extra.get("redecoded", 0)
    return count if isinstance(count, int) else 0


def take_over(recording: Recording, legs: list[LegRedecoded], *, uid: int) -> None:
    """Change a document: the audio is the complete one now. uid: who had it decoded. Raises ValueError."""
    by_id = {leg.id: leg for leg in recording.legs}
    if not legs or any(done.leg not in by_id for done in legs):
        raise ValueError("there is no such leg")
    if recording.path is None:
        raise ValueError("the recording has no audio")
    whole = [done for done in legs if _is_whole(by_id[done.leg], done)]
    for done in legs:
        _note(by_id[done.leg], done)
    for done in whole:
        _clear(recording, by_id[done.leg], done)
    recording.verdict = _without(recording.verdict, recording.legs, whole)
    recording.path = str(PurePath(recording.path).with_name(REDECODED))
    recording.extra["original"] = AUDIO
    _add_event(recording, legs, uid)


def _is_whole(leg: Leg, done: LegRedecoded) -> bool:
    """Whether nothing that came is missing any more."""
    came = leg.extra.get("undecodable", 0)
    return not done.left and not leg.extra.get("not_kept") and done.packets >= came


def _note(leg: Leg, done: LegRedecoded) -> None:
    leg.extra["redecoded"] = done.packets
    if done.payloads:
        leg.extra["payloads_given"] = done.payloads
    known = [name for name in leg.codecs if done.left or name != "unknown"]
    leg.codecs = list(dict.fromkeys([*known, *done.codecs]))


def _clear(recording: Recording, leg: Leg, done: LegRedecoded) -> None:
    """The verdict on a leg whose packets are all decoded, and what of it stands in the recording's."""
    gone = KEPT_REASONS + _EXPLAINING
    noise = _noise(recording, leg, done)
    for verdict in (leg.verdict, recording.verdict):
        verdict.findings = [f for f in verdict.findings if f.leg != leg.id or f.reason not in gone]
        verdict.findings += noise
    left = [f.reason for f in noise] + (["late"] if done.late else [])
    leg.verdict.reasons = [reason for reason in leg.verdict.reasons if reason not in gone or reason in left]
    if done.late and "late" not in leg.verdict.reasons:
        leg.verdict.reasons.append("late")
        late = Finding(reason="late", leg=leg.id)
        leg.verdict.findings.append(late)
        recording.verdict.findings.append(late)
    leg.late += done.late
    leg.verdict.result = _result(leg.verdict)


def _noise(recording: Recording, leg: Leg, done: LegRedecoded) -> list[Finding]:
    """The first packets of an encrypted stream, by which it was recognised, are in the audio as noise: until when."""
    hidden = leg.extra.get("probable_srtp", 0)
    if not hidden or leg.packets <= leg.extra.get("undecodable", 0):
        return []
    if recording.t0 is None or leg.first_packet_at is None or done.first_s is None:
        return [Finding(reason="probable_srtp", leg=leg.id)]
    first = (parse_rfc3339(leg.first_packet_at) - parse_rfc3339(recording.t0)).total_seconds()
    length = max(0.0, done.first_s - first)
    return [Finding(reason="probable_srtp", leg=leg.id, at_s=round(first, 4), length_s=round(length, 4))]


def _without(verdict: Verdict, legs: list[Leg], whole: list[LegRedecoded]) -> Verdict:
    """The recording's verdict: a reason that went from legs stays while another leg has it."""
    gone = KEPT_REASONS + _EXPLAINING if whole else ()
    still = {reason for leg in legs for reason in leg.verdict.reasons}
    reasons = [reason for reason in verdict.reasons if reason not in gone or reason in still]
    reasons += [] if "late" in reasons or not any(done.late for done in whole) else ["late"]
    made = Verdict(reasons=reasons, findings=verdict.findings, extra=verdict.extra, result=verdict.result)
    made.result = _result(made)
    return made


def _result(verdict: Verdict) -> str | None:
    return "complete" if verdict.result == "incomplete" and not verdict.reasons else verdict.result


def _add_event(recording: Recording, legs: list[LegRedecoded], uid: int) -> None:
    heard = [done for done in legs if done.packets]
    at_s = min((done.first_s for done in heard if done.first_s is not None), default=0.0)
    event = Event(
        at_s=round(at_s, 3),
        type=EVENT,
        extra={
            "legs": [done.leg for done in heard],
            "codecs": list(dict.fromkeys(name for done in heard for name in done.codecs)),
            "packets": sum(done.packets for done in heard),
            "uid": uid,
        },
    )
    at = bisect_right([one.at_s for one in recording.events], event.at_s)
    recording.events.insert(at, event)
