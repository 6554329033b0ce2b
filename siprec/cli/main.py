"""Entry point: runs a command and turns its outcome into an exit status.

0: done. 1: it failed, one line on stderr says why. 2: used wrongly, which includes a wrong configuration.
"""

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from siprec.cli import check_config, drain, export, ls, probe, redecode, serve, show, top
from siprec.cli.errors import CommandError
from siprec.config import ConfigError
from siprec.daemon.control_client import CommandRefusedError, DaemonAwayError

app = typer.Typer(
    name="siprec",
    help="A session recording server for SIPREC (RFC 7866).",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("probe")(probe.probe)
app.command("ls")(ls.ls)
app.command("show")(show.show)
app.command("export")(export.export)
app.command("redecode")(redecode.redecode)
app.command("top")(top.top)
app.command("drain")(drain.drain)
app.command("check-config")(check_config.check_config)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"siprec {version('siprec')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Run one command line; returns the exit status."""
    try:
        status = app(args or ["--help"], prog_name="siprec", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _failed(f"{error.format_message()} (see {_command(error)} --help)", status=2)
    except ConfigError as error:
        return _failed(*error.problems, status=2)
    except (CommandError, CommandRefusedError, DaemonAwayError) as error:
        return _failed(str(error))
    except BrokenPipeError:
        _detach_stdout()
        return 1
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return status if isinstance(status, int) else 0


def _command(error: typer.TyperException) -> str:
    """The command that was used wrongly."""
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "siprec"


def _failed(*lines: str, status: int = 1) -> int:
    for line in lines:
        print(f"siprec: {' '.join(line.split())}", file=sys.stderr)
    return status


def _detach_stdout() -> None:
    """Whoever read our output has gone: let the interpreter's last flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
