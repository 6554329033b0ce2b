"""The verdict: whether everything that should be in a recording is there, computed from what was counted.

| reason              | when                                                                        |
|---------------------|-----------------------------------------------------------------------------|
| `no_media`          | a leg that was to send sent nothing, or nothing any more up to the end      |
| `one_way`           | one leg has media, another that was to send has none                        |
| `loss`              | packets never arrived: by sequence numbers, or the sender counted more      |
| `gap`               | a second or more is missing at one place                                    |
| `late`              | packets arrived after their place was written                               |
| `dropped`           | the kernel dropped packets because we were too slow, or there was no room   |
| `undecodable`       | packets without a decoder; they are kept as they came                       |
| `undecryptable`     | of these, encrypted packets that the keys of the SDP do not open            |
| `probable_srtp`     | of these, packets that look encrypted, and we have no key                   |
| `t38`               | a fax; its packets are kept as they came                                    |
| `second_sender`     | two sent at once; the one that was there first is recorded, the other one   |
|                     | is kept as it came                                                          |
| `dtls`, `stun`      | no media, or none that can be decoded, but the peer tried to agree on keys  |
|                     | or to find a path                                                           |
| `write_error`       | the disk refused audio                                                      |
| `interrupted`       | a media worker died or the daemon was gone                                  |
| `ended_without_bye` | the call was not ended by the peer                                          |
| `inactive`          | nothing was ever to be sent: there is nothing to judge, `unverifiable`      |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

GAP_S = 1.0
_KEPT = ("undecodable", "undecryptable", "probable_srtp", "t38", "second_sender")
_EXPLAINING = ("dtls", "stun")
"Counts of a leg that are reasons: always, or where nothing could be recorded."
MAX_FINDINGS = 200
"Findings listed per recording; the reasons are complete all the same."

COMPLETE, INCOMPLETE, UNVERIFIABLE = "complete", "incomplete", "unverifiable"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEvidence:
    """What was counted on one leg. Times in seconds on the recording's clock."""

    leg: int
    was_active: bool
    "It was to send at some time."
    packets: int
    lost: int = 0
    late: int = 0
    dropped: int = 0
    undecodable: int = 0
    undecryptable: int = 0
    probable_srtp: int = 0
    t38: int = 0
    second_sender: int = 0
    dtls: int = 0
    stun: int = 0
    spans: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    "First and last packet of what could not be recorded, by reason."
    joined: float = 0.0
    "When it became part of the recording."
    heard_until: float | None = None
    "Behind its last packet, of whatever kind."
    to_send_from: float | None = None
    "Since when it was to send without a break up to the end; None: at the end it was not."
    sender_packets: int | None = None
    "What the sender's last report said it had sent."
    gaps: tuple[tuple[float, float, int], ...] = ()
    "(from, to, packets); 0 packets where they came, but too late."


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that is wrong, with its leg, place and length [s] where it has them."""

    reason: str
    leg: int | None = None
    at_s: float | None = None
    length_s: float | None = None


@dataclass(slots=True)
class Judgement:
    """result: complete, incomplete or unverifiable. reasons: each once, in order of the table above."""

    result: str
    reasons: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)


def judge_leg(leg: LegEvidence, *, duration_s: float | None, no_media_s: float) -> Judgement:
    """The verdict on one leg.

    duration_s: of the recording.   no_media_s: a leg that sent nothing for so long up to the end had stopped sending.
    """
    if not leg.packets:
        found = [_silence("no_media", leg, leg.joined, duration_s)] if leg.was_active else []
        found += _not_recorded(leg)
        if found:
            return _judgement(found)
        return Judgement(UNVERIFIABLE, ["inactive"], [Found(reason="inactive", leg=leg.leg)])
    found = [
        Found(reason=_reason_of(start, end, packets), leg=leg.leg, at_s=start, length_s=end - start)
        for start, end, packets in leg.gaps
    ]
    found += _stopped(leg, duration_s, no_media_s)
    unplaced = leg.lost > sum(packets for _, _, packets in leg.gaps)
    uncounted = leg.sender_packets is not None and leg.sender_packets > leg.packets + leg.lost
    if unplaced or uncounted:
        found.append(Found(reason="loss", leg=leg.leg))
    if leg.late and not any(item.reason == "late" for item in found):
        found.append(Found(reason="late", leg=leg.leg))
    if leg.dropped:
        found.append(Found(reason="dropped", leg=leg.leg))
    found += _not_recorded(leg)
    return _judgement(found)


def _silence(reason: str, leg: LegEvidence, start: float, duration_s: float | None) -> Found:
    """From a place on up to the end of the recording."""
    length = max(0.0, duration_s - start) if duration_s is not None else None
    return Found(reason=reason, leg=leg.leg, at_s=start, length_s=length)


def _stopped(leg: LegEvidence, duration_s: float | None, no_media_s: float) -> list[Found]:
    """What a leg that was to send up to the end left empty there, if it is long enough; one finding or none."""
    if leg.heard_until is None or leg.to_send_from is None or duration_s is None:
        return []
    start = max(leg.heard_until, leg.to_send_from)
    return [_silence("no_media", leg, start, duration_s)] if duration_s - start >= no_media_s else []


def _not_recorded(leg: LegEvidence) -> list[Found]:
    """What came and is not in the audio, and what may explain it."""
    reasons = [reason for reason in _KEPT if getattr(leg, reason)]
    if leg.undecodable >= leg.packets and (leg.packets or leg.was_active):
        reasons += [reason for reason in _EXPLAINING if getattr(leg, reason)]
    return [_in_span(reason, leg) for reason in reasons]


def _in_span(reason: str, leg: LegEvidence) -> Found:
    if reason not in leg.spans:
        return Found(reason=reason, leg=leg.leg)
    first, last = leg.spans[reason]
    return Found(reason=reason, leg=leg.leg, at_s=first, length_s=last - first)


def _reason_of(start: float, end: float, packets: int) -> str:
    if not packets:
        return "late"
    return "gap" if end - start >= GAP_S else "loss"


def judge(
    legs: list[LegEvidence],
    *,
    duration_s: float | None,
    no_media_s: float,
    ended_by_peer: bool,
    write_error: bool = False,
    written_s: float | None = None,
    interrupted: Sequence[float] = (),
) -> Judgement:
    """The verdict on a recording.

    duration_s, no_media_s: as for `judge_leg`.   written_s: how much is in the file.
    interrupted: when a media worker died, in seconds on the recording's clock.
    """
    judged = [judge_leg(leg, duration_s=duration_s, no_media_s=no_media_s) for leg in legs]
    found = [item for verdict in judged for item in verdict.found if item.reason != "inactive"]
    silent = [leg for leg in legs if leg.was_active and not leg.packets]
    if silent and any(leg.packets for leg in legs):
        found += [_silence("one_way", leg, leg.joined, duration_s) for leg in silent]
    if write_error:
        found.append(_write_error(written_s, duration_s))
    found += [Found(reason="interrupted", at_s=at_s) for at_s in interrupted]
    if not ended_by_peer:
        found.append(Found(reason="ended_without_bye", at_s=duration_s))
    if not found and not any(leg.packets for leg in legs):
        return Judgement(UNVERIFIABLE, ["inactive"], [Found(reason="inactive")])
    return _judgement(found)


def _write_error(written_s: float | None, duration_s: float | None) -> Found:
    """What is behind the end of a file that is too short; a file of full length does not show what went wrong."""
    if written_s is None or duration_s is None or written_s >= duration_s:
        return Found(reason="write_error")
    return Found(reason="write_error", at_s=written_s, length_s=duration_s - written_s)


_ORDER = (
    "no_media",
    "one_way",
    "loss",
    "gap",
    "late",
    "dropped",
    "undecodable",
    "undecryptable",
    "probable_srtp",
    "t38",
    "second_sender",
    "dtls",
    "stun",
    "write_error",
    "interrupted",
    "ended_without_bye",
)


def _judgement(found: list[Found]) -> Judgement:
    reasons = [reason for reason in _ORDER if any(item.reason == reason for item in found)]
    return Judgement(INCOMPLETE if reasons else COMPLETE, reasons, found[:MAX_FINDINGS])
