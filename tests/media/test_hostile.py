"""What a worker survives: noise, floods, flapping senders, and orders that make no sense."""

from __future__ import annotations

import os
import socket
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.media import protocol
from siprec.media.pipeline import Pipeline
from siprec.media.recordings import MAX_EVENTS, MAX_SSRCS
from siprec.media.rings import Rings, create_pool
from siprec.media.store import StateStore
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.rtcp import receiver_report, sender_report
from siprec.rtp.slab import STRIDE
from tests.helpers.media_rig import (
    EVENTS_PT,
    FRAME,
    RATE,
    SECRET_PT,
    TICK_S,
    MediaRig,
    S,
    Speaker,
    rtp,
)

TICK = round(TICK_S * RATE)
LEGS = 3
EPOCH = 10**12


def heard(audio: np.ndarray, start: int, said: np.ndarray) -> bool:
    wanted = np.zeros(len(audio), np.int16)
    wanted[start : start + len(said)] = said[: len(audio) - start]
    return bool((audio == wanted).all())


# -- the columns alone --


datagrams = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda first, pt, seq, timestamp, ssrc, rest: (
            struct.pack("!BBHII", first, pt, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + rest
        ),
        st.sampled_from([0x80, 0x80, 0x80, 0x90, 0xA0, 0x8F, 0xBF]),
        st.sampled_from([0, 0, 0, 8, 8, 13, 101, 96, 0x80, 200, 203]),
        st.one_of(st.integers(0, 3), st.integers(65530, 65540), st.integers(0, 65535)),
        st.one_of(st.integers(0, 2000), st.integers(2**32 - 2000, 2**32 + 2000), st.integers(0, 2**32 - 1)),
        st.integers(1, 4),
        st.one_of(st.binary(max_size=20), st.just(b"\x55" * 160), st.just(b"\x05\x8a\x01\x40")),
    ),
)
rows = st.tuples(
    st.integers(0, LEGS - 1),
    datagrams,
    st.one_of(st.integers(0, 2_000_000_000), st.integers(-(10**12), 10**13)),
    st.integers(0, 3),
    st.booleans(),
)


def received(batch) -> tuple[ReceivedRows, np.ndarray]:
    batch = sorted(batch, key=lambda row: row[0])
    data = np.full((len(batch), STRIDE), 0xEE, np.uint8)
    for row, (_, datagram, _, _, _) in zip(data, batch, strict=True):
        row[: len(datagram)] = np.frombuffer(datagram, np.uint8)
    n = len(batch)
    return (
        ReceivedRows(
            leg=np.array([row[0] for row in batch], np.int64),
            data=data,
            length=np.array([len(row[1]) for row in batch], np.int32),
            cut=np.array([row[4] and len(row[1]) > 50 for row in batch]),
            stamp=np.zeros(n, np.int64),
            source=np.array([row[3] for row in batch], np.uint64),
            drops=np.full(n, -1, np.int64),
        ),
        EPOCH + 10 * S + np.array([row[2] for row in batch], np.int64),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(rows, min_size=1, max_size=25), min_size=1, max_size=8), st.integers(0, 2))
def test_no_datagram_from_anybody_at_any_time_stops_the_pipeline(batches, mode):
    """And every datagram is in exactly one place of the books."""
    store, pool = StateStore.create(LEGS), create_pool(10)
    pipeline = Pipeline(store, Rings(pool.arrays["samples"], store.blocks), legs=LEGS, hold_back_s=0.5)
    legs = pipeline.legs
    legs["active"], legs["rate"], legs["epoch_ns"] = 1, RATE, EPOCH
    legs["sdp_source"] = 2
    legs["floor_p"] = 10 * RATE
    if mode == 1:
        legs["end_ns"] = EPOCH + 11 * S
    elif mode == 2:
        legs["mute_from"], legs["mute_until"] = EPOCH + 10 * S, EPOCH + 11 * S
    pipeline.commit(np.arange(LEGS))
    sent = 0
    for batch in batches:
        some, arrival = received(batch)
        pipeline.process(some, arrival)
        sent += len(batch)
        held = store.blocks[store.blocks > 0]
        assert len(set(held.tolist())) == held.size == 10 - pipeline.rings.free_blocks
    counted = ["packets", "duplicates", "foreign", "broken", "rtcp", "discarded", "stun", "dtls", "t38"]
    total = sum(int(legs[name].sum()) for name in counted)
    # muted packets count as received, too; a cut RTCP packet is broken as well
    assert total >= sent
    if mode != 2:
        assert total <= sent + int(legs["rtcp"].sum())
    assert (legs["delta"] >= 0).all()
    assert (legs["delta"] <= 0.6 * RATE).all()
    assert np.isfinite(pipeline.streams["jitter"]).all()
    assert (store.load(np.arange(LEGS))[0] == legs).all()
    for region in (store.region, pool):
        region.close()


