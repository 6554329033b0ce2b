"""The signalling of a probe call: one dialog, placed from a SIP endpoint of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from siprec.net.allow import AllowList
from siprec.net.endpoint import SipEndpoint
from siprec.probe.errors import CallFailed
from siprec.probe.invite import Body
from siprec.probe.target import Target
from siprec.sip.client_transaction import ClientTransaction
from siprec.sip.config import StackConfig
from siprec.sip.dialog import Dialog
from siprec.sip.events import (
    DialogEnded,
    Event,
    InviteReceived,
    RequestReceived,
    RequestTimeout,
    ResponseReceived,
    TransportFailed,
)
from siprec.sip.flow import Address
from siprec.sip.message import Response
from siprec.sip.stack import SipStack
from siprec.sip.uac import Destination
from siprec.sip.uri import format_host

ANSWER_S = 10.0
"How long a final answer is waited for."
_CONFIG = StackConfig(
    user_agent="siprec-probe", contact_user="siprec-probe", contact_features=("+sip.src",), accept=()
)

Answered = asyncio.Future[ResponseReceived]


class Caller:
    """Places, changes and ends one call. Methods raise CallFailed."""

    def __init__(self, target: Target, remote: Address, local: str, *, rng: Random) -> None:
        """remote: the target's address. local: our address towards it. rng: for tags, branches and the Call-ID."""
        self._target, self._remote = target, remote
        listen = f"{target.transport}://{format_host(local)}:0"
        self._endpoint = SipEndpoint(
            [listen],
            SipStack(_CONFIG, rng=rng),
            self._handle,
            allow=AllowList([remote[0]]),
        )
        self._local = local
        self._waiting: dict[ClientTransaction, Answered] = {}
        self._invite: ClientTransaction | None = None
        self.dialog: Dialog | None = None
        self.ended = asyncio.Event()
        "The recorder hung up."

    async def start(self) -> None:
        """Bind. Raises OSError."""
        await self._endpoint.start()

    async def close(self) -> None:
        """Close the sockets."""
        await self._endpoint.close()

    async def invite(
        self, body: Body, headers: Sequence[tuple[str, str]], *, from_uri: str | None, to_uri: str | None
    ) -> Response:
        """Place the call; the dialog stands when this returns. from_uri, to_uri: None for the usual ones."""
        destination = Destination(
            uri=self._target.uri,
            flow=self._endpoint.flow_to(self._target.transport, self._remote),
            from_uri=from_uri or f"sip:siprec-probe@{format_host(self._local)}",
            to_uri=to_uri,
        )
        self._invite = self._endpoint.request(
            destination, "INVITE", headers=(*headers, *body.headers), body=body.data
        )
        return await self._final(self._invite, "INVITE")

    async def reinvite(self, body: Body) -> Response:
        """Change the call."""
        assert self.dialog is not None
        headers = (("Require", "siprec"), *body.headers)
        transaction = self._endpoint.request(self.dialog, "INVITE", headers=headers, body=body.data)
        return await self._final(transaction, "re-INVITE")

    async def bye(self) -> None:
        """End the call, if it stands. Only the first attempt counts."""
        dialog, self.dialog = self.dialog, None
        if dialog is not None:
            await self._final(self._endpoint.request(dialog, "BYE"), "BYE")

    async def _final(self, transaction: ClientTransaction, what: str) -> Response:
        """The 2xx to a request."""
        future: Answered = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = future
        try:
            async with asyncio.timeout(ANSWER_S):
                event = await future
        except TimeoutError:
            self._endpoint.cancel(transaction)
            raise CallFailed(
                f"{self._target.uri} did not answer {what} in {ANSWER_S:.0f} s; "
                "is the recorder running there, and is this machine in its sip.allow?"
            ) from None
        finally:
            del self._waiting[transaction]
        response = event.response
        if response.status >= 300:
            warning = response.headers.get("Warning")
            why = f" ({warning})" if warning else ""
            raise CallFailed(f"{what} was answered {response.status} {response.reason}{why}")
        return response

    def _handle(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            self._answered(event)
        elif isinstance(event, RequestTimeout | TransportFailed):
            self._unreachable(event)
        elif isinstance(event, RequestReceived):
            # an UPDATE of ours to answer would be an offer; everything else is only acknowledged
            status = 488 if event.request.method == "UPDATE" and event.request.body else 200
            self._endpoint.respond(event.transaction, status)
        elif isinstance(event, InviteReceived):
            self._endpoint.respond(event.transaction, 488)
        elif isinstance(event, DialogEnded) and event.dialog is self.dialog:
            self.dialog = None
            if event.reason == "bye_received":
                self.ended.set()

    def _answered(self, event: ResponseReceived) -> None:
        if event.response.status < 200:
            return
        if event.transaction.request.method == "INVITE" and event.response.status < 300:
            assert event.dialog is not None
            self._endpoint.acknowledge(event.transaction, event.dialog)
            if event.transaction is self._invite and self.dialog is None:
                self.dialog = event.dialog
            elif event.dialog is not self.dialog:  # a second fork, or too late: nobody needs it
                self._endpoint.request(event.dialog, "BYE")
        if (future := self._waiting.get(event.transaction)) is not None and not future.done():
            future.set_result(event)

    def _unreachable(self, event: RequestTimeout | TransportFailed) -> None:
        if (future := self._waiting.get(event.transaction)) is not None and not future.done():
            future.set_exception(
                CallFailed(f"{self._target.uri} cannot be reached; is the recorder running there?")
            )
