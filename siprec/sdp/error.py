"""The one error of the SDP package."""


class SdpError(ValueError):
    """A description that cannot be read (400) or cannot be answered (488).

    line: number of the faulty line, from 1; None when the fault has no single line.
    status: the SIP reply that fits, RFC 3261 21.4.
    """

    def __init__(self, reason: str, *, line: int | None = None, status: int = 400) -> None:
        super().__init__(reason if line is None else f"SDP line {line}: {reason}")
        self.reason, self.line, self.status = reason, line, status
