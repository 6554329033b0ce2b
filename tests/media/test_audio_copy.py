"""Sound added to a copy of a recording's audio."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from siprec.codecs import g711
from siprec.media.audio_copy import AudioCopy
from siprec.storage.fileops import StorageError
from siprec.storage.wav import SampleFormat, WavError
from tests.helpers.kept import I16, write_recording


def both(folder: Path) -> tuple[Path, Path]:
    return folder / "audio.wav", folder / "audio-redecoded.wav"


def read(path: Path) -> I16:
    samples: I16 = soundfile.read(path, dtype="int16", always_2d=True)[0]
    return samples


def noise(frames: int, channels: int = 2) -> I16:
    return np.random.default_rng(1).integers(-9000, 9000, (frames, channels)).astype(np.int16)


def test_sound_is_added_to_one_channel_and_the_original_is_untouched(tmp_path: Path) -> None:
    audio = noise(70_000)
    audio[:, 0] = 0
    write_recording(tmp_path, audio, {})
    original, target = both(tmp_path)
    before = original.read_bytes(), original.stat().st_mtime_ns
    copy = AudioCopy(original, target)
    added = noise(68_000, 1)[:, 0]
    copy.add(0, 1000, added)
    assert not target.exists()
    copy.finish()
    expected = audio.copy()
    expected[1000:69_000, 0] = added
    assert np.array_equal(read(target), expected)
    assert (original.read_bytes(), original.stat().st_mtime_ns) == before
    assert sorted(os.listdir(tmp_path)) == ["audio-redecoded.wav", "audio.wav"]
    assert target.stat().st_mode & 0o777 == 0o640


def test_what_is_too_loud_together_is_clipped(tmp_path: Path) -> None:
    write_recording(tmp_path, np.full((10, 1), 30_000, np.int16), {})
    copy = AudioCopy(*both(tmp_path))
    copy.add(0, 0, np.full(5, 10_000, np.int16))
    copy.finish()
    assert read(both(tmp_path)[1])[:, 0].tolist() == [32_767] * 5 + [30_000] * 5


def test_sound_behind_the_end_makes_the_file_longer(tmp_path: Path) -> None:
    write_recording(tmp_path, noise(100), {})
    copy = AudioCopy(*both(tmp_path))
    copy.add(1, 150, np.full(10, 7, np.int16))
    copy.finish()
    made = read(both(tmp_path)[1])
    assert made.shape == (160, 2)
    assert made[150:, 1].tolist() == [7] * 10
    assert not made[100:150].any()


@pytest.mark.parametrize("frames", [100, 101])
def test_in_mu_law_every_other_code_word_stays(tmp_path: Path, frames: int) -> None:
    """Also the two that both mean silence; an odd number of bytes has a padding byte behind it."""
    words = np.random.default_rng(2).integers(0, 256, (frames, 1)).astype(np.uint8)
    words[10:20] = 0x7F
    words[40:60] = 0xFF
    write_recording(tmp_path, words, {}, form=SampleFormat.MULAW)
    copy = AudioCopy(*both(tmp_path))
    added = g711.ULAW[np.arange(20, dtype=np.uint8)]
    copy.add(0, 40, added)
    copy.add(0, frames, added)
    copy.finish()
    data = both(tmp_path)[1].read_bytes()[SampleFormat.MULAW.header_size :]
    expected = words[:, 0].copy()
    expected[40:60] = np.arange(20)
    assert data[:frames] == expected.tobytes()
    assert data[frames : frames + 20] == bytes(range(20))


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    write_recording(tmp_path, noise(100), {})
    copy = AudioCopy(*both(tmp_path))
    copy.add(0, 0, np.ones(10, np.int16))
    copy.discard()
    assert os.listdir(tmp_path) == ["audio.wav"]


def test_a_second_one_at_the_same_time_is_refused_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    write_recording(tmp_path, noise(100), {})
    (tmp_path / ".audio-redecoded.wav.new").write_bytes(b"left behind" * 1000)
    copy = AudioCopy(*both(tmp_path))
    with pytest.raises(StorageError) as refused:
        AudioCopy(*both(tmp_path))
    assert refused.value.errno == errno.EBUSY
    copy.finish()
    assert np.array_equal(read(both(tmp_path)[1]), noise(100))


def test_a_file_that_is_no_audio_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audio.wav").write_bytes(b"RIFF" * 50)
    with pytest.raises(WavError):
        AudioCopy(*both(tmp_path))
    assert os.listdir(tmp_path) == ["audio.wav"]
