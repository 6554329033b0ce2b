"""Packets as an rtpdump has them, and recordings that have such packets, made without a recorder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.srtp import Profile
from siprec.storage.audio_file import open_recording_file
from siprec.storage.layout import AUDIO, leg_dump
from siprec.storage.model import Channel, Finding, Leg, Recording, Verdict
from siprec.storage.rtpdump import RtpdumpHeader, RtpdumpWriter
from siprec.storage.sink import PlainSink
from siprec.storage.stereo import WavWriter
from siprec.storage.timestamps import rfc3339
from siprec.storage.wav import SampleFormat
from tests.helpers.player import Packet

I16 = npt.NDArray[np.int16]

RATE = 8000
T0 = datetime(2026, 3, 14, 12, 0, 1, 250_000, tzinfo=UTC)
BEFORE = timedelta(seconds=11, microseconds=300)
"From the start of a dump to the zero of its recording."
UNKNOWN = 96
EVERYTHING_STATIC = [0, 2, 3, 4, 8, 9, 10, 11, 13, 18, 19]


class MemorySink:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, offset: int, data: Any) -> None:
        self.data[offset : offset + len(data)] = data

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def as_type(packets: Sequence[Packet], payload_type: int) -> list[Packet]:
    """The packets with another payload type."""
    return [
        replace(one, wire=bytes([one.wire[0], one.wire[1] & 0x80 | payload_type]) + one.wire[2:])
        for one in packets
    ]


def later(packets: Sequence[Packet], seconds: float) -> list[Packet]:
    """The packets, so much later; their timestamps are as they were."""
    return [replace(one, at_s=one.at_s + seconds) for one in packets]


def locked(packets: Sequence[Packet], suite: str, key: bytes) -> list[Packet]:
    """The packets as SRTP."""
    session = Profile[suite].session(key, outbound=True)
    return [replace(one, wire=session.protect(one.wire)) for one in packets]


def dumped(packets: Sequence[Packet], *, at: datetime = T0) -> bytes:
    """An rtpdump of packets in their order. at: when the player started."""
    start = T0 - BEFORE
    sink = MemorySink()
    writer = RtpdumpWriter(
        sink,
        RtpdumpHeader(start_us=round(start.timestamp() * 1e6), address="192.0.2.1", port=4000),
        max_bytes=1 << 26,
    )
    since_us = (at - start) // timedelta(microseconds=1)
    writer.append([((since_us + round(one.at_s * 1e6)) // 1000, one.wire) for one in packets])
    return bytes(sink.data)


def kept_document(packets: int, *, first: datetime | None = None, **extra: object) -> Recording:
    """The document of a recording of two legs, the first of which has so many packets kept raw."""
    counts = {"undecodable": packets, "not_kept": 0, "payloads": {}, "decodable": EVERYTHING_STATIC}
    reasons = ["undecodable"]
    finding = Finding(reason="undecodable", leg=0, at_s=0.0, length_s=1.0)

    def verdict() -> Verdict:
        return Verdict(result="incomplete", reasons=list(reasons), findings=[finding])

    return Recording(
        id="019cec1a-7d40-7000-8000-000000000000",
        started_at=rfc3339(T0 - timedelta(seconds=1)),
        state="ended",
        t0=rfc3339(T0),
        verdict=verdict(),
        format="wav",
        sample_rate=RATE,
        channels=[Channel(index=0, role="caller", legs=[0]), Channel(index=1, role="callee", legs=[1])],
        legs=[
            Leg(
                id=0,
                channel=0,
                codecs=["unknown"],
                packets=packets,
                first_packet_at=rfc3339(first) if first is not None else None,
                verdict=verdict(),
                extra=counts | extra,
            ),
            Leg(id=1, channel=1, codecs=["PCMU"], packets=50, verdict=Verdict(result="complete")),
        ],
    )


def write_recording(
    folder: Path, audio: npt.NDArray[Any], dumps: dict[int, bytes], *, form: SampleFormat = SampleFormat.PCM16
) -> None:
    """The audio and the dumps of a recording. audio: (frames, channels), as the file holds it; dumps: by leg."""
    fd = open_recording_file(folder / AUDIO, channels=audio.shape[1], rate=RATE, format=form)
    writer = WavWriter(PlainSink(fd, folder / AUDIO), channels=audio.shape[1], rate=RATE, format=form)
    writer.write(0, audio)
    writer.close()
    for leg, data in dumps.items():
        (folder / leg_dump(leg)).write_bytes(data)
