"""Options that several commands have."""

import os
from pathlib import Path
from typing import Annotated

import typer

from siprec.config import Config, load

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="Configuration; else $SIPREC_CONFIG, ./siprec.yaml, /etc/siprec/siprec.yaml, or the defaults.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RecordingId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of a recording, or enough of its beginning to be unique.")
]


def configuration(file: Path | None) -> Config:
    """The configuration in force. Raises ConfigError."""
    return load(file, environ=os.environ, folder=Path.cwd())
