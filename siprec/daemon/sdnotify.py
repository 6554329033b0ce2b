"""Messages to the service manager: sd_notify(3) without libsystemd."""

import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to the socket that the service manager named; without one it does nothing.

    A send never blocks: a message that does not fit is lost, and the methods return False.
    """

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address[0] == "@" else address

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Notifier":
        """The notifier for `$NOTIFY_SOCKET`: a path, or `@name` for an abstract socket."""
        address = environ.get("NOTIFY_SOCKET")
        return cls(address if address and address[0] in "/@" else None)

    def ready(self, status: str) -> bool:
        """Every socket is bound and the recorder takes calls; also the end of a reload."""
        return self._send(f"READY=1\nSTATUS={_line(status)}")

    def stopping(self, status: str) -> bool:
        """The recorder finishes its recordings and ends."""
        return self._send(f"STOPPING=1\nSTATUS={_line(status)}")

    def reloading(self, *, monotonic_ns: int) -> bool:
        """A reload begins; `ready` ends it. `monotonic_ns` is CLOCK_MONOTONIC, which Type=notify-reload asks for."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_ns // 1000}")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> bool:
        """Sign of life, due every `watchdog_interval` seconds."""
        return self._send("WATCHDOG=1")

    def _send(self, state: str) -> bool:
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), self._address)
        except OSError:
            return False
        return True


def watchdog_interval(environ: Mapping[str, str], *, pid: int) -> float | None:
    """Seconds between signs of life, half of what the service manager waits; None when it waits for none."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if (
        not microseconds.isdigit()
        or int(microseconds) == 0
        or environ.get("WATCHDOG_PID", str(pid)) != str(pid)
    ):
        return None
    return int(microseconds) / 2_000_000


def _line(text: str) -> str:
    return " ".join(text.split())