# -- a whole worker --


def flood(speaker: Speaker, datagrams: list[bytes]) -> None:
    for data in datagrams:
        speaker.sock.sendto(data, speaker.address)


def noise(kind: str, rng: np.random.Generator) -> list[bytes]:
    """300 datagrams to one port in 200 ms."""
    made = []
    for i in range(300):
        number = int(rng.integers(0, 1 << 32))
        if kind == "garbage":
            made.append(rng.integers(0, 256, int(rng.integers(0, 300)), np.uint8).tobytes())
        elif kind == "ssrcs":
            made.append(rtp(number & 0xFFFF, number, b"\x55" * FRAME, ssrc=number))
        elif kind == "timestamps":
            made.append(rtp(i, number, b"\x55" * FRAME, ssrc=9))
        elif kind == "sequence":
            made.append(rtp(number & 0xFFFF, 160 * i, b"\x55" * FRAME, ssrc=9))
        elif kind == "digits":
            made.append(rtp(i, number, b"\x05\x8a\x01\x40", ssrc=9, pt=EVENTS_PT))
        elif kind == "secret":
            made.append(rtp(i, number, b"\x55" * FRAME, ssrc=9, pt=SECRET_PT))
        elif kind == "rtcp":
            made.append(
                sender_report(9, unix_time=1.0, rtp_timestamp=number, packets=1 << 31, octets=5, cname=b"x")
            )
    return made


