"""What comes to a leg's port and is not recorded: told apart and counted, and what is content is kept as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from siprec.codecs.registry import CODECS, EVENT, NOISE, RAW, Codec
from siprec.rtp import packet
from siprec.rtp.dtmf import DigitCollector
from siprec.rtp.encrypted import TRAILER, SecretWatch
from siprec.rtp.groups import Groups
from siprec.rtp.packet import Bool, PacketColumns
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.state import Rows, note_span
from siprec.rtp.timeline import Batch, Placement
from siprec.rtp.udptl import confirm, sequence_numbers

if TYPE_CHECKING:
    from siprec.media.pipeline import BatchResult

I64 = npt.NDArray[np.int64]

_GSM = 33 / 160
"Bytes a sample (RFC 3551 4.5.8)."


def _bytes_per_unit(codec: Codec) -> float:
    """Bytes a timestamp unit, of a codec whose packets say by their length how long they are; else 0.

    Not G.729: a tag of 10 bytes is as long as a frame, so a sender with a false timestamp step looks the same.
    """
    known = {"g711": 1.0, "g722": 1.0, "gsm": _GSM, "l16": 2.0 * codec.channels}
    return codec.bits / 8 if codec.form.startswith("g726") else known.get(codec.form, 0.0)


_BYTES_PER_UNIT = np.array([_bytes_per_unit(codec) for codec in CODECS])


def keep(rows: ReceivedRows, arrival: I64, which: I64, result: BatchResult) -> None:
    """Give the rows `which` to their legs' rtpdumps."""
    for row in which.tolist():
        data = rows.data[row, : rows.length[row]].tobytes()
        result.raw.append((int(rows.leg[row]), int(arrival[row]), data))


def note_drops(legs: Rows, rows: ReceivedRows) -> None:
    """Take over what the rows' sockets say of packets that the kernel dropped."""
    told = rows.drops >= 0
    if told.any():
        legs["dropped"][rows.leg[told]] = rows.drops[told]


def count_odd(
    legs: Rows, rows: ReceivedRows, arrival: I64, columns: PacketColumns, good: Bool, result: BatchResult
) -> None:
    """Take the rows that are not `good` RTP, bool[n]: RTCP, a fax, other protocols, and what nobody knows."""
    kind, leg = columns.kind, rows.leg
    rtcp = kind == packet.RTCP
    broken = (kind == packet.BROKEN) | (kind == packet.SHORT) | rows.cut
    np.add.at(legs["rtcp"], leg[rtcp], 1)
    np.add.at(legs["broken"], leg[broken], 1)
    told = rtcp | broken
    told[_take_fax(legs, rows, arrival, np.flatnonzero((kind == packet.T38) & ~broken), result)] = True
    for value, name in ((packet.STUN, "stun"), (packet.DTLS, "dtls")):
        told |= kind == value
        np.add.at(legs[name], leg[(kind == value) & ~broken], 1)
    np.add.at(legs["foreign"], leg[~good & ~told], 1)
    for row in np.flatnonzero(rtcp).tolist():
        data = rows.data[row, : rows.length[row]].tobytes()
        result.rtcp.append((int(leg[row]), int(arrival[row]), int(rows.source[row]), data))


def _take_fax(legs: Rows, rows: ReceivedRows, arrival: I64, which: I64, result: BatchResult) -> I64:
    """Keep what is surely T.38, of the rows `which` that look like it and come from the leg's peer; returns these."""
    leg, source = rows.leg[which], rows.source[which]
    open_ = (legs["end_ns"][leg] == 0) | (arrival[which] <= legs["end_ns"][leg])
    near = (source == legs["source"][leg]) | (source == legs["sdp_source"][leg])
    which = which[open_ & (near | ((legs["source"][leg] == 0) & (legs["sdp_source"][leg] == 0)))]
    if not which.size:
        return which
    which = which[confirm(legs, rows.leg[which], sequence_numbers(rows.data[which]))]
    np.add.at(legs["t38"], rows.leg[which], 1)
    note_span(legs, "t38", rows.leg[which], arrival[which])
    keep(rows, arrival, which, result)
    return which


