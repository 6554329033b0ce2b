"""`siprec serve`: run the recorder in the foreground."""

import shlex
import shutil
import sys
from pathlib import Path

from siprec.cli.errors import CommandError
from siprec.cli.options import ConfigFile, configuration


def serve(config: ConfigFile = None) -> int:
    """Run the recorder until Ctrl-C, SIGTERM or the end of its terminal; open recordings are finished first.

    Without a terminal, SIGHUP takes over what can change while it runs.
    """
    from siprec.daemon import serve as daemon  # only this command needs the daemon and all that it loads

    probe = f"{program(sys.argv[0])} probe"
    if config is not None:
        probe += f" -c {shlex.quote(str(config))}"
    try:
        return daemon.serve(configuration(config), lambda: configuration(config), probe=probe)
    except daemon.StartError as error:
        raise CommandError(str(error)) from None


def program(started_as: str) -> str:
    """What to type to run this program again: `siprec` where that is found, else where it is, seen from this folder."""
    here, folder = Path(started_as).absolute(), Path.cwd()
    found = shutil.which("siprec")
    if here.name != "siprec" or (found is not None and Path(found).resolve() == here.resolve()):
        return "siprec"
    below = folder in here.parent.parents and folder != Path("/")
    return shlex.quote(str(here.relative_to(folder) if below else here))
