import json
import os
import subprocess

import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from siprec.storage.wav import SampleFormat, WavError, header, parse_header

FORMATS = list(SampleFormat)
SUBTYPES = {SampleFormat.PCM16: "PCM_16", SampleFormat.MULAW: "ULAW", SampleFormat.ALAW: "ALAW"}
GIB = 1 << 30

shapes = st.tuples(
    st.integers(1, 255), st.integers(1, 192000), st.sampled_from(FORMATS), st.integers(0, 1 << 40)
)


def make(path, channels, rate, format, data_bytes):
    """A file with this header whose samples are a hole."""
    with open(path, "wb") as file:
        file.write(header(channels, rate, format, data_bytes))
        file.truncate(format.header_size + data_bytes + (data_bytes & 1))


@settings(max_examples=200, deadline=None)
@given(shapes)
def test_a_header_reads_back_as_written_and_keeps_its_size(shape):
    channels, rate, format, frames = shape
    data_bytes = frames * channels * format.sample_bytes
    head = header(channels, rate, format, data_bytes)
    assert len(head) == format.header_size
    was = parse_header(head + b"samples")
    assert (was.channels, was.rate, was.format, was.data_bytes) == (channels, rate, format, data_bytes)
    assert was.frames == frames


@settings(max_examples=300, deadline=None)
@given(shapes, st.integers(0, 200), st.integers(1, 255))
def test_a_damaged_byte_never_passes(shape, at, flip):
    channels, rate, format, frames = shape
    head = bytearray(header(channels, rate, format, frames * channels * format.sample_bytes))
    assume(not (format is not SampleFormat.PCM16 and at % len(head) == 56 and flip == 1))  # A-law for mu-law
    head[at % len(head)] ^= flip
    with pytest.raises(WavError):
        parse_header(bytes(head))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_foreign_bytes_are_refused(data):
    with pytest.raises(WavError):
        parse_header(data)


@pytest.mark.parametrize("format", FORMATS)
def test_a_header_cut_short_is_refused(format):
    head = header(2, 8000, format, 16)
    for size in range(len(head)):
        with pytest.raises(WavError):
            parse_header(head[:size])


@pytest.mark.parametrize(
    ("channels", "rate", "data_bytes"), [(0, 8000, 0), (256, 8000, 0), (2, 0, 0), (2, 8000, 3)]
)
def test_impossible_values_are_refused(channels, rate, data_bytes):
    with pytest.raises(ValueError, match="need"):
        header(channels, rate, SampleFormat.PCM16, data_bytes)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("frames", [0, 1, 2, 3, 159, 8000])
@pytest.mark.parametrize("channels", [1, 2])
def test_soundfile_reads_every_length(tmp_path, format, frames, channels):
    path = tmp_path / "a.wav"
    make(path, channels, 8000, format, frames * channels * format.sample_bytes)
    info = soundfile.info(path)
    assert (info.frames, info.channels, info.samplerate) == (frames, channels, 8000)
    assert (info.format, info.subtype) == ("WAV", SUBTYPES[format])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("data_bytes", [4 * GIB - 4, 4 * GIB, 9 * GIB])
def test_beyond_4_gib_the_file_is_rf64_with_the_samples_where_they_were(tmp_path, format, data_bytes):
    path = tmp_path / "a.wav"
    make(path, 2, 16000, format, data_bytes)
    frames = data_bytes // (2 * format.sample_bytes)
    with open(path, "r+b") as file:
        os.pwrite(
            file.fileno(),
            bytes([0x12] * 2 * format.sample_bytes),
            format.header_size + data_bytes - 2 * format.sample_bytes,
        )
    with soundfile.SoundFile(path) as sound:
        assert (sound.format, sound.frames) == ("RF64", frames)
        assert sound.seek(frames - 2) == frames - 2
        last = sound.read(dtype="int16")
    assert last.shape == (2, 2)
    assert (last[1] != last[0]).all()


def test_the_last_size_that_fits_32_bits_is_still_riff():
    size = SampleFormat.PCM16.header_size
    fits = 0xFFFFFFFF - (size - 8) - 3
    assert header(2, 8000, SampleFormat.PCM16, fits)[:4] == b"RIFF"
    assert header(2, 8000, SampleFormat.PCM16, fits + 4)[:4] == b"RF64"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("frames", [1, 8000, 2 * GIB + 8000])
def test_ffprobe_reads_every_length(tmp_path, require_tool, format, frames):
    ffprobe = require_tool("ffprobe", "ffmpeg")
    path = tmp_path / "a.wav"
    make(path, 2, 8000, format, frames * 2 * format.sample_bytes)
    found = subprocess.run(
        [ffprobe, "-v", "error", "-of", "json", "-show_streams", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stderr == ""
    stream = json.loads(found.stdout)["streams"][0]
    names = {SampleFormat.PCM16: "pcm_s16le", SampleFormat.MULAW: "pcm_mulaw", SampleFormat.ALAW: "pcm_alaw"}
    assert (stream["codec_name"], stream["channels"], stream["sample_rate"]) == (names[format], 2, "8000")
    assert round(float(stream["duration"]) * 8000) == frames
