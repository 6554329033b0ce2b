"""A recording client made of pjsua2: `python pjsua2_source.py JOB` places one call and plays a file into each leg.

JOB is JSON: uri, transport, files, metadata; codec, or codecs with one for each file, as pjsua2 names them; rate of its
conference bridge; srtp: the suite to encrypt with, or any, and srtp_optional: in the plain profile. Without a job it prints the codecs that it has. A process of its own, because pjsua2 is created and destroyed once.
Prints one line of JSON: the Call-ID and the answer.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import Any

import pjsua2 as pj

LIMIT_S = 30.0
TAIL_S = 0.2
"Between the end of the files and BYE."


class Source(pj.Call):  # type: ignore[misc]
    """A call that plays its files once, all from the same moment."""

    def __init__(self, account: pj.Account, files: list[str], codecs: list[str]) -> None:
        super().__init__(account)
        self.codecs = codecs
        self.players = [Player(file) for file in files]
        self.started = self.over = False
        self.call_id = self.answer = ""

    def onCallSdpCreated(self, prm: pj.OnCallSdpCreatedParam) -> None:
        """pjsua2 has no setting for a=label (RFC 4574), and none for codecs by m-line."""
        head, *lines = prm.sdp.wholeSdp.split("m=audio")
        if self.codecs:
            lines = [_with_codec(line, codec) for line, codec in zip(lines, self.codecs, strict=True)]
        labelled = [f"{line}a=label:{number}\r\n" for number, line in enumerate(lines, 1)]
        prm.sdp.wholeSdp = "m=audio".join([head, *labelled])

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        self.call_id = info.callIdString
        self.over = info.state == pj.PJSIP_INV_STATE_DISCONNECTED

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        state = prm.e.body.tsxState
        if state.tsx.method == "INVITE" and state.type == pj.PJSIP_EVENT_RX_MSG:
            self.answer = state.src.rdata.wholeMsg

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        info = self.getInfo()
        # sendonly is a hold to pjsua2
        ready = (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_LOCAL_HOLD)
        lines = [line.index for line in info.media if line.status in ready]
        if not self.started and len(lines) == len(self.players):
            self.started = True
            for player, index in zip(self.players, lines, strict=True):
                player.startTransmit(self.getAudioMedia(index))


class Player(pj.AudioMediaPlayer):  # type: ignore[misc]
    """A sound file."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.ended = False
        self.createPlayer(file, pj.PJMEDIA_FILE_NO_LOOP)

    def onEof2(self) -> None:
        self.ended = True


def endpoint(job: dict[str, Any]) -> pj.Endpoint:
    """A stack of one thread, without sound card, that offers the codecs of the job."""
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.medConfig.clockRate = config.medConfig.sndClockRate = job.get("rate", 8_000)
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    made = pj.Endpoint()
    made.libCreate()
    made.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    kinds = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP}
    made.transportCreate(kinds[job["transport"]], transport)
    made.libStart()
    made.audDevManager().setNullDev()
    wanted = tuple(job.get("codecs") or [job["codec"]])
    for codec in made.codecEnum2():
        made.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith(wanted) else 0)
    return made


def codecs() -> list[str]:
    """What this pjsua2 speaks: name/rate/channels each."""
    made = pj.Endpoint()
    made.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = config.logConfig.consoleLevel = 0
    made.libInit(config)
    return [codec.codecId for codec in made.codecEnum2()]


def _with_codec(line: str, codec: str) -> str:
    """An m-line without its first word, with only the payload types of a codec; G.722's clock is half its rate."""
    name, rate, channels = codec.split("/")
    clock = "8000" if name == "G722" else rate
    wanted = (
        {f"{name}/{clock}", f"{name}/{clock}/{channels}"}
        if channels == "1"
        else {f"{name}/{clock}/{channels}"}
    )
    first, *attributes = line.split("\r\n")
    port, proto, *types = first.split()
    known = dict(re.findall(r"a=rtpmap:(\d+) (\S+)", line))
    kept = [number for number in types if known.get(number) in wanted]
    about = re.compile(r"a=(?:rtpmap|fmtp):(\d+) ")
    rest = [text for text in attributes if not (found := about.match(text)) or found[1] in kept]
    return "\r\n".join([" " + " ".join([port, proto, *kept]), *rest])


def account(job: dict[str, Any]) -> pj.Account:
    """A user whose Contact says that a recording client is there (RFC 7866 6.1.2)."""
    config = pj.AccountConfig()
    config.idUri = "sip:src@127.0.0.1"
    config.sipConfig.contactParams = ";+sip.src"
    config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    if job.get("srtp"):
        optional = job.get("srtp_optional", False)
        config.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_OPTIONAL if optional else pj.PJMEDIA_SRTP_MANDATORY
        config.mediaConfig.srtpSecureSignaling = 0
        if job["srtp"] != "any":
            suite = pj.SrtpCrypto()
            suite.name = job["srtp"]
            config.mediaConfig.srtpOpt.cryptos = pj.SrtpCryptoVector([suite])
        config.mediaConfig.srtpOpt.keyings = pj.IntVector([pj.PJMEDIA_SRTP_KEYING_SDES])
    made = pj.Account()
    made.create(config)
    return made


def invitation(job: dict[str, Any]) -> pj.CallOpParam:
    """Two m-lines that only send, `Require: siprec`, and the metadata beside the SDP."""
    param = pj.CallOpParam(True)
    param.opt.audioCount, param.opt.videoCount = len(job["files"]), 0
    param.opt.flag |= pj.PJSUA_CALL_SET_MEDIA_DIR
    for _ in job["files"]:
        param.opt.mediaDir.append(pj.PJMEDIA_DIR_ENCODING)
    require = pj.SipHeader()
    require.hName, require.hValue = "Require", "siprec"
    param.txOption.headers.append(require)
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


def main() -> None:
    """Place the call, play the files to their ends, hang up."""
    if len(sys.argv) < 2:
        print(json.dumps(codecs()), flush=True)
        os._exit(0)
    job = json.loads(sys.argv[1])
    stack, user = endpoint(job), account(job)
    call = Source(user, job["files"], job.get("codecs", []))
    call.makeCall(job["uri"], invitation(job))
    give_up, ends = time.monotonic() + LIMIT_S, None
    while not call.over and time.monotonic() < (ends or give_up):
        stack.libHandleEvents(10)
        if ends is None and all(player.ended for player in call.players):
            ends = time.monotonic() + TAIL_S
    finished = ends is not None and not call.over
    if finished:
        call.hangup(pj.CallOpParam(True))
        give_up = time.monotonic() + LIMIT_S
        while not call.over and time.monotonic() < give_up:
            stack.libHandleEvents(10)
    print(json.dumps({"call_id": call.call_id, "answer": call.answer, "finished": finished}), flush=True)
    os._exit(0)  # objects that outlive their endpoint would crash the interpreter at its end


if __name__ == "__main__":
    main()
