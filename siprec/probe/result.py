"""What a probe call did, in the terms in which it is verified."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

I16 = npt.NDArray[np.int16]
Bool = npt.NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class LegResult:
    """What one leg sent, on the grid of packet times."""

    label: str | None
    channel: int
    "Where it has to be recorded."
    aor: str | None
    "Who speaks on it, as the recorder was told; None for a mix of all."
    samples: I16
    "int16[slots, 160]: what each packet holds after G.711."
    sent: Bool
    "bool[slots]: its packet went out."
    starts: tuple[int, ...] = (0,)
    "Slots at which a new SSRC began."
    packets: int | None = None
    "Different packets that went out, key presses among them; None when nobody counted."
    lost: int | None = None
    "Packets missing between others, as a receiver can tell by the sequence numbers."
    missing: bool = False
    "Packets were lost, wherever."
    duplicates: int | None = None
    digits: str = ""
    first_late_s: float = 0.0
    "How late the first packet left; a receiver cannot but place the whole leg so much later."
    filled: int = 0
    "Between its sound the leg sends silence of at most this amplitude, instead of nothing."


@dataclass(slots=True, kw_only=True)
class ProbeResult:
    """A call that is over. Instants are of one monotonic clock, in seconds."""

    call_id: str
    client: str
    started_at: datetime
    "When the INVITE was sent, UTC."
    invited: float
    answered: float
    "When the 200 OK had come."
    bye_sent: float = 0.0
    bye_answered: float = 0.0
    legs: list[LegResult] = field(default_factory=list)
    mixed: bool = False
    faults: list[str] = field(default_factory=list)
    "What was wrong with the recorder's answers."
    max_late_ms: float = 0.0
    "How late a packet left, at worst."
    rtcp_received: int = 0
    rtp_received: int = 0
    "Packets that a recorder should not send."

    @property
    def setup_ms(self) -> float:
        """From INVITE to 200 OK."""
        return (self.answered - self.invited) * 1000
