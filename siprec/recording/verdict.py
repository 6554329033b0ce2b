"""The verdict: whether everything that should be in a recording is there, computed from what was counted.

| reason              | when                                                                        |
|---------------------|-----------------------------------------------------------------------------|
| `no_media`          | a leg that was to send sent nothing                                         |
| `one_way`           | one leg has media, another that was to send has none                        |
| `loss`              | packets never arrived: by sequence numbers, or the sender counted more      |
| `gap`               | a second or more is missing at one place                                    |
| `late`              | packets arrived after their place was written                               |
| `dropped`           | the kernel dropped packets because we were too slow, or there was no room   |
| `undecodable`       | packets without a decoder; they are kept as they came                       |
| `write_error`       | the disk refused audio                                                      |
| `interrupted`       | a media worker died or the daemon was gone                                  |
| `ended_without_bye` | the call was not ended by the peer                                          |
| `inactive`          | nothing was ever to be sent: there is nothing to judge, `unverifiable`      |
"""

from __future__ import annotations

from dataclasses import dataclass, field

GAP_S = 1.0
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


def judge_leg(leg: LegEvidence) -> Judgement:
    """The verdict on one leg."""
    if not leg.packets:
        if leg.was_active:
            return _judgement([Found(reason="no_media", leg=leg.leg)])
        return Judgement(UNVERIFIABLE, ["inactive"], [Found(reason="inactive", leg=leg.leg)])
    found = [
        Found(reason=_reason_of(start, end, packets), leg=leg.leg, at_s=start, length_s=end - start)
        for start, end, packets in leg.gaps
    ]
    unplaced = leg.lost > sum(packets for _, _, packets in leg.gaps)
    uncounted = leg.sender_packets is not None and leg.sender_packets > leg.packets + leg.lost
    if unplaced or uncounted:
        found.append(Found(reason="loss", leg=leg.leg))
    if leg.late and not any(item.reason == "late" for item in found):
        found.append(Found(reason="late", leg=leg.leg))
    for reason in ("dropped", "undecodable"):
        if getattr(leg, reason):
            found.append(Found(reason=reason, leg=leg.leg))
    return _judgement(found)


def _reason_of(start: float, end: float, packets: int) -> str:
    if not packets:
        return "late"
    return "gap" if end - start >= GAP_S else "loss"


def judge(
    legs: list[LegEvidence],
    *,
    ended_by_peer: bool,
    write_error: bool = False,
    interrupted: bool = False,
) -> Judgement:
    """The verdict on a recording."""
    judged = [judge_leg(leg) for leg in legs]
    found = [item for verdict in judged for item in verdict.found if item.reason != "inactive"]
    silent = [leg.leg for leg in legs if leg.was_active and not leg.packets]
    if silent and any(leg.packets for leg in legs):
        found += [Found(reason="one_way", leg=leg) for leg in silent]
    if write_error:
        found.append(Found(reason="write_error"))
    if interrupted:
        found.append(Found(reason="interrupted"))
    if not ended_by_peer:
        found.append(Found(reason="ended_without_bye"))
    if not found and not any(leg.packets for leg in legs):
        return Judgement(UNVERIFIABLE, ["inactive"], [Found(reason="inactive")])
    return _judgement(found)


_ORDER = (
    "no_media",
    "one_way",
    "loss",
    "gap",
    "late",
    "dropped",
    "undecodable",
    "write_error",
    "interrupted",
    "ended_without_bye",
)


def _judgement(found: list[Found]) -> Judgement:
    reasons = [reason for reason in _ORDER if any(item.reason == reason for item in found)]
    return Judgement(INCOMPLETE if reasons else COMPLETE, reasons, found[:MAX_FINDINGS])
