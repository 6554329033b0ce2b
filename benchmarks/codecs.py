"""What a packet of each codec costs: `make bench-codecs`.

The media pipeline of a worker is given ticks of prepared packets, as many legs and packets a leg as a tick of a busy worker
brings; between two ticks, FFmpeg's decoder alone is given the same payloads. Both are processor time of the same run. What
the pipeline does besides decoding is in it: parsing, order and place, statistics, the file's rate, the rings. Sockets and files
are not; `make bench ARGS='--codec opus'` has them. Prints a table and writes benchmarks/results/codecs.json.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from benchmarks import machine
from siprec.codecs.registry import find, payload_map
from siprec.media.pipeline import Pipeline
from siprec.media.rings import BLOCK, Rings, create_pool
from siprec.media.store import StateStore
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.slab import STRIDE
from tests.helpers.codec_libraries import amr_wb
from tests.helpers.encoders import Encoded, amr_frames, encode, sample_rate, speech

RESULTS = Path(__file__).parent / "results"
LEGS, PACKETS, PTIME_MS = 200, 10, 20
"Legs, and packets of each in a tick."
MAX_RATE = 16_000
"The recorder's `storage.max_rate`: what is wider is brought to it."
_PAYLOAD_TYPE = 96
_EPOCH = 1_000_000_000_000
_LEAD_S = 10
_HOLD_BACK_S = 0.5
_WARM_TICKS = 5


@dataclass(frozen=True, slots=True)
class Decoder:
    """FFmpeg's decoder of a codec, as the recorder sets it up."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    bit_rate: int = 0
    speex_mode: int | None = None

    def open(self, rate: int) -> AudioCodecContext:
        """One for one leg."""
        context = AudioCodecContext.create(self.name, "r")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout = rate, "mono"
        if self.bit_rate:
            context.bit_rate = self.bit_rate
        if self.speex_mode is not None:
            context.extradata = _speex_header(rate, self.speex_mode)
        context.options = self.options
        context.open()
        return context


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the result."""

    name: str
    codec: str
    decoder: Decoder
    options: dict[str, Any] = field(default_factory=dict)
    ptime_ms: int = PTIME_MS


ROWS = (
    Row("PCMU", "PCMU", Decoder("pcm_mulaw")),
    Row("PCMA", "PCMA", Decoder("pcm_alaw")),
    Row("G722", "G722", Decoder("g722")),
    Row("G729", "G729", Decoder("g729")),
    Row("G723", "G723", Decoder("g723_1"), {}, 30),
    Row("GSM", "GSM", Decoder("gsm")),
    Row("iLBC", "iLBC", Decoder("ilbc", bit_rate=15_200)),
    Row("opus", "opus", Decoder("libopus")),
    Row("opus stereo", "opus", Decoder("libopus"), {"channels": 2}),
    Row("AMR", "AMR", Decoder("libopencore_amrnb")),
    Row("AMR octet-aligned", "AMR", Decoder("libopencore_amrnb"), {"octet_aligned": True}),
    Row("AMR-WB", "AMR-WB", Decoder("libopencore_amrwb")),
    Row("AMR-WB octet-aligned", "AMR-WB", Decoder("libopencore_amrwb"), {"octet_aligned": True}),
    Row("speex 8 kHz", "speex", Decoder("speex", speex_mode=0)),
    Row("speex 16 kHz", "speex", Decoder("speex", speex_mode=1), {"rate": 16_000}),
    Row("speex 32 kHz", "speex", Decoder("speex", speex_mode=2), {"rate": 32_000}),
    Row("G726-16", "G726-16", Decoder("g726le", {"bits_per_coded_sample": "2"})),
    Row("G726-32", "G726-32", Decoder("g726le", {"bits_per_coded_sample": "4"})),
    Row("G726-40", "G726-40", Decoder("g726le", {"bits_per_coded_sample": "5"})),
    Row("L16 8 kHz", "L16", Decoder("pcm_s16be"), {"rate": 8_000}),
    Row("L16 16 kHz", "L16", Decoder("pcm_s16be"), {"rate": 16_000}),
)


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=10, help="that are measured, for each codec")
    parser.add_argument("--only", default="", help="part of a codec's name")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "codecs.json")
    options = parser.parse_args()
    command = f"python -m benchmarks.codecs --ticks {options.ticks}"
    result = []
    print(f"{'codec':22} {'us/packet':>9} {'decoder':>9} {'ratio':>6} {'cores/1000 calls':>17}")
    for row in ROWS:
        if options.only.lower() not in row.name.lower():
            continue
        pipeline_us, alone_us = measure(row, options.ticks)
        cores = pipeline_us * 2 * 1000 * (1000 / row.ptime_ms) / 1e6
        result.append(
            {
                "codec": row.name,
                "us_per_packet": round(pipeline_us, 2),
                "decoder_alone_us": round(alone_us, 2),
                "ratio": round(pipeline_us / alone_us, 2),
                "cores_per_1000_calls": round(cores, 3),
                "ptime_ms": row.ptime_ms,
                "legs": LEGS,
                "packets_a_tick": PACKETS,
                "file_rate": file_rate(row),
                "machine": machine.description(),
                "command": command,
            }
        )
        print(
            f"{row.name:22} {pipeline_us:9.2f} {alone_us:9.2f} {pipeline_us / alone_us:6.2f} {cores:17.3f}",
            flush=True,
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def file_rate(row: Row) -> int:
    """Rate of the file [Hz] in which a call of this codec is recorded."""
    return min(MAX_RATE, sample_rate(row.codec, **_encoder_options(row)))


def _encoder_options(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.options.items() if name != "channels"}


def measure(row: Row, ticks: int) -> tuple[float, float]:
    """Processor time of a packet in the pipeline, and in the decoder alone [us]."""
    stream, plain = _streams(row, 1 + (ticks + _WARM_TICKS) * PACKETS)
    rig = _Rig(stream, file_rate(row))
    contexts = [row.decoder.open(stream.rate) for _ in range(LEGS)]
    pipeline_ns = alone_ns = 0
    for tick in range(_WARM_TICKS + ticks):
        rows, arrival = rig.batch(tick)
        began = time.process_time_ns()
        rig.pipeline.process(rows, arrival)
        took = time.process_time_ns() - began
        rig.release()
        payloads = plain[tick * PACKETS : (tick + 1) * PACKETS]
        began = time.process_time_ns()
        for context in contexts:
            for payload in payloads:
                context.decode(av.Packet(payload))
        alone = time.process_time_ns() - began
        if tick >= _WARM_TICKS:
            pipeline_ns += took
            alone_ns += alone
    rig.close(_WARM_TICKS + ticks)
    packets = ticks * LEGS * PACKETS
    return pipeline_ns / packets / 1000, alone_ns / packets / 1000


def _streams(row: Row, packets: int) -> tuple[Encoded, list[bytes]]:
    """The payloads of so many packets, and the same as FFmpeg's decoder takes them."""
    options = _encoder_options(row)
    rate = sample_rate(row.codec, **options)
    said = speech(min(packets * row.ptime_ms / 1000 + 0.2, 10.0), rate)
    if row.options.get("channels") == 2:
        said = np.stack((said, np.roll(said, rate // 3)), axis=1)
    stream = encode(row.codec, said, ptime_ms=row.ptime_ms, **options)
    plain = stream.payloads
    if row.codec == "AMR":
        plain = amr_frames(said)
    elif row.codec == "AMR-WB":
        plain = amr_wb(said)
    count = min(len(stream.payloads), len(plain))
    repeat = -(-packets // count)
    return (
        Encoded(
            payloads=stream.payloads[:count] * repeat,
            timestamps=[number * stream.timestamp_step for number in range(count * repeat)],
            timestamp_step=stream.timestamp_step,
            clock=stream.clock,
            rate=stream.rate,
            encoding=stream.encoding,
            fmtp=stream.fmtp,
            delay_samples=stream.delay_samples,
        ),
        plain[:count] * repeat,
    )


class _Rig:
    """A pipeline with open legs, and the packets for it."""

    def __init__(self, stream: Encoded, rate: int) -> None:
        self._stream, self._rate = stream, rate
        self._store, self._pool = StateStore.create(LEGS), create_pool(LEGS * 60)
        rings = Rings(self._pool.arrays["samples"], self._store.blocks)
        self.pipeline = Pipeline(self._store, rings, legs=LEGS, hold_back_s=_HOLD_BACK_S)
        legs = self.pipeline.legs
        legs["active"], legs["rate"], legs["epoch_ns"], legs["sdp_source"] = 1, rate, _EPOCH, 1
        legs["floor_p"] = _LEAD_S * rate
        name, clock, *channels = stream.encoding.split("/")
        known = name, int(clock), int(channels[0]) if channels else 1, stream.fmtp
        codec = find(name, clock=int(clock), channels=known[2], fmtp=stream.fmtp)
        assert codec.form, f"{stream.encoding} has no decoder"
        for leg in range(LEGS):
            self.pipeline.map_payloads(leg, payload_map({_PAYLOAD_TYPE: known}))
        self._leg = np.repeat(np.arange(LEGS, dtype=np.int64), PACKETS)
        self._released = np.full(LEGS, _LEAD_S * rate, np.int64)
        count = self._leg.size
        self._data = np.zeros((count, STRIDE), np.uint8)
        self._data[:, :2] = 0x80, _PAYLOAD_TYPE
        self._data[:, 8:12] = (self._leg + 1).astype(">u4").view(np.uint8).reshape(count, 4)

    def batch(self, tick: int) -> tuple[ReceivedRows, np.ndarray]:
        """The packets of a tick, and when they arrived."""
        numbers = np.arange(tick * PACKETS, (tick + 1) * PACKETS)
        length = np.zeros(PACKETS, np.int32)
        rows = np.zeros((PACKETS, STRIDE - 12), np.uint8)
        for place, number in enumerate(numbers.tolist()):
            payload = self._stream.payloads[number]
            rows[place, : len(payload)] = np.frombuffer(payload, np.uint8)
            length[place] = 12 + len(payload)
        times = numbers * self._stream.timestamp_step
        heads = np.zeros((PACKETS, 6), np.uint8)
        heads[:, :2] = numbers.astype(">u2").view(np.uint8).reshape(PACKETS, 2)
        heads[:, 2:] = times.astype(">u4").view(np.uint8).reshape(PACKETS, 4)
        self._data[:, 2:8] = np.tile(heads, (LEGS, 1))
        self._data[:, 12:] = np.tile(rows, (LEGS, 1))
        count = self._leg.size
        arrival = _EPOCH + _LEAD_S * 10**9 + times * 10**9 // self._stream.clock
        received = ReceivedRows(
            leg=self._leg,
            data=self._data,
            length=np.tile(length, LEGS),
            cut=np.zeros(count, np.bool_),
            stamp=np.zeros(count, np.int64),
            source=np.ones(count, np.uint64),
            drops=np.full(count, -1, np.int64),
        )
        return received, np.tile(arrival, LEGS)

    def release(self) -> None:
        """What the writer would give back."""
        legs = self.pipeline.legs
        end = np.maximum(self._released, legs["top_u"] - self._rate)
        everyone = np.arange(LEGS, dtype=np.int64)
        self.pipeline.rings.release(everyone, self._released - BLOCK, end)
        self._released = end

    def close(self, ticks: int) -> None:
        """Check that every packet was taken and heard, and give the memory back."""
        legs = self.pipeline.legs
        assert (legs["packets"] == ticks * PACKETS).all()
        for fault in ("undecodable", "no_room", "late", "lost_before"):
            assert not legs[fault].any(), fault
        out = np.zeros(self._rate // 2, np.int16)
        for leg in range(LEGS):
            self.pipeline.rings.read(leg, int(legs["top_u"][leg]) - self._rate, out)
            assert out.any(), f"leg {leg} is silent"
        for region in (self._store.region, self._pool):
            region.close()


def _speex_header(rate: int, mode: int) -> bytes:
    """The header packet that RTP does not carry (Speex manual, table 7.1)."""
    fields = (1, 80, rate, mode, 4, 1, -1, rate // 50, 0, 1, 0, 0, 0)
    return b"Speex   " + b"1.2".ljust(20, b"\0") + struct.pack("<13i", *fields)


if __name__ == "__main__":
    sys.exit(main())
