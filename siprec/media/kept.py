"""What was kept raw of a leg, made ready to be decoded: its packets in order, and what their payload types mean.

A packet lies in an rtpdump because nothing could decode it, because it was encrypted, or because somebody else was
recorded on the leg at that time. Only the first two are to become sound: what had a decoder when it came, and is there all the
same, is set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from siprec.codecs.registry import payload_map
from siprec.media.meaning import PAYLOAD_TYPES, Meaning, decodable, read_meanings
from siprec.rtp.packet import FIXED_HEADER, RTP, classify
from siprec.rtp.slab import STRIDE
from siprec.rtp.srtp import LegSrtp, MasterKey, Outcome
from siprec.storage.layout import leg_dumps
from siprec.storage.model import Leg, Recording
from siprec.storage.rtpdump import RtpdumpReader
from siprec.storage.timestamps import parse_rfc3339

MS_NS, US_NS = 1_000_000, 1_000
_MIDDLE_NS = MS_NS // 2
"An rtpdump cuts its times to milliseconds."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Map = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key that somebody gave: the suite by its name in the SDP, master key and salt in one, the MKI."""

    suite: str
    secret: bytes = field(repr=False)
    mki: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """An RTP packet. at_ns: its arrival, from the recording's zero (`t0`)."""

    at_ns: int
    data: bytes
    opened: bool = False
    "It was encrypted, and a key has opened it."

    @property
    def payload_type(self) -> int:
        """RFC 3550 5.1."""
        return self.data[1] & 0x7F

    @property
    def ssrc(self) -> int:
        """RFC 3550 5.1."""
        return int.from_bytes(self.data[8:12], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What payload types meant for packets that arrived before `until_ns`; None: to the end."""

    until_ns: int | None
    codecs: Map
    "uint8[128], codec number by payload type, as known now."
    had_decoder: frozenset[int]
    "Payload types that could be decoded when the packets came."


@dataclass(slots=True, kw_only=True)
class KeptLeg:
    """A leg's packets that may become sound, in order of arrival."""

    packets: list[Packet]
    "What is to be decoded now."
    total: int
    "Packets that are to become sound some day, `packets` among them."
    periods: list[Period]

    def period(self, at_ns: int) -> Period:
        """What payload types meant at a time."""
        return next(p for p in self.periods if p.until_ns is None or at_ns < p.until_ns)


def zero_us(recording: Recording) -> int:
    """The recording's zero in microseconds since 1970. Raises ValueError if it is not known."""
    if recording.t0 is None:
        raise ValueError("it is not known when its audio begins: the recorder was killed while it ran")
    return (parse_rfc3339(recording.t0) - _EPOCH) // timedelta(microseconds=1)


def dumps_of(folder: Path, leg: Leg) -> list[Path]:
    """The rtpdump files that a leg has, oldest first."""
    return [path for name in leg_dumps(leg.id) if (path := folder / name).is_file()]


def read_packets(dumps: Iterable[bytes], t0_us: int, first_packet_us: int | None) -> list[Packet]:
    """The RTP packets of rtpdump files, in order of arrival. Raises RtpdumpError.

    first_packet_us: when the leg's first packet came, since 1970; better known than a dump says it.
    """
    found: list[Packet] = []
    for data in dumps:
        reader = RtpdumpReader(data)
        start_ns = (reader.header.start_us - t0_us) * US_NS
        for packet in reader:
            if not packet.rtcp and len(packet.data) <= STRIDE and _is_rtp(packet.data):
                at_ns = start_ns + packet.offset_ms * MS_NS + _MIDDLE_NS
                found.append(Packet(at_ns=at_ns, data=packet.data))
    found.sort(key=lambda packet: packet.at_ns)
    if found and first_packet_us is not None:
        exact_ns = (first_packet_us - t0_us) * US_NS
        if abs(found[0].at_ns - exact_ns) <= _MIDDLE_NS + US_NS:
            found[0] = Packet(at_ns=exact_ns, data=found[0].data)
    return found


def _is_rtp(data: bytes) -> bool:
    if len(data) < FIXED_HEADER:
        return False
    row = np.zeros((1, max(20, len(data))), np.uint8)
    row[0, : len(data)] = np.frombuffer(data, np.uint8)
    return int(classify(row, np.array([len(data)], np.int32))[0]) == RTP


def periods_of(recording: Recording, leg: Leg, given: Mapping[int, Meaning]) -> list[Period]:
    """What the payload types of a leg meant over its time. given: by whoever knows better; it holds for all of it."""
    found = []
    for event in recording.events:
        before = event.extra.get("before")
        if event.type == "payloads_changed" and event.extra.get("leg") == leg.id and isinstance(before, dict):
            found.append(_period(before, given, round(event.at_s * 1e9)))
    return [*found, _period(leg.extra, given, None)]


def _period(noted: Mapping[str, object], given: Mapping[int, Meaning], until_ns: int | None) -> Period:
    meanings = read_meanings(noted.get("payloads"))
    known = noted.get("decodable")
    could = known if isinstance(known, list) else decodable(meanings)
    return Period(
        until_ns=until_ns,
        codecs=payload_map(meanings | dict(given)),
        had_decoder=frozenset(n for n in could if isinstance(n, int) and 0 <= n < PAYLOAD_TYPES),
    )


def kept_leg(
    recording: Recording, leg: Leg, dumps: Iterable[bytes], given: Mapping[int, Meaning], keys: Sequence[Key]
) -> KeptLeg:
    """What was kept of a leg, by its document and the bytes of its dumps. Raises RtpdumpError, ValueError."""
    t0_us = zero_us(recording)
    first_us = (
        (parse_rfc3339(leg.first_packet_at) - _EPOCH) // timedelta(microseconds=1)
        if leg.first_packet_at is not None
        else None
    )
    packets = open_packets(read_packets(dumps, t0_us, first_us), keys)
    kept = KeptLeg(packets=packets, total=0, periods=periods_of(recording, leg, given))
    strangers = _second_senders(recording, leg)
    packets = [packet for packet in packets if packet.opened or packet.ssrc not in strangers]
    kept.total, kept.packets = len(packets), _to_decode(leg, packets, kept)
    return kept


def open_packets(packets: Sequence[Packet], keys: Sequence[Key]) -> list[Packet]:
    """The packets, those opened that a key fits; a key that fits none changes nothing. Raises ValueError."""
    if not keys:
        return list(packets)
    srtp = LegSrtp(keys[0].suite, [_master(keys[0])], keys[0].secret)
    for key in keys[1:]:
        srtp.rekey(key.suite, [_master(key)], key.secret)
    out = []
    for packet in packets:
        plain, outcome = srtp.open(packet.data)
        opened = outcome is Outcome.OPENED
        out.append(Packet(at_ns=packet.at_ns, data=plain, opened=True) if opened else packet)
    return out


def _master(key: Key) -> MasterKey:
    return MasterKey(key.secret, key.mki)


def _second_senders(recording: Recording, leg: Leg) -> set[object]:
    """SSRCs that sent beside the one that was recorded."""
    return {
        event.extra.get("ssrc")
        for event in recording.events
        if event.type == "second_sender" and event.extra.get("leg") == leg.id
    }


def _to_decode(leg: Leg, packets: Sequence[Packet], kept: KeptLeg) -> list[Packet]:
    """Those that were opened, and those that only lacked a decoder."""
    opened = {packet.ssrc for packet in packets if packet.opened}
    foreign = {p.ssrc for p in packets if not p.opened and _could_be_read(p, kept)} if _hidden(leg) else set()
    out = []
    for packet in packets:
        locked = not packet.opened and (packet.ssrc in opened or leg.extra.get("undecryptable"))
        if locked or (not packet.opened and (packet.ssrc in foreign or _could_be_read(packet, kept))):
            continue
        out.append(packet)
    return out


def _hidden(leg: Leg) -> bool:
    """Whether streams of a leg were kept because they looked encrypted, whatever their codec."""
    return bool(leg.extra.get("probable_srtp"))


def _could_be_read(packet: Packet, kept: KeptLeg) -> bool:
    return packet.payload_type in kept.period(packet.at_ns).had_decoder
