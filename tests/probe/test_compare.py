import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.probe.compare import compare, locate
from tests.probe.recorded import LEAD, recorded


def case(**values):
    made = recorded(**{"duration_s": 1.0, **values})
    return np.ascontiguousarray(made.samples[:, 0]), made.result.legs[0]


def test_a_leg_is_found_where_it_stands_to_the_sample():
    channel, leg = case()
    found = compare(channel, leg)
    assert (found.offsets, found.right, found.wrong, found.stray) == ((LEAD,), 50, (), 0)


@settings(max_examples=30, deadline=None)
@given(lead=st.integers(0, 30000), seed=st.integers(0, 100), loss=st.sampled_from([0.0, 5.0, 50.0]))
def test_wherever_it_stands_and_whatever_is_missing_of_it(lead, seed, loss):
    channel, leg = case(loss_pct=loss, seed=seed)
    found = compare(np.concatenate((np.zeros(lead, np.int16), channel)), leg)
    assert (found.offsets, found.wrong, found.stray) == ((lead + LEAD,), (), 0)
    assert found.right == leg.sent.sum()


def test_one_wrong_sample_is_one_wrong_packet():
    channel, leg = case()
    channel[LEAD + 7 * 160 + 3] += 1
    found = compare(channel, leg)
    assert (found.right, found.wrong, found.stray) == (49, (7,), 0)


def test_a_packet_that_came_out_as_silence_is_wrong():
    channel, leg = case()
    channel[LEAD + 160 * 20 : LEAD + 160 * 21] = 0
    assert compare(channel, leg).wrong == (20,)


def test_sound_where_nothing_was_sent_is_stray():
    channel, leg = case(loss_pct=10.0, hold_s=1.0)
    missing = int(np.flatnonzero(~leg.sent)[0])
    channel[LEAD + 160 * missing + 5] = 1
    channel[-1] = -1
    found = compare(channel, leg)
    assert (found.wrong, found.stray) == ((), 2)
    assert found.first_stray_s == (LEAD + 160 * missing + 5) / 8000


def test_a_sender_that_fills_its_pauses_may_leave_their_smallest_sound():
    channel, leg = case()
    channel[:LEAD] = 8
    assert compare(channel, leg).stray == LEAD
    leg.filled = 8
    assert compare(channel, leg).stray == 0


def test_what_is_cut_off_at_the_end_is_wrong():
    channel, leg = case()
    assert compare(channel[: LEAD + 160 * 48 + 10], leg).wrong == (48, 49)


def test_one_packet_too_few_in_the_middle_makes_the_rest_wrong():
    """A recorder that closes a gap instead of leaving it silent moves everything behind it."""
    channel, leg = case(duration_s=3.0)
    cut = LEAD + 160 * 120
    found = compare(np.concatenate((channel[:cut], channel[cut + 160 :])), leg)
    assert found.offsets == (LEAD,)
    assert found.wrong[0] == 120
    assert len(found.wrong) == 30


@pytest.mark.parametrize("moved", [0, 5, -160, 900])
def test_an_ssrc_is_found_beside_where_it_should_be(moved):
    channel, leg = case(duration_s=2.0, ssrc_change=True)
    at = LEAD + leg.starts[1] * 160
    if moved >= 0:
        channel = np.concatenate((channel[:at], np.zeros(moved, np.int16), channel[at:]))
    else:
        channel = np.concatenate((channel[: at + moved], channel[at:]))
    found = compare(channel, leg)
    assert found.found
    assert found.shifts == (moved,)
    assert len(found.wrong) == (1 if moved < 0 else 0)


def test_another_voice_and_silence_are_not_taken_for_the_leg():
    made = recorded(duration_s=2.0)
    leg = made.result.legs[0]
    assert not compare(np.ascontiguousarray(made.samples[:, 1]), leg).found
    assert not compare(np.zeros(16000, np.int16), leg).found
    assert not compare(np.zeros(0, np.int16), leg).found


def test_a_leg_of_which_nothing_was_sent_is_found_nowhere():
    channel, leg = case()
    leg.sent[:] = False
    assert not compare(channel, leg).found


def test_a_loud_place_does_not_hide_the_right_one():
    channel, leg = case()
    noise = np.random.default_rng(1).integers(-32768, 32767, 16000).astype(np.int16)
    found = locate(np.concatenate((noise, channel)), leg.samples.reshape(-1), begin=0, stop=40000)
    assert found == 16000 + LEAD
