import numpy as np
import pytest

from siprec.probe.errors import ProbeError
from siprec.probe.report import as_json, call_lines, report_lines
from siprec.probe.verify import verify
from siprec.storage.layout import AUDIO, DOCUMENT
from siprec.storage.model import Participant, Verdict
from tests.probe.recorded import LEAD, recorded

IMPAIRED = {
    "duration_s": 2.0,
    "loss_pct": 5.0,
    "duplicate_pct": 5.0,
    "hold_s": 1.0,
    "digits": "1",
    "ssrc_change": True,
}


@pytest.mark.parametrize(
    "values",
    [{}, {"codec": "pcma"}, {"mixed": True}, {"metadata": False}, IMPAIRED],
    ids=["plain", "a-law", "mixed", "no metadata", "impaired"],
)
def test_a_recording_of_what_was_sent_passes(tmp_path, values):
    made = recorded(**values)
    report = verify(made.result, made.write(tmp_path))
    assert report.problem is None
    assert report.ok
    assert [leg.right for leg in report.legs] == [leg.sent.sum() for leg in made.result.legs]
    assert report.legs[0].offset_ms == LEAD / 8


def swapped(made):
    made.samples = made.samples[:, ::-1]


def silent_right(made):
    made.samples[:, 1] = 0


def click(made):
    made.samples[-5, 0] = 1


def damaged(made):
    made.samples[LEAD + 160 * 100 + 1, 1] ^= 64


def one_late(made):
    made.samples[:, 1] = np.roll(made.samples[:, 1], 161)


def too_long(made):
    made.samples = np.concatenate((made.samples, np.zeros((800, 2), np.int16)))
    made.document.duration_s += 0.1


def told_wrong_length(made):
    made.document.duration_s -= 0.05


def mono(made):
    made.samples = made.samples[:, :1]


def unfinished(made):
    made.document.state = "discarded"


def complaining(made):
    made.document.verdict = Verdict(result="incomplete", reasons=["loss"])


def miscounted(made):
    made.document.legs[1].packets -= 1


def without_leg(made):
    made.document.legs[1].label = None


def wrong_party(made):
    made.document.legs[0].participants = [Participant(aor="sip:1002@probe.invalid")]


def unfair(made):
    made.result.max_late_ms = 400.0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (swapped, "sound of leg 1: it is on channel 1, not on channel 0"),
        (silent_right, "sound of leg 2: not found on channel 1"),
        (click, "silence of leg 1: 1 samples that are no silence"),
        (damaged, "sound of leg 2: 249 of 250 packets are there sample by sample; the first that is not"),
        (one_late, "alignment: the legs stand 20.12 ms"),
        (too_long, "length: "),
        (told_wrong_length, "length: "),
        (mono, "channels: 1 of 8000 Hz"),
        (unfinished, "state: discarded"),
        (complaining, "recorder's verdict: incomplete (loss)"),
        (miscounted, "counts of leg 2: 249 packets, 0 lost, 0 duplicates; it was 250 packets"),
        (without_leg, "leg 2: the document has no such leg"),
        (wrong_party, "party of leg 1: sip:1002@probe.invalid"),
        (unfair, "pacing: packets left up to 400 ms late"),
    ],
)
def test_each_fault_is_named_in_one_line(tmp_path, damage, said):
    made = recorded()
    damage(made)
    report = verify(made.result, made.write(tmp_path))
    assert not report.ok
    assert report.problem is not None
    assert report.problem.startswith(said)
    assert report.problem in [f"{check.name}: {check.text}" for check in report.checks]


def test_a_recorder_that_calls_a_lossy_call_complete_is_wrong(tmp_path):
    made = recorded(loss_pct=5.0)
    made.document.verdict = Verdict(result="complete")
    assert verify(made.result, made.write(tmp_path)).problem == "recorder's verdict: complete"


@pytest.mark.parametrize(
    ("told", "right"), [("12", True), ("xx", True), ("1", False), ("21", False), ("", False)]
)
def test_keys_count_and_may_be_masked(tmp_path, told, right):
    made = recorded(digits="12")
    del made.document.events[len(told) :]
    for event, digit in zip(made.document.events, told, strict=True):
        event.extra["digit"] = digit
    assert verify(made.result, made.write(tmp_path)).ok is right


def test_sound_on_the_channel_of_nobody_is_a_fault(tmp_path):
    made = recorded(mixed=True, metadata=False)
    made.samples = np.concatenate((made.samples, np.zeros_like(made.samples)), axis=1)
    made.samples[5, 1] = 3
    assert verify(made.result, made.write(tmp_path)).problem == "channel 1: 1 samples on it that nobody sent"


def test_a_leg_that_was_sent_late_may_stand_late(tmp_path):
    made = recorded()
    made.samples[:, 1] = np.roll(made.samples[:, 1], 400)
    made.result.legs[1].first_late_s = 0.05
    assert verify(made.result, made.write(tmp_path)).ok


@pytest.mark.parametrize("name", [DOCUMENT, AUDIO])
def test_a_recording_that_cannot_be_read_is_an_error(tmp_path, name):
    made = recorded()
    folder = made.write(tmp_path)
    (folder / name).write_bytes(b"nothing of use")
    with pytest.raises(ProbeError, match="cannot be read"):
        verify(made.result, folder)


def test_the_report_for_people_has_the_call_each_leg_and_the_verdict(tmp_path):
    made = recorded(**IMPAIRED)
    report = verify(made.result, made.write(tmp_path))
    text = "\n".join([*call_lines(made.result), *report_lines(report)])
    lost = made.result.legs[1].lost
    for said in ("call-1", f"{lost} lost", "7 of keys 1", "channel 0", "channel 1", "at 3.000 ms"):
        assert said in text
    assert text.endswith("everything that was sent is recorded, at its place")


def test_the_report_for_programs_says_the_same(tmp_path):
    made = recorded()
    click(made)
    told = as_json(made.result, verify(made.result, made.write(tmp_path)))
    assert told["ok"] is told["verify"]["ok"] is False
    assert told["verify"]["problem"].startswith("silence of leg 1")
    assert [leg["right"] for leg in told["verify"]["legs"]] == [250, 250]
    assert as_json(made.result, None)["ok"] is True
    made.result.faults.append("m-line 1: refused")
    assert as_json(made.result, None)["ok"] is False
