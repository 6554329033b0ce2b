"""What every test can rely on: required tools, free ports, and that a test leaves nothing behind."""

import gc
import itertools
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.helpers")  # before any folder's conftest imports them

REQUIRE_TOOLS = "SIPREC_REQUIRE_TOOLS"
"When it is set, a missing tool fails the test instead of skipping it."

RTP_PORTS_PER_WORKER = 1_000
GRACE_S = 2.0
"How long a thread or a process may take to end after its test."


@pytest.fixture
def require_tool() -> Callable[[str, str], str]:
    """`require_tool("sipp", "sip-tester")`: the tool's path; without it the test is skipped, naming the package."""

    def require(tool: str, package: str) -> str:
        found = shutil.which(tool)
        if found is not None:
            return found
        reason = f"{tool} is missing: apt-get install {package}"
        if os.environ.get(REQUIRE_TOOLS):
            pytest.fail(reason)
        pytest.skip(reason)

    return require


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port on 127.0.0.1 that is free for UDP and TCP at the moment of the call."""

    def find() -> int:
        while True:
            with (
                socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            ):
                tcp.bind(("127.0.0.1", 0))
                port: int = tcp.getsockname()[1]
                try:
                    udp.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port

    return find


_blocks = itertools.count()


@pytest.fixture
def rtp_ports() -> Callable[[int], str]:
    """`rtp_ports(20)`: a range `FIRST-LAST` of so many RTP/RTCP pairs that no test at the same time is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 20

    def find(pairs: int = 20) -> str:
        size = 2 * pairs
        block = next(_blocks) % (RTP_PORTS_PER_WORKER // size)
        first = 10_000 + worker * RTP_PORTS_PER_WORKER + block * size
        return f"{first}-{first + size - 1}"

    return find


def _children() -> set[str]:
    """Ids of this process's children, dead ones that nobody waited for included."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= set((task / "children").read_text().split())
        except OSError:
            continue
    return {pid for pid in found if not _is_resource_tracker(pid)}


def _is_resource_tracker(pid: str) -> bool:
    """multiprocessing keeps this helper until the interpreter ends."""
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _sockets() -> set[str]:
    """The sockets that this process holds open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def _left() -> dict[str, set[str]]:
    threads = {f"{thread.name} ({thread.ident})" for thread in threading.enumerate()}
    return {"processes": _children(), "threads": threads, "sockets": _sockets()}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No process, thread or socket that a test started outlives it."""
    before = _left()
    yield
    deadline = time.monotonic() + GRACE_S
    while more := {kind: now - before[kind] for kind, now in _left().items() if now - before[kind]}:
        gc.collect()
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {more}")
        time.sleep(0.01)
