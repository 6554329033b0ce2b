"""Damaged payloads for every codec, for as long as is asked for: `make fuzz-codecs SECONDS=300`.

Fails when a decoder raises, gives another length than the payload has, is deaf afterwards, takes seconds over a packet, or
when memory grows. Says the seed, with which it does the same again.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from pathlib import Path

from siprec.codecs.decoder import open_decoder
from siprec.codecs.registry import Codec
from tests.helpers.damage import CODECS_OF_SOUND, damaged, good_payloads
from tests.helpers.decoding import check_anything, check_good

_ROUNDS = 20
"Batches that a decoder lives for."
_BATCH = 10
_WARM_ROUNDS = 8
"Times that every codec has its turn before memory is looked at."
_GROWTH_BYTES = 24 << 20
_SLOWEST_S = 2.0
"A batch that takes longer would stall a worker's tick; a busy machine included."


def main() -> int:
    """0 if nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    began, rounds, payloads, base, slowest = time.monotonic(), 0, 0, 0, 0.0
    while rounds <= _WARM_ROUNDS or time.monotonic() < began + options.seconds:
        for codec in CODECS_OF_SOUND:
            payloads += _ROUNDS * _BATCH
            slowest = max(slowest, _abuse(codec, rng))
        rounds += 1
        if rounds == _WARM_ROUNDS:
            base = _rss_bytes()
    growth = _rss_bytes() - base
    print(
        f"{payloads} payloads of {len(CODECS_OF_SOUND)} codecs in {rounds} rounds; slowest batch {slowest * 1000:.0f} ms; "
        f"memory {base >> 20} MB, grown by {growth >> 10} KB"
    )
    if growth > _GROWTH_BYTES:
        print("memory grows", file=sys.stderr)
        return 1
    return 0


def _abuse(codec: Codec, rng: random.Random) -> float:
    """One decoder's life; the longest that a batch took [s]."""
    good, decoder, slowest = good_payloads(codec), open_decoder(codec), 0.0
    for _ in range(_ROUNDS):
        batch = [damaged(good, rng) for _ in range(_BATCH)]
        began = time.monotonic()
        check_anything(codec, decoder, batch)
        slowest = max(slowest, time.monotonic() - began)
        assert slowest < _SLOWEST_S, (
            f"{codec.form}: {slowest:.1f} s for {[payload.hex() for payload in batch]}"
        )
    check_good(codec, decoder, good[:15])
    return slowest


def _rss_bytes() -> int:
    gc.collect()
    fields = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in fields if line.startswith("VmRSS:")).split()[1])


if __name__ == "__main__":
    sys.exit(main())
