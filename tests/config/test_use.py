"""A setting that nothing reads is a promise that nobody keeps."""

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from siprec.config.model import keys

ONE_CHOICE = {"rtp.receive", "storage.keep"}
"Keys with a single allowed value: there is nothing to read yet, and they say in words what comes."


def sources() -> Iterator[Path]:
    spec = find_spec("siprec")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    yield from (file for folder in ("daemon", "cli") for file in (package / folder).rglob("*.py"))


def read() -> set[str]:
    """Every `section.key` that the code of the daemon and the commands looks at."""
    found = set()
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Attribute(value=ast.Attribute(attr=section) | ast.Name(id=section), attr=name):
                    found.add(f"{section}.{name}")
    return found


def test_every_key_is_read() -> None:
    assert {f"{section}.{name}" for section, name, _ in keys()} - read() - ONE_CHOICE == set()
