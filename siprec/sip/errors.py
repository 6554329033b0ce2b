"""The one error that SIP parsing raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siprec.sip.message import Request


class SipParseError(ValueError):
    """A message or header value was refused.

    reason: what is wrong.   where: the part of the message, from a small fixed set (fit for a counter's label).
    offset: byte in the message, or character in the value, where it was found.
    status: the reply to send; None = drop silently (a response, an ACK, or not SIP at all).
    partial: the request as far as it was understood, enough to build that reply; None = not answerable.
    """

    def __init__(
        self,
        reason: str,
        *,
        where: str,
        offset: int = 0,
        status: int | None = 400,
        partial: Request | None = None,
    ) -> None:
        super().__init__(f"{where} at {offset}: {reason}")
        self.reason = reason
        self.where = where
        self.offset = offset
        self.status = status
        self.partial = partial
