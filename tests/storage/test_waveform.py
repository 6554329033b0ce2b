import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.storage.samples import BLOCK_FRAMES
from siprec.storage.waveform import Peaks, draw_svg, draw_text, read_peaks


def written(path, samples):
    soundfile.write(path, samples, 8000)
    return path


def peaks_of(low, high):
    return Peaks(rate=8000, frames=8000, low=np.array(low, np.int16), high=np.array(high, np.int16))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 200), st.integers(1, 3))
def test_peaks_are_those_of_each_part(tmp_path_factory, frames, buckets, channels):
    samples = np.random.default_rng(frames).integers(-32768, 32768, (frames, channels)).astype(np.int16)
    peaks = read_peaks(written(tmp_path_factory.mktemp("peaks") / "a.wav", samples), buckets)
    count = min(buckets, frames)
    assert peaks.low.shape == peaks.high.shape == (channels, count)
    for b in range(count):
        part = samples[b * frames // count : (b + 1) * frames // count]
        assert peaks.low[:, b].tolist() == part.min(axis=0).tolist()
        assert peaks.high[:, b].tolist() == part.max(axis=0).tolist()


@pytest.mark.parametrize("buckets", [1, 2, 3, 7, 1000])
def test_a_part_may_lie_in_several_blocks(tmp_path, buckets):
    frames = 2 * BLOCK_FRAMES + 77
    samples = np.random.default_rng(7).integers(-32768, 32768, (frames, 2)).astype(np.int16)
    peaks = read_peaks(written(tmp_path / "a.wav", samples), buckets)
    edges = [b * frames // buckets for b in range(buckets + 1)]
    expected = [samples[a:b].max(axis=0).tolist() for a, b in itertools.pairwise(edges)]
    assert peaks.high.T.tolist() == expected


def test_a_file_without_frames_has_no_buckets(tmp_path):
    peaks = read_peaks(written(tmp_path / "a.wav", np.zeros((0, 2), np.int16)), 80)
    assert peaks.low.shape == (2, 0)
    assert peaks.scale == 1
    assert draw_text(peaks, 0) == ["", ""]
    ET.fromstring(draw_svg(peaks, []))


def test_silence_is_a_line_and_full_swing_fills_the_height():
    peaks = peaks_of([[0, 0, 0, 0], [-100, -100, 0, 0]], [[0, 0, 0, 0], [100, 100, 0, 0]])
    assert draw_text(peaks, 0, rows=1) == ["⠤⠤"]
    assert draw_text(peaks, 1, rows=1) == ["⣿⠤"]
    assert draw_text(peaks, 1, rows=3) == ["⣿⠀", "⣿⠤", "⣿⠀"]


def test_both_channels_have_the_same_scale():
    peaks = peaks_of([[-100, -100], [-25, -25]], [[100, 100], [25, 25]])
    loud, quiet = ("".join(draw_text(peaks, channel, rows=4)) for channel in (0, 1))
    assert loud == "⣿" * 4
    assert quiet[0] == quiet[3] == "⠀"
    assert quiet[1:3] != "⠀⠀"


def test_an_odd_number_of_buckets_ends_in_half_a_character():
    peaks = peaks_of([[-100, -100, -100]], [[100, 100, 100]])
    assert draw_text(peaks, 0, rows=1) == ["⣿⡇"]


def test_the_extreme_sample_is_drawn():
    peaks = peaks_of([[-32768]], [[32767]])
    assert peaks.scale == 32768
    assert draw_text(peaks, 0, rows=2) == ["⡇", "⡇"]


def test_the_image_is_xml_with_one_shape_for_each_channel_whatever_the_labels():
    peaks = peaks_of([[-1, -2], [-3, -4]], [[1, 2], [3, 4]])
    image = ET.fromstring(draw_svg(peaks, ['"Alice" <sip:a&b@x>']))
    svg = "{http://www.w3.org/2000/svg}"
    shapes = image.findall(f"{svg}polygon")
    assert [len(shape.get("points").split()) for shape in shapes] == [4, 4]
    assert [text.text for text in image.findall(f"{svg}text")] == [
        '"Alice" <sip:a&b@x>',
        "channel 1",
        "0 s",
        "1.0 s",
    ]
    heights = [float(point.split(",")[1]) for shape in shapes for point in shape.get("points").split()]
    assert 0 <= min(heights) <= max(heights) <= 192
