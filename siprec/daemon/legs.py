"""Legs of recordings: made from what offer and answer settled."""

from __future__ import annotations

import time
from dataclasses import replace

from siprec.daemon.live import LiveLeg, LiveRecording
from siprec.media.protocol import LegSpec, SrtpSpec
from siprec.media.supervisor import MediaProcess
from siprec.recording.parties import ChannelPlan
from siprec.recording.session import numeric, payload_names
from siprec.rtp.ports import PortPair
from siprec.sdp.stream import AcceptedStream
from siprec.sip.flow import is_ip_address
from siprec.storage.layout import leg_dump

MAX_LEGS = 64
"Legs of one recording over all its time: each keeps its ports until the end."
MAX_PARTICIPANTS = 500
"People of one recording over all its time."


def take_plan(live: LiveRecording, plan: ChannelPlan) -> None:
    """Who is on which leg from now on. Once MAX_PARTICIPANTS are listed nobody is added; an event says so."""
    listed, room = live.participants, MAX_PARTICIPANTS - len(live.participants)
    fresh = [party for party in plan.participants if (party.aor, party.name) not in listed]
    live.apply_plan(replace(plan, participants=tuple(fresh[:room])))
    if 0 < room <= len(fresh):
        live.event(time.monotonic_ns(), "participant_list_full", size=MAX_PARTICIPANTS)


def new_leg(
    live: LiveRecording,
    worker: MediaProcess,
    stream: AcceptedStream,
    pair: PortPair,
    channel: int,
) -> LiveLeg:
    identity = len(live.legs)
    spec = leg_spec(stream, leg=worker.take_leg(), channel=channel, dump=leg_dump(identity))
    leg = LiveLeg(
        id=identity,
        index=stream.index,
        call_id=live.dialogs[-1].call_id,
        pair=pair,
        spec=spec,
        label=stream.label,
        was_active=spec.active,
        active_since=time.monotonic() if spec.active else None,
    )
    live.legs.append(leg)
    return leg


def _srtp(stream: AcceptedStream) -> SrtpSpec | None:
    crypto = stream.crypto
    if crypto is None:
        return None
    return SrtpSpec(
        suite=crypto.suite,
        keys=[(key.secret.hex(), key.mki.hex()) for key in crypto.remote],
        local=crypto.local.secret.hex(),
        required=crypto.required,
    )


def leg_spec(stream: AcceptedStream, *, leg: int, channel: int, dump: str) -> LegSpec:
    return LegSpec(
        leg=leg,
        channel=channel,
        dump=dump,
        remote=numeric(stream.remote_rtp, is_ip_address),
        rtcp_remote=numeric(stream.remote_rtcp, is_ip_address),
        payloads=payload_names(stream),
        active=not stream.held,
        mux=stream.local.rtcp is None,
        srtp=_srtp(stream),
    )
