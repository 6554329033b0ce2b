import errno
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from siprec.storage.fileops import REAL, StorageError, failing_as, sync_directory
from siprec.storage.sink import PlainSink


def opened(path, ops=REAL):
    return PlainSink(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), path, ops=ops)


def test_bytes_land_at_their_offsets_in_any_order(tmp_path):
    sink = opened(tmp_path / "a")
    sink.write(6, b"world")
    sink.write(0, b"hello ")
    sink.write(6, bytearray(b"W"))
    sink.sync()
    sink.close()
    assert (tmp_path / "a").read_bytes() == b"hello World"


def test_short_writes_are_carried_on(tmp_path, failing):
    samples = np.arange(3000, dtype="<i2").reshape(-1, 2)
    ops = failing(short=7)
    sink = opened(tmp_path / "a", ops)
    sink.write(5, samples.data)
    sink.close()
    assert (tmp_path / "a").read_bytes() == b"\0" * 5 + samples.tobytes()
    assert ops.calls.count("pwrite") == -(-samples.nbytes // 7)


def test_a_write_that_takes_nothing_is_an_error_and_no_endless_loop(tmp_path, failing):
    sink = opened(tmp_path / "a", failing(short=0))
    with pytest.raises(StorageError) as caught:
        sink.write(0, b"x")
    sink.close()
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "close"])
def test_a_failing_call_is_one_error_with_call_and_path(tmp_path, failing, call, number):
    path = tmp_path / "a"
    sink = opened(path, failing((call, number)))

    def use() -> None:
        sink.write(0, b"x")
        sink.sync()
        sink.close()

    with pytest.raises(StorageError) as caught:
        use()
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert os.strerror(number) in str(caught.value)
    sink.close()


def test_after_enospc_the_same_write_can_be_repeated(tmp_path, failing):
    sink = opened(tmp_path / "a", failing(("pwrite", errno.ENOSPC, 2, 2, 3), short=4))
    with pytest.raises(StorageError):
        sink.write(0, b"0123456789")
    sink.write(0, b"0123456789")
    sink.close()
    assert (tmp_path / "a").read_bytes() == b"0123456789"


SENDER = """
import os, socket, sys
with socket.socket(fileno=int(sys.argv[1])) as there:
    socket.send_fds(there, [b"x"], [os.open(sys.argv[2], os.O_RDWR | os.O_CREAT, 0o600)])
"""


def test_a_descriptor_sent_by_another_process_is_enough(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", SENDER, str(theirs.fileno()), tmp_path / "a"]
        subprocess.run(command, pass_fds=[theirs.fileno()], check=True)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    sink = PlainSink(fds[0], "call.wav")
    sink.write(0, b"sent")
    sink.close()
    assert (tmp_path / "a").read_bytes() == b"sent"


def test_a_closed_sink_refuses_and_closes_only_once(tmp_path):
    sink = opened(tmp_path / "a")
    assert sink.fileno() >= 0
    sink.close()
    sink.close()
    assert sink.fileno() == -1
    for use in (sink.sync, lambda: sink.write(0, b"x")):
        with pytest.raises(StorageError) as caught:
            use()
        assert caught.value.errno == errno.EBADF


def test_an_error_is_named_once_by_the_innermost_call(tmp_path):
    with pytest.raises(StorageError) as caught, failing_as("outer", "outer"):
        sync_directory(REAL, tmp_path / "missing")
    assert caught.value.operation == "sync directory"
    assert caught.value.filename == str(tmp_path / "missing")