def note_unrecorded(
    legs: Rows,
    rows: ReceivedRows,
    arrival: I64,
    wanted: I64,
    batch: Batch,
    placed: Placement,
    hidden: Bool | None,
    result: BatchResult,
) -> None:
    """Count the packets of streams that look encrypted, and keep those of second senders.

    wanted: row numbers of the batch's packets. hidden: bool[n], which of them look encrypted; None: none.
    """
    if hidden is not None:
        which = np.flatnonzero(hidden & placed.fresh)
        np.add.at(legs["probable_srtp"], batch.leg[which], 1)
        note_span(legs, "probable_srtp", batch.leg[which], batch.arrival_ns[which])
    if placed.second is None:
        return
    which = np.flatnonzero(placed.second)
    leg = batch.leg[which]
    np.add.at(legs["second_sender"], leg, 1)
    note_span(legs, "second_sender", leg, batch.arrival_ns[which])
    _, firsts = np.unique(leg << 32 | batch.ssrc[which].astype(np.int64), return_index=True)
    for i in which[np.sort(firsts)].tolist():
        result.second.append((int(batch.leg[i]), int(batch.ssrc[i]), int(batch.arrival_ns[i])))
    keep(rows, arrival, wanted[which], result)


def look_for_secrets(
    secrets: SecretWatch,
    rows: ReceivedRows,
    columns: PacketColumns,
    wanted: I64,
    codec: npt.NDArray[np.uint8],
    batch: Batch,
    placed: Placement,
    groups: Groups,
    result: BatchResult,
) -> None:
    """Look whether streams that began lately are encrypted, each by its packets of this batch.

    wanted, codec: of the batch's packets. groups: these by leg.
    """
    undecided = secrets.undecided(groups.key)
    starts = dict(zip(groups.key.tolist(), range(groups.key.size), strict=True)) if undecided else {}
    for stream in undecided:
        leg = stream >> 1
        span = groups.rows(starts[leg])
        mine = np.flatnonzero(batch.ssrc[span] == secrets.streams["ssrc"][stream]) + span.start
        some = mine[placed.fresh[mine] & (_BYTES_PER_UNIT[codec[mine]] > 0)]
        row = wanted[some]
        bytes_of = [
            rows.data[r, columns.offset[r] : columns.offset[r] + columns.size[r] - TRAILER]
            for r in row.tolist()
            if columns.size[r] > TRAILER
        ]
        if secrets.look(
            stream,
            seen=mine.size,
            seq=batch.seq[some],
            timestamp=batch.timestamp[some],
            size=columns.size[row].astype(np.int64),
            bytes_per_unit=_BYTES_PER_UNIT[codec[some]],
            payload=np.concatenate(bytes_of) if bytes_of else np.zeros(0, np.uint8),
        ):
            result.secret.append((leg, int(batch.arrival_ns[some[-1]])))


def take_others(
    legs: Rows,
    digits: DigitCollector,
    rows: ReceivedRows,
    arrival: I64,
    columns: PacketColumns,
    wanted: I64,
    kind: npt.NDArray[np.uint8],
    fresh: Bool,
    result: BatchResult,
) -> None:
    """Count comfort noise, collect digits, keep what has no decoder. kind, fresh: of the packets `wanted`."""
    for value, name in ((RAW, "undecodable"), (EVENT, "events"), (NOISE, "noise")):
        np.add.at(legs[name], rows.leg[wanted[fresh & (kind == value)]], 1)
    for row in wanted[fresh & (kind == EVENT)].tolist():
        start = int(columns.offset[row])
        payload = rows.data[row, start : start + int(columns.size[row])].tobytes()
        result.digits += digits.packet(
            int(rows.leg[row]),
            int(columns.ssrc[row]),
            int(columns.timestamp[row]),
            payload,
            int(arrival[row]),
        )
    raw = wanted[fresh & (kind == RAW)]
    note_span(legs, "raw", rows.leg[raw], arrival[raw])
    keep(rows, arrival, raw, result)
