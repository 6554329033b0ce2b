"""Fail before answering (DESIGN rule 2): everything a call needs, taken before its 200 OK, or given back."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Iterable
from pathlib import Path

from siprec.config import Config
from siprec.daemon.keeper import Keeper
from siprec.daemon.keeper_protocol import RESERVE
from siprec.daemon.live import LiveRecording
from siprec.daemon.live import document as recording_document
from siprec.rtp.ports import PortAllocator, PortPair, PortsExhausted
from siprec.storage.document import encode_document
from siprec.storage.fileops import StorageError
from siprec.storage.layout import recording_dir, uuid7
from siprec.storage.space import OutOfSpace, SpaceAccount
from siprec.storage.timestamps import from_unix_ns
from siprec.storage.wav import SampleFormat

FORMATS = {"wav": SampleFormat.PCM16, "wav-g711": SampleFormat.MULAW}
NO_SPACE = "no space for another call above storage.low_water_mb"
TOO_SLOW = "the disk takes too long"
TIMEOUT_S = 0.4
"A disk that takes longer costs the call: its peer gets a final answer within 500 ms."


class NotAdmitted(Exception):
    """The call cannot be recorded now; the text says what is missing. Answered 503.

    `told` is what the peer gets to read of it: our paths are nothing to it.
    """

    def __init__(self, why: str, *, told: str | None = None) -> None:
        super().__init__(why)
        self.told = why if told is None else told


class Admission:
    """Takes ports, space, files and journal records, and gives them back."""

    def __init__(
        self, config: Config, ports: PortAllocator, space: SpaceAccount, keeper: Keeper, rng: random.Random
    ) -> None:
        self.config, self.ports, self.space, self.keeper, self._rng = config, ports, space, keeper, rng

    def why_not(self, now: float) -> str | None:
        """What is used up that a call needs; None if it is there. now: monotonic seconds."""
        if not self.keeper.running:
            return "what writes files is being started"
        if not self.ports.available(now):
            return f"no free port pair of {self.ports.total}; widen rtp.ports"
        try:
            room = self.space.room_for()
        except StorageError as exc:
            return TOO_SLOW if exc.errno == errno.ETIMEDOUT else str(exc)
        return None if room else NO_SPACE

    def take_ports(self, lines: Iterable[tuple[int, bool]], now: float) -> dict[int, PortPair]:
        """A bound pair for each (m-line index, rtcp-mux). Raises NotAdmitted, and nothing is taken."""
        taken: dict[int, PortPair] = {}
        try:
            for index, mux in lines:
                taken[index] = self.ports.allocate(now, mux=mux)
        except PortsExhausted as exc:
            self.give_back_ports(taken.values(), now)
            raise NotAdmitted(str(exc)) from exc
        return taken

    def give_back_ports(self, pairs: Iterable[PortPair], now: float) -> None:
        """Close pairs; their ports rest."""
        for pair in pairs:
            self.ports.release(pair, now)

    def new_id(self, unix_ns: int) -> str:
        """An id for a recording that begins now."""
        return uuid7(unix_ns // 1_000_000, self._rng.randbytes(10))

    def folder_of(self, identity: str, unix_ns: int) -> Path:
        """Where a recording's folder will be."""
        return recording_dir(self.config.storage.path, identity, from_unix_ns(unix_ns))

    def take_space(self, identity: str) -> None:
        """Space by account. Raises NotAdmitted."""
        try:
            self.space.reserve(identity)
        except OutOfSpace as exc:
            raise NotAdmitted(str(exc)) from exc
        except StorageError as exc:
            if exc.errno == errno.ETIMEDOUT:  # it has not answered for seconds
                raise NotAdmitted(TOO_SLOW) from exc
            raise NotAdmitted(str(exc), told=_told(exc)) from exc

    async def take_disk(
        self, live: LiveRecording, document: bytes, metadata: bytes | None, *, channels: int
    ) -> None:
        """Folder, open audio file, and the admission record on the medium.

        document: the recording's, as it is written; metadata: what came with the INVITE. Sets `live.audio_fd`.
        Raises NotAdmitted, and nothing is left behind but a journal record that says so.
        """
        storage = self.config.storage
        try:
            async with asyncio.timeout(TIMEOUT_S):
                live.audio_fd = await self.keeper.admit(
                    live.id,
                    live.folder,
                    document,
                    metadata,
                    channels=channels,
                    rate=live.rate,
                    format=FORMATS[storage.format],
                    needed=self.space.needed,
                )
        except BaseException as exc:
            self.take_back(live)
            if isinstance(exc, StorageError) and exc.operation == RESERVE:
                raise NotAdmitted(NO_SPACE) from exc
            if isinstance(exc, StorageError):
                raise NotAdmitted(str(exc), told=_told(exc)) from exc
            if isinstance(exc, TimeoutError):
                raise NotAdmitted(TOO_SLOW) from exc
            raise

    def take_back(self, live: LiveRecording) -> None:
        """An admitted recording never began: the journal says so, and its folder goes."""
        live.state = "discarded"
        self.keeper.discard(live.id, live.folder, encode_document(recording_document(live).to_document()))


def _told(error: StorageError) -> str:
    return f"storage: {error.operation}: {error.strerror}"
