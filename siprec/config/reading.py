"""Reading the configuration: which file, what the environment overrides, and everything that is wrong at once."""

import difflib
import errno
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siprec.config import document
from siprec.config.address import Listener
from siprec.config.document import DocumentError
from siprec.config.kinds import RefusedError
from siprec.config.model import SECTIONS, Config, keys

ENV_FILE = "SIPREC_CONFIG"
ENV_PREFIX = "SIPREC__"
SYSTEM_FILE = Path("/etc/siprec/siprec.yaml")

_KINDS = {(section, name): kind for section, name, kind in keys()}

_ANOTHER = "name another file with -c or $SIPREC_CONFIG"
_ADVICE = {errno.EACCES: f"join the group of that file, or {_ANOTHER}"}

_shown = reprlib.Repr()
_shown.maxlevel, _shown.maxlist, _shown.maxdict, _shown.maxstring, _shown.maxother = 2, 4, 4, 80, 80


class ConfigError(Exception):
    """A configuration that cannot be used. `problems` has one line for each fault."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(slots=True)
class _Reading:
    """What has been read so far: typed values by section and key, and the faults."""

    values: dict[tuple[str, str], object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, source: str, section: str, name: str, value: object) -> None:
        kind = _KINDS.get((section, name))
        if kind is None:
            self.problems.append(f"{source}: {_unknown(f'{section}.{name}')}")
            return
        try:
            self.values[section, name] = kind(value)
        except RefusedError as allowed:
            given = "nothing" if value is None else _shown.repr(value)
            self.problems.append(f"{source}: {section}.{name}: {given} was given, allowed is {allowed}")


def find_file(given: Path | None, *, environ: Mapping[str, str], folder: Path) -> Path | None:
    """The file in force: `given`, `$SIPREC_CONFIG`, `siprec.yaml` in `folder`, the system's; else None.

    A file that was named is returned whether it exists or not; the others only when they do.
    """
    if given is not None:
        return folder / given
    if named := environ.get(ENV_FILE):
        return folder / named
    return next((file for file in (folder / "siprec.yaml", SYSTEM_FILE) if file.is_file()), None)


def load(given: Path | None = None, *, environ: Mapping[str, str], folder: Path) -> Config:
    """Read the configuration in force.

    given: the file of `-c`, or None.   environ: the environment.   folder: the current directory.
    Raises ConfigError with every fault found.
    """
    file = find_file(given, environ=environ, folder=folder)
    reading = _Reading()
    if file is not None:
        _read_file(reading, file)
    _read_environment(reading, environ)
    base = folder if file is None else file.absolute().parent
    config = _build(reading, base)
    reading.problems.extend(_conflicts(config, reading))
    if reading.problems:
        raise ConfigError(reading.problems)
    return config


def _read_file(reading: _Reading, file: Path) -> None:
    try:
        with file.open("rb") as stream:
            raw = stream.read(document.MAX_BYTES + 1)
        tables = document.parse(raw.decode())
    except OSError as error:
        reading.problems.append(
            f"{file}: {(error.strerror or str(error)).lower()}; {_ADVICE.get(error.errno or 0, _ANOTHER)}"
        )
    except UnicodeDecodeError:
        reading.problems.append(f"{file}: not UTF-8 text")
    except DocumentError as error:
        reading.problems.append(f"{file}: {error}")
    else:
        _read_tables(reading, str(file), tables)


def _read_tables(reading: _Reading, source: str, tables: object) -> None:
    if tables is None:
        return
    if not isinstance(tables, dict):
        reading.problems.append(f"{source}: sections such as `sip:` were expected, not {_shown.repr(tables)}")
        return
    for section, table in tables.items():
        if section not in SECTIONS:
            reading.problems.append(f"{source}: {_unknown(str(section))}")
        elif isinstance(table, dict):
            for name, value in table.items():
                reading.put(source, section, str(name), value)
        elif table is not None:
            reading.problems.append(f"{source}: {section}: keys were expected, not {_shown.repr(table)}")


def _read_environment(reading: _Reading, environ: Mapping[str, str]) -> None:
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        section, _, name = variable.removeprefix(ENV_PREFIX).lower().partition("__")
        try:
            value = document.parse(environ[variable])
        except DocumentError as error:
            reading.problems.append(f"{variable}: {error}")
        else:
            reading.put(variable, section, name, value)


def _unknown(written: str) -> str:
    """Text for a key or section that does not exist, with the nearest that does."""
    written = "".join(c if c.isprintable() else "?" for c in written[:80])
    every = [".".join(pair) for pair in _KINDS]
    beside = [key for key in every if key.split(".")[0] == written.split(".")[0]]
    known = (beside or every) if "." in written else list(SECTIONS)
    near = difflib.get_close_matches(written, known, n=1, cutoff=0.0)
    return f"unknown key {written}, the nearest known one is {near[0]}"


def _build(reading: _Reading, base: Path) -> Config:
    """The configuration of what was read, defaults for the rest, paths completed from `base`."""
    sections: dict[str, Any] = {}
    for section, model in SECTIONS.items():
        chosen = {name: value for (at, name), value in reading.values.items() if at == section}
        draft = model(**chosen)
        paths = {
            n: getattr(draft, n) for at, n in _KINDS if at == section and isinstance(getattr(draft, n), Path)
        }
        sections[section] = model(**chosen | {name: base / value for name, value in paths.items()})
    return Config(**sections)


def _conflicts(config: Config, reading: _Reading) -> list[str]:
    """Faults that only show in several keys together."""
    sip = config.sip
    problems = []
    public = [listener for listener in sip.listen if not listener.at.ip.is_loopback]
    if public and (("sip", "allow") not in reading.values or _nobody_reaches(config, public)):
        problems.append(
            f"sip.allow: {public[0]} is reachable from outside; "
            "name the networks that may send calls, or `any` to let everyone"
        )
    if len(set(sip.listen)) < len(sip.listen):
        problems.append("sip.listen: the same listener is there twice")
    rtp = config.rtp.address
    if sip.advertise is not None and rtp != "::" and (":" in sip.advertise) != (":" in rtp):
        problems.append(
            f"sip.advertise: peers would send RTP to {sip.advertise}, and rtp.address {rtp} is of the other IP version; "
            "give both the same, or rtp.address `::`, which takes both"
        )
    return problems


def _nobody_reaches(config: Config, public: list[Listener]) -> bool:
    """Only loopback may send calls, to an address at which loopback never arrives."""
    closed = all(network.is_loopback for network in config.sip.allow)
    return closed and not any(listener.at.ip.is_unspecified for listener in public)
