"""The script of a call, looked at as a receiver would."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.codecs import g711
from siprec.probe.outcome import leg_results
from siprec.probe.plan import CallPlan
from siprec.probe.script import build_script
from siprec.rtp.dtmf import DigitCollector
from siprec.rtp.packet import parse_columns


def voices(plan, seed=5):
    rng = np.random.default_rng(seed)
    return [rng.integers(-20000, 20000, plan.frames * 160).astype(np.int16) for _ in range(plan.legs)]


def script_of(**values):
    plan = CallPlan(**values)
    return plan, build_script(plan, voices(plan))


@dataclass
class Heard:
    """One packet as parsed back from its bytes."""

    packet: object
    seq: int
    timestamp: int
    ssrc: int
    payload_type: int
    marker: bool
    payload: bytes


def heard(packets):
    out = []
    for packet in packets:
        row = np.frombuffer(packet.data, np.uint8)[None, :]
        columns = parse_columns(row, np.array([row.size], np.int32))
        assert columns.kind[0] == 0
        out.append(
            Heard(
                packet,
                int(columns.seq[0]),
                int(columns.timestamp[0]),
                int(columns.ssrc[0]),
                int(columns.payload_type[0]),
                bool(columns.marker[0]),
                packet.data[int(columns.offset[0]) :],
            )
        )
    return out


def of_leg(script, leg):
    return heard(packet for packet in script.packets if packet.leg == leg)


def test_a_plain_call_is_one_packet_each_20_ms_on_both_legs():
    plan, script = script_of(duration_s=1.0)
    for leg, voice in enumerate(voices(plan)):
        packets = of_leg(script, leg)
        assert [round(p.packet.at_s * 1000) for p in packets] == list(range(0, 1000, 20))
        first = packets[0]
        assert [(p.seq - first.seq) % 2**16 for p in packets] == list(range(50))
        assert [(p.timestamp - first.timestamp) % 2**32 for p in packets] == list(range(0, 8000, 160))
        assert [p.marker for p in packets] == [True] + 49 * [False]
        assert b"".join(p.payload for p in packets) == g711.encode("ulaw", voice).tobytes()
        assert {p.payload_type for p in packets} == {0}
    assert script.legs[0].segments[0].ssrc != script.legs[1].segments[0].ssrc


def test_what_is_to_be_recorded_is_what_g711_leaves_of_the_voice():
    plan, script = script_of(duration_s=0.5, codec="pcma")
    for leg, voice in zip(script.legs, voices(plan), strict=True):
        coded = g711.encode("alaw", voice).reshape(-1, 160)
        assert (leg.samples == g711.decode_rows("alaw", coded)).all()
    assert {p.payload_type for p in of_leg(script, 0)} == {8}


def test_a_voice_that_is_too_short_is_followed_by_silence():
    plan = CallPlan(duration_s=0.1, codec="pcmu")
    script = build_script(plan, [np.full(200, 1000, np.int16), np.zeros(0, np.int16)])
    assert (script.legs[0].samples.reshape(-1)[:200] == script.legs[0].samples[0, 0]).all()
    assert not script.legs[0].samples.reshape(-1)[200:].any()
    assert len(of_leg(script, 1)) == 5


def test_sequence_number_and_timestamp_wrap_within_two_seconds():
    _, script = script_of(duration_s=2.0)
    for leg in (0, 1):
        packets = of_leg(script, leg)
        assert packets[0].seq > packets[-1].seq
        assert packets[0].timestamp > packets[-1].timestamp


def test_the_seed_decides_every_packet():
    values = {"loss_pct": 10.0, "reorder": 5, "duplicate_pct": 10.0, "ssrc_change": True, "digits": "1"}
    assert script_of(**values)[1].packets == script_of(**values)[1].packets
    assert script_of(**values)[1].packets != script_of(**values, seed=2)[1].packets


def test_as_many_packets_are_lost_and_doubled_as_asked():
    _, script = script_of(duration_s=10.0, loss_pct=5.0, duplicate_pct=2.0)
    for leg in (0, 1):
        packets = [packet for packet in script.packets if packet.leg == leg]
        assert sum(packet.lost for packet in packets) == 25
        assert sum(packet.repeated for packet in packets) == round(0.02 * 475)
        assert not any(packet.lost and packet.repeated for packet in packets)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.integers(0, 1000), st.sampled_from([0.0, 20.0]))
def test_no_packet_is_overtaken_by_one_more_places_behind_than_allowed(most, seed, loss):
    _, script = script_of(duration_s=1.0, reorder=most, seed=seed, loss_pct=loss)
    packets = [p.packet.slot for p in of_leg(script, 0) if not p.packet.lost]
    rank = {slot: place for place, slot in enumerate(sorted(packets))}
    order = [rank[slot] for slot in packets]
    assert sorted(order) == list(range(len(order)))
    assert all(earlier - later <= most for i, earlier in enumerate(order) for later in order[i:])


def test_reordering_reorders():
    _, script = script_of(duration_s=1.0, reorder=8)
    slots = [p.packet.slot for p in of_leg(script, 0)]
    assert slots != sorted(slots)


def test_a_hold_is_silence_between_two_halves_and_no_gap_in_the_sequence():
    plan, script = script_of(duration_s=1.0, hold_s=2.0)
    assert script.hold == (0.5, 2.5)
    assert script.length_s == 3.0
    packets = of_leg(script, 1)
    assert [round(p.packet.at_s, 2) for p in packets][24:26] == [0.48, 2.5]
    assert (packets[25].seq - packets[24].seq) % 2**16 == 1
    assert (packets[25].timestamp - packets[24].timestamp) % 2**32 == 101 * 160
    assert packets[25].marker
    assert b"".join(p.payload for p in packets) == g711.encode("ulaw", voices(plan)[1]).tobytes()
    before, after = script.sections
    assert max(packet.at_s for packet in before) < 0.5
    assert min(packet.at_s for packet in after) == 2.5
    assert len(before) + len(after) == len(script.packets)


def test_without_a_hold_everything_is_in_the_first_section():
    _, script = script_of(duration_s=0.2)
    assert script.sections == (script.packets, ())


def test_nothing_of_what_was_sent_before_a_hold_comes_during_it():
    _, script = script_of(duration_s=2.0, hold_s=1.0, reorder=20, duplicate_pct=100.0)
    assert not [packet for packet in script.packets if 1.0 <= packet.at_s < 2.0]


def test_an_ssrc_change_gives_a_new_ssrc_sequence_and_timestamp_at_once():
    _, script = script_of(duration_s=2.0, ssrc_change=True)
    for leg in (0, 1):
        packets = of_leg(script, leg)
        before, after = packets[24], packets[25]
        assert len({p.ssrc for p in packets[:25]}) == len({p.ssrc for p in packets[25:]}) == 1
        assert before.ssrc != after.ssrc
        assert (after.seq - before.seq) % 2**16 != 1
        assert (after.timestamp - before.timestamp) % 2**32 != 160
        assert after.packet.at_s - before.packet.at_s == pytest.approx(0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_the_packets_beside_an_ssrc_change_arrive_and_in_order(seed):
    _, script = script_of(
        duration_s=2.0, ssrc_change=True, loss_pct=50.0, reorder=8, duplicate_pct=20.0, seed=seed
    )
    for leg in (0, 1):
        arriving = [p for p in of_leg(script, leg) if not p.packet.lost]
        slots = [p.packet.slot for p in arriving]
        assert 24 in slots
        new = [p.packet.slot for p in arriving if p.ssrc == script.legs[leg].segments[1].ssrc]
        assert new[0] == 25
        old_last = max(i for i, p in enumerate(arriving) if p.packet.slot < 25 and not p.packet.repeated)
        assert old_last < slots.index(25)


def test_key_presses_are_rfc_4733_events_on_the_first_leg_instead_of_audio():
    """RFC 4733 2.5.1: one timestamp per event, the marker in front, the duration grows, the end is sent three times."""
    _, script = script_of(duration_s=3.0, digits="1#D")
    events = [p for p in of_leg(script, 0) if p.payload_type == 101]
    assert len(events) == 21
    for number, code in enumerate((1, 11, 15)):
        event = events[7 * number : 7 * number + 7]
        assert {p.payload[0] for p in event} == {code}
        assert len({p.timestamp for p in event}) == 1
        assert [p.marker for p in event] == [True] + 6 * [False]
        assert [int.from_bytes(p.payload[2:]) for p in event] == [160, 320, 480, 640, 800, 800, 800]
        assert [bool(p.payload[1] & 0x80) for p in event] == 4 * [False] + 3 * [True]
    packets = of_leg(script, 0)
    assert [(b.seq - a.seq) % 2**16 for a, b in pairwise(packets)] == 149 * [1]
    assert not [p for p in of_leg(script, 1) if p.payload_type == 101]


def test_a_collector_hears_each_key_once_however_the_call_is_impaired():
    _, script = script_of(
        duration_s=4.0, digits="1234", loss_pct=30.0, reorder=8, duplicate_pct=20.0, ssrc_change=True
    )
    collector, digits = DigitCollector(), []
    for p in of_leg(script, 0):
        if p.payload_type == 101:
            digits += [found.digit for found in collector.packet(0, p.ssrc, p.timestamp, p.payload, 0)]
    assert digits == list("1234")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    loss=st.sampled_from([0.0, 5.0, 40.0]),
    reorder=st.integers(0, 10),
    hold=st.sampled_from([0.0, 1.0]),
    digits=st.sampled_from(["", "7", "42"]),
    ssrc_change=st.booleans(),
)
def test_placing_what_arrives_by_its_timestamp_gives_what_the_result_says(
    seed, loss, reorder, hold, digits, ssrc_change
):
    """The result of a call, worked out without looking at a single packet's content, is what its packets hold."""
    plan, script = script_of(
        duration_s=2.0,
        loss_pct=loss,
        reorder=reorder,
        duplicate_pct=5.0,
        hold_s=hold,
        digits=digits,
        ssrc_change=ssrc_change,
        seed=seed,
    )
    sent = [packet for packet in script.packets if not packet.lost]
    for number, result in enumerate(leg_results(plan, script, sent)):
        placed = np.zeros_like(result.samples)
        arrived = np.zeros(len(result.samples), np.bool_)
        packets = [p for p in of_leg(script, number) if not p.packet.lost]
        for p in packets:
            segment = next(s for s in script.legs[number].segments if s.ssrc == p.ssrc)
            slot, rest = divmod((p.timestamp - segment.timestamp) % 2**32, 160)
            assert rest == 0
            if p.payload_type == 0:
                placed[slot] = g711.decode_rows("ulaw", np.frombuffer(p.payload, np.uint8)[None, :])
                arrived[slot] = True
        assert (arrived == result.sent).all()
        assert (placed[arrived] == result.samples[arrived]).all()
        distinct = {(p.ssrc, p.seq) for p in packets}
        assert result.packets == len(distinct)
        assert result.duplicates == len(packets) - len(distinct)
        assert result.lost == sum(holes(Counter(distinct), s) for s in script.legs[number].segments)


def holes(distinct, segment):
    """Sequence numbers missing between the first and the last of an SSRC."""
    numbers = sorted((seq - segment.seq) % 2**16 for ssrc, seq in distinct if ssrc == segment.ssrc)
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0


def test_a_packet_that_the_system_did_not_take_counts_as_lost():
    plan, script = script_of(duration_s=0.2)
    (leg, _) = leg_results(plan, script, [packet for packet in script.packets if packet.slot != 4])
    assert (leg.packets, leg.lost, leg.missing) == (9, 1, True)
    assert leg.sent.tolist() == [slot != 4 for slot in range(10)]
