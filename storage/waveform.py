"""A recording seen: lowest and highest sample of each channel per bucket, drawn for a terminal or as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from siprec.storage.fileops import StrPath
from siprec.storage.samples import audio_info, read_blocks

_BRAILLE = 0x2800
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"Bits of the dots in a braille cell: four rows, two columns."
_COLOURS = ("#2b6cb0", "#c05621")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Per channel and bucket the lowest and the highest sample: int16 (channels, buckets)."""

    rate: int
    frames: int
    low: NDArray[np.int16]
    high: NDArray[np.int16]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.low)

    @property
    def scale(self) -> int:
        """The largest amplitude on any channel, at least 1."""
        return max(1, -int(self.low.min(initial=0)), int(self.high.max(initial=0)))


def read_peaks(path: StrPath, buckets: int) -> Peaks:
    """Peaks of a sound file in `buckets` parts of equal length, fewer if it has fewer frames. Raises AudioError.

    Reads in blocks: the memory it takes does not grow with the file. A file that grows meanwhile is read to the
    length that it had.
    """
    info = audio_info(path)
    edges = np.arange(min(buckets, info.frames) + 1) * info.frames // max(1, min(buckets, info.frames))
    low = np.full((info.channels, len(edges) - 1), np.iinfo(np.int16).max, np.int16)
    high = np.full_like(low, np.iinfo(np.int16).min)
    start = 0
    for block in read_blocks(path):
        block = block[: info.frames - start]
        if not len(block):
            break
        first = int(np.searchsorted(edges, start, "right")) - 1
        last = int(np.searchsorted(edges, start + len(block), "left"))
        cuts = np.maximum(edges[first:last] - start, 0)
        low[:, first:last] = np.minimum(low[:, first:last], np.minimum.reduceat(block, cuts).T)
        high[:, first:last] = np.maximum(high[:, first:last], np.maximum.reduceat(block, cuts).T)
        start += len(block)
    return Peaks(rate=info.rate, frames=info.frames, low=low, high=high)


def draw_text(peaks: Peaks, channel: int, *, rows: int = 2) -> list[str]:
    """One channel in braille: `rows` lines, two buckets a character, loudest sample of all channels at the edge."""
    height, width = 4 * rows, peaks.low.shape[1]
    top, bottom = (_height(values[channel], peaks.scale, height) for values in (peaks.high, peaks.low))
    row = np.arange(height)[:, None]
    dots = np.zeros((height, width + width % 2), np.int64)
    dots[:, :width] = (row >= top) & (row <= bottom)
    cells = (dots.reshape(rows, 4, -1, 2) * _DOTS[None, :, None, :]).sum(axis=(1, 3))
    return ["".join(chr(_BRAILLE + int(cell)) for cell in line) for line in cells]


def _height(values: NDArray[np.int16], scale: int, height: int) -> NDArray[np.int64]:
    """Samples as rows from the top, 0 to height - 1."""
    return np.rint((1 - values / scale) * (height - 1) / 2).astype(np.int64)


def draw_svg(peaks: Peaks, labels: Sequence[str], *, width: int = 960, channel_height: int = 96) -> str:
    """All channels as one SVG image, one below the other, each with its label (any text) and the same scale."""
    seconds = peaks.frames / peaks.rate
    height = channel_height * peaks.channels + 20
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="sans-serif" font-size="12">'
        ),
        f"<title>{seconds:.1f} s of audio, {peaks.channels} channels</title>",
    ]
    for channel in range(peaks.channels):
        label = labels[channel] if channel < len(labels) else f"channel {channel}"
        parts += _svg_channel(peaks, channel, label, width, channel_height)
    parts.append(f'<text x="4" y="{height - 5}" fill="#718096">0 s</text>')
    parts.append(
        f'<text x="{width - 4}" y="{height - 5}" fill="#718096" text-anchor="end">{seconds:.1f} s</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def _svg_channel(peaks: Peaks, channel: int, label: str, width: int, height: int) -> list[str]:
    middle, reach = channel * height + height / 2, 0.46 * height
    colour = _COLOURS[channel % len(_COLOURS)]
    x = (np.arange(peaks.low.shape[1]) + 0.5) * width / max(1, peaks.low.shape[1])
    upper, lower = (middle - values[channel] / peaks.scale * reach for values in (peaks.high, peaks.low))
    points = [f"{a:.1f},{b:.1f}" for a, b in zip([*x, *x[::-1]], [*upper, *lower[::-1]], strict=True)]
    return [
        f'<line x1="0" y1="{middle:.1f}" x2="{width}" y2="{middle:.1f}" stroke="#cbd5e0"/>',
        f'<polygon points="{" ".join(points)}" fill="{colour}" stroke="{colour}" stroke-width="0.5"/>',
        f'<text x="4" y="{channel * height + 14}" fill="{colour}">{escape(label)}</text>',
    ]
