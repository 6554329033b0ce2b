"""What the main process and a media worker say to each other, over a SOCK_SEQPACKET pair.

One message a packet: JSON, with file descriptors beside it. The main process owns descriptors and memory; a worker
gets copies, so that another worker can get them too.
"""

from __future__ import annotations

import json
import os
import re
import socket
from array import array
from dataclasses import dataclass, field
from typing import Any

MAX_MESSAGE = 128 * 1024
MAX_FDS = 253
"SCM_RIGHTS takes no more in one message."
_FD_BYTES = array("i").itemsize
MAX_NAME = 32
"Of an encoding; a longer one is none that we know."
MAX_FMTP = 48
"Of the format parameters of one payload type that choose the decoder."
_LONGER_IN_JSON = re.compile(r"[^ !#-\[\]-~]")
"Characters that take more than a byte there; no encoding and no parameter that we know has any."


@dataclass(slots=True, kw_only=True)
class SrtpSpec:
    """Keys of a leg, as the SDP had them. They are nowhere but in the memory of the processes that need them."""

    suite: str
    keys: list[tuple[str, str]]
    "Of the peer: (master key and salt, MKI), in hexadecimal digits."
    local: str
    "Ours, for the reports that we send."
    required: bool
    "Plain RTP is not taken."

    def __repr__(self) -> str:
        return f"SrtpSpec({self.suite})"


@dataclass(slots=True, kw_only=True)
class LegSpec:
    """One leg of a recording: a row of the worker's state, its sockets, and what the SDP says."""

    leg: int
    channel: int
    dump: str
    "Name of the file for packets without a decoder; made by us."
    remote: tuple[str, int] | None
    "Where the SDP says RTP comes from; None when it does not say (hold, port 0)."
    rtcp_remote: tuple[str, int] | None
    payloads: dict[int, tuple[str, int, int, str]]
    "Payload type: (encoding name, clock, channels, fmtp)."
    active: bool = True
    mux: bool = False
    srtp: SrtpSpec | None = None
    "Keys; None for plain RTP."

    def __post_init__(self) -> None:
        self.payloads = {
            number: (_short(name, MAX_NAME), clock, channels, _short(fmtp, MAX_FMTP))
            for number, (name, clock, channels, fmtp) in self.payloads.items()
        }


def _short(text: str, length: int) -> str:
    return _LONGER_IN_JSON.sub("?", text[:length])


@dataclass(slots=True, kw_only=True)
class OpenRecording:
    """Begin to record. Descriptors: the audio file, then RTP and (unless mux) RTCP of each leg in turn."""

    recording: int
    path: str
    "Of the audio file; undecodable packets go beside it."
    rate: int
    "Of the file; 0: what arrives decides, up to `max_rate`."
    max_rate: int
    channels: int
    format: str
    epoch_ns: int
    "Zero of all positions [monotonic ns], earlier than any packet."
    epoch_unix_us: int
    "The same moment in microseconds since 1970, for people."
    legs: list[LegSpec]
    resume: bool = False
    "A worker before this one had it: state, rings and file go on where that one left them."


@dataclass(slots=True, kw_only=True)
class AddLeg:
    """A further leg joins a running recording. Descriptors: RTP and (unless mux) RTCP."""

    recording: int
    spec: LegSpec
    resume: bool = False


@dataclass(slots=True, kw_only=True)
class Answered:
    """The 200 OK left at this time [monotonic ns]."""

    recording: int
    at_ns: int


@dataclass(slots=True, kw_only=True)
class UpdateLeg:
    """A new offer/answer changed a leg: addresses, payload types, direction."""

    spec: LegSpec
    at_ns: int


@dataclass(slots=True, kw_only=True)
class EndLeg:
    """A leg ends while the recording goes on: what comes later is counted, not recorded."""

    leg: int
    at_ns: int


@dataclass(slots=True, kw_only=True)
class CloseRecording:
    """The recording ends at this time [monotonic ns]; the worker answers with Closed."""

    recording: int
    at_ns: int


@dataclass(slots=True, kw_only=True)
class Stop:
    """Finish everything that is closed and end."""


@dataclass(slots=True, kw_only=True)
class RateFixed:
    """What arrived has decided on the rate of a recording's file [Hz]."""

    recording: int
    rate: int


