"""Reads a journal, one that is being written or one that a crash left behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from siprec.storage.fileops import StrPath
from siprec.storage.journal.record import (
    START,
    VERSION,
    Damage,
    Entry,
    Position,
    decode_header,
    decode_records,
)

_NAME = re.compile(r"(\d{8,18})\.journal")


def segment_path(directory: StrPath, number: int) -> Path:
    """The file of a segment."""
    return Path(directory, f"{number:08d}.journal")


def segment_numbers(directory: StrPath) -> list[int]:
    """The segments that are there, oldest first; none if there is no directory."""
    try:
        names = [path.name for path in Path(directory).iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def journal_id(directory: StrPath) -> str | None:
    """Which journal this is, as its newest readable segment says; None for one without segments."""
    for number in reversed(segment_numbers(directory)):
        if header := decode_header(_read(segment_path(directory, number), 0, 128)):
            return header.journal
    return None


def entries(
    directory: StrPath, *, after: Position = START, until: Position | None = None
) -> Iterator[Entry | Damage]:
    """Records in order from `after`, which is a position that was read or stored before; and what is damaged.

    until: where to stop in a journal that is being written, `JournalWriter.durable`: what lies behind may be half
    written. Without it everything is read, and a torn tail is reported as Damage. A segment that is gone, because a
    checkpoint removed it, is passed over. Raises OSError.
    """
    for number in segment_numbers(directory):
        if number < after.segment or (until is not None and number > until.segment):
            continue
        start = after.offset if number == after.segment else 0
        end = until.offset if until is not None and number == until.segment else None
        data = _read(segment_path(directory, number), start, None if end is None else max(0, end - start))
        yield from _segment(data, number, start)


def _segment(data: bytes, number: int, start: int) -> Iterator[Entry | Damage]:
    if start:
        yield from decode_records(data, number, start)
        return
    header = decode_header(data)
    if header is not None and header.version == VERSION and header.number == number:
        yield from decode_records(data[header.size :], number, header.size)
    elif data:
        reason = "no header" if header is None else f"version {header.version}, number {header.number}"
        yield Damage(start=Position(number, 0), position=Position(number, len(data)), reason=reason)


def lag_bytes(directory: StrPath, after: Position, until: Position) -> int:
    """Bytes between two positions, as far as their segments are there."""
    total = 0
    for number in segment_numbers(directory):
        if after.segment <= number <= until.segment:
            start = after.offset if number == after.segment else 0
            end = until.offset if number == until.segment else segment_size(directory, number)
            total += max(0, end - start)
    return total


def segment_size(directory: StrPath, number: int) -> int:
    """Bytes of a segment, 0 if it is gone."""
    try:
        return segment_path(directory, number).stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, start: int, size: int | None) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(-1 if size is None else size)
    except FileNotFoundError:
        return b""
