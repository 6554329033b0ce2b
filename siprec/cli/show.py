"""`siprec show`: everything that is known of one recording."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

from siprec.cli import catalog
from siprec.cli.options import AsJson, ConfigFile, RecordingId, configuration
from siprec.cli.text import duration, elapsed, local, name, printable, verdict
from siprec.storage.model import Event, Finding, Leg, Recording

_NAMED = ("undecodable", "undecryptable", "probable_srtp", "t38", "second_sender", "dtls", "stun")
"Counts of a leg that are told of when they are there, beside those that every document has."


def show(recording: RecordingId, config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Show one recording."""
    settings = configuration(config)
    with catalog.reading(settings) as found:
        one = catalog.find(found, recording)
    if as_json:
        print(json.dumps(one.to_dict(), indent=1))
        return
    for line in _lines(one, settings.storage.path):
        print(line)


def _lines(one: Recording, root: Path) -> Iterator[str]:
    now = datetime.datetime.now(datetime.UTC)
    yield f"recording    {one.id}"
    yield f"state        {one.state}"
    yield f"verdict      {verdict(one)}"
    yield f"started      {local(one.started_at)}"
    yield f"ended        {local(one.ended_at)}"
    yield f"length       {duration(elapsed(one, now=now))}"
    yield f"audio        {root / one.path if one.path else '-'}  {one.format or ''} {one.sample_rate or '-'} Hz"
    if isinstance(original := one.extra.get("original"), str) and one.path:
        yield f"original     {root / Path(one.path).with_name(Path(original).name)}"
    for participant in one.participants:
        yield f"participant  {name(participant)}"
    for dialog in one.dialogs:
        yield f"dialog       {printable(dialog.call_id)} from {printable(dialog.src)}"
    for leg in one.legs:
        yield f"leg {leg.id:<8} {_leg(leg, one)}"
    for finding in one.verdict.findings:
        yield f"finding      {_finding(finding)}"
    for event in one.events:
        yield f"event        {_event(event)}"


def _leg(leg: Leg, one: Recording) -> str:
    role = next((channel.role for channel in one.channels if channel.index == leg.channel), "no channel")
    who = ", ".join(name(participant) for participant in leg.participants) or "unknown"
    counts = ", ".join(
        f"{getattr(leg, count)} {count}"
        for count in ("packets", "lost", "late", "duplicates", "dropped")
        if count == "packets" or getattr(leg, count)
    )
    counts += "".join(
        f", {printable(str(leg.extra[other]))} {other}" for other in _NAMED if leg.extra.get(other)
    )
    jitter = "" if leg.jitter_ms is None else f", jitter {leg.jitter_ms:.1f} ms"
    return f"{role}, {who}: {printable('/'.join(leg.codecs)) or 'no audio'}, {counts}{jitter}"


def _finding(finding: Finding) -> str:
    where = "" if finding.leg is None else f" on leg {finding.leg}"
    at = "" if finding.at_s is None else f" at {finding.at_s:.3f} s"
    length = "" if finding.length_s is None else f" for {finding.length_s:.3f} s"
    return printable(finding.reason) + where + at + length


def _event(event: Event) -> str:
    details = ", ".join(f"{key} {value}" for key, value in event.extra.items())
    return f"{event.at_s:10.3f} s  {printable(event.type)}{': ' if details else ''}{printable(details)}"
