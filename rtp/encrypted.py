"""Probable SRTP in a stream that nobody gave us keys for: it is decoded to noise, so it is better kept as it came.

SRTP leaves the header as it is and adds an authentication tag (RFC 3711 3.1, RFC 7714) and perhaps an MKI to the payload, which
looks like chance. So a packet of a codec with a constant number of bytes a second is longer by the same few bytes than its
time, up to the timestamp of the next one, says, and its bytes are uniformly distributed. White noise that is sent in clear is as
uniform, but has the length of its time; so the length decides first. This is decided by the first packets of a stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.packet import Bool
from siprec.rtp.state import Rows

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
F64 = npt.NDArray[np.float64]

UNDECIDED, CLEAR, SECRET = range(3)
"`secret` of a stream."
TAGS = (4, 10, 14, 16)
"Bytes behind the payload: a short or long HMAC tag, a long one with an MKI of 4 bytes, the tag of AES-GCM."
TRAILER = max(TAGS)
"Bytes at the end of a payload that are not looked at: an MKI is the same in every packet."
ENOUGH = 10
"Packets that must look encrypted."
CLEARLY = 3
"Packets that are as long as their time says; so many decide the other way."
PATIENCE = 50
"A stream that has sent so many packets and shows nothing is taken for clear."
MIN_BYTES = 256
"Bytes of which the distribution says something."
_UNIFORM = 391.0
"Chi-square of 256 equally likely values: 255 on average, six deviations of 22.6 above that."
_UNKNOWN = -(1 << 40)


def excess(seq: I32, timestamp: U32, size: I64, bytes_per_unit: F64) -> I64:
    """Bytes by which each packet is longer than its time says: int64[n-1], hugely negative where the next one is missing.

    seq, timestamp: of n packets in order; size: their payloads; bytes_per_unit: of their codecs, a timestamp unit. A
    negative one says nothing: the sender was silent before the next packet.
    """
    units = timestamp.astype(np.int64)
    step = (units[1:] - units[:-1]) & 0xFFFFFFFF
    follows = (np.diff(seq) & 0xFFFF) == 1
    longer = size[:-1] - np.rint(step * bytes_per_unit[:-1]).astype(np.int64)
    return np.where(follows & (step < 2**31), longer, _UNKNOWN)


def is_uniform(payload: U8) -> bool:
    """Whether bytes look like chance, each value as likely as any other: False for fewer than MIN_BYTES."""
    if payload.size < MIN_BYTES:
        return False
    counts = np.bincount(payload, minlength=256)
    expected = payload.size / 256
    return bool(((counts - expected) ** 2).sum() / expected < _UNIFORM)


def look(stream: Any, seq: I32, timestamp: U32, size: I64, bytes_per_unit: F64, payload: U8) -> int:
    """Take some packets of an undecided stream, in order of arrival; returns what it is now, and notes it in its row.

    stream: one STREAM row; the others [n], of audio of a constant number of bytes a second; payload: their bytes without the
    last TRAILER of each.
    """
    if stream["look_size"]:  # the newest packet of the last time
        seq = np.append(np.int32(stream["look_seq"]), seq)
        timestamp = np.append(np.uint32(stream["look_ts"]), timestamp)
        size = np.append(np.int64(stream["look_size"]), size)
        bytes_per_unit = np.append(bytes_per_unit[:1], bytes_per_unit)
    stream["look_seq"], stream["look_ts"], stream["look_size"] = seq[-1], timestamp[-1], size[-1]
    longer = excess(seq, timestamp, size, bytes_per_unit)
    told = longer[longer >= 0]
    tags = told[np.isin(told, TAGS)]
    plain = told.size - tags.size
    stream["look_plain"] += plain
    if stream["look_plain"] >= CLEARLY or (tags.size and not _one_tag(stream, tags)):
        stream["secret"] = CLEAR
    elif tags.size and payload.size >= MIN_BYTES:
        stream["look_tags"] += tags.size
        if not is_uniform(payload):
            stream["secret"] = CLEAR
        elif stream["look_tags"] >= ENOUGH:
            stream["secret"] = SECRET
    return int(stream["secret"])


def _one_tag(stream: Any, tags: I64) -> bool:
    """Whether all are of one length, also with those before."""
    before = stream["look_tag"] or tags[0]
    stream["look_tag"] = before
    return bool((tags == before).all())


class SecretWatch:
    """Which streams of a worker look encrypted. streams: STREAM[2n], updated in place."""

    def __init__(self, streams: Rows) -> None:
        self.streams = streams
        self._any = bool((streams["secret"] == SECRET).any())

    def hidden(self, leg: I64, ssrc: U32) -> Bool | None:
        """Which packets are of a stream that looks encrypted: bool[n]; None if surely none is."""
        if not self._any:
            return None
        out = np.zeros(leg.shape, np.bool_)
        for which in (0, 1):
            stream = 2 * leg + which
            same = (self.streams["live"][stream] != 0) & (self.streams["ssrc"][stream] == ssrc)
            out |= same & (self.streams["secret"][stream] == SECRET)
        return out if out.any() else None

    def undecided(self, legs: I64) -> list[int]:
        """The streams of `legs` that are still to be looked at."""
        streams = (2 * legs[:, None] + np.arange(2)).reshape(-1)
        open_ = (self.streams["live"][streams] != 0) & (self.streams["secret"][streams] == UNDECIDED)
        found: list[int] = streams[open_].tolist()
        return found

    def look(
        self,
        stream: int,
        *,
        seen: int,
        seq: I32,
        timestamp: U32,
        size: I64,
        bytes_per_unit: F64,
        payload: U8,
    ) -> bool:
        """`look` for one stream of `undecided`; True when it turns out to be encrypted.

        seen: packets of the stream in this batch, of whatever kind; the others as for `look`, may be empty.
        """
        row = self.streams[stream]
        if size.size:
            look(row, seq, timestamp, size, bytes_per_unit, payload)
        row["looked"] += seen
        if row["secret"] == UNDECIDED and row["looked"] >= PATIENCE:
            row["secret"] = CLEAR
        self._any |= bool(row["secret"] == SECRET)
        return bool(row["secret"] == SECRET)


def look_anew(streams: Any) -> None:
    """Forget what was found of streams: their sender may be another one now. streams: one STREAM row, or a view of rows."""
    for name in ("secret", "looked", "look_size", "look_plain", "look_tags", "look_tag"):
        streams[name] = 0
