import asyncio
from datetime import timedelta

import pytest

from siprec.probe.errors import ProbeError
from siprec.probe.search import find_recording, wait_for_recording
from siprec.storage.document import write_document
from siprec.storage.layout import uuid7
from tests.probe.recorded import STARTED, recorded


def stored(root, call_id, *, after_s=0, state="ended"):
    """A recording of that call, begun so long after STARTED."""
    made = recorded(duration_s=0.1)
    made.document.id = uuid7(int((STARTED.timestamp() + after_s) * 1000), bytes([after_s % 256] * 10))
    made.document.dialogs[0].call_id = call_id
    made.document.state = state
    return made, made.write(root)


def test_the_recording_of_a_call_is_found_among_others(tmp_path):
    for number in range(3):
        stored(tmp_path, f"call-{number}", after_s=number)
    _, wanted = stored(tmp_path, "mine", after_s=5)
    (tmp_path / "2026/03/14/notes").mkdir()
    assert find_recording(tmp_path, "mine", since=STARTED) == wanted
    assert find_recording(tmp_path, "nobody's", since=STARTED) is None


def test_recordings_from_long_before_the_call_are_not_read(tmp_path):
    stored(tmp_path, "mine")
    assert find_recording(tmp_path, "mine", since=STARTED + timedelta(seconds=30)) is not None
    assert find_recording(tmp_path, "mine", since=STARTED + timedelta(hours=1)) is None


def test_a_call_around_midnight_is_found_on_the_next_day(tmp_path):
    _, wanted = stored(tmp_path, "mine")
    assert find_recording(tmp_path, "mine", since=STARTED - timedelta(hours=12, seconds=30)) == wanted


def test_a_document_that_is_half_there_is_passed_over(tmp_path):
    _, folder = stored(tmp_path, "other")
    (folder / "recording.json").write_text('{"version": 1')
    _, wanted = stored(tmp_path, "mine", after_s=3)
    assert find_recording(tmp_path, "mine", since=STARTED) == wanted


def test_the_end_of_a_recording_is_waited_for(tmp_path):
    made, folder = stored(tmp_path, "mine", state="recording")

    async def ends_later():
        waiting = asyncio.create_task(wait_for_recording(tmp_path, "mine", since=STARTED))
        await asyncio.sleep(0)
        made.document.state = "ended"
        write_document(folder, made.document)
        return await waiting

    found, document = asyncio.run(ends_later())
    assert (found, document.state) == (folder, "ended")


@pytest.mark.parametrize(
    ("call_id", "said"),
    [("nobody's", "is that storage.path of the recorder"), ("mine", "did not end within")],
)
def test_the_wait_is_bounded_and_says_what_was_missing(tmp_path, call_id, said):
    stored(tmp_path, "mine", state="recording")
    with pytest.raises(ProbeError, match=said):
        asyncio.run(wait_for_recording(tmp_path, call_id, since=STARTED, timeout_s=0))
