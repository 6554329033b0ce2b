"""conf/siprec.yaml: the example says what the model says."""

import re
from pathlib import Path

import pytest
import yaml

from siprec.config import Config, differences, load
from siprec.config.model import SECTIONS, keys
from siprec.daemon.app import RELOADABLE

EXAMPLE = Path(__file__).parents[2] / "conf/siprec.yaml"


def test_the_example_has_every_key_in_the_order_of_the_model() -> None:
    written = yaml.safe_load(EXAMPLE.read_text())
    assert list(written) == list(SECTIONS)
    assert [(section, name) for section in written for name in written[section]] == [
        (section, name) for section, name, _ in keys()
    ]


def test_the_example_changes_no_default(tmp_path: Path) -> None:
    (tmp_path / "siprec.yaml").write_text(EXAMPLE.read_text())
    assert differences(
        load(environ={}, folder=tmp_path), load(Path("/dev/null"), environ={}, folder=tmp_path)
    ) == (
        "storage.path",
        "control.socket",
    )
    example = load(environ={}, folder=tmp_path)
    assert example.storage.path == tmp_path / Config().storage.path
    assert example.control.socket == tmp_path / Config().control.socket


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_example_is_explained_by_a_comment(section: str) -> None:
    lines = EXAMPLE.read_text().splitlines()
    start = lines.index(f"{section}:")
    assert lines[start + 1].startswith("  # ")


def test_the_head_of_the_example_names_the_keys_that_a_reload_takes_over() -> None:
    head = EXAMPLE.read_text().partition("\nsip:")[0]
    said = re.search(r"takes over (.*?);", head, re.DOTALL)
    assert said is not None
    assert tuple(re.findall(r"[a-z]+\.[a-z_]+", said[1])) == RELOADABLE