@dataclass(slots=True, kw_only=True)
class LegEvent:
    """Something happened on a leg, at `at_ns` [monotonic]."""

    recording: int
    leg: int
    type: str
    at_ns: int
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class LegReport:
    """What a leg received, at its end. Times in seconds on the recording's clock."""

    leg: int
    counts: dict[str, int]
    "packets, octets, lost, late, duplicates, dropped, foreign, broken, capped, undecodable, not_kept, discarded, ..."
    ssrcs: list[int]
    codecs: list[str]
    jitter_ms: float
    first_at: float | None
    last_at: float | None
    covered_until: float | None
    "Behind the last sample of its audio."
    gaps: list[tuple[float, float, int]]
    "(from, to, packets) of what is missing, at most 1000; 0 packets: they came, but too late."
    spans: dict[str, tuple[float, float]]
    "Arrival of the first and the last packet of what could not be recorded, by the verdict's reason."
    sender_packets: int | None
    "Packets that came, are missing by number, or that senders count beyond; None if no sender reported."


@dataclass(slots=True, kw_only=True)
class Closed:
    """A recording is on disk, or `error` says why not all of it is."""

    recording: int
    t0_ns: int
    end_ns: int
    frames: int
    legs: list[LegReport]
    error: str | None


@dataclass(slots=True, kw_only=True)
class Beat:
    """Once a second: the worker lives. Counters since its start."""

    counters: dict[str, float]


Message = (
    OpenRecording
    | AddLeg
    | Answered
    | UpdateLeg
    | EndLeg
    | CloseRecording
    | Stop
    | RateFixed
    | LegEvent
    | Closed
    | Beat
)
_TYPES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        OpenRecording,
        AddLeg,
        Answered,
        UpdateLeg,
        EndLeg,
        CloseRecording,
        Stop,
        RateFixed,
        LegEvent,
        Closed,
        Beat,
    )
}


def encode(message: Message) -> bytes:
    """A message as it goes over the wire."""
    return json.dumps([type(message).__name__, message], separators=(",", ":"), default=_fields).encode()


def _fields(part: Any) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__slots__}


def decode(data: bytes) -> Message:
    """The message in a packet. Raises ValueError for one that is none."""
    name, fields = json.loads(data)
    if name not in _TYPES:
        raise ValueError(f"unknown message {name!r}")
    if name == "OpenRecording":
        fields["legs"] = [_leg(spec) for spec in fields["legs"]]
    elif name in ("AddLeg", "UpdateLeg"):
        fields["spec"] = _leg(fields["spec"])
    elif name == "Closed":
        fields["legs"] = [LegReport(**report) for report in fields["legs"]]
    message: Message = _TYPES[name](**fields)
    return message


def _leg(fields: dict[str, Any]) -> LegSpec:
    for key in ("remote", "rtcp_remote"):
        fields[key] = tuple(fields[key]) if fields[key] else None
    if (srtp := fields.get("srtp")) is not None:
        fields["srtp"] = SrtpSpec(**srtp | {"keys": [tuple(pair) for pair in srtp["keys"]]})
    fields["payloads"] = {int(number): tuple(codec) for number, codec in fields["payloads"].items()}
    return LegSpec(**fields)


def send(sock: socket.socket, message: Message, fds: list[int] | None = None) -> None:
    """Send one message. Raises BlockingIOError when the other side does not read fast enough.

    Raises ValueError for one that the other side could not take whole.
    """
    data = encode(message)
    if len(data) > MAX_MESSAGE or len(fds or ()) > MAX_FDS:
        raise ValueError(f"{type(message).__name__} of {len(data)} bytes and {len(fds or ())} descriptors")
    if fds:
        socket.send_fds(sock, [data], fds)
    else:
        sock.send(data)


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """One message and its descriptors, None at the end. Raises BlockingIOError when there is none."""
    room = socket.CMSG_SPACE(MAX_FDS * _FD_BYTES)
    # not recv_fds: it leaves the flags out, and the descriptors would be inherited
    data, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
    fds = array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) // _FD_BYTES * _FD_BYTES])
    try:
        return (decode(data), fds.tolist()) if data else None
    except (ValueError, TypeError, KeyError):
        for fd in fds:
            os.close(fd)
        raise
