"""Which packet is sent when: the whole media of a call, worked out before it begins. Pure.

Time is a grid of slots of 20 ms, the same for all legs. A slot holds an audio packet, a packet of a key press, or
nothing (hold). Loss, reordering and duplicates touch audio only, and never cross a hold, a key press or a change of
SSRC: where a stream begins anew is known from its first packet, so that one always comes, and first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from struct import pack

import numpy as np
import numpy.typing as npt

from siprec.codecs import g711
from siprec.probe.plan import CODECS, EVENT_SLOTS, EVENT_SPACING, FRAME, FRAME_S, CallPlan
from siprec.rtp.dtmf import DIGITS

I16 = npt.NDArray[np.int16]

EVENT_PAYLOAD_TYPE = 101
_EVENT_PACKETS = 5
_VOLUME = 10
"Of a key press, in -dBm0."


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One RTP packet of the script."""

    at_s: float
    "When it is sent, from the first slot."
    leg: int
    slot: int
    audio: bool
    data: bytes
    lost: bool = False
    "The network eats it: it counts as sent and is not."
    repeated: bool = False
    "The network brings it once more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one SSRC of a leg sends."""

    slot: int
    "Its first."
    ssrc: int
    timestamp: int
    "Of slot 0, as if it had been sending from there; modulo 2**32."
    seq: int
    "Its first."


