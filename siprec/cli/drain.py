"""`siprec drain`: take no new calls, and wait until the running ones are over."""

import json
import sys
import time
from typing import Annotated, Any, cast

import typer

from siprec.cli.errors import CommandError
from siprec.cli.options import AsJson, ConfigFile, configuration
from siprec.daemon.control_client import ControlClient

PERIOD_S = 0.2


def drain(
    config: ConfigFile = None,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Take new calls again.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Refuse new calls with 503, let the running ones go on, and wait for their end."""
    with ControlClient(configuration(config).control.socket) as daemon:
        status = _status(daemon, "drain", undo=undo)
        if not undo and not no_wait:
            status = _wait(daemon, status, quiet=as_json)
    if as_json:
        print(json.dumps(status, indent=1))
    else:
        print(_outcome(status))


def _status(daemon: ControlClient, command: str, **args: object) -> dict[str, Any]:
    return cast(dict[str, Any], daemon.call(command, **args))


def _wait(daemon: ControlClient, status: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Until the last recording is written. Raises CommandError when somebody undoes the drain meanwhile."""
    said = None
    while status["open"]:
        if status["open"] != said and not quiet:
            said = status["open"]
            _say(said)
        time.sleep(PERIOD_S)
        status = _status(daemon, "status")
        if not status["draining"]:
            raise CommandError("the drain was undone; new calls are taken again")
    return status


def _say(left: int) -> None:
    """How many are left: in place on a terminal, else a line for each change."""
    text = f"waiting for {_recordings(left)}"
    terminal = sys.stdout.isatty()
    print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", flush=True)


def _outcome(status: dict[str, Any]) -> str:
    if not status["draining"]:
        text = "new calls are taken"
    elif status["open"]:
        left = status["open"]
        text = f"new calls are refused; {_recordings(left)} {'goes' if left == 1 else 'go'} on"
    else:
        text = "new calls are refused; no recording is open"
    return f"\r\x1b[K{text}" if sys.stdout.isatty() else text


def _recordings(count: int) -> str:
    return f"{count:,} {'recording' if count == 1 else 'recordings'}"
