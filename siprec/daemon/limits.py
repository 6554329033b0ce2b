"""How many calls this machine carries: descriptors, ports and disk."""

import resource
from dataclasses import dataclass

from siprec.config import PortRange

SOCKETS_PER_CALL = 4
"Two legs, each with RTP and RTCP."
FILES_PER_CALL = 1
PAIRS_PER_CALL = 2
RESERVED_DESCRIPTORS = 128
"Listeners, journal, catalogue, shared memory, workers, metrics and commands."
CONNECTION_SHARE = 4
"SIP connections may take one in so many descriptors, so that who opens many of them does not cost calls."


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Two-leg calls at a time, and what limits them."""

    calls: int
    limit: str
    "The scarcest resource, and what to change for more of it."

    def __str__(self) -> str:
        return f"room for {self.calls:,} two-leg calls at a time, limited by {self.limit}"


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connection_limit(max_connections: int, *, descriptors: int) -> int:
    """SIP connections at a time: as configured, unless descriptors are scarce."""
    return min(max_connections, descriptors // CONNECTION_SHARE)


def capacity(
    *,
    descriptors: int,
    connections: int,
    ports: PortRange,
    disk_free_mb: int,
    reserve_mb_per_call: int,
    low_water_mb: int,
    max_calls: int | None,
) -> Capacity:
    """The number of calls that fit, from the limit of open files, the port range and the free disk in MB.

    connections: SIP connections that there may be beside them.
    """
    bounds = [
        (
            max(0, descriptors - RESERVED_DESCRIPTORS - connections) // (SOCKETS_PER_CALL + FILES_PER_CALL),
            f"{descriptors:,} file descriptors (raise LimitNOFILE or ulimit -n)",
        ),
        (ports.pairs // PAIRS_PER_CALL, f"the ports {ports} (widen rtp.ports)"),
        (
            max(0, disk_free_mb - low_water_mb) // reserve_mb_per_call,
            f"{disk_free_mb:,} MB of free disk at {reserve_mb_per_call:,} MB a call above {low_water_mb:,} MB",
        ),
    ]
    if max_calls is not None:
        bounds.append((max_calls, "recording.max_calls"))
    calls, limit = min(bounds, key=lambda bound: bound[0])
    return Capacity(calls=calls, limit=limit)
