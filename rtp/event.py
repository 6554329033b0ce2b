"""What happened to the timeline of a leg."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TimelineEvent:
    """A stream was anchored (`anchored`), its timestamp moved (`jump`) or ran away (`drift`) against arrival.

    `pace`: its timestamps count with a clock of `moved` Hz that is not its codec's, or with 0: stand still.
    `late`: a packet came after its place, `moved` samples from `p` on, was written.
    """

    type: str
    leg: int
    ssrc: int
    p: int
    "Position from which the new anchor holds, in samples from the epoch."
    moved: int
    "How far the stream's timestamps were moved, in samples; 0 for a first anchor."