@dataclass(frozen=True, slots=True, kw_only=True)
class LegScript:
    """What a leg sends. samples: int16[slots, 160], what each slot becomes after G.711."""

    samples: I16
    segments: tuple[Segment, ...]

    def segment(self, slot: int) -> Segment:
        """The one that sends in a slot."""
        return next(segment for segment in reversed(self.segments) if segment.slot <= slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallScript:
    """All packets in the order of sending, and what they carry."""

    packets: tuple[Packet, ...]
    legs: tuple[LegScript, ...]
    slots: int
    hold: tuple[float, float] | None
    "From and to, in seconds from the first slot; no packet is sent meanwhile."

    @property
    def sections(self) -> tuple[tuple[Packet, ...], tuple[Packet, ...]]:
        """The packets before and after the hold."""
        end = self.length_s if self.hold is None else self.hold[1]
        before = tuple(packet for packet in self.packets if packet.slot * FRAME_S < end)
        return before, self.packets[len(before) :]

    @property
    def length_s(self) -> float:
        """From the first slot to the end of the last."""
        return self.slots * FRAME_S


def build_script(plan: CallPlan, voices: Sequence[I16]) -> CallScript:
    """The script of a plan. voices: one a leg, 8 kHz; cut or filled with silence to the length of the plan."""
    rng = Random(plan.seed)
    packets: list[Packet] = []
    legs = []
    for leg in range(plan.legs):
        legs.append(_leg(plan, voices[leg], rng))
        sent = _Sending(plan, leg, legs[-1], _encoded(plan, voices[leg])).packets()
        packets += _impaired(plan, sent, legs[-1], rng)
    packets.sort(key=lambda packet: packet.at_s)
    middle = plan.frames // 2 * FRAME_S
    return CallScript(
        packets=tuple(packets),
        legs=tuple(legs),
        slots=plan.frames + plan.hold_frames,
        hold=(middle, middle + plan.hold_frames * FRAME_S) if plan.hold_frames else None,
    )


def slot_of(plan: CallPlan, frame: int) -> int:
    """The slot of a frame of audio: the hold in the middle moves what follows it."""
    return frame if frame < plan.frames // 2 else frame + plan.hold_frames


def _encoded(plan: CallPlan, voice: I16) -> npt.NDArray[np.uint8]:
    """uint8[frames, 160]"""
    samples = np.zeros(plan.frames * FRAME, np.int16)
    part = voice[: samples.size]
    samples[: part.size] = part
    return g711.encode(CODECS[plan.codec][0], samples).reshape(plan.frames, FRAME)


def _leg(plan: CallPlan, voice: I16, rng: Random) -> LegScript:
    law = CODECS[plan.codec][0]
    samples = np.zeros((plan.frames + plan.hold_frames, FRAME), np.int16)
    slots = [slot_of(plan, frame) for frame in range(plan.frames)]
    samples[slots] = g711.decode_rows(law, _encoded(plan, voice))
    starts = [0, slot_of(plan, plan.frames // 4)] if plan.ssrc_change else [0]
    return LegScript(samples=samples, segments=tuple(_segment(slot, rng) for slot in starts))


def _segment(slot: int, rng: Random) -> Segment:
    """Sequence number and timestamp begin shortly before they wrap: a call of 2 s has both wraps in it."""
    return Segment(
        slot=slot,
        ssrc=rng.getrandbits(32),
        timestamp=(-rng.randrange(20, 100) * FRAME - slot * FRAME) % 2**32,
        seq=-rng.randrange(5, 60) % 2**16,
    )


class _Sending:
    """The packets of one leg in order, before the network has its way with them."""

    def __init__(self, plan: CallPlan, leg: int, script: LegScript, payloads: npt.NDArray[np.uint8]) -> None:
        self._plan, self._leg, self._script, self._payloads = plan, leg, script, payloads
        self._events = _event_frames(plan) if leg == 0 else {}
        self._sent = 0

    def packets(self) -> Iterator[Packet]:
        payload_type = CODECS[self._plan.codec][1]
        spurt = True
        for frame in range(self._plan.frames):
            slot = slot_of(self._plan, frame)
            segment = self._script.segment(slot)
            if slot == segment.slot:
                spurt, self._sent = True, 0
            spurt |= slot_of(self._plan, frame - 1) != slot - 1
            if (event := self._events.get(frame)) is not None:
                digit, place = event
                yield self._event(segment, slot, digit, place)
            else:
                data = self._payloads[frame].tobytes()
                yield self._packet(segment, slot, slot, payload_type, data, marker=spurt)
                spurt = False

    def _event(self, segment: Segment, slot: int, digit: str, place: int) -> Packet:
        """place: number of the packet within its key press. All carry the time of its beginning."""
        last = place >= _EVENT_PACKETS - 1
        duration = min(place + 1, _EVENT_PACKETS) * FRAME
        payload = pack("!BBH", DIGITS.index(digit), (0x80 if last else 0) | _VOLUME, duration)
        return self._packet(
            segment, slot, slot - place, EVENT_PAYLOAD_TYPE, payload, marker=place == 0, audio=False
        )

    def _packet(
        self,
        segment: Segment,
        slot: int,
        time: int,
        payload_type: int,
        payload: bytes,
        *,
        marker: bool,
        audio: bool = True,
    ) -> Packet:
        seq = (segment.seq + self._sent) % 2**16
        timestamp = (segment.timestamp + time * FRAME) % 2**32
        self._sent += 1
        header = pack("!BBHII", 0x80, (0x80 if marker else 0) | payload_type, seq, timestamp, segment.ssrc)
        return Packet(at_s=slot * FRAME_S, leg=self._leg, slot=slot, audio=audio, data=header + payload)


def _event_frames(plan: CallPlan) -> dict[int, tuple[str, int]]:
    """Frame to (digit, number of the packet within the key press)."""
    return {
        plan.first_digit + number * EVENT_SPACING + place: (digit, place)
        for number, digit in enumerate(plan.digits)
        for place in range(EVENT_SLOTS)
    }


def _impaired(plan: CallPlan, sent: Iterator[Packet], leg: LegScript, rng: Random) -> list[Packet]:
    """What becomes of the packets on their way."""
    packets = list(sent)
    kept = {slot for segment in leg.segments[1:] for slot in (segment.slot - 1, segment.slot)}
    losable = [i for i, packet in enumerate(packets) if packet.audio and packet.slot not in kept]
    lost = set(rng.sample(losable, round(plan.loss_pct / 100 * len(losable))))
    arriving = [i for i, packet in enumerate(packets) if packet.audio and i not in lost]
    doubled = set(rng.sample(arriving, round(plan.duplicate_pct / 100 * len(arriving))))
    out: list[Packet] = []
    for span in _spans(packets, {segment.slot for segment in leg.segments}):
        out += [replace(packets[i], lost=True) for i in span if i in lost]
        rest = [i for i in span if i not in lost]
        first_stays = bool(rest) and packets[rest[0]].slot in kept
        for at, i in zip(rest, _reordered(rest, plan.reorder, first_stays, rng), strict=True):
            out.append(replace(packets[i], at_s=packets[at].at_s))
            if i in doubled:
                out.append(replace(out[-1], at_s=out[-1].at_s + FRAME_S / 2, repeated=True))
    return out


def _spans(packets: Sequence[Packet], starts: set[int]) -> list[list[int]]:
    """Runs of packets within which the order may change; a packet of a key press is one by itself."""
    spans: list[list[int]] = []
    for i, packet in enumerate(packets):
        before = packets[i - 1] if i else None
        joins = before is not None and before.audio and packet.audio and before.slot == packet.slot - 1
        if joins and packet.slot not in starts:
            spans[-1].append(i)
        else:
            spans.append([i])
    return spans


def _reordered(items: Sequence[int], most: int, first_stays: bool, rng: Random) -> list[int]:
    """The items so that none is overtaken by one more than `most` places behind it."""
    keys = {item: (place + rng.randint(0, most), -place) for place, item in enumerate(items)}
    head = list(items[:1]) if first_stays else []
    return head + sorted(items[len(head) :], key=lambda item: keys[item])
