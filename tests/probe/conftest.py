from collections.abc import Iterator

import pytest

from tests.helpers.daemon import Daemon, running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A recorder for all tests of a module."""
    with running(tmp_path_factory.mktemp("recorder"), dtmf={"store": "digits"}) as shared:
        yield shared
        shared.stop()
