"""Faults that a command reports in one line."""


class CommandError(Exception):
    """The command could not be done; the text says why and what to do. Exit status 1."""
