"""T.38 datagrams as a fax gateway sends them."""

from __future__ import annotations

from collections.abc import Sequence


def udptl(seq: int, ifp: bytes, *, earlier: Sequence[bytes] = (), parity: Sequence[bytes] = ()) -> bytes:
    """A UDPTL datagram: the primary IFP packet, and earlier ones or parity behind it."""
    data = seq.to_bytes(2, "big") + _open(ifp)
    if parity:
        return data + b"\x80\x01\x03" + bytes([len(parity)]) + b"".join(map(_open, parity))
    return data + b"\0" + bytes([len(earlier)]) + b"".join(map(_open, earlier))


def _open(data: bytes) -> bytes:
    size = len(data)
    return (bytes([size]) if size < 0x80 else (0x8000 | size).to_bytes(2, "big")) + data