KINDS = ["garbage", "ssrcs", "timestamps", "sequence", "digits", "secret", "rtcp"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_on_one_port_costs_no_other_leg_a_sample(rig, kind):
    media: MediaRig = rig()
    flooded = media.open([media.spec(0, 0), media.spec(1, 1)], number=0)
    other = media.open([media.spec(2, 0)], number=1)
    beside, apart, attacker = media.speaker(1), media.speaker(2), media.speaker(0)
    rng = np.random.default_rng(1)
    for _ in range(50):
        flood(attacker, noise(kind, rng))
        beside.say()
        apart.say()
        media.tick()
    reports = {number: media.hang_up(number) for number in (0, 1)}
    assert heard(other.read()[:, 0], TICK, apart.said)
    assert heard(flooded.read()[:, 1], TICK, beside.said)
    for leg in (reports[0].legs[1], reports[1].legs[0]):
        assert (leg.counts["packets"], leg.counts["lost"], leg.counts["late"]) == (500, 0, 0)
    victim = reports[0].legs[0]
    assert victim.counts["dropped"] + victim.counts["capped"] > 40
    assert len(victim.ssrcs) <= MAX_SSRCS
    assert victim.sender_packets is None
    assert len(protocol.encode(reports[0])) <= protocol.MAX_MESSAGE
    media.take_messages()
    told = [m.type for m in media.messages if isinstance(m, protocol.LegEvent)]
    assert all(told.count(type_) <= MAX_EVENTS for type_ in set(told))


def test_a_flood_on_the_own_port_from_elsewhere_is_kept_out(rig):
    media: MediaRig = rig(rows_per_tick=256)
    stranger_spec = media.spec(0, 0)
    recording = media.open([stranger_spec])
    speaker, stranger = media.speaker(0), media.speaker(0)
    for _ in range(30):
        speaker.say()
        flood(stranger, [rtp(i, 0, b"\x55" * FRAME, ssrc=9) for i in range(100)])
        media.tick()
    closed = media.hang_up()
    assert heard(recording.read()[:, 0], TICK, speaker.said)
    assert closed.legs[0].counts["foreign"] == 3000
    assert closed.legs[0].counts["packets"] == 300


def test_the_address_in_the_sdp_takes_the_leg_from_an_earlier_stranger(rig):
    media: MediaRig = rig()
    media.spec(0, 0)
    stranger, speaker = media.speaker(0), media.speaker(0)
    recording = media.open([media.spec(0, 0, remote=speaker.sock.getsockname())])
    for tick in range(20):
        stranger.say(loud=0x00)
        if tick >= 10:
            speaker.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()[:, 0]
    assert (audio[TICK : 11 * TICK] == -32124).all()
    found = np.flatnonzero(audio[11 * TICK :] != -32124)[0] + 11 * TICK
    assert found - 11 * TICK <= TICK  # the stranger's last packets ran ahead
    assert heard(audio[found:], 0, speaker.said)
    assert len(media.events("source")) == 2
    assert closed.legs[0].counts["foreign"] >= 90


def test_two_ssrcs_in_turn_are_both_known_and_nobody_is_restarted(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    a, b = media.speaker(0), media.speaker(0)
    b.sock.close()
    b.sock = a.sock.dup()  # one source, two streams
    for _ in range(50):
        a.say(5)
        b.say(5)
        media.tick()
    closed = media.hang_up()
    assert closed.legs[0].ssrcs == [a.ssrc, b.ssrc]
    assert closed.legs[0].counts["packets"] == 500
    assert closed.legs[0].counts["lost"] == 0


def test_an_ssrc_that_changes_every_packet_is_bounded_everywhere(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for i in range(3000):
        speaker.ssrc = 1000 + i
        speaker.say(1)
        if i % 10 == 9:
            media.tick()
    closed = media.hang_up()
    leg = closed.legs[0]
    assert len(leg.ssrcs) == MAX_SSRCS
    assert leg.counts["packets"] + leg.counts["discarded"] == 3000
    assert leg.counts["lost"] == 0
    assert len(media.events("ssrc_changed")) <= MAX_EVENTS


def test_after_a_late_packet_of_the_old_ssrc_the_new_one_is_still_the_current(rig):
    media: MediaRig = rig()
    recording = media.open([media.spec(0, 0)])
    old, new = media.speaker(0), media.speaker(0)
    new.sock.close()
    new.sock = old.sock.dup()
    for _ in range(5):
        old.say()
        media.tick()
    old.lose(1)
    old.say(1)
    new.say(8)
    old.send(b"\x80" * FRAME, seq=old._seq - 2)  # the lost one, behind the others
    new.say(1)
    media.tick()
    row = media.worker.pipeline.legs[0]
    assert media.worker.pipeline.streams["ssrc"][int(row["current"])] == new.ssrc
    for _ in range(5):
        new.say()
        media.tick()
    closed = media.hang_up()
    assert closed.legs[0].ssrcs == [old.ssrc, new.ssrc]
    assert len(recording.read())


# -- RTCP --


def test_sender_reports_are_noted_from_the_one_who_sends_them_first(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    speaker, liar = media.speaker(0), media.speaker(0)
    rtcp = media.sockets[1].getsockname()
    liar.sock.close()
    liar.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    liar.sock.bind(("127.0.0.2", 0))

    def report(who: Speaker, packets: int, ssrc: int = speaker.ssrc) -> None:
        data = sender_report(ssrc, unix_time=1e9, rtp_timestamp=1, packets=packets, octets=1, cname=b"x")
        who.sock.sendto(data, rtcp)

    speaker.say()
    media.tick()
    report(speaker, 10)
    media.tick()
    report(liar, 10**6)
    report(speaker, 99, ssrc=speaker.ssrc + 1)  # of a stream that we do not receive
    speaker.sock.sendto(b"\xff" * 20, rtcp)
    media.tick()
    closed = media.hang_up()
    assert closed.legs[0].sender_packets == 10
    assert closed.legs[0].counts["rtcp"] == 4


def test_receiver_reports_go_to_the_source_of_the_sender_reports(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0, seq=65_000)
    speaker.sock.settimeout(5)
    for tick in range(26):
        if tick == 1:
            data = sender_report(
                speaker.ssrc, unix_time=1e9, rtp_timestamp=1, packets=1, octets=1, cname=b"x"
            )
            speaker.sock.sendto(data, media.sockets[1].getsockname())
        speaker.say(8)
        speaker.lose(2)
        media.tick()
    data = speaker.sock.recv(2048)
    assert data[1] == 201
    ssrc, loss, highest, jitter = struct.unpack_from("!IIII", data, 8)
    assert ssrc == speaker.ssrc
    assert (loss >> 24) / 256 == pytest.approx(0.2, abs=0.03)
    assert highest < 1 << 17  # cycles are counted from the first packet
    assert 65_000 < highest < 65_300
    assert jitter < RATE
    expected = receiver_report(0, [], b"siprec")
    assert data.endswith(expected[-8:])
    media.hang_up()


@pytest.mark.parametrize(
    "remote", [("sbc.invalid", 4001), ("127.0.0.1", 65536), ("::1", 4001), ("127.0.0.1", 0)]
)
def test_an_address_that_nobody_can_be_reached_at_is_no_fault(rig, remote):
    media: MediaRig = rig()
    media.open([media.spec(0, 0, rtcp_remote=remote, mux=False)])
    speaker = media.speaker(0)
    for _ in range(30):
        speaker.say()
        media.tick()
    assert media.hang_up().legs[0].counts["packets"] == 300


# -- orders that make no sense --


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_orders_about_what_is_not_there_are_counted_and_close_their_descriptors(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    before = descriptors()
    orders: list[protocol.Message] = [
        protocol.Answered(recording=5, at_ns=1),
        protocol.CloseRecording(recording=5, at_ns=1),
        protocol.EndLeg(leg=5, at_ns=1),
        protocol.EndLeg(leg=500, at_ns=1),
        protocol.UpdateLeg(spec=media.spec(3, 0), at_ns=1),
        protocol.AddLeg(recording=5, spec=media.spec(3, 0)),
        protocol.AddLeg(recording=0, spec=media.spec(0, 0)),
    ]
    before = descriptors()
    for order in orders:
        media.worker.command(order, [os.dup(0), os.dup(0)])
    assert descriptors() == before
    assert media.worker.beat().counters["commands_refused"] == len(orders)
    media.tick(3)
    assert media.take_messages() == []
    assert media.hang_up().error is None


@pytest.mark.parametrize("given", range(5))
def test_a_recording_without_all_its_descriptors_is_closed_at_once_with_the_reason(rig, given):
    media: MediaRig = rig()
    other = media.open([media.spec(0, 0)], number=0)
    specs = [media.spec(1, 0), media.spec(2, 1)]
    message = protocol.OpenRecording(
        recording=1,
        path=str(other.path) + "x",
        rate=RATE,
        max_rate=16_000,
        channels=2,
        format="wav",
        epoch_ns=0,
        epoch_unix_us=0,
        legs=specs,
    )
    before = descriptors()
    media.worker.command(message, [os.dup(sock.fileno()) for sock in media.sockets[1 : 1 + given]])
    assert descriptors() == before
    (closed,) = media.take_messages()
    assert isinstance(closed, protocol.Closed)
    assert (closed.recording, closed.legs, closed.frames) == (1, [], 0)
    assert closed.error
    media.tick(3)
    media.open(specs, number=1)
    assert media.hang_up(1).error is None
    assert media.hang_up(0).error is None


def test_a_recording_with_a_number_in_use_does_not_touch_the_other(rig):
    media: MediaRig = rig()
    recording = media.open([media.spec(0, 0)], number=0)
    speaker = media.speaker(0)
    speaker.say()
    media.tick()
    before = descriptors()
    media.worker.command(recording.message, [os.dup(0)])
    assert descriptors() == before
    assert not any(isinstance(message, protocol.Closed) for message in media.take_messages())
    speaker.say()
    media.tick()
    assert media.hang_up().legs[0].counts["packets"] == 20


def test_a_file_that_is_no_recording_cannot_be_resumed(rig, tmp_path):
    media: MediaRig = rig()
    recording = media.open([media.spec(0, 0)])
    media.tick(10)
    os.pwrite(recording.fd, b"garbage!" * 10, 0)
    before = descriptors()
    media.replace_worker()
    (closed,) = media.take_messages()
    assert isinstance(closed, protocol.Closed)
    assert "header" in (closed.error or "")
    recording.closed = True
    assert media.worker.idle()
    assert descriptors() <= before
