import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.storage.fileops import StorageError
from siprec.storage.rtpdump import RtpdumpError, RtpdumpHeader, RtpdumpReader, RtpdumpWriter
from siprec.storage.sink import PlainSink

HEADER = RtpdumpHeader(start_us=1_700_000_000_123_456, address="192.0.2.7", port=40000)


def opened(path, header=HEADER, *, max_bytes=1 << 20, **ops):
    return RtpdumpWriter(
        PlainSink(os.open(path, os.O_RDWR | os.O_CREAT), path, **ops), header, max_bytes=max_bytes
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.binary(min_size=1, max_size=200)), max_size=5))
)
def test_packets_read_back_as_written(tmp_path_factory, batches):
    path = tmp_path_factory.mktemp("dump") / "leg0.rtpdump"
    writer = opened(path)
    for batch in batches:
        writer.append(batch)
    writer.close()
    packets = [packet for batch in batches for packet in batch]
    assert (writer.packets, writer.left_out, writer.size) == (len(packets), 0, path.stat().st_size)
    if packets:
        reader = RtpdumpReader(path.read_bytes())
        assert reader.header == HEADER
        assert [(p.offset_ms, p.data, p.rtcp) for p in reader] == [(at, data, False) for at, data in packets]
        assert not reader.torn


def test_the_bytes_are_those_that_rtptools_writes(tmp_path):
    writer = opened(tmp_path / "a")
    writer.append([(5, b"\x80abc")])
    writer.close()
    start = bytes.fromhex("6553f100 0001e240 c0000207 9c40 0000".replace(" ", ""))
    assert (tmp_path / "a").read_bytes() == (
        b"#!rtpplay1.0 192.0.2.7/40000\n" + start + bytes.fromhex("000c 0004 00000005") + b"\x80abc"
    )


def test_at_the_bound_the_file_stops_and_counts_what_is_left_out(tmp_path):
    writer = opened(tmp_path / "a", max_bytes=45 + 2 * 108)
    writer.append([(0, b"a" * 100), (1, memoryview(b"b" * 100)), (2, b"c" * 100)])
    writer.append([(3, b"small")])
    writer.close()
    assert (writer.packets, writer.left_out) == (2, 2)
    assert (tmp_path / "a").stat().st_size == writer.size == 45 + 2 * 108
    assert [p.offset_ms for p in RtpdumpReader((tmp_path / "a").read_bytes())] == [0, 1]


def test_a_packet_longer_than_the_format_can_say_is_left_out(tmp_path):
    writer = opened(tmp_path / "a")
    writer.append([(0, b"x" * 65528), (1, b"y" * 65527)])
    writer.close()
    assert (writer.packets, writer.left_out) == (1, 1)
    assert [len(p.data) for p in RtpdumpReader((tmp_path / "a").read_bytes())] == [65527]


def test_a_failed_batch_is_not_counted_and_can_be_repeated(tmp_path, failing):
    path = tmp_path / "a"
    writer = opened(path, ops=failing(("pwrite", errno.ENOSPC, 2, 2, 9)))
    writer.append([(0, b"one")])
    with pytest.raises(StorageError) as caught:
        writer.append([(1, b"two")])
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert writer.packets == 1
    writer.append([(1, b"two")])
    writer.close()
    assert [p.data for p in RtpdumpReader(path.read_bytes())] == [b"one", b"two"]


def test_a_file_torn_at_any_byte_gives_the_packets_that_are_whole(tmp_path):
    path = tmp_path / "a"
    writer = opened(path)
    sizes = [writer.size]
    for at in range(3):
        writer.append([(at, b"x" * (10 + at))])
        sizes.append(writer.size)
    writer.close()
    whole = path.read_bytes()
    for cut in range(45, len(whole) + 1):
        reader = RtpdumpReader(whole[:cut])
        assert len(list(reader)) == sum(size <= cut for size in sizes[1:])
        assert reader.torn == (cut not in (45, *sizes))


@settings(deadline=None)
@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda tail: b"#!rtpplay1.0 1.2.3.4/5\n" + tail))
def test_foreign_bytes_are_refused_or_read_to_their_end(data):
    try:
        packets = list(RtpdumpReader(data))
    except RtpdumpError:
        return
    assert sum(8 + len(packet.data) for packet in packets) <= len(data)


def test_an_ipv6_sender_has_source_0_as_in_rtptools(tmp_path):
    writer = opened(tmp_path / "a", RtpdumpHeader(start_us=0, address="2001:db8::1", port=9))
    writer.append([(0, b"x")])
    writer.close()
    data = (tmp_path / "a").read_bytes()
    assert RtpdumpReader(data).header.address == "2001:db8::1"
    assert data.startswith(b"#!rtpplay1.0 2001:db8::1/9\n" + b"\0" * 12)
