"""`siprec top`: the calls that go on now, and how loud they are."""

import contextlib
import json
import sys
import time
from typing import Any, cast

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from siprec.cli.options import AsJson, ConfigFile, configuration
from siprec.cli.text import duration, name
from siprec.daemon.control_client import ControlClient
from siprec.storage.model import Participant

PERIOD_S = 0.5
PIPE_WIDTH = 1_000
HEAD_LINES = 4
"Lines of the screen that are no calls: above the table, its header, below it, the cursor."
FLOOR_DB = -60.0
"Where the bar of a level begins; it ends at full scale."
BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"

Snapshot = dict[str, Any]


def top(config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Show the running calls with their levels; on a terminal until Ctrl-C."""
    with ControlClient(configuration(config).control.socket) as daemon:
        if as_json:
            print(json.dumps(daemon.call("top"), indent=1))
            return
        console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
        if console.is_terminal:
            _watch(daemon, console)
        else:
            console.print(screen(_snapshot(daemon)))


def _snapshot(daemon: ControlClient) -> Snapshot:
    return cast(Snapshot, daemon.call("top"))


def _watch(daemon: ControlClient, console: Console) -> None:
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(screen(_snapshot(daemon), lines=console.height - HEAD_LINES), refresh=True)
            time.sleep(PERIOD_S)


def screen(snapshot: Snapshot, *, lines: int | None = None) -> Group:
    """One picture of the running calls, newest first; at most so many lines of legs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("leg", no_wrap=True)
    table.add_column("party")
    table.add_column("level", no_wrap=True)
    table.add_column("recording")
    calls, shown, used = snapshot["calls"], 0, 0
    for call in reversed(calls):
        used += max(1, len(call["legs"]))
        if lines is not None and used > lines:
            break
        _add(table, call)
        shown += 1
    more = [Text(f"and {len(calls) - shown} more")] if shown < len(calls) else []
    return Group(Text(_summary(snapshot)), table, *more)


def _summary(snapshot: Snapshot) -> str:
    count = len(snapshot["calls"])
    draining = "; draining, new calls are refused" if snapshot["draining"] else ""
    return f"{count:,} {'call' if count == 1 else 'calls'}, room for {snapshot['capacity']:,}{draining}"


def _add(table: Table, call: dict[str, Any]) -> None:
    length, identity = duration(call["duration_s"]), call["id"]
    for leg in call["legs"]:
        who = ", ".join(name(Participant(**person)) for person in leg["participants"])
        table.add_row(length, leg["role"], _cut(who or "unknown"), Text(level(leg)), _cut(identity))
        length = identity = ""


def _cut(text: str) -> Text:
    """Text that gives way on a narrow terminal."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def level(leg: dict[str, Any]) -> str:
    """The level of a leg as a bar and in dB below full scale, or why there is none."""
    if not leg["active"]:
        return "on hold"
    db = leg["level_db"]
    return "nothing received" if db is None else f"{bar(db)} {db:6.1f} dB"


def bar(db: float, cells: int = BAR_CELLS) -> str:
    """A level as a bar of so many cells, in steps of an eighth of one."""
    eighths = round(min(1.0, max(0.0, 1 - db / FLOOR_DB)) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)
