"""A worker that a test drives by hand, and the check that no descriptor is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.media_rig import MediaRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., MediaRig]]:
    """`rig(**settings)`: a worker with recordings in a folder of its own."""
    rigs: list[MediaRig] = []

    def new(**settings: int) -> MediaRig:
        rigs.append(MediaRig(tmp_path, **settings))
        return rigs[-1]

    yield new
    for one in rigs:
        one.stop()


@pytest.fixture(autouse=True)
def _no_file_left_open(tmp_path: Path) -> Iterator[None]:
    """No descriptor of a file in the test's folder stays open, in whatever way the recording ended."""
    yield
    open_files = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(str(tmp_path)):
            open_files.append(target)
    assert open_files == []
