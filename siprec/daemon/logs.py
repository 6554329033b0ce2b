"""The log: one line per event on stderr, with the recording it is about.

INFO: a recording begins or ends, the daemon changes state. WARNING: audio or a call was lost, a limit was hit.
ERROR: our fault, or the disk's. DEBUG: SIP messages, `<` received and `>` sent.
"""

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from queue import Full, Queue
from typing import Any, TextIO

QUEUE_LINES = 10_000
CLOSE_S = 2.0

_SECRETS = (
    (re.compile(r"(?i)(inline:)[A-Za-z0-9+/=]+"), r"\1…"),  # SDES keys, RFC 4568 6.1
    (re.compile(r"(?i)((?:proxy-)?authorization\s*:\s*)(?:(?!\\r|\\n)[^\r\n])+"), r"\1…"),
    (re.compile(r"(://[^/\s:@]{0,255}:)[^/\s@]{1,255}@"), r"\1…@"),  # the password of a URL
)
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class RecordingLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry the id of one recording."""

    def __init__(self, logger: logging.Logger, recording: str) -> None:
        super().__init__(logger, {"recording": recording})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the id in front."""
        assert self.extra is not None
        return f"[{self.extra['recording']}] {msg}", kwargs


class LineFormatter(logging.Formatter):
    """One line per event: control bytes escaped, secrets cut, a traceback folded into the line.

    For the journal a line starts with its priority (sd-daemon(3)) and has no time, which the journal adds itself.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        text = one_line(super().format(record))
        if self._journal:
            return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return f"{at.replace('+00:00', 'Z')} {text}"


def one_line(text: str) -> str:
    """`text` without secrets, every control or otherwise unprintable character escaped."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LogThread(logging.Handler):
    """Hands lines to a thread that writes them, so that nobody who logs waits for a slow reader of stderr.

    The queue is bounded; what does not fit is dropped and counted in `dropped`.
    """

    def __init__(self, stream: TextIO, *, journal: bool) -> None:
        super().__init__()
        self.setFormatter(LineFormatter(journal=journal))
        self.dropped = 0
        self._stream = stream
        self._lines: Queue[str | None] = Queue(QUEUE_LINES)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record, or count it as dropped."""
        try:
            self._lines.put_nowait(self.format(record))
        except Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is queued and end the thread; a reader that stalls is waited for CLOSE_S seconds at each."""
        with contextlib.suppress(Full):
            self._lines.put(None, timeout=CLOSE_S)
            self._thread.join(CLOSE_S)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads, or the stream is closed: there is nowhere to say so
                self.dropped += 1


def start(level: str, *, environ: Mapping[str, str], stream: TextIO | None = None) -> LogThread:
    """Log from `level` up to `stream` (stderr); the caller closes what is returned when it ends."""
    stream = sys.stderr if stream is None else stream
    thread = LogThread(stream, journal=_is_journal(environ, stream))
    root = logging.getLogger()
    root.addHandler(thread)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # what it says of a start is not an event
    set_level(level)
    return thread


def stop(thread: LogThread) -> None:
    """Undo `start`."""
    logging.getLogger().removeHandler(thread)
    thread.close()


def set_level(level: str) -> None:
    """Change the least important level that is written: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())


def lower(one: str, other: str) -> str:
    """The one of two levels at which more is written."""
    return min(one, other, key=lambda level: logging.getLevelNamesMapping()[level.upper()])


def _is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether `stream` goes to the journal: `$JOURNAL_STREAM` names its device and inode (systemd.exec(5))."""
    try:
        at = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{at.st_dev}:{at.st_ino}"
