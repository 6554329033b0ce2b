"""Interarrival jitter, RFC 3550 A.8, for all streams of a batch at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from siprec.rtp.groups import Groups
from siprec.rtp.packet import Bool
from siprec.rtp.state import Rows

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_GAIN = 1.0 / 16.0


def update_jitter(streams: Rows, groups: Groups, arrival: F64, timestamp: I64, known: Bool) -> None:
    """Bring `jitter` and `transit` of the streams up to date.

    groups: rows by stream (the key is the stream's row). arrival, timestamp: [n], both in timestamp units,
    in order of arrival. known: bool[n], rows whose timestamp can be trusted; the others are passed over. The recursion J += (|D| - J) / 16 over the m rows of a stream is written out as
    J * (15/16)**m plus a weighted sum, so that no loop over packets is needed.
    """
    transit = arrival - timestamp
    if not known.all():
        transit[~known] = np.nan
    before = groups.previous(transit, streams["transit"][groups.key])
    change = np.abs(transit - before)
    np.nan_to_num(change, copy=False)  # nothing to differ from
    rank = np.arange(transit.size) - groups.starts[groups.of_row]
    weight = _GAIN * (1.0 - _GAIN) ** (groups.counts[groups.of_row] - 1 - rank)
    recent = np.add.reduceat(weight * change, groups.starts)
    streams["jitter"][groups.key] = streams["jitter"][groups.key] * (1.0 - _GAIN) ** groups.counts + recent
    streams["transit"][groups.key] = transit[groups.last]
