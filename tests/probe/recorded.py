"""A call that was never placed and its faultless recording, for tests that damage one of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from siprec.probe.outcome import leg_results
from siprec.probe.plan import CallPlan
from siprec.probe.result import ProbeResult
from siprec.probe.script import build_script
from siprec.probe.voices import conversation, sound_of_legs
from siprec.storage.document import write_document
from siprec.storage.layout import AUDIO, create_recording_dir, uuid7
from siprec.storage.model import Dialog, Event, Leg, Participant, Recording, Verdict
from siprec.storage.timestamps import rfc3339

STARTED = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
LEAD = 24
"Frames of silence before the first sample, as a recorder has them between 200 OK and the first packet."


@dataclass(slots=True)
class Recorded:
    """What the probe knows, what the file holds (int16[frames, channels]), and what the document says."""

    result: ProbeResult
    samples: np.ndarray
    document: Recording

    def write(self, root: Path) -> Path:
        folder = create_recording_dir(root, self.document.id, STARTED)
        soundfile.write(str(folder / AUDIO), self.samples, 8000, subtype="PCM_16")
        write_document(folder, self.document)
        return folder


def recorded(**values: object) -> Recorded:
    """A call by a plan, recorded as it should be."""
    plan = CallPlan(**values)  # type: ignore[arg-type]
    script = build_script(plan, sound_of_legs(plan, conversation(plan.duration_s, seed=1)))
    legs = leg_results(plan, script, [packet for packet in script.packets if not packet.lost])
    frames = LEAD + script.slots * 160 + 800
    samples = np.zeros((frames, plan.legs), np.int16)
    for channel, leg in enumerate(legs):
        sound = np.where(leg.sent[:, None], leg.samples, 0).reshape(-1)
        samples[LEAD : LEAD + sound.size, channel] = sound
    seconds = frames / 8000
    result = ProbeResult(
        call_id="call-1",
        client="siprec",
        started_at=STARTED,
        invited=10.0,
        answered=10.01,
        bye_sent=10.005 + seconds,
        bye_answered=10.015 + seconds,
        legs=legs,
        mixed=plan.mixed,
    )
    return Recorded(result, samples, document(plan, result, seconds))


def document(plan: CallPlan, result: ProbeResult, seconds: float) -> Recording:
    lost = any(leg.missing for leg in result.legs)
    return Recording(
        id=uuid7(int(STARTED.timestamp() * 1000), bytes(10)),
        started_at=rfc3339(STARTED),
        state="ended",
        verdict=Verdict(result="incomplete" if lost else "complete", reasons=["loss"] if lost else []),
        duration_s=round(seconds, 3),
        ended_at=rfc3339(STARTED + timedelta(seconds=seconds)),
        legs=[
            Leg(
                id=number,
                channel=leg.channel,
                label=leg.label,
                call_id=result.call_id,
                participants=[Participant(aor=leg.aor)] if leg.aor else [],
                packets=leg.packets or 0,
                lost=leg.lost or 0,
                duplicates=leg.duplicates or 0,
            )
            for number, leg in enumerate(result.legs)
        ],
        dialogs=[Dialog(call_id=result.call_id)],
        events=[Event(at_s=1.0, type="dtmf", extra={"digit": digit}) for digit in plan.digits],
    )
