import math

import numpy as np
import pytest
import soundfile

from siprec.storage.audio_file import open_recording_file
from siprec.storage.samples import AudioError, audio_info, channel_levels, dbfs, read_blocks
from siprec.storage.sink import PlainSink
from siprec.storage.stereo import WavWriter
from siprec.storage.wav import SampleFormat


def test_blocks_are_the_samples_in_order(tmp_path):
    samples = np.random.default_rng(1).integers(-9999, 9999, (1000, 2)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    blocks = list(read_blocks(tmp_path / "a.wav", frames=300))
    assert [len(block) for block in blocks] == [300, 300, 300, 100]
    assert np.array_equal(np.concatenate(blocks), samples)


def test_one_channel_has_the_same_shape(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(5, dtype=np.int16), 16000)
    assert [block.shape for block in read_blocks(tmp_path / "a.wav")] == [(5, 1)]
    info = audio_info(tmp_path / "a.wav")
    assert (info.channels, info.rate, info.frames, info.seconds) == (1, 16000, 5, 5 / 16000)


def test_levels_are_those_of_each_channel(tmp_path):
    wave = np.sin(np.arange(80_000) * 2 * np.pi / 80)
    samples = np.stack([wave * 16384, np.zeros(80_000)], axis=1).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    left, right = channel_levels(tmp_path / "a.wav")
    assert left.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert left.rms_dbfs == pytest.approx(-9.03, abs=0.01)
    assert (right.peak_dbfs, right.rms_dbfs) == (-math.inf, -math.inf)
    assert dbfs(32768) == 0


def test_a_call_without_audio_is_silent(tmp_path):
    path = tmp_path / "a.wav"
    fd = open_recording_file(path, channels=2, rate=8000, format=SampleFormat.PCM16)
    WavWriter(PlainSink(fd, path), channels=2, rate=8000, format=SampleFormat.PCM16).close()
    assert list(read_blocks(path)) == []
    assert [level.rms_dbfs for level in channel_levels(path)] == [-math.inf, -math.inf]


def test_what_is_no_audio_is_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    for path in (tmp_path / "a.wav", tmp_path / "missing.wav"):
        with pytest.raises(AudioError, match=path.name):
            audio_info(path)
        with pytest.raises(AudioError, match=path.name):
            list(read_blocks(path))
