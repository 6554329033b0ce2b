"""How the packages may depend on each other, and how large their parts may be."""

import ast
import statistics
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ARROWS: dict[str, set[str]] = {
    "sip": set(),
    "sdp": set(),
    "rtp": set(),
    "codecs": set(),
    "storage": set(),
    "config": set(),
    "recording": {"sip", "sdp"},
    "net": {"sip"},
    "media": {"rtp", "codecs", "storage"},
    "daemon": {"config", "net", "recording", "media", "storage", "sip", "sdp.stream", "rtp.ports"},
    "probe": {"net", "sip", "sdp", "recording", "rtp", "codecs", "storage"},
    "cli": {
        "config",
        "storage",
        "probe",
        "daemon.control_client",
        "daemon.serve",
        "codecs.registry",
        "sdp.crypto",
        "media.audio_copy",
        "media.kept",
        "media.meaning",
        "media.redecode",
    },
}
"What each package may import besides itself; `a.b` allows one module."

CLOCKS = {"time", "random", "secrets"}
WAITING = {
    "asyncio",
    "socket",
    "ssl",
    "threading",
    "selectors",
    "multiprocessing",
    "subprocess",
    "concurrent",
}
BANNED: dict[str, set[str]] = {
    "sip": CLOCKS | WAITING,
    "sdp": CLOCKS | WAITING,
    "recording": CLOCKS | WAITING,
    "codecs": CLOCKS | WAITING,
    "rtp": CLOCKS | WAITING,
    "config": CLOCKS | WAITING,
    "storage": {"asyncio", "socket", "ssl", "selectors"},
}
ARGUMENTS = {"random.Random"}
"Types of what is handed in from outside."
SHELLS = {"rtp/receiver.py", "rtp/ports.py"}
"Modules in pure packages that own sockets."

FILE_LINES, FUNCTION_LINES, MEDIAN_FUNCTION_LINES, DOCUMENTED = 400, 60, 12, 0.9
VAGUE = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _package() -> Path:
    spec = find_spec("siprec")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


PACKAGE = _package()
MODULES = sorted(
    file.relative_to(PACKAGE).as_posix()
    for folder in (PACKAGE, *(PACKAGE / name for name in ARROWS))
    for file in (folder.glob("*.py") if folder == PACKAGE else folder.rglob("*.py"))
)


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text())


def imports(module: ast.Module) -> Iterator[str]:
    """Every module that is imported, wherever in the file."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(module: str) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree(module)) if isinstance(node, Function))


def lines(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def allowed(imported: str, module: str) -> bool:
    """Whether `siprec.x.y` may be imported in a module."""
    package = module.split("/")[0]
    targets = {package} | ARROWS[package]
    inside = imported.removeprefix("siprec.") + "."
    return any(inside.startswith(f"{target}.") for target in targets)


def test_every_folder_has_its_arrows() -> None:
    folders = {file.name for file in PACKAGE.iterdir() if file.is_dir() and file.name != "__pycache__"}
    assert folders <= set(ARROWS)


@pytest.mark.parametrize("package", ARROWS)
def test_packages_import_only_what_their_arrows_allow(package: str) -> None:
    found = {
        (module, imported)
        for module in MODULES
        if module.startswith(f"{package}/")
        for imported in imports(tree(module))
        if imported.startswith("siprec.") and not allowed(imported, module)
    }
    assert found == set()


@pytest.mark.parametrize("package", BANNED)
def test_pure_packages_have_no_clock_and_nothing_that_waits(package: str) -> None:
    found = {
        (module, imported)
        for module in MODULES
        if module.startswith(f"{package}/") and module not in SHELLS
        for imported in imports(tree(module))
        if imported.split(".")[0] in BANNED[package] and imported not in ARGUMENTS
    }
    assert found == set()


@pytest.mark.parametrize("package", ["sip", "sdp", "recording", "codecs", "rtp", "config", "storage"])
def test_pure_packages_do_not_ask_what_time_it_is(package: str) -> None:
    asking = {
        (module, node.lineno)
        for module in MODULES
        if module.startswith(f"{package}/") and module not in SHELLS
        for node in ast.walk(tree(module))
        if (isinstance(node, ast.Attribute) and node.attr in ("utcnow", "today", "urandom", "uuid1", "uuid4"))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "now")
    }
    assert asking == set()


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_are_small_and_named_for_what_they_hold(module: str) -> None:
    assert Path(module).stem not in VAGUE
    assert len((PACKAGE / module).read_text().splitlines()) <= FILE_LINES
    assert [(f.name, lines(f)) for f in functions(module) if lines(f) > FUNCTION_LINES] == []


def test_half_of_the_functions_are_short() -> None:
    assert (
        statistics.median(lines(f) for module in MODULES for f in functions(module)) <= MEDIAN_FUNCTION_LINES
    )


def test_public_functions_are_documented() -> None:
    public = [
        (module, node.name, ast.get_docstring(node))
        for module in MODULES
        for scope in _public_scopes(tree(module))
        for node in scope.body
        if isinstance(node, Function) and not node.name.startswith("_")
    ]
    undocumented = [(module, name) for module, name, docstring in public if docstring is None]
    assert len(undocumented) <= (1 - DOCUMENTED) * len(public), undocumented


def _public_scopes(module: ast.Module) -> Iterator[ast.Module | ast.ClassDef]:
    yield module
    yield from (
        node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
