"""The local journal: what is promised is on the disk before it is promised.

`<storage.path>/journal/` holds segments, numbered from 1, that are only ever appended to. A segment begins with a line
that names the version, its number and the journal; each record is one line: length, CRC-32 and JSON.
"""

from siprec.storage.journal.reader import entries, journal_id, lag_bytes
from siprec.storage.journal.record import START, Damage, Entry, Position
from siprec.storage.journal.writer import JournalClosed, JournalLocked, JournalWriter

__all__ = [
    "START",
    "Damage",
    "Entry",
    "JournalClosed",
    "JournalLocked",
    "JournalWriter",
    "Position",
    "entries",
    "journal_id",
    "lag_bytes",
]
