"""Whether `recording.json` says of a call what is true of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from siprec.probe.report import Check
from siprec.probe.result import LegResult, ProbeResult
from siprec.storage.model import Leg, Recording

_ENDED = ("ended", "recovered")
_LOSS = {"loss", "gap"}
_COUNTS = ("packets", "lost", "duplicates")


def check_claims(result: ProbeResult, recording: Recording) -> Iterator[Check]:
    """One check for each thing that the document says and the probe knows."""
    yield Check(name="state", ok=recording.state in _ENDED, text=recording.state)
    yield _verdict(result, recording)
    for sent in result.legs:
        leg = leg_of(recording, result, sent)
        if leg is None:
            yield Check(name=f"leg {sent.label}", ok=False, text="the document has no such leg")
            continue
        yield from _counts(sent, leg)
        if sent.aor is not None:
            named = [participant.aor for participant in leg.participants]
            yield Check(
                name=f"party of leg {sent.label}", ok=named == [sent.aor], text=", ".join(named) or "nobody"
            )
    yield from _digits(result, recording)


def leg_of(recording: Recording, result: ProbeResult, sent: LegResult) -> Leg | None:
    """The document's leg by its label; where there are no labels, by its place."""
    own = [leg for leg in recording.legs if leg.call_id in (None, result.call_id)]
    if sent.label is None:
        return next(iter(own[sent.channel : sent.channel + 1]), None)
    return next((leg for leg in own if leg.label == sent.label), None)


def _verdict(result: ProbeResult, recording: Recording) -> Check:
    """Complete if all packets went out, else incomplete because of loss and for no other reason."""
    verdict = recording.verdict
    reasons = set(verdict.reasons)
    lost = any(leg.missing for leg in result.legs)
    right = (
        verdict.result == "incomplete" and bool(reasons) and reasons <= _LOSS
        if lost
        else verdict.result == "complete"
    )
    return Check(name="recorder's verdict", ok=right, text=verdict_text(recording))


def verdict_text(recording: Recording) -> str:
    """The recorder's verdict with its reasons."""
    verdict = recording.verdict
    return f"{verdict.result} ({', '.join(verdict.reasons)})" if verdict.reasons else str(verdict.result)


def _counts(sent: LegResult, leg: Leg) -> Iterator[Check]:
    if sent.packets is None:
        return
    told = {name: int(getattr(leg, name)) for name in _COUNTS}
    true = {name: int(getattr(sent, name)) for name in _COUNTS}
    text = ", ".join(f"{count} {name}" for name, count in told.items())
    differing = ", ".join(f"{true[name]} {name}" for name in _COUNTS if true[name] != told[name])
    yield Check(
        name=f"counts of leg {sent.label}",
        ok=not differing,
        text=f"{text}; it was {differing}" if differing else text,
    )


def _digits(result: ProbeResult, recording: Recording) -> Iterator[Check]:
    """Key presses: all of them, and which where the recorder stores it (`dtmf.store`)."""
    pressed = "".join(leg.digits for leg in result.legs)
    told = [str(event.extra.get("digit", "")) for event in recording.events if event.type == "dtmf"]
    masked = ["x"] * len(told)
    if pressed or told:
        right = told == list(pressed) or (told == masked and len(told) == len(pressed))
        yield Check(name="keys", ok=right, text=f"{''.join(told) or 'none'} for {pressed or 'none'}")
