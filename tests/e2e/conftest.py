"""Daemons, callers and players for the end-to-end tests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.daemon import Daemon, running
from tests.helpers.player import Packet, Player
from tests.helpers.sipp import Scenario, Sipp


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon with one media worker for all tests of a module; it must end well after all of them."""
    with running(tmp_path_factory.mktemp("daemon")) as shared:
        yield shared
        shared.stop()


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """`start_daemon(recording={"max_calls": 1})`: a daemon of this test's own, with sections of its configuration."""
    with ExitStack() as stack:

        def start(**options: Any) -> Daemon:
            return stack.enter_context(running(tmp_path, **options))

        yield start


@pytest.fixture
def sipp(tmp_path: Path, require_tool: Callable[[str, str], str]) -> Callable[..., Sipp]:
    """`with sipp(daemon, scenario) as call`: sipp plays a scenario against a daemon, by UDP unless told otherwise."""
    program = require_tool("sipp", "sip-tester")

    def start(
        daemon: Daemon, scenario: Scenario, *, transport: str = "udp", call_id: str | None = None
    ) -> Sipp:
        return Sipp(
            tmp_path,
            daemon.ports[transport],
            scenario,
            transport=transport,
            call_id=call_id,
            program=program,
        )

    return start


@pytest.fixture
def player() -> Iterator[Callable[[Sequence[Packet]], Player]]:
    """`player(packets)`: the sender of one m-line, closed after the test."""
    with ExitStack() as stack:

        def make(packets: Sequence[Packet] = ()) -> Player:
            made = Player(packets)
            stack.callback(made.close)
            return made

        yield make
