"""What happened to the timeline of a leg."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TimelineEvent:
    """A stream was anchored (`anchored`), its timestamp moved (`jump`) or ran away (`drift`) against arrival.

    `late`: a packet came after its place, `moved` samples from `p` on, was written.
    """

    type: str
    leg: int
    ssrc: int
    p: int
    "Position from which the new anchor holds, in samples from the epoch."
    moved: int
    "How far the stream's timestamps were moved, in samples; 0 for a first anchor."
