"""`siprec serve`: run the recorder in the foreground."""

from siprec.cli.errors import CommandError
from siprec.cli.options import ConfigFile, configuration


def serve(config: ConfigFile = None) -> int:
    """Run the recorder until Ctrl-C or SIGTERM; open recordings are finished first."""
    from siprec.daemon import serve as daemon  # only this command needs the daemon and all that it loads

    try:
        return daemon.serve(configuration(config), lambda: configuration(config))
    except daemon.StartError as error:
        raise CommandError(str(error)) from None
