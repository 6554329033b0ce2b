"""What a leg received, as it is reported at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from siprec.codecs.registry import Codec
from siprec.media.pipeline import Pipeline
from siprec.media.protocol import MAX_MESSAGE, Closed, LegReport, encode
from siprec.media.recordings import LegState, RecordingState
from siprec.rtp.loss import total_lost

_GAPS, _SSRCS = 2000, 1000
"Listed in one report, over all legs."
_COUNTS = (
    "packets",
    "octets",
    "late",
    "duplicates",
    "recovered",
    "dropped",
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
    "discarded",
    "rtcp",
    "noise",
    "events",
)
_SPANS = {
    "undecodable": "raw",
    "undecryptable": "undecryptable",
    "probable_srtp": "probable_srtp",
    "t38": "t38",
    "second_sender": "second_sender",
}
"Spans of a leg's row by the verdict's reason."
RAW_COUNTS = ("undecodable", "t38", "second_sender")
"What is kept as it came; each packet is in one of these."


def leg_report(
    pipeline: Pipeline, recording: RecordingState, leg: LegState, codecs: Sequence[Codec]
) -> LegReport:
    """The report of a leg, by the columns of its worker."""
    number = leg.spec.leg
    row = pipeline.legs[number]
    counts = {name: int(row[name]) for name in _COUNTS}
    counts["dropped"] += int(row["no_room"])
    raw = sum(counts[name] for name in RAW_COUNTS)
    counts["not_kept"] = max(0, raw - int(pipeline.store.kept[number]))
    counts["lost"] = total_lost(pipeline.legs, pipeline.streams, number)
    stream = pipeline.streams[2 * number + int(row["current"])]
    placed = bool(row["segments"])
    decoded = [c.name for c in codecs[1:] if pipeline.codecs_seen[number, c.number]]
    return LegReport(
        leg=number,
        counts=counts,
        ssrcs=leg.ssrcs,
        codecs=list(dict.fromkeys([*decoded, *leg.dumped])),
        jitter_ms=round(float(stream["jitter"]) / recording.rate * 1000, 3) if stream["live"] else 0.0,
        first_at=recording.seconds_of(int(row["first_ns"])) if row["first_ns"] else None,
        last_at=recording.seconds_of(int(row["last_ns"])) if row["last_ns"] else None,
        covered_until=recording.seconds(int(row["top_u"]) + int(row["delta"])) if placed else None,
        gaps=[(recording.seconds(start), recording.seconds(end), n) for start, end, n in leg.gaps],
        spans=_spans(recording, row),
        sender_packets=_sent(pipeline, leg, counts) if leg.reports else None,
    )


def _spans(recording: RecordingState, row: Any) -> dict[str, tuple[float, float]]:
    """When the first and the last packet came of what could not be recorded, by reason."""
    found = {}
    for reason, column in _SPANS.items():
        first, last = (recording.seconds_of(int(row[f"{column}_{end}_ns"])) for end in ("first", "last"))
        if row[f"{column}_first_ns"] and first is not None and last is not None:
            found[reason] = (first, last)
    return found


def _sent(pipeline: Pipeline, leg: LegState, counts: dict[str, int]) -> int:
    """Packets that were sent: those that came or are missing by their numbers, and what the senders count beyond."""
    beyond = 0
    for stream in pipeline.streams[2 * leg.spec.leg : 2 * leg.spec.leg + 2]:
        note = leg.reports.get(int(stream["ssrc"]))
        if stream["live"] and note is not None:
            expected = int(stream["highest"] - stream["base"] + 1)
            beyond += max(0, note.packets - note.before - expected)
    return counts["packets"] + counts["lost"] + beyond


def shorten(closed: Closed) -> None:
    """Leave out gaps and SSRCs until the message fits, of the longest lists first; the counts say it all the same."""
    legs = max(1, len(closed.legs))
    for report in closed.legs:
        del report.gaps[max(1, _GAPS // legs) :]
        del report.ssrcs[max(1, _SSRCS // legs) :]
    while len(encode(closed)) > MAX_MESSAGE:
        longest = max(closed.legs, key=lambda report: len(report.gaps))
        if longest.gaps:
            del longest.gaps[len(longest.gaps) // 2 :]
        else:
            del closed.legs[len(closed.legs) * 9 // 10 :]
