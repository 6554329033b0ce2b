"""Which recordings and legs a worker has: opened, changed and closed as the main process says."""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import socket
from collections import deque

import numpy as np

from siprec.codecs.registry import payload_map
from siprec.media import protocol
from siprec.media.pipeline import Pipeline
from siprec.media.rate import LOWEST
from siprec.media.recordings import LegState, RecordingState
from siprec.media.rings import BLOCK, REACH
from siprec.media.store import BLOCK_TABLE
from siprec.rtp.encrypted import look_anew
from siprec.rtp.source import source_key
from siprec.rtp.state import NO_CEILING
from siprec.storage.fileops import StorageError
from siprec.storage.sink import PlainSink, Sink
from siprec.storage.stereo import WavWriter
from siprec.storage.wav import SampleFormat, parse_header

_UNTIL_FURTHER_NOTICE = 1 << 62
_UNCOMMITTED = 3 * BLOCK
"Samples that an unfinished tick may have put into a ring above what was committed."


class Roster:
    """The legs and recordings of one worker, by number."""

    def __init__(self, pipeline: Pipeline, rng: random.Random) -> None:
        self._pipeline, self._rng = pipeline, rng
        self.legs: dict[int, LegState] = {}
        self.recordings: dict[int, RecordingState] = {}
        self.rtcp = selectors.EpollSelector()
        "The RTCP sockets; the key's data is the leg's number."
        self._sockets: list[tuple[int, int]] = []
        self._changed = False
        self.refused = 0
        "Commands that could not be carried out."

    def sockets(self) -> list[tuple[int, int]]:
        """(leg, descriptor) of every RTP socket, in the order of the legs."""
        if self._changed:
            self._sockets = [(number, leg.rtp.fileno()) for number, leg in sorted(self.legs.items())]
            self._changed = False
        return self._sockets

    def command(self, message: protocol.Message, fds: list[int], now_ns: int) -> list[protocol.Message]:
        """Carry out one message of the main process; takes the descriptors over, whatever happens.

        What cannot be carried out is counted and costs no other recording. Returns what to answer: a recording that
        could not be opened is closed at once, with the reason.
        """
        descriptors = deque(fds)
        try:
            self._carry_out(message, descriptors, now_ns)
        except (KeyError, IndexError, ValueError, OSError) as exc:
            self.refused += 1
            if isinstance(message, protocol.OpenRecording) and message.recording not in self.recordings:
                return [_never_open(message, now_ns, f"cannot record: {exc or type(exc).__name__}")]
        finally:
            for fd in descriptors:
                os.close(fd)
        return []

    def _carry_out(self, message: protocol.Message, fds: deque[int], now_ns: int) -> None:
        if isinstance(message, protocol.OpenRecording):
            self._open(message, fds, now_ns)
        elif isinstance(message, protocol.AddLeg):
            recording = self.recordings[message.recording]
            self._add_leg(recording, message.spec, fds, now_ns, resume=message.resume)
        elif isinstance(message, protocol.Answered):
            self.recordings[message.recording].answered_ns = message.at_ns
        elif isinstance(message, protocol.UpdateLeg):
            self._update_leg(message)
        elif isinstance(message, protocol.EndLeg):
            self._pipeline.legs["end_ns"][self.legs[message.leg].spec.leg] = message.at_ns
        elif isinstance(message, protocol.CloseRecording):
            recording = self.recordings[message.recording]
            recording.end_ns = message.at_ns
            for leg in recording.legs:
                if not self._pipeline.legs["end_ns"][leg]:
                    self._pipeline.legs["end_ns"][leg] = message.at_ns

    # -- open --

    def _open(self, message: protocol.OpenRecording, fds: deque[int], now_ns: int) -> None:
        if message.recording in self.recordings:
            raise ValueError(f"recording {message.recording} is open already")
        sink = PlainSink(fds.popleft(), message.path)
        try:
            recording = self._new_recording(message, sink)
            self.recordings[message.recording] = recording
            for spec in message.legs:
                self._add_leg(recording, spec, fds, now_ns, resume=message.resume)
        except (KeyError, IndexError, ValueError, OSError):
            if (begun := self.recordings.pop(message.recording, None)) is not None:
                for number in begun.legs:
                    self.close_leg(self.legs.pop(number))
            with contextlib.suppress(StorageError):
                sink.close()
            raise

    def _new_recording(self, message: protocol.OpenRecording, sink: PlainSink) -> RecordingState:
        known = not message.legs or any(self._has(message.epoch_ns, spec.leg) for spec in message.legs)
        resume = message.resume and known
        frames = parse_header(os.pread(sink.fileno(), 128, 0)).frames if resume else 0
        g711 = message.format == "wav-g711"
        rate = message.rate or (self._rate_left(message) if message.resume else 0)
        recording = RecordingState(
            number=message.recording,
            path=message.path,
            rate=rate,
            max_rate=message.max_rate,
            channels=message.channels,
            g711=g711,
            epoch_ns=message.epoch_ns,
            epoch_unix_us=message.epoch_unix_us,
            sink=sink,
            writer=_writer(sink, message.channels, rate, g711=g711, frames=frames),
            legs=[],
            drained_ns=message.epoch_ns,
        )
        t0 = self._pipeline.store.t0
        if not resume:
            t0[message.recording] = 0
        elif rate and (t0_ns := int(t0[message.recording])):
            recording.t0_ns, recording.t0_p = t0_ns, recording.p_of(t0_ns)
            recording.queued_p = recording.written_p = recording.t0_p + frames
        return recording

    def _has(self, epoch_ns: int, leg: int) -> bool:
        """Whether a leg's row is about the recording of that epoch: a worker before this one had taken it."""
        row = self._pipeline.legs[leg]
        return bool(row["active"] and row["epoch_ns"] == epoch_ns)

    def _rate_left(self, message: protocol.OpenRecording) -> int:
        """The rate that a worker before this one had fixed but could not tell any more; 0 if it had not."""
        mine = [spec.leg for spec in message.legs if self._has(message.epoch_ns, spec.leg)]
        return max((int(self._pipeline.legs["rate"][leg]) for leg in mine), default=0)

    def undecided(self) -> list[RecordingState]:
        """Recordings whose rate is not fixed."""
        return [recording for recording in self.recordings.values() if not recording.rate]

    def fix_rate(self, recording: RecordingState, rate: int) -> protocol.RateFixed:
        """The recording's file has this rate [Hz] from now on, and positions begin to mean something."""
        recording.rate = rate
        recording.writer = _writer(recording.sink, recording.channels, rate, g711=recording.g711, frames=0)
        self._pipeline.legs["rate"][recording.legs] = rate
        self._pipeline.commit(np.array(recording.legs, np.int64))
        return protocol.RateFixed(recording=recording.number, rate=rate)

    # -- legs --

    def _add_leg(
        self, recording: RecordingState, spec: protocol.LegSpec, fds: deque[int], now_ns: int, *, resume: bool
    ) -> None:
        if spec.leg in self.legs:
            raise ValueError(f"leg {spec.leg} is in use")
        resume = resume and self._has(recording.epoch_ns, spec.leg)
        rtp = socket.socket(fileno=fds.popleft())
        try:
            rtcp = None if spec.mux else socket.socket(fileno=fds.popleft())
        except (IndexError, OSError):
            rtp.close()
            raise
        if rtcp is not None:
            self.rtcp.register(rtcp, selectors.EVENT_READ, spec.leg)
        leg = LegState(
            spec=spec,
            recording=recording.number,
            rtp=rtp,
            rtcp=rtcp,
            ssrc=self._rng.getrandbits(32),
            opened_ns=now_ns,
        )
        self.legs[spec.leg] = leg
        recording.legs.append(spec.leg)
        self._changed = True
        if resume:
            self._resume_leg(recording, leg)
        else:
            self._reset_leg(recording, spec.leg)
        self._pipeline.map_payloads(spec.leg, payload_map(spec.payloads))
        self._pipeline.secure.set_keys(spec.leg, spec.srtp, resume=resume)
        self._apply(spec, now_ns if resume else 0)
        self._pipeline.commit(np.array([spec.leg]))

    def _reset_leg(self, recording: RecordingState, leg: int) -> None:
        pipeline = self._pipeline
        pipeline.legs[leg] = 0
        pipeline.streams["live"][2 * leg : 2 * leg + 2] = 0
        pipeline.forget(leg)
        pipeline.store.kept[leg] = 0
        pipeline.rings.clear(leg)  # a call before this one may have left its voice there
        row = pipeline.legs[leg]
        row["active"], row["rate"], row["epoch_ns"] = 1, recording.rate, recording.epoch_ns
        row["floor_p"], row["ceiling_p"] = recording.queued_p, self._ceiling(recording)

    def _resume_leg(self, recording: RecordingState, leg: LegState) -> None:
        """Take over what the worker before this one left: blocks that it wrote but did not give back are stale."""
        number = leg.spec.leg
        row, streams = self._pipeline.legs[number], self._pipeline.streams[2 * number : 2 * number + 2]
        leg.ssrcs = streams["ssrc"][streams["live"] != 0].tolist()
        row["ceiling_p"] = self._ceiling(recording)
        if recording.t0_ns is not None:
            oldest = int(row["top_u"]) + _UNCOMMITTED - BLOCK_TABLE * BLOCK
            written = recording.written_p - int(row["delta"])
            self._pipeline.rings.release(np.array([number]), np.array([oldest]), np.array([written]))

    @staticmethod
    def _ceiling(recording: RecordingState) -> int:
        return recording.written_p + REACH if recording.t0_ns is not None else NO_CEILING

    def _apply(self, spec: protocol.LegSpec, at_ns: int) -> None:
        """Take over what an offer and answer say; a change of direction holds from `at_ns` on."""
        row = self._pipeline.legs[spec.leg]
        key = source_key(*spec.remote) if spec.remote else 0
        if key != row["sdp_source"]:
            row["sdp_source"], row["source"] = key, 0
            look_anew(self._pipeline.streams[2 * spec.leg : 2 * spec.leg + 2])
        muted = row["mute_until"] == _UNTIL_FURTHER_NOTICE
        if muted and spec.active:
            row["mute_until"] = at_ns
        elif not muted and not spec.active:
            row["mute_from"], row["mute_until"] = at_ns, _UNTIL_FURTHER_NOTICE

    def _update_leg(self, message: protocol.UpdateLeg) -> None:
        leg = self.legs[message.spec.leg]
        leg.spec = message.spec
        leg.rtcp_source = None
        self._pipeline.map_payloads(message.spec.leg, payload_map(message.spec.payloads), message.at_ns)
        self._pipeline.secure.set_keys(message.spec.leg, message.spec.srtp)
        self._apply(message.spec, message.at_ns)
        self._pipeline.commit(np.array([message.spec.leg]))

    def close_leg(self, leg: LegState) -> None:
        """Close a leg's sockets and free its row and ring."""
        if leg.rtcp is not None:
            self.rtcp.unregister(leg.rtcp)
            leg.rtcp.close()
        leg.rtp.close()
        self._changed = True
        number = leg.spec.leg
        self._pipeline.rings.clear(number)
        self._pipeline.forget(number)
        self._pipeline.legs["active"][number] = 0
        self._pipeline.commit(np.array([number]))


def _writer(sink: Sink, channels: int, rate: int, *, g711: bool, frames: int) -> WavWriter:
    sample_format = SampleFormat.MULAW if g711 else SampleFormat.PCM16
    return WavWriter(sink, frames=frames, channels=channels, rate=rate or LOWEST, format=sample_format)


def _never_open(message: protocol.OpenRecording, now_ns: int, error: str) -> protocol.Closed:
    return protocol.Closed(
        recording=message.recording, t0_ns=now_ns, end_ns=now_ns, frames=0, legs=[], error=error
    )
