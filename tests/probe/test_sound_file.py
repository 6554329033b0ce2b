import numpy as np
import pytest
import soundfile

from siprec.probe.errors import ProbeError
from siprec.probe.sound_file import load


def tone(rate, hertz, seconds=0.5):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def test_a_file_at_8_khz_comes_sample_by_sample(tmp_path):
    samples = np.random.default_rng(1).integers(-32768, 32768, 4000).astype(np.int16)
    soundfile.write(str(tmp_path / "a.wav"), samples, 8000)
    assert (load(tmp_path / "a.wav") == samples).all()


@pytest.mark.parametrize("rate", [11025, 16000, 44100, 48000])
def test_other_rates_keep_length_pitch_and_loudness(tmp_path, rate):
    soundfile.write(str(tmp_path / "a.flac"), tone(rate, 1000), rate)
    loaded = load(tmp_path / "a.flac").astype(np.float64) / 32768
    assert abs(loaded.size - 4000) <= 1
    wanted = tone(8000, 1000)[: loaded.size]
    assert np.abs(loaded - wanted)[200:-200].max() < 0.005


def test_a_lower_rate_is_raised(tmp_path):
    soundfile.write(str(tmp_path / "a.wav"), tone(6000, 500), 6000)
    loaded = load(tmp_path / "a.wav").astype(np.float64) / 32768
    assert np.abs(loaded - tone(8000, 500)[: loaded.size])[200:-200].max() < 0.005


def test_what_8_khz_cannot_hold_does_not_come_back_as_another_tone(tmp_path):
    soundfile.write(str(tmp_path / "a.wav"), tone(48000, 6000), 48000)
    assert np.abs(load(tmp_path / "a.wav").astype(np.int32))[200:-200].max() < 100


def test_channels_are_mixed_into_one(tmp_path):
    stereo = np.array([[1000, 3000], [-200, 0]], np.int16)
    soundfile.write(str(tmp_path / "a.wav"), stereo, 8000)
    assert load(tmp_path / "a.wav").tolist() == [2000, -100]


def test_no_more_is_read_than_asked(tmp_path):
    soundfile.write(str(tmp_path / "a.wav"), tone(16000, 400, 3.0), 16000)
    assert load(tmp_path / "a.wav", seconds=0.5).size == 4000


def test_what_is_no_sound_is_named(tmp_path):
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(str(tmp_path / "empty.wav"), np.zeros(0, np.int16), 8000)
    for name, said in (("none.wav", "no file"), ("text.wav", "cannot read"), ("empty.wav", "no sound")):
        with pytest.raises(ProbeError, match=said):
            load(tmp_path / name)
