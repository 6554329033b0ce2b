"""The disk stalls, is full, or refuses for good; the pool is too small; the worker dies."""

from __future__ import annotations

import os

import numpy as np
import pytest

from siprec.media import protocol
from siprec.media.rings import BLOCK, REACH
from siprec.media.writer import _DUMP_QUEUE, Dump, DumpFile
from siprec.storage.rtpdump import RtpdumpHeader, RtpdumpReader
from tests.helpers.media_rig import RATE, SECRET_PT, TICK_S, MediaRig, Opened, Speaker

TICK = round(TICK_S * RATE)


class FullDisk:
    """While it is full, the recording's descriptor leads to /dev/full: its writes fail with ENOSPC."""

    def __init__(self, recording: Opened) -> None:
        self._recording = recording

    def __enter__(self) -> None:
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, self._recording.audio_fd)
        os.close(full)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._recording.fd, self._recording.audio_fd)


def say(media: MediaRig, speaker: Speaker, ticks: int) -> None:
    for _ in range(ticks):
        speaker.say()
        media.tick()


def heard(audio: np.ndarray, start: int, said: np.ndarray) -> bool:
    """Whether the channel is exactly what was said, and silence around it."""
    wanted = np.zeros(len(audio), np.int16)
    wanted[start : start + len(said)] = said[: len(audio) - start]
    return bool((audio == wanted).all())


def test_a_disk_that_stalls_for_5_seconds_loses_nothing(rig):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    speakers = [media.speaker(0), media.speaker(1)]
    for tick in range(50):
        if tick == 10:
            media.stall_disk()
            written = recording.header_frames()
        if tick == 35:
            assert recording.header_frames() == written
            media.free_disk()
        for speaker in speakers:
            speaker.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()
    for channel, speaker in enumerate(speakers):
        assert heard(audio[:, channel], TICK, speaker.said)
    for leg in closed.legs:
        assert (leg.counts["packets"], leg.counts["lost"], leg.counts["late"]) == (500, 0, 0)
    assert media.worker.stalled == 0


@pytest.mark.parametrize("seconds", [28, 33, 40, 90])
def test_after_a_stall_beyond_the_rings_the_file_goes_on_in_its_place(rig, seconds):
    """What found no room is silence and is counted; nothing stands twice or in a wrong place."""
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    stalled = 5 * seconds
    for tick in range(10 + stalled + 20):
        if tick == 10:
            media.stall_disk()
        if tick == 10 + stalled:
            media.free_disk()
        speaker.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()[:, 0]
    said = np.zeros(len(audio), np.int16)
    said[TICK : TICK + len(speaker.said)] = speaker.said
    there = (audio == said).reshape(-1, 160).all(axis=1)
    silent = (audio == 0).reshape(-1, 160).all(axis=1)
    assert (there | silent).all()
    missing = int((~there).sum())
    leg = closed.legs[0]
    assert leg.counts["late"] == 0
    assert missing == leg.counts["lost"] == leg.counts["dropped"]
    assert there[: 10 * 10].all()
    assert there[-15 * 10 :].all()
    if seconds == 28:
        assert missing == 0


