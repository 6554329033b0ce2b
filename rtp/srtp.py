"""SRTP of one leg (RFC 3711, RFC 7714) by libsrtp: what the peer sends is opened, our reports are closed.

libsrtp keeps the roll-over counter of each SSRC and cannot be told one. A session that begins in the middle of a stream (a
worker took over, the peer changed its key, we came late) is brought to its place by packets that we make with the
same key and give to it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pylibsrtp import Error, Policy, Session

WINDOW = 1024
"Packets that may be as late; older ones are not opened."
MAX_EARLIER = 4
"Sets of keys before the present one that are still tried: packets are on their way when keys change."
MAX_SSRCS = 64
"SSRCs of a leg whose index is remembered."
ROC_GUESSES = 8
"Roll-over counters that are tried for a stream that we did not see from its beginning: 22 minutes of 20 ms each."
_GUESS_EVERY = 50
"Packets that cannot be opened, between two rounds of guesses."
_MAX_ROUNDS = 20
_STEP = 0x4000
"Between two packets that bring a session to its place: less than half a lap of the sequence number."
_RTP = struct.Struct("!BBHII")
_RTCP_HEADER = 8


class Profile(Enum):
    """A crypto suite: libsrtp's profile, bytes of the tag behind the MKI or before it."""

    AES_CM_128_HMAC_SHA1_80 = (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 10, 10)
    AES_CM_128_HMAC_SHA1_32 = (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 4, 10)
    AEAD_AES_128_GCM = (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 0, 0)
    AEAD_AES_256_GCM = (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 0, 0)

    def __init__(self, profile: int, tag: int, rtcp_tag: int) -> None:
        self.profile = profile
        self.tag = tag
        "Bytes behind the MKI of a packet (RFC 3711 3.1); none in GCM, whose tag is part of the payload (RFC 7714 8.1)."
        self.rtcp_tag = rtcp_tag

    def session(self, key: bytes, *, outbound: bool = False) -> Session:
        """A session at its beginning. key: master key and salt."""
        kind = Policy.SSRC_ANY_OUTBOUND if outbound else Policy.SSRC_ANY_INBOUND
        policy = Policy(key=key, ssrc_type=kind, srtp_profile=self.profile)
        policy.window_size = WINDOW
        if outbound:
            policy.allow_repeat_tx = True
        return Session(policy)


class Outcome(Enum):
    """What became of a packet."""

    OPENED = "opened"
    PLAIN = "plain"
    "It was never encrypted; only where that is allowed."
    REPEATED = "repeated"
    "It came before, or is too old to tell."
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """Master key and salt in one, and the MKI of its packets."""

    secret: bytes
    mki: bytes = b""


class _Context:
    """What is opened with one key."""

    def __init__(self, profile: Profile, key: MasterKey) -> None:
        self.profile, self.key = profile, key
        self._session = profile.session(key.secret)
        self._placed: dict[int, Session] = {}
        "Sessions of their own for SSRCs that did not begin at 0."
        self.opened: set[int] = set()
        "SSRCs of which it opened something."

    def open(self, data: bytes, ssrc: int) -> bytes:
        """Raises Error."""
        plain: bytes = self._placed.get(ssrc, self._session).unprotect(data)
        self.opened.add(ssrc)
        return plain

    def open_rtcp(self, data: bytes) -> bytes:
        """Raises Error."""
        plain: bytes = self._session.unprotect_rtcp(data)
        return plain

    def open_at(self, data: bytes, ssrc: int, index: int) -> bytes | None:
        """Try with a session that has been brought near `index`, the extended sequence number; keeps it if that works."""
        session = self.profile.session(self.key.secret)
        try:
            bring_to(session, self.profile, self.key.secret, ssrc, index)
            plain: bytes = session.unprotect(data)
        except Error:
            return None
        self._placed[ssrc] = session
        self.opened.add(ssrc)
        return plain


def bring_to(session: Session, profile: Profile, key: bytes, ssrc: int, index: int) -> None:
    """Make an inbound session expect `ssrc` near the extended sequence number `index`. Raises Error.

    The packets that it is given lie before everything that is still in its window, so that none of the real ones is
    taken for a repetition.
    """
    last = index - 2 * WINDOW
    if last < 0:
        return
    sender = profile.session(key, outbound=True)
    for at in [*range(0, last, _STEP), last]:
        session.unprotect(sender.protect(_RTP.pack(0x80, 0, at & 0xFFFF, 0, ssrc)))


