import errno
import os
import stat

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.storage.audio_file import open_recording_file
from siprec.storage.fileops import StorageError
from siprec.storage.sink import PlainSink
from siprec.storage.stereo import WavWriter, repair
from siprec.storage.wav import SampleFormat, WavError

RNG = np.random.default_rng(7866)
TONE = RNG.integers(-32768, 32767, (20000, 2), dtype=np.int16, endpoint=True)


class MemorySink:
    """A file in memory that remembers each write."""

    def __init__(self):
        self.data, self.writes = bytearray(), []

    def write(self, offset, data):
        data = bytes(data)
        self.writes.append((offset, len(data)))
        self.data.extend(b"\0" * (offset + len(data) - len(self.data)))
        self.data[offset : offset + len(data)] = data

    def sync(self): ...

    def close(self): ...


def created(path, *, channels=2, rate=8000, format=SampleFormat.PCM16, **ops):
    fd = open_recording_file(path, channels=channels, rate=rate, format=format)
    return WavWriter(PlainSink(fd, path, **ops), channels=channels, rate=rate, format=format)


def test_the_file_is_playable_from_the_first_moment_and_after_each_block(tmp_path):
    path = tmp_path / "audio.wav"
    writer = created(path)
    assert soundfile.info(path).frames == 0
    for start in range(0, 20000, 1600):
        writer.write(start, TONE[start : start + 1600])
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == 8000
        assert writer.frames == len(samples)
        assert np.array_equal(samples, TONE[: start + 1600])
    writer.sync()
    writer.close()


def test_a_new_file_has_its_mode_whatever_the_umask_and_is_never_overwritten(tmp_path):
    path = tmp_path / "audio.wav"
    umask = os.umask(0o077)
    try:
        created(path).close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = path.read_bytes()
    with pytest.raises(StorageError) as caught:
        created(path)
    assert caught.value.errno == errno.EEXIST
    assert path.read_bytes() == before


def test_a_link_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "audio.wav").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        created(tmp_path / "audio.wav")
    assert not (tmp_path / "elsewhere").exists()


def test_no_file_is_left_when_its_first_header_does_not_fit(tmp_path, failing):
    path = tmp_path / "audio.wav"
    ops = failing(("pwrite", errno.ENOSPC))
    with pytest.raises(StorageError) as caught:
        open_recording_file(path, channels=2, rate=8000, format=SampleFormat.PCM16, ops=ops)
    assert caught.value.filename == str(path)
    assert not path.exists()


def test_a_flush_is_two_writes():
    sink = MemorySink()
    writer = WavWriter(sink, channels=2, rate=8000, format=SampleFormat.PCM16)
    writer.write(0, TONE[:8000])
    writer.write(8000, TONE[8000:16000])
    assert [offset for offset, _ in sink.writes] == [80, 0, 80 + 32000, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(SampleFormat)),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300)), max_size=8),
)
def test_any_blocks_anywhere_read_back_with_silence_between(tmp_path_factory, format, channels, blocks):
    sink = MemorySink()
    writer = WavWriter(sink, channels=channels, rate=8000, format=format)
    silence = np.frombuffer(format.silence, "<i2" if format is SampleFormat.PCM16 else np.uint8)[0]
    expected = np.zeros((0, channels), silence.dtype)
    for at, count in blocks:
        block = RNG.integers(0, 255, (count, channels)).astype(silence.dtype)
        writer.write(at, block)
        missing = max(at + count, at if at > len(expected) else 0) - len(expected)
        expected = np.concatenate([expected, np.full((max(missing, 0), channels), silence)])
        expected[at : at + count] = block
        assert writer.frames == len(expected)
    data = bytes(sink.data)[format.header_size :][: expected.nbytes]
    assert data == expected.tobytes()
    path = tmp_path_factory.mktemp("any") / "a.wav"
    path.write_bytes(sink.data)
    if sink.data:
        assert soundfile.info(path).frames == len(expected)


def test_a_gap_longer_than_one_piece_is_silence_in_g711_too():
    sink = MemorySink()
    writer = WavWriter(sink, channels=2, rate=8000, format=SampleFormat.MULAW)
    writer.write(150_001, np.full((1, 2), 0x12, np.uint8))
    assert bytes(sink.data[94:]) == b"\xff" * 300_002 + b"\x12\x12"


def test_a_repeated_block_leaves_the_same_file(tmp_path):
    writer = created(tmp_path / "a.wav")
    writer.write(0, TONE[:800])
    writer.write(800, TONE[800:1600])
    before = (tmp_path / "a.wav").read_bytes()
    writer.write(400, TONE[400:1200])
    writer.close()
    assert (tmp_path / "a.wav").read_bytes() == before
    assert writer.frames == 1600


@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_whichever_write_fails_the_file_stays_true_and_the_block_can_be_repeated(
    tmp_path, failing, nth, number
):
    path = tmp_path / "audio.wav"
    writer = created(path, ops=failing(("pwrite", number, nth, nth, 5)))
    failed = []
    for start in (0, 1000):
        try:
            writer.write(start, TONE[start : start + 1000])
        except StorageError as exc:
            failed.append((exc.errno, exc.filename, writer.frames - start))
            writer.write(start, TONE[start : start + 1000])
    writer.close()
    assert failed == [(number, str(path), 0)]
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], TONE[:2000])


def test_a_second_writer_goes_on_where_the_first_one_died(tmp_path):
    path = tmp_path / "audio.wav"
    created(path).close()
    first = os.open(path, os.O_RDWR)
    one = WavWriter(PlainSink(os.dup(first), path), channels=2, rate=8000, format=SampleFormat.PCM16)
    one.write(0, TONE[:500])
    one.close()
    two = WavWriter(PlainSink(first, path), channels=2, rate=8000, format=SampleFormat.PCM16, frames=500)
    two.write(400, TONE[400:900])
    two.close()
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], TONE[:900])


@pytest.mark.parametrize(
    "block",
    [
        np.zeros((4, 3), np.int16),
        np.zeros(4, np.int16),
        np.zeros((4, 2), np.float32),
        np.zeros((4, 2), np.uint8),
        np.zeros((2, 4), np.int16).T,
    ],
)
def test_a_block_of_another_shape_type_or_order_is_refused(block):
    writer = WavWriter(MemorySink(), channels=2, rate=8000, format=SampleFormat.PCM16)
    with pytest.raises(ValueError, match="block"):
        writer.write(0, block)


@pytest.mark.parametrize("format", list(SampleFormat))
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("cut", range(5))
def test_repair_counts_every_whole_frame_that_is_there(tmp_path, format, channels, cut):
    path = tmp_path / "audio.wav"
    writer = created(path, channels=channels, format=format)
    dtype = np.int16 if format is SampleFormat.PCM16 else np.uint8
    writer.write(0, np.full((33, channels), 0x12, dtype))
    writer.write_data(33, np.full((20, channels), 0x13, dtype))
    writer.close()
    size = format.header_size + 53 * channels * format.sample_bytes - cut
    os.truncate(path, size)
    frames = repair(path)
    assert frames == (size - format.header_size) // (channels * format.sample_bytes)
    assert soundfile.info(path).frames == frames
    assert repair(path) == frames


def test_repair_leaves_a_foreign_file_alone(tmp_path):
    path = tmp_path / "audio.wav"
    path.write_bytes(b"not sound" * 20)
    with pytest.raises(WavError):
        repair(path)
    assert path.read_bytes() == b"not sound" * 20
    with pytest.raises(StorageError):
        repair(tmp_path / "missing.wav")
