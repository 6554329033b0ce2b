"""How far the encrypted streams of a call were opened, for its document and so for the journal.

A worker that takes over has it in the shared memory. Who goes on with a call without that memory needs the roll-over
counters, which no packet carries (RFC 3711 3.3.1); the sequence number beside them comes with the next packet.
"""

from __future__ import annotations

import numpy as np

from siprec.daemon.live import LiveRecording

MAX_STREAMS = 64
"Of a leg; of more, the ones that were there first are forgotten."


def note_indices(live: LiveRecording) -> bool:
    """Take the highest extended sequence numbers over from the worker's memory.

    True when a roll-over counter is not what it was: then it is worth a record.
    """
    legs = [leg for leg in live.legs if leg.spec.srtp is not None]
    if live.media is None or not legs:
        return False
    numbers = np.array([leg.spec.leg for leg in legs], np.int64)
    rows, streams = live.media.worker.state.load(numbers)
    mine = rows["epoch_ns"] == live.media.opened.epoch_ns  # else somebody else's by now
    rolled = False
    for at in np.flatnonzero(mine).tolist():
        leg = legs[at]
        for stream in streams[2 * at : 2 * at + 2]:
            ssrc, index = int(stream["ssrc"]), int(stream["srtp_index"])
            if stream["live"] and index:
                rolled |= leg.srtp_index.get(ssrc, 0) >> 16 != index >> 16
                leg.srtp_index[ssrc] = index
        while len(leg.srtp_index) > MAX_STREAMS:
            del leg.srtp_index[next(iter(leg.srtp_index))]
    return rolled
