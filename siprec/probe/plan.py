"""What a probe call is to do."""

from __future__ import annotations

from dataclasses import dataclass

from siprec.rtp.dtmf import DIGITS
from siprec.sdp.crypto import SUITES

CODECS = {"pcmu": ("ulaw", 0, "PCMU"), "pcma": ("alaw", 8, "PCMA")}
"Codec to its G.711 table, static payload type and encoding name."

RATE = 8000
FRAME = 160
"Samples of one packet."
FRAME_S = FRAME / RATE
MAX_DURATION_S = 3600.0
MIN_HOLD_S = 1.0
MAX_REORDER = 50
EVENT_SLOTS = 7
"A key press: five packets of 20 ms, the last of which is sent twice more (RFC 4733 2.5.1.4)."
EVENT_SPACING = 13
"Slots from one key press to the next."


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """One call. The same plan and seed give the same packets. Raises ValueError for what makes no sense."""

    duration_s: float = 5.0
    "Audio of each leg; a hold comes on top."
    codec: str = "pcmu"
    loss_pct: float = 0.0
    "Audio packets that are left out."
    reorder: int = 0
    "A packet comes at most so many places too early or too late."
    duplicate_pct: float = 0.0
    hold_s: float = 0.0
    "In the middle: re-INVITE inactive, silence, re-INVITE sendonly."
    digits: str = ""
    "Keys pressed on the first leg (RFC 4733)."
    ssrc_change: bool = False
    "After a quarter of the call every leg goes on with another SSRC, sequence number and timestamp."
    metadata: bool = True
    mixed: bool = False
    "One m-line that carries both parties."
    srtp: str = ""
    "Suite that every leg is encrypted with (RFC 4568); none if empty."
    seed: int = 1

    def __post_init__(self) -> None:
        _check(FRAME_S <= self.duration_s <= MAX_DURATION_S, f"a duration of {self.duration_s} s")
        _check(self.codec in CODECS, f"codec {self.codec!r}")
        _check(0 <= self.loss_pct <= 90, f"a loss of {self.loss_pct} %")
        _check(0 <= self.duplicate_pct <= 100, f"{self.duplicate_pct} % duplicates")
        _check(0 <= self.reorder <= MAX_REORDER, f"reordering by {self.reorder} packets")
        _check(self.hold_s == 0 or MIN_HOLD_S <= self.hold_s <= MAX_DURATION_S, f"a hold of {self.hold_s} s")
        _check(all(digit in DIGITS for digit in self.digits), f"digits {self.digits!r}")
        _check(not self.srtp or self.srtp in SUITES, f"SRTP with {self.srtp!r}")
        if self.first_digit + len(self.digits) * EVENT_SPACING > self.frames:
            raise ValueError(f"{self.duration_s} s are too short for the digits {self.digits}")
        if self.frames < 8 and (self.hold_s or self.ssrc_change):
            raise ValueError(f"{self.duration_s} s are too short for a hold or a change of SSRC")

    @property
    def legs(self) -> int:
        """Number of m-lines."""
        return 1 if self.mixed else 2

    @property
    def frames(self) -> int:
        """Packets of audio on each leg, were nothing in their way."""
        return round(self.duration_s / FRAME_S)

    @property
    def hold_frames(self) -> int:
        """Packet times for which the call is held."""
        return round(self.hold_s / FRAME_S)

    @property
    def first_digit(self) -> int:
        """Frame at which the first key is pressed."""
        return self.frames * 5 // 8


def _check(right: bool, what: str) -> None:
    if not right:
        raise ValueError(f"{what} is not possible")
