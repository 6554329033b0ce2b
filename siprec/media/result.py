"""What a batch of datagrams gave besides samples in the rings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from siprec.codecs.registry import Codec
from siprec.rtp.dtmf import Digit
from siprec.rtp.event import TimelineEvent
from siprec.rtp.loss import LossGap
from siprec.rtp.sequence import StreamChange

I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class BatchResult:
    """What a batch gave besides samples in the rings."""

    digits: list[Digit] = field(default_factory=list)
    changes: list[StreamChange] = field(default_factory=list)
    events: list[TimelineEvent] = field(default_factory=list)
    gaps: list[LossGap] = field(default_factory=list)
    sources: list[tuple[int, int]] = field(default_factory=list)
    "(leg, source key) of each leg that was latched to a source."
    resampled: list[tuple[int, Codec]] = field(default_factory=list)
    "(leg, codec) the first time that a leg's sound has to be brought to the file's rate."
    undecryptable: list[tuple[int, int]] = field(default_factory=list)
    "(leg, arrival ns of the first one) of legs with packets that their keys do not open."
    locked: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    "Rows that are taken although they are still encrypted."
    secret: list[tuple[int, int]] = field(default_factory=list)
    "(leg, arrival ns of the packet that showed it) of each stream that turned out to look encrypted."
    second: list[tuple[int, int, int]] = field(default_factory=list)
    "(leg, SSRC, arrival ns of its first packet in the batch) of each sender that is not recorded."
    raw: list[tuple[int, int, bytes]] = field(default_factory=list)
    "(leg, arrival ns, packet) of packets without a decoder."
    rtcp: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    "(leg, arrival ns, source key, datagram) of RTCP on an RTP port."
