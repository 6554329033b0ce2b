"""`siprec ls`: the recordings, newest first."""

import datetime
import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siprec.cli import catalog
from siprec.cli.moments import ALLOWED, moment
from siprec.cli.options import AsJson, ConfigFile, configuration
from siprec.cli.text import duration, elapsed, local, name
from siprec.cli.text import verdict as verdict_text
from siprec.storage.catalog import Filter
from siprec.storage.model import RESULTS, STATES, Recording

PIPE_WIDTH = 1_000


def ls(
    config: ConfigFile = None,
    *,
    since: Annotated[str | None, typer.Option(help=f"Started at or after: {ALLOWED}.")] = None,
    until: Annotated[str | None, typer.Option(help="Started before; written like --since.")] = None,
    party: Annotated[
        str | None, typer.Option(help="Part of the name or the address of somebody in the call.")
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(STATES)}; may be repeated.")
    ] = None,
    verdict: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(RESULTS)}; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List recordings, newest first."""
    now = datetime.datetime.now().astimezone()
    chosen = Filter(
        states=_known(state, STATES, "--state"),
        results=_known(verdict, RESULTS, "--verdict"),
        since=_time(since, now, "--since"),
        until=_time(until, now, "--until"),
        party=party,
    )
    with catalog.reading(configuration(config)) as found:
        recordings = found.recordings(chosen, limit=limit)
    if as_json:
        json.dump([one.to_dict() for one in recordings], sys.stdout, indent=1)
        print()
    else:
        _print_table(recordings, now)


def _known(words: list[str] | None, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    for word in words or ():
        if word not in known:
            raise typer.BadParameter(f"{word!r} is none of {', '.join(known)}", param_hint=option)
    return tuple(words or ())


def _time(written: str | None, now: datetime.datetime, option: str) -> datetime.datetime | None:
    try:
        return None if written is None else moment(written, now=now)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _print_table(recordings: list[Recording], now: datetime.datetime) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("started", "length", "state", "verdict", "participants", "id"):
        table.add_column(column, overflow="fold", no_wrap=column in ("started", "length", "id"))
    for one in recordings:
        table.add_row(
            local(one.started_at),
            duration(elapsed(one, now=now)),
            one.state,
            Text(verdict_text(one)),
            Text(", ".join(name(participant) for participant in one.participants) or "-"),
            one.id,
        )
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else PIPE_WIDTH, highlight=False).print(table)
