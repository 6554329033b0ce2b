"""SRTP as the RFCs write it down, in plain Python: what libsrtp is held against. Far too slow for anything else.

AES is FIPS 197, its counter mode and the key derivation RFC 3711 4.1.1 and 4.3, GCM RFC 7714 8 and 9. The RFCs' own
vectors are in tests/rtp/test_srtp_vectors.py.
"""

from __future__ import annotations

import hmac

TAGS = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4}
"Bytes of an SRTP tag; SRTCP has 10 (RFC 4568 6.2)."
_ENCRYPTED = 1 << 31


def _times(a: int, b: int) -> int:
    """Product in the field of AES."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _s_box() -> bytes:
    inverse = [0] * 256
    for a in range(1, 256):
        inverse[a] = next(b for b in range(1, 256) if _times(a, b) == 1)
    box = []
    for b in inverse:
        rotations = (b << n | b >> 8 - n for n in range(1, 5))
        box.append((b ^ next(rotations) ^ next(rotations) ^ next(rotations) ^ next(rotations)) & 0xFF ^ 0x63)
    return bytes(box)


_BOX = _s_box()


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=False))


class Aes:
    """One key of 16 or 32 bytes."""

    def __init__(self, key: bytes) -> None:
        size, words, constant = len(key) // 4, [key[i : i + 4] for i in range(0, len(key), 4)], 1
        while len(words) < 4 * (size + 7):
            last = words[-1]
            if len(words) % size == 0:
                last = (last[1:] + last[:1]).translate(_BOX)
                last, constant = bytes([last[0] ^ constant]) + last[1:], _times(constant, 2)
            elif size > 6 and len(words) % size == 4:
                last = last.translate(_BOX)
            words.append(xor(words[-size], last))
        self._rounds = [b"".join(words[i : i + 4]) for i in range(0, len(words), 4)]

    def block(self, data: bytes) -> bytes:
        """16 bytes, encrypted."""
        state = xor(data, self._rounds[0])
        for number, key in enumerate(self._rounds[1:], 1):
            state = bytes(state.translate(_BOX)[(i + 4 * (i % 4)) % 16] for i in range(16))
            if number < len(self._rounds) - 1:
                state = b"".join(map(_mix, (state[i : i + 4] for i in range(0, 16, 4))))
            state = xor(state, key)
        return state

    def stream(self, start: int, count: int) -> bytes:
        """So many bytes of key stream from a counter of 128 bits on."""
        blocks = (self.block((start + n).to_bytes(16, "big")) for n in range(-(-count // 16)))
        return b"".join(blocks)[:count]

    def gcm(self, iv: bytes, plain: bytes, known: bytes) -> bytes:
        """Cipher text and tag (NIST SP 800-38D). iv: 12 bytes; known: is authenticated only."""
        first = int.from_bytes(iv + b"\0\0\0\1", "big")
        cipher = xor(plain, self.stream(first + 1, len(plain)))
        h, total = int.from_bytes(self.block(bytes(16)), "big"), 0
        lengths = (8 * len(known)).to_bytes(8, "big") + (8 * len(cipher)).to_bytes(8, "big")
        for part in (known, cipher, lengths):
            for at in range(0, len(part), 16):
                total = _ghash(total ^ int.from_bytes(part[at : at + 16].ljust(16, b"\0"), "big"), h)
        return cipher + xor(total.to_bytes(16, "big"), self.stream(first, 16))


def _mix(column: bytes) -> bytes:
    a, b, c, d = column
    rows = ((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c))
    return bytes(_times(p, 2) ^ _times(q, 3) ^ r ^ s for p, q, r, s in rows)


def _ghash(a: int, b: int) -> int:
    product = 0
    for bit in range(127, -1, -1):
        product ^= b if a >> bit & 1 else 0
        b = b >> 1 ^ (0xE1 << 120 if b & 1 else 0)
    return product


def derive(master: bytes, salt: bytes, label: int, count: int) -> bytes:
    """So many bytes of a session key (RFC 3711 4.3.1, no rate of derivation); a salt of 12 bytes is filled up (RFC 7714 11)."""
    x = int.from_bytes(salt.ljust(14, b"\0"), "big") ^ label << 48
    return Aes(master).stream(x << 16, count)


def gcm_iv(salt: bytes, ssrc: bytes, index: int) -> bytes:
    """RFC 7714 8.1 and 9.1: of an RTP packet by its roll-over counter and number, of RTCP by its index."""
    return xor(b"\0\0" + ssrc + index.to_bytes(6, "big"), salt)


class Sender:
    """One suite and master key."""

    def __init__(self, suite: str, secret: bytes, mki: bytes = b"") -> None:
        self.suite, self.mki = suite, mki
        size, self._gcm = (32 if "256" in suite else 16), suite.startswith("AEAD")
        master, salt = secret[:size], secret[size:]
        keys = [
            [derive(master, salt, first + n, k) for n, k in enumerate((size, 20, len(salt)))]
            for first in (0, 3)
        ]
        self._rtp, self._rtcp = keys

    def rtp(self, packet: bytes, index: int) -> bytes:
        """A packet without CSRC and extension, of an extended sequence number."""
        head, payload, ssrc = packet[:12], packet[12:], packet[8:12]
        key, auth, salt = self._rtp
        if self._gcm:
            return head + Aes(key).gcm(gcm_iv(salt, ssrc, index), payload, head) + self.mki
        data = head + self._crypt(key, salt, ssrc, index, payload)
        tag = hmac.digest(auth, data + (index >> 16).to_bytes(4, "big"), "sha1")[: TAGS[self.suite]]
        return data + self.mki + tag

    def rtcp(self, compound: bytes, index: int) -> bytes:
        head, rest, ssrc = compound[:8], compound[8:], compound[4:8]
        key, auth, salt = self._rtcp
        word = (_ENCRYPTED | index).to_bytes(4, "big")
        if self._gcm:
            return head + Aes(key).gcm(gcm_iv(salt, ssrc, index), rest, head + word) + word + self.mki
        data = head + self._crypt(key, salt, ssrc, index, rest) + word
        return data + self.mki + hmac.digest(auth, data, "sha1")[:10]

    @staticmethod
    def _crypt(key: bytes, salt: bytes, ssrc: bytes, index: int, data: bytes) -> bytes:
        start = int.from_bytes(salt, "big") << 16 ^ int.from_bytes(ssrc, "big") << 64 ^ index << 16
        return xor(data, Aes(key).stream(start, len(data)))
