"""One batch of datagrams through the columns: parse, admit, place, decode, into the rings, commit.

This is the media tick's hot path. No Python statement runs per packet of clean G.711.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from siprec.codecs import g711
from siprec.codecs.registry import AUDIO, CODECS, G711_RATE, KINDS, RAW, RED, UNKNOWN
from siprec.media.redundant import unpack
from siprec.media.result import BatchResult
from siprec.media.rings import Rings
from siprec.media.secure import SecureLegs
from siprec.media.sounds import Sounds
from siprec.media.store import StateStore
from siprec.media.unrecorded import count_odd, look_for_secrets, note_drops, note_unrecorded, take_others
from siprec.rtp import packet
from siprec.rtp.dtmf import DigitCollector
from siprec.rtp.encrypted import SecretWatch
from siprec.rtp.groups import Groups
from siprec.rtp.packet import PacketColumns, parse_columns
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.slab import STRIDE
from siprec.rtp.source import admit
from siprec.rtp.state import new_legs, new_streams
from siprec.rtp.timeline import Batch, Timeline

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Map = npt.NDArray[np.uint8]

LEFT_OUT = 255
"Kind of a row that came while its leg was inactive."
_SAMPLES_PER_BYTE = np.array([c.samples_per_byte for c in CODECS], np.int64)
_PLAIN = np.array([c.samples_per_byte > 0 for c in CODECS], np.bool_)
_CLOCKS = np.array([c.clock for c in CODECS], np.int64)


def _distinct(leg: I64) -> I64:
    """The legs of a batch, each once; the rows of a leg stand together."""
    return leg[np.flatnonzero(np.diff(leg, prepend=-1))]


class Pipeline:
    """The columns of one worker's legs. State is loaded from and published to a StateStore."""

    def __init__(self, store: StateStore, rings: Rings, *, legs: int, hold_back_s: float) -> None:
        self.store, self.rings = store, rings
        self.legs, self.streams = new_legs(legs), new_streams(legs)
        everyone = np.arange(legs, dtype=np.int64)
        store.discard_unfinished()
        if store.committed:
            self.legs[:], self.streams[:] = store.load(everyone)
        self.maps = np.zeros((legs, 128), np.uint8)
        "uint8[legs, 128]: codec number by payload type."
        self._earlier: dict[int, tuple[int, Map]] = {}
        "Legs whose payload types were mapped anew: until when [monotonic ns] the map before holds."
        self.sounds = Sounds(self.legs, rings)
        self.codecs_seen = np.zeros((legs, len(CODECS)), np.bool_)
        "Which codecs arrived on a leg, by codec number."
        self.timeline = Timeline(self.legs, self.streams, store.history, hold_back_s=hold_back_s)
        self.secrets = SecretWatch(self.streams)
        self.secure = SecureLegs(self.legs, self.streams)
        self.digits = DigitCollector()

    def process(self, rows: ReceivedRows, arrival: I64) -> BatchResult:
        """Take one batch. arrival: monotonic ns of each row, int64[n]."""
        result = BatchResult()
        number = self.store.committed + 1
        columns = parse_columns(rows.data, rows.length)
        note_drops(self.legs, rows)
        wanted = self._admit(rows, arrival, columns, result)
        if self.secure:
            wanted = self.secure.open(rows, arrival, columns, wanted, result)
        if wanted.size:
            self._take_all(rows, arrival, columns, wanted, number, result)
        if self.secure:
            self.secure.note_indices(rows.leg)
        self.commit(_distinct(rows.leg))
        return result

    def map_payloads(self, leg: int, payloads: Map, at_ns: int = 0) -> None:
        """What the payload types of a leg mean; a change holds for packets that arrive from `at_ns` on."""
        if at_ns and (self.maps[leg] != payloads).any():
            self._earlier[leg] = at_ns, self.maps[leg].copy()
        self.maps[leg] = payloads

    def forget(self, leg: int) -> None:
        """A leg is over, or begins: nothing of its streams and codecs is remembered."""
        self.codecs_seen[leg] = False
        self._earlier.pop(leg, None)
        self.secure.forget(leg)
        self.sounds.forget(leg)

    def commit(self, legs: I64) -> None:
        """Publish the rows of `legs`."""
        self.store.publish(legs, self.legs, self.streams, self.store.committed + 1)

    def _admit(self, rows: ReceivedRows, arrival: I64, columns: PacketColumns, result: BatchResult) -> I64:
        """Row numbers of RTP packets that belong to their leg; counts the others."""
        legs, leg = self.legs, rows.leg
        good = (columns.kind == packet.RTP) & ~rows.cut
        if not good.all():
            count_odd(legs, rows, arrival, columns, good, result)
        over = (arrival > legs["end_ns"][leg]) & (legs["end_ns"][leg] != 0)
        if over.any():
            np.add.at(legs["discarded"], leg[over & good], 1)
            good &= ~over
        strange = good & (rows.source != legs["source"][leg])
        if strange.any():
            self._admit_sources(rows, arrival, good, np.unique(leg[strange]), result)
        wanted = np.flatnonzero(good)
        legs["source_ns"][leg[wanted]] = arrival[wanted]
        return wanted

    def _admit_sources(
        self, rows: ReceivedRows, arrival: I64, good: Bool, which: I64, result: BatchResult
    ) -> None:
        for leg in which.tolist():
            mine = np.flatnonzero(good & (rows.leg == leg))
            accepted, moves = admit(self.legs[leg], rows.source[mine], arrival[mine])
            good[mine] = accepted
            self.legs["foreign"][leg] += int((~accepted).sum())
            result.sources += [(leg, key) for key in moves]

    def _take_all(
        self,
        rows: ReceivedRows,
        arrival: I64,
        columns: PacketColumns,
        wanted: I64,
        number: int,
        result: BatchResult,
    ) -> None:
        """Take the rows; those with redundancy block by block."""
        codec = self._codecs(rows.leg[wanted], columns.payload_type[wanted], arrival[wanted])
        if result.locked.size:
            codec[np.isin(wanted, result.locked)] = UNKNOWN.number
        red = KINDS[codec] == RED
        if not red.any():
            self._take(rows, arrival, columns, wanted, codec, number, result)
            return
        parts, broken = unpack(rows, columns, arrival, wanted[red], self.maps, self.streams)
        others = np.sort(np.concatenate([wanted[~red], broken]))
        if others.size:
            self._take(rows, arrival, columns, others, codec[np.isin(wanted, others)], number, result)
        if parts.arrival.size:
            codec = self._codecs(parts.rows.leg, parts.columns.payload_type, parts.arrival)
            everything = np.arange(parts.arrival.size, dtype=np.int64)
            self._take(
                parts.rows,
                parts.arrival,
                parts.columns,
                everything,
                codec,
                number,
                result,
                repeated=parts.repeated,
            )

    def _take(
        self,
        rows: ReceivedRows,
        arrival: I64,
        columns: PacketColumns,
        wanted: I64,
        codec: npt.NDArray[np.uint8],
        number: int,
        result: BatchResult,
        *,
        repeated: Bool | None = None,
    ) -> None:
        leg = rows.leg[wanted]
        size = columns.size[wanted].astype(np.int64)
        arrived = arrival[wanted]
        groups = Groups.of(leg)
        kind = self._kinds(codec, leg, arrived, groups)
        hidden = self.secrets.hidden(leg, columns.ssrc[wanted])
        if hidden is not None:
            kind = np.where(hidden & (kind != LEFT_OUT), RAW, kind)
        samples = size * _SAMPLES_PER_BYTE[codec]
        slow = self._slow(codec, kind, groups)
        payloads = (
            {} if slow is None else self.sounds.measure(rows, columns, wanted, codec, slow, samples, kind)
        )
        batch = Batch(
            number=number,
            leg=leg,
            seq=columns.seq[wanted],
            timestamp=columns.timestamp[wanted],
            ssrc=columns.ssrc[wanted],
            arrival_ns=arrived,
            audio=(kind == AUDIO) & (samples > 0),
            samples=samples,
            clock=_CLOCKS[codec],
            repeated=repeated,
        )
        placed = self.timeline.place(batch)
        result.changes += placed.changes
        result.events += placed.events
        result.gaps += placed.gaps
        for change in placed.changes:
            self.sounds.begin(change.stream)
        if slow is not None:
            plain = ~slow[placed.rows]
            self.sounds.decode(codec, batch, placed, payloads, kind, result)
            self._decode(rows, columns, wanted, codec, leg, placed.rows[plain], placed.u[plain])
        else:
            self._decode(rows, columns, wanted, codec, leg, placed.rows, placed.u)
        note_unrecorded(self.legs, rows, arrival, wanted, batch, placed, hidden, result)
        look_for_secrets(self.secrets, rows, columns, wanted, codec, batch, placed, groups, result)
        self.legs["octets"][groups.key] += np.add.reduceat(size, groups.starts)
        self.codecs_seen[leg, codec] = True
        if (kind != AUDIO).any():
            take_others(self.legs, self.digits, rows, arrival, columns, wanted, kind, placed.fresh, result)

    def _kinds(
        self, codec: npt.NDArray[np.uint8], leg: I64, arrived: I64, groups: Groups
    ) -> npt.NDArray[np.uint8]:
        """What is to be done with each packet by its codec; what comes while its leg is muted is left out."""
        kind = KINDS[codec]
        kind[kind == RED] = RAW  # what could be taken apart was
        until = self.legs["mute_until"][groups.key]
        if until.any():
            muted = (arrived >= self.legs["mute_from"][leg]) & (arrived < until[groups.of_row])
            # received, so that nothing is missing, but not taken
            kind[muted] = LEFT_OUT
            np.add.at(self.legs["discarded"], leg[muted], 1)
        return kind

    def _decode(
        self,
        rows: ReceivedRows,
        columns: PacketColumns,
        wanted: I64,
        codec: npt.NDArray[np.uint8],
        leg: I64,
        rows_placed: I64,
        u: I64,
    ) -> None:
        """Expand placed rows of G.711 at its own rate, all of one law and length at a time, into the rings."""
        row = wanted[rows_placed]
        key = codec[rows_placed].astype(np.int64) * STRIDE + columns.size[row]
        leg = leg[rows_placed]
        flat = rows.data.reshape(-1)
        at = row * STRIDE + columns.offset[row]
        alike = key.size > 0 and bool((key == key[0]).all())
        for value in key[:1].tolist() if alike else np.unique(key).tolist():
            number, n = divmod(value, STRIDE)
            which = slice(None) if alike else key == value
            windows = as_strided(flat, (flat.size - n + 1, n), (1, 1))
            samples = g711.decode_rows(CODECS[number].law, windows[at[which]])
            written = self.rings.write(leg[which], u[which], samples)
            if not written.all():
                np.add.at(self.legs["no_room"], leg[which][~written], 1)

    def _codecs(self, leg: I64, payload_type: npt.NDArray[np.uint8], arrived: I64) -> npt.NDArray[np.uint8]:
        """Codec numbers by the map that held when each packet arrived: uint8[n]."""
        codec = self.maps[leg, payload_type]
        for number, (until_ns, before) in list(self._earlier.items()):
            mine = leg == number
            early = np.flatnonzero(mine & (arrived < until_ns))
            codec[early] = before[payload_type[early]]
            if mine.any() and not early.size:
                del self._earlier[number]
        return codec

    def _slow(self, codec: npt.NDArray[np.uint8], kind: npt.NDArray[np.uint8], groups: Groups) -> Bool | None:
        """Rows of sound that is no G.711 at its file's rate, bool[n]; None if there is none."""
        plain, rate = _PLAIN[codec], self.legs["rate"][groups.key]
        narrow = rate == G711_RATE
        if not narrow.all():
            plain &= narrow[groups.of_row]
        if plain.all():
            return None
        slow: Bool = (kind == AUDIO) & ~plain
        return slow if slow.any() else None
