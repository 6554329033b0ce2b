"""rtpdump files, as rtptools and Wireshark (4.2 and later) read them: packets as received, each with its arrival.

A line `#!rtpplay1.0 address/port`, a header of 16 bytes (start of the capture, source), then per packet a header of
8 bytes (length of the record, length of the packet, arrival in ms since the start) and the packet. Big endian.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from siprec.storage.sink import Sink

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MAGIC = b"#!rtpplay1.0 "
_START = struct.Struct(">IIIHH")
_RECORD = struct.Struct(">HHI")
_MAX_PACKET = 0xFFFF - _RECORD.size
_MAX_OFFSET_MS = 0xFFFFFFFF


class RtpdumpError(ValueError):
    """Not an rtpdump file; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpdumpHeader:
    """Where and when a capture began: `start_us` in microseconds since 1970, the address and port of the sender."""

    start_us: int
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpedPacket:
    """One packet: its arrival in ms after the start, its bytes, and whether it was marked as RTCP."""

    offset_ms: int
    data: bytes
    rtcp: bool


class RtpdumpWriter:
    """Appends packets to a file behind a sink until `max_bytes`; what does not fit is counted, not written.

    The file ends at the first packet that does not fit, so what is kept is a whole beginning.
    """

    def __init__(self, sink: Sink, header: RtpdumpHeader, *, max_bytes: int) -> None:
        self._sink, self._max, self._full = sink, max_bytes, False
        self._pending = _file_header(header)
        self._size = 0
        self.packets = 0
        "Packets in the file."
        self.left_out = 0
        "Packets that were not written because the file had reached its bound."

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def append(self, packets: Iterable[tuple[int, Buffer]]) -> None:
        """Write a batch of (arrival in ms after the start, packet) in one go.

        Raises StorageError; then nothing of the batch is in the file or counted, and it may be repeated.
        """
        out, kept, left_out, full = bytearray(self._pending), 0, 0, self._full
        for offset_ms, packet in packets:
            data = bytes(packet)
            full = full or self._size + len(out) + _RECORD.size + len(data) > self._max
            if full or len(data) > _MAX_PACKET:
                left_out += 1
                continue
            out += _RECORD.pack(_RECORD.size + len(data), len(data), min(max(offset_ms, 0), _MAX_OFFSET_MS))
            out += data
            kept += 1
        if kept:
            self._sink.write(self._size, out)
            self._size, self._pending = self._size + len(out), b""
        self.packets, self.left_out, self._full = self.packets + kept, self.left_out + left_out, full

    def close(self) -> None:
        """Close the sink. Raises StorageError."""
        self._sink.close()


def _file_header(header: RtpdumpHeader) -> bytes:
    address = ipaddress.ip_address(header.address)
    source = int(address) if address.version == 4 else 0
    seconds, micros = divmod(header.start_us, 1_000_000)
    line = _MAGIC + f"{address.compressed}/{header.port}\n".encode("ascii")
    return line + _START.pack(seconds & 0xFFFFFFFF, micros, source, header.port, 0)


class RtpdumpReader:
    """Reads a file from its bytes; iterate for the packets.

    A file that ends within a record (its writer was killed) gives what is whole, and `torn` is then True.
    Raises RtpdumpError if the beginning is not that of an rtpdump file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.header, self._at = _parse_file_header(data)
        self.torn = False

    def __iter__(self) -> Iterator[DumpedPacket]:
        at, data = self._at, self._data
        while at < len(data):
            if at + _RECORD.size > len(data):
                break
            length, packet_length, offset_ms = _RECORD.unpack_from(data, at)
            if length < _RECORD.size or at + length > len(data):
                break
            yield DumpedPacket(offset_ms=offset_ms, data=data[at + 8 : at + length], rtcp=packet_length == 0)
            at += length
        self.torn = at < len(data)


def _parse_file_header(data: bytes) -> tuple[RtpdumpHeader, int]:
    line, newline, _rest = data[:256].partition(b"\n")
    address, slash, port = line.removeprefix(_MAGIC).decode("latin-1").rpartition("/")
    if not (line.startswith(_MAGIC) and newline and slash and port.isascii() and port.isdigit()):
        raise RtpdumpError("does not begin with a line #!rtpplay1.0 address/port")
    at = len(line) + 1
    if len(data) < at + _START.size:
        raise RtpdumpError("ends within its header")
    seconds, micros, _source, _port, _padding = _START.unpack_from(data, at)
    header = RtpdumpHeader(start_us=seconds * 1_000_000 + micros, address=address, port=int(port))
    return header, at + _START.size
