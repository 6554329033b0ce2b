"""How many calls fit, and why not more."""

import resource
from collections.abc import Iterator

import pytest

from siprec.config import PortRange
from siprec.daemon.limits import Capacity, capacity, connection_limit, raise_descriptor_limit

PLENTY = {
    "descriptors": 1_000_000,
    "connections": 0,
    "ports": PortRange(10_000, 59_999),
    "disk_free_mb": 10_000_000,
    "reserve_mb_per_call": 32,
    "low_water_mb": 1_024,
    "max_calls": None,
}


def fits(**scarce: object) -> Capacity:
    return capacity(**PLENTY | scarce)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scarce", "calls", "limit"),
    [
        ({"descriptors": 1_024}, 179, "1,024 file descriptors"),
        ({"descriptors": 100}, 0, "100 file descriptors"),
        ({"descriptors": 1_024, "connections": 256}, 128, "1,024 file descriptors"),
        ({"ports": PortRange(10_000, 10_007)}, 2, "the ports 10000-10007"),
        ({"ports": PortRange(10_000, 10_001)}, 0, "the ports"),
        ({"disk_free_mb": 2_048}, 32, "2,048 MB of free disk at 32 MB a call above 1,024 MB"),
        ({"disk_free_mb": 1_000}, 0, "1,000 MB of free disk"),
        ({"max_calls": 10}, 10, "recording.max_calls"),
    ],
)
def test_the_scarcest_resource_limits_the_calls(scarce: dict[str, object], calls: int, limit: str) -> None:
    found = fits(**scarce)
    assert found.calls == calls
    assert found.limit.startswith(limit)


def test_connections_take_at_most_a_quarter_of_the_descriptors() -> None:
    assert connection_limit(1_000, descriptors=20_000) == 1_000
    assert connection_limit(1_000, descriptors=256) == 64


def test_the_text_says_how_many_and_what_limits_them() -> None:
    assert str(fits(ports=PortRange(10_000, 31_999))) == (
        "room for 5,500 two-leg calls at a time, limited by the ports 10000-31999 (widen rtp.ports)"
    )


@pytest.fixture
def low_soft_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("low_soft_limit")
def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert raise_descriptor_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
