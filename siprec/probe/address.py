"""Addresses on the way to a recorder."""

from __future__ import annotations

import asyncio
import socket

from siprec.probe.errors import ProbeError
from siprec.probe.target import Target
from siprec.sip.flow import Address


async def resolve(target: Target) -> Address:
    """The first address of the target's host. Raises ProbeError."""
    kind = socket.SOCK_STREAM if target.transport == "tcp" else socket.SOCK_DGRAM
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=kind)
    except OSError as error:
        raise ProbeError(f"there is no host {target.host}: {error.strerror}") from None
    host, port = found[0][4][:2]
    return (str(host), int(port))


def address_towards(remote: Address) -> str:
    """Our address from which the kernel would send there. Raises ProbeError."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(remote)
        except OSError as error:
            raise ProbeError(f"no way to {remote[0]}: {error.strerror}") from None
        return str(sock.getsockname()[0])