def test_a_full_disk_that_has_space_again_loses_nothing(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    say(media, speaker, 10)
    with FullDisk(recording):
        say(media, speaker, 30)
        assert recording.header_frames() < 10 * TICK
    say(media, speaker, 20)
    closed = media.hang_up()
    assert heard(recording.read()[:, 0], TICK, speaker.said)
    assert closed.error is None
    assert closed.legs[0].counts["late"] == 0


def test_a_full_disk_is_not_tried_more_than_about_once_a_second(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    tries = 0
    with FullDisk(recording):
        for _ in range(50):
            busy = media.worker.writer.done
            media.now += round(TICK_S * 1e9)
            media.worker.tick(monotonic=media.now, realtime=media.now)
            media.settle()
            tries += len(busy)
    assert 5 <= tries <= 11


def test_a_disk_that_stays_full_ends_the_recording_with_its_reason(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for _ in range(15):
        speaker.say()
        media.tick()
    kept = recording.header_frames()
    with FullDisk(recording):
        closed = media.hang_up()
        media.settle()
        assert not os.path.exists(f"/proc/self/fd/{recording.audio_fd}")
        os.dup2(recording.fd, recording.audio_fd)
    os.close(recording.audio_fd)
    assert "No space left" in (closed.error or "")
    assert closed.frames == kept == len(recording.read())
    assert media.worker.idle()


def test_a_recording_whose_disk_is_full_does_not_disturb_another(rig):
    media = rig()
    broken = media.open([media.spec(0, 0)], number=0)
    good = media.open([media.spec(1, 0)], number=1)
    speakers = [media.speaker(0), media.speaker(1)]
    with FullDisk(broken):
        for _ in range(250):
            for speaker in speakers:
                speaker.say()
            media.tick()
        closed = media.hang_up(1)
    assert heard(good.read()[:, 0], TICK, speakers[1].said)
    assert (closed.error, closed.legs[0].counts["lost"]) == (None, 0)


def test_a_fault_of_any_kind_in_the_writer_costs_its_recording_only(rig):
    media = rig()
    broken = media.open([media.spec(0, 0)], number=0)
    good = media.open([media.spec(1, 0)], number=1)
    media.worker._roster.recordings[0].channels = 3  # no file takes blocks of that shape
    speaker = media.speaker(1)
    for _ in range(10):
        speaker.say()
        media.tick()
    assert media.hang_up(1).error is None
    assert heard(good.read()[:, 0], TICK, speaker.said)
    assert "block" in (media.hang_up(0).error or "")
    assert len(broken.read()) == 0


# -- memory --


@pytest.mark.parametrize("blocks", [1, 3, 8, 20])
def test_a_pool_that_is_too_small_costs_counted_packets_and_nothing_else(rig, blocks):
    media = rig(pool_blocks=blocks)
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    speakers = [media.speaker(0), media.speaker(1)]
    for _ in range(40):
        for speaker in speakers:
            speaker.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()
    assert 41 * TICK - TICK <= len(audio) <= 41 * TICK
    for channel, (speaker, leg) in enumerate(zip(speakers, closed.legs, strict=True)):
        said = np.zeros(len(audio), np.int16)
        said[TICK:] = speaker.said[: len(audio) - TICK]
        frames = (audio[:, channel] == said).reshape(-1, 160).all(axis=1)
        silent = (audio[:, channel] == 0).reshape(-1, 160).all(axis=1)
        assert (frames | silent).all()
        missing = int((~frames).sum())
        assert leg.counts["packets"] + leg.counts["lost"] == 400
        assert missing <= leg.counts["dropped"] + leg.counts["lost"]
    if blocks == 20:
        assert [leg.counts["dropped"] for leg in closed.legs] == [0, 0]
    assert media.worker.pipeline.rings.free_blocks == blocks


def test_every_block_is_given_back_however_long_the_call(rig):
    media = rig(pool_blocks=64)
    media.open([media.spec(0, 0), media.spec(1, 1)])
    speakers = [media.speaker(0), media.speaker(1)]
    lowest = 64
    for _ in range(400):
        for speaker in speakers:
            speaker.say()
        media.tick()
        lowest = min(lowest, media.worker.pipeline.rings.free_blocks)
    assert lowest > 64 - 2 * 7
    media.hang_up()
    assert media.worker.pipeline.rings.free_blocks == 64


# -- a worker that dies --


def test_another_worker_goes_on_where_the_first_one_left_it(rig):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    speakers = [media.speaker(0), media.speaker(1)]
    for tick in range(250):
        if tick in (12, 13, 60, 200):
            media.replace_worker()
        for speaker in speakers:
            speaker.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()
    for channel, speaker in enumerate(speakers):
        assert heard(audio[:, channel], TICK, speaker.said)
    assert [leg.counts["packets"] for leg in closed.legs] == [2500, 2500]
    assert [leg.ssrcs for leg in closed.legs] == [[speaker.ssrc] for speaker in speakers]


def test_what_a_dead_worker_wrote_but_did_not_give_back_is_not_heard_again(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for _ in range(20):
        speaker.say()
        media.tick()
    media.now += 1
    media.replace_worker()  # written, but not collected: its blocks are still in the table
    media.tick(round(REACH / TICK) + 40)
    media.hang_up()
    assert heard(recording.read()[:, 0], TICK, speaker.said)


def test_a_recording_that_no_worker_had_taken_begins_anew(rig):
    """The order was on its way when the worker died: the row still holds a call of long ago."""
    media = rig()
    media.open([media.spec(0, 0)])
    old = media.speaker(0)
    for _ in range(8):
        old.say()
        media.tick()
    media.hang_up()
    recording = media.open([media.spec(0, 0)], delivered=False)
    media.replace_worker()
    media.worker.command(protocol.Answered(recording=0, at_ns=media.now), [])
    speaker = media.speaker(0)
    for _ in range(8):
        speaker.say()
        media.tick()
    closed = media.hang_up()
    assert heard(recording.read()[:, 0], TICK, speaker.said)
    assert closed.legs[0].counts["packets"] == 80


# -- packets without a decoder --


def test_packets_without_a_decoder_are_kept_as_they_came(rig, tmp_path):
    media = rig()
    media.open([media.spec(0, 0, remote=("192.0.2.9", 4000))])
    speaker = media.speaker(0)
    for i in range(30):
        speaker.send(bytes([i]) * 33, pt=SECRET_PT)
        speaker.pause(1)
        if i % 10 == 9:
            media.tick()
    closed = media.hang_up()
    media.settle()
    reader = RtpdumpReader((tmp_path / "leg0.rtpdump").read_bytes())
    assert (reader.header.address, reader.header.port) == ("192.0.2.9", 4000)
    assert [packet.data[12:] for packet in reader] == [bytes([i]) * 33 for i in range(30)]
    assert closed.legs[0].counts["undecodable"] == 30
    assert closed.legs[0].counts["not_kept"] == 0


@pytest.mark.parametrize("remote", [("sbc.example.com", 4000), ("2001:db8::1", 4000), None])
def test_a_peer_without_an_address_costs_no_packet(rig, tmp_path, remote):
    media = rig()
    media.open([media.spec(0, 0, remote=remote)])
    speaker = media.speaker(0)
    speaker.send(b"?" * 33, pt=SECRET_PT)
    media.tick(3)
    media.hang_up()
    media.settle()
    assert len(list(RtpdumpReader((tmp_path / "leg0.rtpdump").read_bytes()))) == 1
    assert media.worker.writer.dump_errors == 0


def test_packets_that_the_bound_of_the_file_leaves_out_are_counted(rig, tmp_path):
    media = rig(dump_max_bytes=1000)
    media.open([media.spec(0, 0), media.spec(1, 1)])
    speaker, other = media.speaker(0), media.speaker(1)
    other.say()
    for _ in range(30):
        speaker.send(bytes(88), pt=SECRET_PT)
        speaker.pause(1)
    media.tick()
    closed = media.hang_up()
    media.settle()
    kept = len(list(RtpdumpReader((tmp_path / "leg0.rtpdump").read_bytes())))
    assert 0 < kept < 30
    assert closed.legs[0].counts["undecodable"] == 30
    assert [leg.counts["not_kept"] for leg in closed.legs] == [30 - kept, 0]


def test_packets_that_the_disk_refuses_to_dump_are_counted(rig, tmp_path):
    media = rig()
    media.open([media.spec(0, 0, dump="gone/leg0.rtpdump")])
    speaker = media.speaker(0)
    for _ in range(3):
        speaker.send(bytes(33), pt=SECRET_PT)
    media.tick()
    assert media.hang_up().legs[0].counts["not_kept"] == 3


def test_a_leg_begins_with_none_of_the_packets_that_the_call_before_it_kept(rig, tmp_path):
    media = rig()
    for dump, not_kept in (("leg0.rtpdump", 0), ("gone/leg0.rtpdump", 1)):
        media.open([media.spec(0, 0, dump=dump)])
        media.speaker(0).send(bytes(33), pt=SECRET_PT)
        media.tick()
        assert media.hang_up().legs[0].counts["not_kept"] == not_kept


def test_first_and_last_packet_without_a_decoder_are_told_even_by_the_worker_that_takes_over(rig):
    media = rig()
    media.open([media.spec(0, 0), media.spec(1, 1)])
    speaker, other = media.speaker(0), media.speaker(1)
    speaker.say()
    other.say()
    media.tick(5)
    for _ in range(2):
        speaker.send(bytes(33), pt=SECRET_PT)
        speaker.pause(1)
        media.tick()
    media.replace_worker()
    speaker.send(bytes(33), pt=SECRET_PT)
    media.tick(5)
    closed = media.hang_up()
    assert closed.legs[0].spans["undecodable"] == pytest.approx((6 * TICK_S, 8 * TICK_S))
    assert closed.legs[1].spans == {}


def test_the_worker_that_takes_over_begins_another_file(rig, tmp_path):
    media = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    speaker.send(b"one", pt=SECRET_PT)
    media.tick()
    media.settle()
    media.replace_worker()
    speaker.send(b"two", pt=SECRET_PT)
    media.tick()
    closed = media.hang_up()
    media.settle()
    assert (closed.legs[0].counts["undecodable"], closed.legs[0].counts["not_kept"]) == (2, 0)
    packets = [
        [packet.data[12:] for packet in RtpdumpReader((tmp_path / name).read_bytes())]
        for name in ("leg0.rtpdump", "leg0-2.rtpdump")
    ]
    assert packets == [[b"one"], [b"two"]]


def test_while_the_disk_stalls_packets_to_dump_wait_up_to_a_bound(rig, tmp_path):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    media.stall_disk()
    header = RtpdumpHeader(start_us=0, address="0.0.0.0", port=0)
    kept = np.zeros(1, np.int64)
    file = DumpFile(str(tmp_path / "x.rtpdump"), header, max_bytes=1 << 40, kept=kept)
    packet = bytes(60_000)
    for _ in range(_DUMP_QUEUE // 60_000 + 50):
        media.worker.writer.put(Dump(file=file, packets=[(0, packet)]))
    left_out = media.worker.writer.dump_errors
    assert 45 <= left_out <= 51
    media.free_disk()
    media.worker.writer.put(Dump(file=file, packets=[(0, packet)], last=True))
    media.settle()
    count = len(list(RtpdumpReader((tmp_path / "x.rtpdump").read_bytes())))
    assert count == kept[0]
    assert count + left_out == _DUMP_QUEUE // 60_000 + 51
    assert media.worker.writer.dump_errors == left_out


def test_a_ring_reaches_less_than_a_lap():
    assert REACH % BLOCK == 0
    assert REACH < 63 * BLOCK
