"""`siprec serve` as a service manager starts it: with an environment, limits, and a start that may fail."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.daemon import SIPREC, free_tcp_port, rtp_range

END_S = 30.0


@dataclass(slots=True)
class Service:
    """A started `siprec serve` and what it says."""

    folder: Path
    settings: dict[str, dict[str, Any]]
    process: subprocess.Popen[bytes]

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text(errors="replace")

    @property
    def greeted(self) -> bool:
        """Whether it has said where to point an SBC."""
        assert self.process.poll() is None, self.err
        return "test call:" in self.out

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the metrics listener; 0 while nobody listens."""
        host, _, port = self.settings["metrics"]["listen"].partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except ConnectionError:
            return 0, ""
        finally:
            connection.close()

    def configure(self, **sections: dict[str, Any]) -> None:
        """Change the configuration file."""
        for name, section in sections.items():
            self.settings[name] = self.settings.get(name, {}) | section
        _write(self.folder, self.settings)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(END_S)


def _write(folder: Path, settings: dict[str, dict[str, Any]]) -> Path:
    file = folder / "siprec.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@contextmanager
def launched(
    folder: Path,
    *,
    command: Sequence[str] = (str(SIPREC), "serve"),
    environ: Mapping[str, str] | None = None,
    pairs: int = 10,
    stdin: int = subprocess.DEVNULL,
    **sections: dict[str, Any],
) -> Iterator[Service]:
    """`siprec serve` in a folder, on free ports; killed at the end if it still runs. Nothing is waited for."""
    folder.mkdir(exist_ok=True)
    short = tempfile.mkdtemp(prefix="siprec-")
    settings: dict[str, dict[str, Any]] = {
        "sip": {"listen": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]},
        "rtp": {"ports": rtp_range(pairs), "workers": 1, "pool_mb": 16, "quarantine_s": 0.1},
        "storage": {"path": "recordings", "low_water_mb": 0, "reserve_mb_per_call": 1},
        "control": {"socket": f"{short}/siprec.sock"},
        "metrics": {"listen": f"127.0.0.1:{free_tcp_port()}"},
    }
    for name, section in sections.items():
        settings[name] = settings.get(name, {}) | section
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [*command, "-c", str(_write(folder, settings))],
            stdin=stdin,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=os.environ | dict(environ or {}),
            start_new_session=True,
        )
    service = Service(folder, settings, process)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()
        shutil.rmtree(short, ignore_errors=True)
        print(service.out, service.err)
