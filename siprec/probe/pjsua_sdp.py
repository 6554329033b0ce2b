"""What pjsua2 leaves out of its offer. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def labelled(sdp: str, labels: Sequence[str]) -> str:
    """The description with a label (RFC 4574) on each m-line, in order."""
    out: list[str] = []
    waiting = iter(labels)
    label: str | None = None
    for line in [*sdp.splitlines(), ""]:
        if (line.startswith("m=") or not line) and label is not None:
            out.append(f"a=label:{label}")
            label = None
        if line.startswith("m="):
            label = next(waiting, None)
        if line:
            out.append(line)
    return "\r\n".join(out) + "\r\n"
