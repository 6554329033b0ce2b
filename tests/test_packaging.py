"""What is built, installed and run as a service."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IN_TREE = (ROOT / "siprec").is_dir()
FOLDERS = {"siprec": "siprec", "siprec.rtp": "rtp", "siprec.codecs": "codecs", "siprec.storage": "storage"}
EXPOSURE = 20
"Worst result of `systemd-analyze security`, in tenths: 0 is sealed, 100 unprotected."

RequireTool = Callable[[str, str], str]
in_tree = pytest.mark.skipif(not IN_TREE, reason="the sources are not beside the tests")


def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def pinned() -> dict[str, str]:
    """Version by normalised name of constraints.txt."""
    found = (
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"
    )
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


@in_tree
def test_every_folder_with_python_is_in_the_list_of_packages() -> None:
    on_disk = {
        ".".join((name, *folder.relative_to(ROOT / top).parts))
        for name, top in FOLDERS.items()
        for folder in (ROOT / top, *(ROOT / top).rglob("*/"))
        if not any(parent.is_symlink() for parent in (folder, *folder.parents)) and any(folder.glob("*.py"))
    }
    tools = project()["tool"]
    assert set(tools["setuptools"]["packages"]) == on_disk  # type: ignore[index]
    assert tools["setuptools"]["package-dir"] == FOLDERS  # type: ignore[index]


@in_tree
def test_the_root_folders_are_linked_into_the_package() -> None:
    for name in ("rtp", "codecs", "storage"):
        assert os.readlink(ROOT / "siprec" / name) == f"../{name}"


@in_tree
def test_the_root_does_not_hide_the_codecs_of_python() -> None:
    assert not (ROOT / "codecs/__init__.py").exists()
    shown = [sys.executable, "-c", "import codecs; print(codecs.__file__)"]
    found = subprocess.run(
        shown, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert str(ROOT / "codecs") not in found.stdout


def test_the_source_package_has_what_the_service_needs() -> None:
    assert "graft conf" in (ROOT / "MANIFEST.in").read_text()


def test_every_dependency_is_pinned_to_a_version_and_to_no_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    table = project()["project"]
    extras: dict[str, list[str]] = table["optional-dependencies"]  # type: ignore[assignment]
    wanted: list[str] = [*table["dependencies"], *(one for extra in extras.values() for one in extra)]  # type: ignore[misc]
    names = {re.match(r"[A-Za-z0-9._-]+", one)[0] for one in wanted}  # type: ignore[index]
    assert {name.lower() for name in names} - set(pinned()) == set()


def test_the_installed_configuration_differs_in_two_paths() -> None:
    """`make install` puts the service's folders in place of these two lines."""
    lines = (ROOT / "conf/siprec.yaml").read_text().splitlines()
    assert lines.count("  path: recordings") == 1
    assert lines.count("  socket: siprec.sock") == 1


def python(folder: Path, name: str, *, version: str, venv: bool) -> None:
    """A stand-in for an interpreter, as far as conf/find-python asks it."""
    wrong = int(not "3.11" <= version < "3.14")
    (folder / name).write_text(
        "#!/bin/sh\n"
        f'case "$2" in *exit*) exit {wrong};;\n'
        f"*ensurepip*) exit {0 if venv else 1};; *print*) echo {version};; esac\n"
    )
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"python3": ("3.11", True)}, "python3"),
        (
            {"python3.11": ("3.11", True), "python3.12": ("3.12", True), "python3": ("3.09", True)},
            "python3.12",
        ),
        ({"python3.12": ("3.12", False), "python3.11": ("3.11", True)}, "python3.11"),
    ],
)
def test_the_first_python_that_has_venv_is_chosen(
    tmp_path: Path, there: dict[str, tuple[str, bool]], chosen: str
) -> None:
    for name, (version, venv) in there.items():
        python(tmp_path, name, version=version, venv=venv)
    found = subprocess.run(
        ["/bin/sh", ROOT / "conf/find-python"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"{tmp_path / chosen}\n"


@pytest.mark.parametrize(
    ("there", "wanted", "says"),
    [
        ({}, "", "Python 3.11 to 3.13 is missing: sudo apt-get install python3 python3-venv"),
        (
            {"python3": ("3.09", True)},
            "",
            "Python 3.11 to 3.13 is missing: sudo apt-get install python3 python3-venv",
        ),
        (
            {"python3": ("3.14", True)},
            "",
            "Python 3.11 to 3.13 is missing: sudo apt-get install python3 python3-venv",
        ),
        (
            {"python3.12": ("3.12", False), "python3": ("3.12", False)},
            "",
            "Python 3.12 is there but its venv is missing: sudo apt-get install python3.12-venv",
        ),
        (
            {"python3": ("3.11", True)},
            "python3.9",
            "python3.9 is not Python 3.11 to 3.13: sudo apt-get install python3 python3-venv",
        ),
    ],
)
def test_a_missing_python_is_named_with_the_command_that_installs_it(
    tmp_path: Path, there: dict[str, tuple[str, bool]], wanted: str, says: str
) -> None:
    for name, (version, venv) in there.items():
        python(tmp_path, name, version=version, venv=venv)
    found = subprocess.run(
        ["/bin/sh", ROOT / "conf/find-python"],
        env={"PATH": str(tmp_path), "PYTHON": wanted},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (1, "", f"{says}\n")


@pytest.mark.parametrize(
    ("version", "right"),
    [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), True), ((3, 14), False), ((4, 0), False)],
)
def test_the_versions_that_are_asked_for_are_those_that_are_tested(
    version: tuple[int, int], right: bool
) -> None:
    """The question that conf/find-python puts to an interpreter, put to one that claims to be of a version."""
    asked = re.search(r"^right='(.*)'$", (ROOT / "conf/find-python").read_text(), re.MULTILINE)
    assert asked is not None
    claim = f"import sys; sys.version_info = {version}; "
    done = subprocess.run([sys.executable, "-c", claim + asked[1]], check=False)
    assert (done.returncode == 0) == right


def test_systemd_accepts_the_unit(tmp_path: Path, require_tool: RequireTool) -> None:
    """With a program that exists: the real one is not installed here."""
    analyze = require_tool("systemd-analyze", "systemd")
    unit = tmp_path / "siprec.service"
    unit.write_text((ROOT / "conf/siprec.service").read_text().replace("/opt/siprec/bin/siprec", "/bin/true"))
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "siprec" in line]) == (0, [])


def test_the_unit_is_hardened(require_tool: RequireTool) -> None:
    analyze = require_tool("systemd-analyze", "systemd")
    done = subprocess.run(
        [
            analyze,
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={EXPOSURE}",
            ROOT / "conf/siprec.service",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


NO_WRITABLE_CODE = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
USE_LIBRARIES = """
import asyncio, sys, ctypes, numpy, soundfile, sqlalchemy, uvloop
from lxml import etree
etree.fromstring(b"<recording/>")
soundfile.write(sys.argv[1] if len(sys.argv) > 1 else "/dev/null", numpy.zeros((8, 2)), 8000, format="WAV")
uvloop.run(asyncio.sleep(0))
"""


def test_the_libraries_do_without_writable_code() -> None:
    """MemoryDenyWriteExecute= in the unit."""
    done = subprocess.run(
        [sys.executable, "-c", NO_WRITABLE_CODE, USE_LIBRARIES], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("this kernel cannot refuse writable code (Linux 6.3 can)")
    assert (done.returncode, done.stderr) == (0, "")