class LegSrtp:
    """Keys and streams of one leg."""

    def __init__(self, suite: str, keys: Sequence[MasterKey], local: bytes, *, required: bool = True) -> None:
        """keys: of the peer; local: master key and salt of what we send. required: plain packets are not taken.

        Raises KeyError for an unknown suite, ValueError or Error for a key that does not fit it.
        """
        self._suite, self._local, self._required = suite, local, required
        self._contexts: list[_Context] = []
        self._earlier: list[_Context] = []
        self._ours = Profile[suite].session(local, outbound=True)
        self._index: dict[int, int] = {}
        "Highest extended sequence number by SSRC."
        self._failures = self._rounds = 0
        self._set(suite, keys)

    def rekey(self, suite: str, keys: Sequence[MasterKey], local: bytes, *, required: bool = True) -> None:
        """What a new offer says. The same keys go on as they are; the ones before are kept for a while."""
        self._required = required
        if (suite, local) != (self._suite, self._local):
            self._suite, self._local = suite, local
            self._ours = Profile[suite].session(local, outbound=True)
        self._set(suite, keys)

    def _set(self, suite: str, keys: Sequence[MasterKey]) -> None:
        profile = Profile[suite]
        known = {(c.profile, c.key): c for c in [*self._earlier, *self._contexts]}
        fresh = [known.get((profile, key)) or _Context(profile, key) for key in keys]
        if fresh != self._contexts:
            self._earlier = [c for c in [*self._contexts, *self._earlier] if c not in fresh][:MAX_EARLIER]
            self._contexts, self._failures, self._rounds = fresh, 0, 0

    def index_of(self, ssrc: int) -> int | None:
        """Highest extended sequence number (roll-over counter and sequence number) that was opened of an SSRC."""
        return self._index.get(ssrc)

    def resume(self, ssrc: int, index: int) -> None:
        """A stream goes on that somebody else has opened up to `index`."""
        self._remember(ssrc, index)

    def knows(self, ssrc: int) -> bool:
        """Whether something of an SSRC was opened."""
        return ssrc in self._index

    def open(self, data: bytes) -> tuple[bytes, Outcome]:
        """Open an RTP packet with a whole header; gives it back as it is unless it was opened. Never raises."""
        seq, ssrc = int.from_bytes(data[2:4], "big"), int.from_bytes(data[8:12], "big")
        repeated = False
        index = self._near(ssrc, seq)
        for context, packet in self._candidates(data):
            begins = ssrc not in context.opened
            if begins and index >= 1 << 16 and self._patient():
                plain = context.open_at(packet, ssrc, index)
                if plain is not None:
                    return self._opened(plain, ssrc, index)
            try:
                plain = context.open(packet, ssrc)
                # a key with which the sender began to count anew (RFC 4568) has opened it at its beginning
                return self._opened(plain, ssrc, seq if begins else index, anew=begins)
            except Error as exc:
                repeated |= "replay" in str(exc) or "too old" in str(exc)
        if repeated:
            return data, Outcome.REPEATED
        if not self._required and ssrc not in self._index:
            return data, Outcome.PLAIN
        return self._guess(data, ssrc, seq)

    def _opened(self, plain: bytes, ssrc: int, index: int, *, anew: bool = False) -> tuple[bytes, Outcome]:
        self._remember(ssrc, index if anew else max(index, self._index.get(ssrc, 0)))
        return plain, Outcome.OPENED

    def _patient(self) -> bool:
        """Whether to bring a session to its place for a packet: not for each one of a stream that nothing opens."""
        return self._failures < _GUESS_EVERY or self._failures % _GUESS_EVERY == 0

    def _near(self, ssrc: int, seq: int) -> int:
        """The extended number of `seq` that is nearest to what was opened of its SSRC; from 0 on for a new one."""
        known = self._index.get(ssrc)
        if known is None:
            return seq
        return known + ((seq - known + 0x8000) & 0xFFFF) - 0x8000

    def _guess(self, data: bytes, ssrc: int, seq: int) -> tuple[bytes, Outcome]:
        """Now and then, see whether a stream is further on than we know: we may have come late."""
        self._failures += 1
        if self._failures % _GUESS_EVERY != 1 or self._rounds >= _MAX_ROUNDS:
            return data, Outcome.FAILED
        self._rounds += 1
        for context, packet in self._candidates(data):
            for roc in range(1, ROC_GUESSES + 1):
                index = (roc << 16) + seq
                plain = context.open_at(packet, ssrc, index)
                if plain is not None:
                    return self._opened(plain, ssrc, index, anew=True)
        return data, Outcome.FAILED

    def _remember(self, ssrc: int, index: int) -> None:
        if ssrc not in self._index and len(self._index) >= MAX_SSRCS:
            del self._index[next(iter(self._index))]
        self._index[ssrc] = index

    def _candidates(self, data: bytes, *, rtcp: bool = False) -> list[tuple[_Context, bytes]]:
        """The contexts that a packet may belong to, and the packet without its MKI for each."""
        found = []
        for context in [*self._contexts, *self._earlier]:
            mki = context.key.mki
            if not mki:
                found.append((context, data))
                continue
            tag = context.profile.rtcp_tag if rtcp else context.profile.tag
            end = len(data) - tag
            if data[end - len(mki) : end] == mki:
                found.append((context, data[: end - len(mki)] + data[end:]))
        return found

    @property
    def encrypts(self) -> bool:
        """Whether what we send is to be encrypted: always, or once the peer does."""
        return self._required or bool(self._index)

    def open_rtcp(self, data: bytes) -> bytes:
        """Open a compound RTCP packet; b"" if it cannot be. Plain ones are taken where that is allowed."""
        if len(data) < _RTCP_HEADER:
            return b""
        for context, packet in self._candidates(data, rtcp=True):
            try:
                return context.open_rtcp(packet)
            except Error:
                continue
        return b"" if self._required else data

    def close_rtcp(self, data: bytes) -> bytes:
        """Protect a compound RTCP packet of ours."""
        closed: bytes = self._ours.protect_rtcp(data)
        return closed
