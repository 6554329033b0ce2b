"""`siprec check-config`: everything that is wrong with the configuration, or that nothing is."""

import json
import os
from pathlib import Path

import typer

from siprec.cli.options import AsJson, ConfigFile
from siprec.config import ConfigError, find_file, load


def check_config(config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Check the configuration and report every fault in it."""
    folder = Path.cwd()
    file = find_file(config, environ=os.environ, folder=folder)
    problems: tuple[str, ...] = ()
    try:
        load(config, environ=os.environ, folder=folder)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        print(
            json.dumps(
                {"file": None if file is None else str(file), "ok": not problems, "problems": problems}
            )
        )
    elif problems:
        for problem in problems:
            typer.echo(problem, err=True)
    else:
        print(f"ok: {file or 'no file, the defaults are in force'}")
    if problems:
        raise typer.Exit(1)
