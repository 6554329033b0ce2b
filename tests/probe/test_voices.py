import numpy as np
import pytest

from siprec.probe.plan import CallPlan
from siprec.probe.voices import conversation, mix, sound_of_legs, tunes


@pytest.mark.parametrize("make", [conversation, tunes])
def test_the_seed_decides_the_sound(make):
    first, again, other = make(1.0, seed=3), make(1.0, seed=3), make(1.0, seed=4)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("make", [conversation, tunes])
@pytest.mark.parametrize("seconds", [0.02, 0.3, 2.5])
def test_both_sounds_are_as_long_as_asked_and_do_not_clip(make, seconds):
    for voice in make(seconds, seed=1):
        assert voice.shape == (round(seconds * 8000),)
        assert 50 < np.abs(voice.astype(np.int32)).max() < 32767


def pitch(voice):
    """Median over the loud parts of how often the waveform repeats, in Hz, by autocorrelation."""
    found = []
    parts = voice[: voice.size // 400 * 400].astype(np.float64).reshape(-1, 400)
    loud = np.square(parts).mean(axis=1)
    for part in parts[loud > np.median(loud)]:
        likeness = np.correlate(part, part, "full")[399:]
        peaks = [
            lag
            for lag in range(6, 140)
            if likeness[lag] > 0.5 * likeness[0] and likeness[lag - 1 : lag + 2].argmax() == 1
        ]
        found += [8000 / peaks[0]] if peaks else []
    return float(np.median(found))


@pytest.mark.parametrize("make", [conversation, tunes])
def test_the_two_sounds_cannot_be_taken_for_each_other(make):
    left, right = make(4.0, seed=1)
    likeness = np.corrcoef(left.astype(np.float64), right.astype(np.float64))[0, 1]
    assert abs(likeness) < 0.2
    assert pitch(right) > 1.5 * pitch(left)


def test_no_second_of_a_sound_is_like_another():
    """The same melody comes again, but never the same samples: a place in a recording can be told."""
    for voice in tunes(8.0, seed=1):
        seconds = voice.reshape(-1, 8000)
        assert len({second.tobytes() for second in seconds}) == len(seconds)


def test_a_mix_holds_all_voices_and_cannot_clip():
    loud = np.full(4, 32767, np.int16)
    assert mix([loud, loud]).tolist() == [32766] * 4
    assert mix([np.array([100], np.int16), np.array([50, 60], np.int16)]).tolist() == [75, 30]


def test_a_mixed_call_sends_the_mix():
    sound = (np.array([100], np.int16), np.array([50], np.int16))
    assert [voice.tolist() for voice in sound_of_legs(CallPlan(mixed=True), sound)] == [[75]]
    assert [voice.tolist() for voice in sound_of_legs(CallPlan(), sound)] == [[100], [50]]
