"""What is known of each leg and stream, as columns: one structured row a leg, two streams (SSRCs) a leg.

These rows are what survives a worker: they are published to shared memory after each batch (see
`siprec.media.memory`), so a change of a dtype here is a change of `STATE_VERSION`.

Positions. `p` counts samples of the recording's rate from the recording's `epoch_ns` (monotonic). Rings are
addressed by `u = p - delta`: while the first packets of a leg come in, an earlier one moves the whole leg by
`delta`, without a sample being copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.groups import Groups

I64 = npt.NDArray[np.int64]

STATE_VERSION = 8
STREAMS_PER_LEG = 2
HISTORY = 256
"Sequence numbers remembered per stream; a power of two."


def _record(fields: list[tuple[str, str]]) -> np.dtype[Any]:
    """A row of whole 8-byte words, so that rows can be copied as words."""
    return np.dtype(fields, align=True)


LEG: np.dtype[Any] = _record(
    [
        ("active", "u1"),
        ("current", "u1"),  # which of its two streams is sending now
        (
            "sender",
            "u1",
        ),  # 1 + the stream that is recorded while another sends, 0 for none; see siprec.rtp.senders
        ("contest", "u1"),  # the other goes on beside it
        ("rivals", "i4"),  # packets of the other until that was known
        ("sender_ns", "i8"),
        ("rival_ns", "i8"),
        ("rival_last_ns", "i8"),
        ("segments", "i4"),  # times the leg was anchored to arrival
        ("rate", "i4"),  # samples a second
        ("epoch_ns", "i8"),
        ("end_ns", "i8"),  # packets that arrived later do not belong to the leg; 0 while it is open
        ("mute_from", "i8"),  # packets that arrived in this span are not recorded (inactive); ns, 0 for none
        ("mute_until", "i8"),
        ("source", "u8"),  # latched source, see siprec.rtp.source
        ("sdp_source", "u8"),
        ("source_ns", "i8"),  # last packet from the latched source
        ("delta", "i8"),
        ("lowest_u", "i8"),
        ("top_u", "i8"),  # behind the last placed sample
        ("floor_p", "i8"),  # everything below went to the writer
        ("ceiling_p", "i8"),  # the ring has no room from here on
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("packets", "i8"),  # accepted, duplicates not counted
        ("octets", "i8"),
        ("recovered", "i8"),  # packets that came only as a repetition in a later one (RFC 2198)
        ("lost_before", "i8"),  # in streams that ended
        ("late", "i8"),
        ("duplicates", "i8"),
        ("dropped", "i8"),  # by the kernel, SO_RXQ_OVFL
        ("no_room", "i8"),  # packets whose audio found no room in the ring or the pool
        ("foreign", "i8"),  # from another source, or of no kind we know
        ("broken", "i8"),
        ("capped", "i8"),  # ticks in which the cap of rows was reached
        ("undecodable", "i8"),
        ("raw_first_ns", "i8"),  # arrival of the first packet without a decoder, 0 if none
        ("raw_last_ns", "i8"),
        ("undecryptable", "i8"),  # of these, with keys that do not open them
        ("undecryptable_first_ns", "i8"),
        ("undecryptable_last_ns", "i8"),
        ("probable_srtp", "i8"),  # of these, of a stream that looks encrypted
        ("probable_srtp_first_ns", "i8"),
        ("probable_srtp_last_ns", "i8"),
        ("second_sender", "i8"),  # packets of a second sender
        ("second_sender_first_ns", "i8"),
        ("second_sender_last_ns", "i8"),
        ("stun", "i8"),
        ("dtls", "i8"),
        ("t38", "i8"),
        ("t38_first_ns", "i8"),  # arrival of the first fax packet, 0 if none
        ("t38_last_ns", "i8"),
        ("t38_next", "i4"),  # behind the sequence number of the last packet of a fax's form, 0 if none
        ("discarded", "i8"),  # while inactive, after the end, or of one stream too many
        ("rtcp", "i8"),
        ("noise", "i8"),  # comfort noise packets
        ("events", "i8"),  # telephone-event packets
    ]
)

STREAM: np.dtype[Any] = _record(
    [
        ("live", "u1"),
        ("anchored", "u1"),
        ("ssrc", "u4"),
        ("base", "i8"),  # first extended sequence number
        ("highest", "i8"),
        ("received", "i8"),
        ("checked", "i8"),  # gaps are known up to here
        ("horizon", "i8"),  # highest when last checked
        ("odd_seq", "i4"),  # sequence number that would confirm a restart, -1 if none
        ("codec_clock", "i4"),  # of its newest codec [Hz]
        ("clock", "i4"),  # what its timestamps really count [Hz]; see siprec.rtp.pace
        ("numbered", "u1"),  # its timestamps stand still: places come from sequence numbers
        ("ts_base", "i8"),  # u = u_base + (extended timestamp - ts_base) * rate / clock
        ("u_base", "i8"),
        ("newest", "i8"),  # extended sequence number of the newest audio packet
        ("newest_u", "i8"),
        ("newest_ts", "i8"),
        ("late_dev", "i8"),  # deviation of the last late packet, LATE_NONE if none
        ("lead", "f8"),  # furthest ahead of arrival of this window, in samples; see siprec.rtp.drift
        ("lead_before", "f8"),  # of the window before
        ("lead_base", "f8"),  # where the stream stood at first
        ("heard", "i8"),  # packets in this window
        ("srtp_index", "i8"),  # highest extended sequence number that was opened; see siprec.rtp.srtp
        ("secret", "u1"),  # whether it looks encrypted, see siprec.rtp.encrypted
        ("look_tag", "u1"),  # bytes of its packets beyond their time
        ("looked", "i4"),  # packets seen while undecided
        ("look_plain", "i4"),
        ("look_tags", "i4"),
        ("look_seq", "i4"),  # of the last packet looked at
        ("look_ts", "u4"),
        ("look_size", "i4"),
        ("transit", "f8"),  # RFC 3550 A.8, in samples
        ("jitter", "f8"),
    ]
)
LATE_NONE = 1 << 62
NO_CEILING = 1 << 62

Rows = npt.NDArray[Any]


def new_legs(count: int) -> Rows:
    """Fresh rows for `count` legs: LEG[count], all zero but for `ceiling_p`."""
    legs = np.zeros(count, LEG)
    legs["ceiling_p"] = NO_CEILING
    return legs


def new_streams(count: int) -> Rows:
    """Fresh rows for the streams of `count` legs: STREAM[2 * count]; leg i owns rows 2i and 2i+1."""
    return np.zeros(STREAMS_PER_LEG * count, STREAM)


def note_span(legs: Rows, name: str, leg: I64, arrival: I64) -> None:
    """Widen the span `<name>_first_ns` to `<name>_last_ns` of the legs by packets that arrived then.

    leg: int64[n], rows of a leg together and in order of arrival; arrival: int64[n], monotonic ns.
    """
    if not leg.size:
        return
    groups = Groups.of(leg)
    fresh = legs[f"{name}_first_ns"][groups.key] == 0
    legs[f"{name}_first_ns"][groups.key[fresh]] = arrival[groups.starts[fresh]]
    legs[f"{name}_last_ns"][groups.key] = arrival[groups.last]
