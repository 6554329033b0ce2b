"""Keys for SRTP in the SDP: `a=crypto` lines (RFC 4568, RFC 7714 13) and what we answer to them.

A line that cannot be used, whatever is wrong with it, is passed over for the next one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from siprec.sdp.payload import number

MAX_KEYS = 8
"Of one line; RFC 4568 6.1 sets no bound."
_MAX_TAG = 999_999_999
_MAX_MKI_BYTES = 128
"RFC 4568 9.2."
_MAX_MKI_DIGITS = 309
"Of a number of so many bytes."


class Suite(NamedTuple):
    """Lengths of a crypto suite, in bytes."""

    key: int
    salt: int


SUITES: dict[str, Suite] = {
    "AES_CM_128_HMAC_SHA1_80": Suite(16, 14),
    "AES_CM_128_HMAC_SHA1_32": Suite(16, 14),
    "AEAD_AES_128_GCM": Suite(16, 12),
    "AEAD_AES_256_GCM": Suite(32, 12),
}
"The suites that we can do: RFC 4568 6.2, RFC 7714 12."


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """A master key and salt in one, and the MKI that packets made with it carry; b"" for none."""

    secret: bytes
    mki: bytes = b""

    def __repr__(self) -> str:
        return f"SrtpKey(…, mki={self.mki.hex()!r})"  # a key never comes into a log


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """A usable `a=crypto` line."""

    tag: int
    suite: str
    keys: tuple[SrtpKey, ...]

    def __str__(self) -> str:
        """The value of the attribute, with the keys in it."""
        return f"{self.tag} {self.suite} {';'.join(_inline(key) for key in self.keys)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCrypto:
    """What an offer and its answer settled for one m-line."""

    tag: int
    suite: str
    remote: tuple[SrtpKey, ...]
    "Keys of what the peer sends."
    local: SrtpKey
    "Ours: of the reports that we send."
    required: bool
    "Plain RTP is not to be expected: the profile is a secure one."


def read_crypto(value: str) -> CryptoLine | None:
    """One `a=crypto` value: tag, suite, key parameters, session parameters; None if it cannot be used."""
    words = value.split()
    if len(words) < 3:
        return None
    tag = number(words[0], limit=_MAX_TAG)
    suite = words[1].upper()
    if tag is None or suite not in SUITES or not all(map(_harmless, words[3:])):
        return None
    keys = [_key(text, SUITES[suite]) for text in words[2].split(";")]
    known = tuple(key for key in keys if key is not None)
    if len(known) != len(keys) or len(keys) > MAX_KEYS or not _told_apart(known):
        return None
    return CryptoLine(tag, suite, known)


def choose(values: Iterable[str]) -> CryptoLine | None:
    """The first usable line in the order of the offer (RFC 4568 5.1.2); None if there is none."""
    return next((line for value in values if (line := read_crypto(value)) is not None), None)


def suites_in(values: Iterable[str]) -> list[str]:
    """The names of the suites offered, for people; never a key."""
    return [words[1][:40] for value in values if len(words := value.split(None, 2)) > 1][:8]


def _harmless(parameter: str) -> bool:
    """Whether a session parameter leaves the packets as they are: RFC 4568 6.3, and 6.3.7 for optional ones.

    A window size is a hint, and FEC_SRTP the default.
    """
    upper = parameter.upper()
    return upper.startswith(("-", "WSH=")) or upper == "FEC_ORDER=FEC_SRTP"


def _key(text: str, suite: Suite) -> SrtpKey | None:
    """`inline:<key and salt>["|" lifetime]["|" MKI ":" length]` (RFC 4568 6.1)."""
    method, _, rest = text.partition(":")
    if method.lower() != "inline":
        return None
    encoded, *more = rest.split("|")
    try:
        secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    mki: bytes | None = b""
    for part in more:
        if ":" in part:
            mki = _mki(part)
        elif not _is_lifetime(part):
            return None
    if len(secret) != suite.key + suite.salt or mki is None:
        return None
    return SrtpKey(secret, mki)


def _mki(text: str) -> bytes | None:
    value, _, length = text.partition(":")
    size = number(length, limit=_MAX_MKI_BYTES)
    if not size or not (value.isascii() and value.isdigit() and len(value) <= _MAX_MKI_DIGITS):
        return None
    whole = int(value)
    return whole.to_bytes(size, "big") if whole < 1 << 8 * size else None


def _is_lifetime(text: str) -> bool:
    digits = text.removeprefix("2^")
    return digits.isascii() and digits.isdigit() and len(digits) <= 20


def _told_apart(keys: tuple[SrtpKey, ...]) -> bool:
    """Several keys must have MKIs that differ and are equally long (RFC 4568 6.1)."""
    if len(keys) < 2:
        return True
    mkis = {key.mki for key in keys}
    return len(mkis) == len(keys) and len({len(mki) for mki in mkis}) == 1 and b"" not in mkis


def _inline(key: SrtpKey) -> str:
    mki = f"|{int.from_bytes(key.mki, 'big')}:{len(key.mki)}" if key.mki else ""
    return f"inline:{base64.b64encode(key.secret).decode('ascii')}{mki}"
