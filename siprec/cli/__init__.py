"""The `siprec` command: one file per command."""
