"""A probe call from INVITE to BYE, placed by our own protocol cores."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from siprec.probe.address import address_towards, resolve
from siprec.probe.answer import answer_of, faults_of_answer, faults_of_headers
from siprec.probe.caller import Caller
from siprec.probe.errors import CallFailed, ProbeError
from siprec.probe.invite import (
    CALLEE,
    CALLER,
    REQUIRED,
    build_body,
    build_call_offer,
    build_crypto,
    build_metadata,
)
from siprec.probe.media import MediaSockets, Outlet, Player
from siprec.probe.outcome import leg_results
from siprec.probe.plan import CallPlan
from siprec.probe.result import ProbeResult
from siprec.probe.script import CallScript, build_script
from siprec.probe.target import Target
from siprec.probe.voices import I16, sound_of_legs
from siprec.rtp.srtp import LegSrtp, MasterKey
from siprec.sdp.crypto import StreamCrypto
from siprec.sdp.media import SessionDescription
from siprec.sdp.offer import read_answer
from siprec.sip.message import Response

RESUME_EARLY_S = 1.0
"How long before the end of a hold the call is resumed, so that the answer is there in time."
BYE_AFTER_S = 0.1
"From the end of the last packet to BYE: what was sent before it shall have arrived."


class ProbeCall:
    """One call. sound: 8 kHz samples of caller and callee; None for two people in conversation."""

    def __init__(self, plan: CallPlan, target: Target, sound: Sequence[I16] | None = None) -> None:
        self.plan, self.target = plan, target
        self.script: CallScript = build_script(plan, sound_of_legs(plan, sound))
        self._rng = random.SystemRandom()
        self._session_id = self._rng.getrandbits(31)
        self._crypto = build_crypto(plan, self._rng)
        self._sockets: list[MediaSockets] = []
        self._address = ""

    async def run(self) -> ProbeResult:
        """Place the call, play, end it. Raises ProbeError; nothing is left open, and BYE is sent if it can be."""
        remote = await resolve(self.target)
        self._address = address_towards(remote)
        caller = Caller(self.target, remote, self._address, rng=self._rng)
        try:
            self._sockets = [MediaSockets(self._address) for _ in range(self.plan.legs)]
            await caller.start()
            return await self._converse(caller)
        except OSError as error:
            raise ProbeError(f"cannot call {self.target.uri}: {error.strerror or error}") from None
        finally:
            with contextlib.suppress(CallFailed):
                await caller.bye()
            await caller.close()
            for sockets in self._sockets:
                sockets.close()

    async def _converse(self, caller: Caller) -> ProbeResult:
        offer = self._offer(version=1)
        started_at, invited = datetime.now(UTC), time.monotonic()
        response = await self._invite(caller, offer)
        result = ProbeResult(
            call_id=response.call_id,
            client="siprec",
            started_at=started_at,
            invited=invited,
            answered=time.monotonic(),
            mixed=self.plan.mixed,
            faults=faults_of_headers(response),
        )
        player = await self._play(caller, self._outlets(offer, response, result), result)
        result.bye_sent = time.monotonic()
        await caller.bye()
        result.bye_answered = time.monotonic()
        for sockets in self._sockets:
            rtp, rtcp = sockets.received()
            result.rtp_received += rtp
            result.rtcp_received += rtcp
        if result.rtp_received:
            result.faults.append(
                f"the recorder sent {result.rtp_received} RTP packets; it is to receive only"
            )
        result.max_late_ms = player.max_late_s * 1000
        result.legs = leg_results(self.plan, self.script, player.sent)
        for number, late in player.first_late_s.items():
            result.legs[number].first_late_s = late
        return result

    async def _invite(self, caller: Caller, offer: SessionDescription) -> Response:
        """Without metadata the parties are those of From and To."""
        if self.plan.metadata:
            body = build_body(offer, build_metadata(self.plan, self._rng))
            return await caller.invite(body, REQUIRED, from_uri=None, to_uri=None)
        return await caller.invite(build_body(offer), REQUIRED, from_uri=CALLER.aor, to_uri=CALLEE.aor)

    def _offer(self, *, version: int, held: bool = False) -> SessionDescription:
        return build_call_offer(
            self.plan,
            [sockets.ports for sockets in self._sockets],
            address=self._address,
            session_id=self._session_id,
            version=version,
            held=held,
            crypto=self._crypto,
        )

    def _outlets(self, offer: SessionDescription, response: Response, result: ProbeResult) -> list[Outlet]:
        """Where each leg goes. Raises CallFailed when the answer does not say."""
        try:
            answer = answer_of(response)
            ports = {index: sockets.ports for index, sockets in enumerate(self._sockets)}
            agreed = {stream.index: stream for stream in read_answer(offer, answer, ports)}
        except ValueError as error:
            raise CallFailed(str(error)) from None
        result.faults += faults_of_answer(offer, answer)
        outlets = []
        for index, sockets in enumerate(self._sockets):
            stream = agreed.get(index)
            if stream is None or stream.remote_rtp is None:
                raise CallFailed(f"the answer has no address for m-line {index + 1}")
            srtp = _srtp(stream.crypto) if stream.crypto is not None else None
            outlets.append(Outlet(sockets=sockets, rtp=stream.remote_rtp, rtcp=stream.remote_rtcp, srtp=srtp))
        return outlets

    async def _play(self, caller: Caller, outlets: Sequence[Outlet], result: ProbeResult) -> Player:
        """Play the script, unless the recorder hangs up meanwhile. Raises ProbeError."""
        start = time.monotonic()
        player = Player(self.script, outlets, start=start)
        hung_up = asyncio.create_task(caller.ended.wait())
        playing = asyncio.create_task(self._play_sections(caller, player, result, start))
        try:
            await asyncio.wait({hung_up, playing}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                raise CallFailed(f"the recorder ended the call after {time.monotonic() - start:.1f} s")
            playing.result()
        finally:
            for task in (hung_up, playing):
                task.cancel()
            await asyncio.gather(hung_up, playing, return_exceptions=True)
        return player

    async def _play_sections(self, caller: Caller, player: Player, result: ProbeResult, start: float) -> None:
        before, after = self.script.sections
        await player.play(before)
        if self.script.hold is not None:
            begin, end = (start + at for at in self.script.hold)
            await _sleep_until(begin)
            await self._change(caller, result, version=2, held=True)
            await _sleep_until(end - min(RESUME_EARLY_S, (end - begin) / 2))
            await self._change(caller, result, version=3, held=False)
            if time.monotonic() > end:
                raise CallFailed("the answer to the re-INVITE came after the hold was over")
            await player.play(after)
        await _sleep_until(start + self.script.length_s)
        player.report()
        await _sleep_until(start + self.script.length_s + BYE_AFTER_S)

    async def _change(self, caller: Caller, result: ProbeResult, *, version: int, held: bool) -> None:
        offer = self._offer(version=version, held=held)
        response = await caller.reinvite(build_body(offer))
        what = "hold" if held else "resume"
        try:
            faults = faults_of_answer(offer, answer_of(response))
        except ValueError as error:
            raise CallFailed(f"{what}: {error}") from None
        result.faults += [f"{what}: {fault}" for fault in faults]


def _srtp(crypto: StreamCrypto) -> LegSrtp:
    keys = [MasterKey(key.secret, key.mki) for key in crypto.remote]
    return LegSrtp(crypto.suite, keys, crypto.local.secret, required=crypto.required)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
