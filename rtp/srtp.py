"""SRTP of one leg (RFC 3711, RFC 7714) by libsrtp: what the peer sends is opened, our reports are closed.

libsrtp keeps the roll-over counter of each SSRC and cannot be told one. A session that begins in the middle of a stream (a
worker took over, the peer changed its key, we came late) is brought to its place by packets that we make with the
same key and give to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from pylibsrtp import Error, Policy, Session

WINDOW = 1024
"Packets that may be as late; older ones are not opened."
LONGEST = 1500
"Bytes of a packet that libsrtp's Python binding takes; longer ones are not opened."
MAX_EARLIER = 4
"Sets of keys before the present one that are still tried: packets are on their way when keys change."
MAX_SSRCS = 64
"SSRCs of a leg whose index is remembered."
MAX_STREAMS = 1024
"SSRCs that one session opens before it gives way to a fresh one: libsrtp keeps each for ever."
ROC_GUESSES = 8
"""Roll-over counters that are tried for a stream whose place is not known: we came late, its packets went elsewhere for more
than half a lap, or it began anew. 22 minutes of 20 ms each."""
PATIENCE = 25
"Packets of an SSRC in a row that are not opened, before its place is looked for; a few of them are nothing but late."
_GUESS_EVERY = 50
"Packets between one search and the next."
_FIRST_GUESSES = 8
"Searches before anything was opened: then the first packet is enough."
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
        self._note(ssrc)
        return plain

    def open_rtcp(self, data: bytes) -> bytes:
        """Raises Error."""
        plain: bytes = self._session.unprotect_rtcp(data)
        return plain

    def open_at(self, data: bytes, ssrc: int, indices: Iterable[int]) -> tuple[bytes, int] | None:
        """Try with a session that is brought near each index (extended sequence number) in turn, in rising order.

        Returns the packet and its index, and keeps the session for this SSRC; None if it fits none of them.
        """
        journey = Journey(self.profile, self.key.secret, ssrc)
        for index in indices:
            try:
                journey.reach(index)
                plain: bytes = journey.session.unprotect(data)
            except Error:
                continue
            self._note(ssrc)
            self._placed[ssrc] = journey.session
            return plain, index
        return None

    def _note(self, ssrc: int) -> None:
        if ssrc in self.opened:
            return
        if len(self.opened) >= MAX_STREAMS:
            self._session = self.profile.session(self.key.secret)
            self._placed.clear()
            self.opened.clear()
        self.opened.add(ssrc)


class Journey:
    """An inbound session on its way to the place of a stream, which libsrtp cannot be told.

    The packets that it is given lie before everything that is still in its window, so that none of the real ones is
    taken for a repetition.
    """

    def __init__(self, profile: Profile, key: bytes, ssrc: int) -> None:
        self.session = profile.session(key)
        self._sender, self._ssrc, self._at = profile.session(key, outbound=True), ssrc, 0

    def reach(self, index: int) -> None:
        """Go on until the extended sequence number `index` is near; never back. Raises Error."""
        last = index - 2 * WINDOW
        if last < 0:
            return
        for at in [*range(self._at, last, _STEP), last]:
            self.session.unprotect(self._sender.protect(_RTP.pack(0x80, 0, at & 0xFFFF, 0, self._ssrc)))
        self._at = last + 1


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
        "Highest extended sequence number by SSRC, the one heard last at the end."
        self._misses: dict[int, int] = {}
        "Packets in a row that were not opened, by SSRC."
        self._first_guesses = 0
        self.searches = 0
        "Times that the place of a stream was looked for."
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
            self._contexts, self._first_guesses = fresh, 0
            self._misses.clear()

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
        if len(data) > LONGEST:
            return data, Outcome.FAILED
        repeated = old = False
        index = self._near(ssrc, seq)
        for context, packet in self._candidates(data):
            begins = ssrc not in context.opened
            if begins and index >= 1 << 16 and self._worthwhile(ssrc):
                found = context.open_at(packet, ssrc, [index])
                if found is not None:
                    return self._opened(found[0], ssrc, index)
            try:
                plain = context.open(packet, ssrc)
                # a key with which the sender began to count anew (RFC 4568) has opened it at its beginning
                return self._opened(plain, ssrc, seq if begins else index, anew=begins)
            except Error as exc:
                repeated |= "bad index" in str(exc)
                old |= "too old" in str(exc)
        if repeated:
            return data, Outcome.REPEATED
        return self._missed(data, ssrc, seq, old)

    def _opened(self, plain: bytes, ssrc: int, index: int, *, anew: bool = False) -> tuple[bytes, Outcome]:
        self._misses.pop(ssrc, None)
        self._remember(ssrc, index if anew else max(index, self._index.get(ssrc, 0)))
        return plain, Outcome.OPENED

    def _missed(self, data: bytes, ssrc: int, seq: int, old: bool) -> tuple[bytes, Outcome]:
        """What to make of a packet that no session opens where it is.

        Most often it is not meant for us. But a whole stream of them may be somewhere else: what seems too old is a
        repetition only while others are opened.
        """
        misses = self._misses.get(ssrc, 0) + 1
        _put(self._misses, ssrc, misses)
        plain_allowed = not self._required and ssrc not in self._index
        if self._is_due(misses, once=plain_allowed):
            self.searches += 1
            for context, packet in self._candidates(data):
                found = context.open_at(packet, ssrc, self._guesses(ssrc, seq))
                if found is not None:
                    return self._opened(found[0], ssrc, found[1], anew=True)
        if plain_allowed:
            return data, Outcome.PLAIN
        return data, Outcome.REPEATED if old and misses < PATIENCE else Outcome.FAILED

    def _is_due(self, misses: int, *, once: bool) -> bool:
        """Whether to look for the place of a stream now: searches are dear, and there may be nothing to find."""
        if not self._index and misses == 1 and self._first_guesses < _FIRST_GUESSES:
            self._first_guesses += 1
            return True
        return misses == PATIENCE or (misses % _GUESS_EVERY == PATIENCE and not once)

    def _worthwhile(self, ssrc: int) -> bool:
        """Whether to bring a session to its place for a packet: not for each one of a stream that nothing opens."""
        misses = self._misses.get(ssrc, 0)
        return misses < PATIENCE or misses % _GUESS_EVERY == 0

    def _guesses(self, ssrc: int, seq: int) -> list[int]:
        """Extended numbers that `seq` may have: from where its stream was on, or from the beginning."""
        roc = self._index.get(ssrc, 0) >> 16
        return [(guess << 16) + seq for guess in sorted({0, *range(roc, roc + ROC_GUESSES + 1)})]

    def _near(self, ssrc: int, seq: int) -> int:
        """The extended number of `seq` by what was opened of its SSRC (RFC 3711 3.3.1), as libsrtp has it; from 0 on for a new one."""
        roc, last = divmod(self._index.get(ssrc, 0), 1 << 16)
        if last < 0x8000:
            roc -= seq - last > 0x8000
        else:
            roc += last - 0x8000 > seq
        return (max(roc, 0) << 16) + seq

    def _remember(self, ssrc: int, index: int) -> None:
        _put(self._index, ssrc, index)

    def _candidates(self, data: bytes, *, rtcp: bool = False) -> list[tuple[_Context, bytes]]:
        """The contexts that a packet may belong to, and the packet without its MKI for each."""
        found, unmarked = [], []
        for context in [*self._contexts, *self._earlier]:
            mki = context.key.mki
            if not mki:
                found.append((context, data))
                continue
            unmarked.append((context, data))  # some announce an MKI and leave it out
            tag = context.profile.rtcp_tag if rtcp else context.profile.tag
            end = len(data) - tag
            if data[end - len(mki) : end] == mki:
                found.append((context, data[: end - len(mki)] + data[end:]))
        return found + unmarked

    @property
    def encrypts(self) -> bool:
        """Whether what we send is to be encrypted: always, or once the peer does."""
        return self._required or bool(self._index)

    def open_rtcp(self, data: bytes) -> bytes:
        """Open a compound RTCP packet; b"" if it cannot be. Plain ones are taken where that is allowed."""
        if not _RTCP_HEADER <= len(data) <= LONGEST:
            return b""
        for context, packet in self._candidates(data, rtcp=True):
            try:
                return context.open_rtcp(packet)
            except Error:
                continue
        return data if not self._required and _is_plain_rtcp(data) else b""

    def close(self, data: bytes) -> bytes:
        """Protect an RTP packet of ours."""
        closed: bytes = self._ours.protect(data)
        return closed

    def close_rtcp(self, data: bytes) -> bytes:
        """Protect a compound RTCP packet of ours."""
        closed: bytes = self._ours.protect_rtcp(data)
        return closed


def _put(table: dict[int, int], ssrc: int, value: int) -> None:
    """Set an entry of a table of so many SSRCs, of which the one that was not set for the longest time gives way."""
    if ssrc in table:
        del table[ssrc]
    elif len(table) >= MAX_SSRCS:
        del table[next(iter(table))]
    table[ssrc] = value


def _is_plain_rtcp(data: bytes) -> bool:
    """Whether the packets of a compound fill it (RFC 3550 6.1): encrypted ones have something behind, and noise for lengths."""
    at = 0
    while at + 4 <= len(data) and data[at] >> 6 == 2:
        at += 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
    return at == len(data)
