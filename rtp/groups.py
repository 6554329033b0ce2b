"""Rows of one batch grouped by stream, each group in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


@dataclass(slots=True)
class Groups:
    """`n` rows sorted by a key, in `g` runs of the same key."""

    key: I64
    "int64[g], the key of each run."
    starts: I64
    "int64[g], first row of each run."
    counts: I64
    of_row: I64
    "int64[n], the run of each row."

    @classmethod
    def of(cls, keys: I64) -> Groups:
        """Runs of equal keys in `keys` (n > 0, sorted)."""
        starts = np.concatenate(([0], np.flatnonzero(np.diff(keys)) + 1)).astype(np.int64)
        counts = np.diff(np.append(starts, keys.size))
        return cls(
            key=keys[starts],
            starts=starts,
            counts=counts,
            of_row=np.repeat(np.arange(starts.size, dtype=np.int64), counts),
        )

    @property
    def last(self) -> I64:
        """int64[g], last row of each run."""
        return self.starts + self.counts - 1

    def rows(self, group: int) -> slice:
        """The rows of one run."""
        return slice(int(self.starts[group]), int(self.starts[group] + self.counts[group]))

    def previous(self, values: Array, first: Array) -> Array:
        """Each row's predecessor in its run; `first` (one entry a run) stands before the first row."""
        out = np.empty_like(values)
        out[1:] = values[:-1]
        out[self.starts] = first
        return out


def stable_order(keys: I64) -> I64 | None:
    """Row order that sorts `keys` and keeps equal ones in place; None when they are sorted already."""
    if keys.size < 2 or bool((keys[1:] >= keys[:-1]).all()):
        return None
    return np.argsort(keys, kind="stable").astype(np.int64)
