"""The process in which pjsua2 places a call; it reads one JSON object from stdin and writes one to stdout.

A process of its own, because pjsua2 wants to be created, driven and destroyed by one thread, once, and its end may
take the interpreter with it. Run as `python -m siprec.probe.pjsua_child`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

import pjsua2 as pj

from siprec.probe.pjsua_sdp import labelled

ANSWER_S = 10.0
LINGER_S = 0.6
"After BYE, for its first repetition: to pjsua2 a call is over when BYE is sent, and it does not tell of the answer."
_POLL_MS = 10
_CLOCK_RATE = 8000


class _Account(pj.Account):  # type: ignore[misc]
    """Incoming calls are of no interest."""


class _Call(pj.Call):  # type: ignore[misc]
    """A call that plays one file into each m-line as soon as media flows."""

    def __init__(self, account: pj.Account, job: dict[str, Any]) -> None:
        super().__init__(account)
        self._job = job
        self.players = [_player(file) for file in job["files"]]
        self.playing = False
        self.confirmed: float | None = None
        self.ended: float | None = None
        self.stopped = False
        "Somebody wants this process to end."
        self.reason = ""
        self.offer = self.answer = ""

    def onCallSdpCreated(self, prm: pj.OnCallSdpCreatedParam) -> None:
        """Name the m-lines: pjsua2 has no setting for labels."""
        self.offer = labelled(prm.sdp.wholeSdp, self._job["labels"])
        prm.sdp.wholeSdp = self.offer

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        """Note when the call is answered and when it is over."""
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_CONFIRMED and self.confirmed is None:
            self.confirmed = time.monotonic()
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.ended = time.monotonic()
            self.reason = f"{info.lastStatusCode} {info.lastReason}"

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        """Keep the answer as it came."""
        state = prm.e.body.tsxState
        if state.tsx.method == "INVITE" and state.type == pj.PJSIP_EVENT_RX_MSG:
            self.answer = state.src.rdata.wholeMsg

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        """Start all files in the same moment, once every m-line is up."""
        info = self.getInfo()  # owns what is taken from it
        up = (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_LOCAL_HOLD)  # sendonly is a hold to pjsua2
        media = [line for line in info.media if line.status in up]
        if self.playing or len(media) < len(self.players):
            return
        self.playing = True
        for player, line in zip(self.players, media, strict=False):
            player.startTransmit(self.getAudioMedia(line.index))


def _player(file: str) -> pj.AudioMediaPlayer:
    player = pj.AudioMediaPlayer()
    player.createPlayer(file, pj.PJMEDIA_FILE_NO_LOOP)
    return player


def _endpoint(job: dict[str, Any]) -> pj.Endpoint:
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.userAgent = "siprec-probe pjsua2"
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.medConfig.clockRate = config.medConfig.sndClockRate = _CLOCK_RATE
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = job["local"]
    tcp = job["transport"] == "tcp"
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP if tcp else pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    for codec in endpoint.codecEnum2():
        wanted = codec.codecId.startswith(f"{job['codec']}/{_CLOCK_RATE}/")
        endpoint.codecSetPriority(codec.codecId, 255 if wanted else 0)
    return endpoint


def _account(job: dict[str, Any]) -> _Account:
    config = pj.AccountConfig()
    config.idUri = job["from_uri"]
    config.sipConfig.contactParams = ";+sip.src"
    config.mediaConfig.transportConfig.boundAddress = job["local"]
    account = _Account()
    account.create(config)
    return account


def _invitation(job: dict[str, Any]) -> pj.CallOpParam:
    param = pj.CallOpParam(True)
    param.opt.audioCount, param.opt.videoCount = len(job["files"]), 0
    param.opt.flag |= pj.PJSUA_CALL_SET_MEDIA_DIR
    for _ in job["files"]:
        param.opt.mediaDir.append(pj.PJMEDIA_DIR_ENCODING)
    for name, value in job["headers"]:
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        param.txOption.headers.append(header)
    if job["metadata"] is not None:
        part = pj.SipMultipartPart()
        part.contentType.type, part.contentType.subType = "application", "rs-metadata+xml"
        disposition = pj.SipHeader()
        disposition.hName, disposition.hValue = "Content-Disposition", "recording-session"
        part.headers.append(disposition)
        part.body = job["metadata"]
        param.txOption.multipartContentType.type = "multipart"
        param.txOption.multipartContentType.subType = "mixed"
        param.txOption.multipartParts.append(part)
    return param


def _wait(endpoint: pj.Endpoint, call: _Call, until: float) -> None:
    """Let pjsua2 work until then, or until the call is over or shall be."""
    while call.ended is None and not call.stopped and (left := until - time.monotonic()) > 0:
        endpoint.libHandleEvents(min(_POLL_MS, max(1, int(left * 1000))))


def _converse(endpoint: pj.Endpoint, account: _Account, job: dict[str, Any]) -> dict[str, Any]:
    call = _Call(account, job)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(call, "stopped", True))
    invited = time.monotonic()
    call.makeCall(job["uri"], _invitation(job))
    while call.confirmed is None and call.ended is None and time.monotonic() < invited + ANSWER_S:
        endpoint.libHandleEvents(_POLL_MS)
    call_id = call.getInfo().callIdString if call.ended is None else ""
    if call.confirmed is not None:
        _wait(endpoint, call, call.confirmed + job["seconds"])
    early = call.ended is not None
    bye_sent = time.monotonic()
    if not early:
        call.hangup(pj.CallOpParam(True))
        while time.monotonic() < bye_sent + LINGER_S:
            endpoint.libHandleEvents(_POLL_MS)
    if call.confirmed is None:
        why = f"INVITE was answered {call.reason}" if early else f"no answer in {ANSWER_S:.0f} s"
        return {"error": f"{job['uri']}: {why}"}
    if early:
        return {"error": f"the recorder ended the call: {call.reason}"}
    return {
        "call_id": call_id,
        "invited": invited,
        "answered": call.confirmed,
        "bye_sent": bye_sent,
        "bye_answered": time.monotonic(),
        "offer": call.offer,
        "response": call.answer,
    }


def main() -> None:
    """Place the call that stdin describes."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    job = json.load(sys.stdin)
    try:
        endpoint = _endpoint(job)
        outcome = _converse(endpoint, _account(job), job)
    except pj.Error as error:
        outcome = {"error": f"pjsua2: {error.info()}"}
    with contextlib.suppress(OSError):
        os.write(out, json.dumps(outcome).encode())
    # Destroying pjsua2 from Python crashes when an object outlives its endpoint; the kernel closes everything.
    os._exit(0)


if __name__ == "__main__":
    main()
