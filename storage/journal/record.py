"""Segments and records as bytes. No file is touched here."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

VERSION = 1
_HEADER = re.compile(rb"siprec-journal (\d{1,9}) (\d{1,18}) ([0-9a-f]{16})\n")
_PREFIX = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{8}) ")
_PREFIX_SIZE = 18


class Position(NamedTuple):
    """A place between two records: the number of the segment and the offset in it. Positions sort as records do."""

    segment: int
    offset: int


START = Position(0, 0)
"Before everything."


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record that was read, and the place behind it."""

    record: dict[str, Any]
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Bytes that are no record: where they begin, the place behind them, and what is wrong.

    At the end of a segment this is a torn tail: an append that was never acknowledged.
    """

    start: Position
    position: Position
    reason: str


class SegmentHeader(NamedTuple):
    """The first line of a segment."""

    version: int
    number: int
    journal: str
    "16 hexadecimal digits, made with the journal's first segment."
    size: int


def encode_record(record: Mapping[str, Any]) -> bytes:
    """One line. Raises TypeError or ValueError for what JSON cannot hold, NaN and infinities included."""
    return frame_text(json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii"))


def frame_text(text: bytes) -> bytes:
    """The line of a record that is JSON already, in ASCII and without a line break."""
    length = b"%08x " % len(text)
    return b"%b%08x %b\n" % (length, zlib.crc32(text, zlib.crc32(length)), text)


def encode_header(number: int, journal: str) -> bytes:
    """The first line of a new segment."""
    return f"siprec-journal {VERSION} {number} {journal}\n".encode("ascii")


def decode_header(data: bytes) -> SegmentHeader | None:
    """The header at the start of a segment, None if there is none that is whole."""
    found = _HEADER.match(data)
    if not found:
        return None
    return SegmentHeader(int(found[1]), int(found[2]), found[3].decode("ascii"), found.end())


def decode_records(data: bytes, number: int, offset: int) -> Iterator[Entry | Damage]:
    """The records of `data`, which begins at `offset` of segment `number`, between two records.

    After damage, reading goes on at the next line that is a record, so that one bad sector hides nothing else.
    """
    at = 0
    while at < len(data):
        found = _decode_at(data, at)
        if not isinstance(found, str):
            record, at = found
            yield Entry(record=record, position=Position(number, offset + at))
            continue
        start, at = at, _next_record(data, at)
        yield Damage(
            start=Position(number, offset + start), position=Position(number, offset + at), reason=found
        )


def _next_record(data: bytes, at: int) -> int:
    while newline := data.find(b"\n", at) + 1:
        at = newline
        if at < len(data) and not isinstance(_decode_at(data, at), str):
            return at
    return len(data)


def _decode_at(data: bytes, at: int) -> tuple[dict[str, Any], int] | str:
    """The record at `at` and the place behind it, or what is wrong."""
    prefix = _PREFIX.match(data, at)
    if not prefix:
        return "torn" if len(data) - at < _PREFIX_SIZE else "no length and checksum"
    start, end = prefix.end(), prefix.end() + int(prefix[1], 16)
    if end + 1 > len(data):
        return "torn"
    text = data[start:end]
    if data[end : end + 1] != b"\n" or zlib.crc32(text, zlib.crc32(data[at : at + 9])) != int(prefix[2], 16):
        return "wrong checksum"
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return "no JSON"
    return (record, end + 1) if isinstance(record, dict) else "no JSON object"
