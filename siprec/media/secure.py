"""SRTP of a worker's legs: packets are opened in their rows, before anything looks at their payload."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from siprec.media.protocol import SrtpSpec
from siprec.media.result import BatchResult
from siprec.media.unrecorded import keep
from siprec.rtp.packet import RTP, PacketColumns, parse_columns
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.srtp import LegSrtp, MasterKey, Outcome
from siprec.rtp.state import Rows, note_span

I64 = npt.NDArray[np.int64]


class SecureLegs:
    """Keys by leg. False while no leg has any."""

    def __init__(self, legs: Rows, streams: Rows) -> None:
        self._legs, self._streams = legs, streams
        self._srtp: dict[int, LegSrtp] = {}
        self._has_keys = np.zeros(legs.shape, np.bool_)
        self._searches = 0
        "Of legs that are over."

    def __bool__(self) -> bool:
        return bool(self._srtp)

    def of(self, leg: int) -> LegSrtp | None:
        """The keys and streams of a leg; None for a plain one."""
        return self._srtp.get(leg)

    def set_keys(self, leg: int, spec: SrtpSpec | None, *, resume: bool = False) -> None:
        """What offer and answer say of a leg's keys. resume: streams go on that another worker has opened.

        Raises ValueError for keys that do not fit their suite.
        """
        if spec is None:
            self.forget(leg)
            return
        keys = [MasterKey(bytes.fromhex(secret), bytes.fromhex(mki)) for secret, mki in spec.keys]
        local = bytes.fromhex(spec.local)
        if leg in self._srtp:
            self._srtp[leg].rekey(spec.suite, keys, local, required=spec.required)
            return
        srtp = LegSrtp(spec.suite, keys, local, required=spec.required)
        self._srtp[leg], self._has_keys[leg] = srtp, True
        if resume:
            for stream in self._streams[2 * leg : 2 * leg + 2]:
                if stream["live"] and stream["srtp_index"]:
                    srtp.resume(int(stream["ssrc"]), int(stream["srtp_index"]))

    def forget(self, leg: int) -> None:
        """A leg has no keys any more."""
        srtp = self._srtp.pop(leg, None)
        self._searches += srtp.searches if srtp is not None else 0
        self._has_keys[leg] = False

    @property
    def searches(self) -> int:
        """Times that the place of an encrypted stream was looked for: it was joined late, was away, or is of another key."""
        return self._searches + sum(srtp.searches for srtp in self._srtp.values())

    def open(
        self, rows: ReceivedRows, arrival: I64, columns: PacketColumns, wanted: I64, result: BatchResult
    ) -> I64:
        """Open the packets of legs with keys, of the rows `wanted`; returns the rows to go on with.

        What cannot be opened is counted and kept as it came. It does not touch the streams of a sender that was
        understood before; of one that never was, it goes on as sound that nobody can decode, so that the leg's numbers are right.
        """
        which = wanted[self._has_keys[rows.leg[wanted]]]
        opened: list[int] = []
        lengths: list[int] = []
        left_out: list[int] = []
        failed: list[int] = []
        data, stride = rows.data.reshape(-1).data, rows.data.shape[1]  # a few times faster than rows of numpy
        for row, leg, length in zip(
            which.tolist(), rows.leg[which].tolist(), rows.length[which].tolist(), strict=True
        ):
            start = row * stride
            plain, outcome = self._srtp[leg].open(bytes(data[start : start + length]))
            if outcome is Outcome.OPENED:
                data[start : start + len(plain)] = plain
                opened.append(row)
                lengths.append(len(plain))
            elif outcome is Outcome.REPEATED:
                self._legs["duplicates"][leg] += 1
                left_out.append(row)
            elif outcome is Outcome.FAILED:
                failed.append(row)
        rows.length[opened] = lengths
        self._parse_again(rows, columns, np.array(opened, np.int64))
        broken = [row for row, kind in zip(opened, columns.kind[opened].tolist(), strict=True) if kind != RTP]
        for row in broken:
            self._legs["broken"][rows.leg[row]] += 1
        left_out += broken
        left_out += self._count_failed(rows, arrival, columns, np.array(failed, np.int64), result)
        return wanted[~np.isin(wanted, left_out)] if left_out else wanted

    @staticmethod
    def _parse_again(rows: ReceivedRows, columns: PacketColumns, opened: I64) -> None:
        """What of a header depends on the payload: padding, and where the packet ends now."""
        if not opened.size:
            return
        again = parse_columns(rows.data[opened], rows.length[opened])
        columns.kind[opened], columns.offset[opened], columns.size[opened] = (
            again.kind,
            again.offset,
            again.size,
        )

    def _count_failed(
        self, rows: ReceivedRows, arrival: I64, columns: PacketColumns, failed: I64, result: BatchResult
    ) -> list[int]:
        """Returns the rows that are not to be taken."""
        if not failed.size:
            return []
        leg = rows.leg[failed]
        np.add.at(self._legs["undecryptable"], leg, 1)
        note_span(self._legs, "undecryptable", leg, arrival[failed])
        first = np.unique(leg, return_index=True)[1]
        result.undecryptable += zip(leg[first].tolist(), arrival[failed[first]].tolist(), strict=True)
        known = np.array(
            [self._srtp[int(rows.leg[r])].knows(int(columns.ssrc[r])) for r in failed.tolist()], np.bool_
        )
        strangers = failed[known]
        keep(rows, arrival, strangers, result)
        np.add.at(self._legs["undecodable"], rows.leg[strangers], 1)
        result.locked = failed[~known]
        out: list[int] = strangers.tolist()
        return out

    def note_indices(self, leg: I64) -> None:
        """Note in the streams of the legs of a batch how far they were opened: a worker that takes over begins there."""
        for number in np.unique(leg[self._has_keys[leg]]).tolist():
            for stream in (2 * number, 2 * number + 1):
                row = self._streams[stream]
                if row["live"] and (index := self._srtp[number].index_of(int(row["ssrc"]))) is not None:
                    row["srtp_index"] = index
