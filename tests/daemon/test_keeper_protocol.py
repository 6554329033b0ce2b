"""Orders and replies between the main process and the keeper process."""

import errno
import os
import socket
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from siprec.daemon.keeper_protocol import Order, OrderReader, Reply, receive_reply, send_reply
from siprec.storage.fileops import StorageError
from siprec.storage.journal.record import Position

orders = st.lists(
    st.builds(
        Order,
        number=st.integers(1, 1 << 40),
        what=st.sampled_from(["admit", "save", "finish"]),
        recording=st.text(max_size=40),
        folder=st.text(max_size=40),
        reason=st.sampled_from(["", "admitted"]),
        args=st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=3),
        document=st.binary(max_size=300),
        metadata=st.binary(max_size=300),
    ),
    max_size=6,
)


@given(orders, st.lists(st.integers(1, 200), min_size=1))
def test_orders_come_out_whole_however_the_stream_is_cut(sent, cuts):
    wire, reader, got, at, turn = b"".join(one.encode() for one in sent), OrderReader(), [], 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        got += reader.feed(wire[at : at + size])
        at, turn = at + size, turn + 1
    assert got == sent


def test_a_reply_brings_its_descriptor_and_its_error_over(tmp_path: Path):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, (tmp_path / "file").open("wb") as file:
        send_reply(theirs, Reply(number=7, durable=Position(2, 90), free=5), file.fileno())
        error = StorageError(errno.ENOSPC, "write", "a/b")
        send_reply(theirs, Reply(number=8, durable=Position(2, 90), free=5, error=error))
        first, second = receive_reply(ours), receive_reply(ours)
        assert first is not None
        assert second is not None
        reply, fd = first
        assert (reply.number, reply.durable, reply.error) == (7, Position(2, 90), None)
        assert fd is not None
        assert os.path.sameopenfile(fd, file.fileno())
        assert not os.get_inheritable(fd)
        os.close(fd)
        assert (second[0].number, str(second[0].error), second[1]) == (8, str(error), None)
        theirs.close()
        assert receive_reply(ours) is None
