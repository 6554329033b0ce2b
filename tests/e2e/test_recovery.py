"""What is left when the recorder itself is gone in the middle of a call, and what the next start makes of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tests.helpers.caller import Caller
from tests.helpers.calls import Start, offered, simple_call
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.offers import Line, metadata, multipart, sdp
from tests.helpers.player import Packet, Player, assert_aligned, assert_heard, play, talk
from tests.helpers.voices import I16, RATE, read_audio, voice

LATEST = 100
"Packets of 20 ms that a kill may cost: a second between two writes, the hold-back, a tick, and time to write."

NewPlayer = Callable[..., Player]


def beginning(channel: I16, packets: Sequence[Packet]) -> list[Packet]:
    """The packets up to the last one that is heard in a channel, cut to the channel's end."""
    sounds = np.flatnonzero(channel)
    start = int(sounds[0])
    found = [p for p in packets if p.audio is not None and start + p.place <= sounds[-1]]
    last = found[-1]
    assert last.audio is not None
    return [*found[:-1], replace(last, audio=last.audio[: channel.size - start - last.place])]


@pytest.mark.parametrize("workers", [False, True], ids=["main process", "all processes"])
def test_a_call_cut_by_a_kill_is_recovered_up_to_about_the_last_second(
    start_daemon: Callable[..., Daemon], sipp: Start, player: NewPlayer, workers: bool
) -> None:
    """SIGKILL, RTP going on, and another start, after which calls are recorded as before."""
    daemon = start_daemon()
    left, right = pair = [player(talk(voice(80 + side, 4.0), ssrc=side)) for side in (1, 2)]
    call = sipp(daemon, simple_call(multipart(sdp(offered(*pair)), metadata()), hang_up=False))
    with call:
        play(pair, call.answer().ports())
        live = wait_for("the call", lambda: daemon.live(call.call_id))
        left.wait_for(150)
        daemon.kill(workers=workers)
        sent = min(len(left.sent), len(right.sent))
        call.go_on()
    daemon.start()
    for one in pair:
        one.finish()
    shown = daemon.recording_of(call.call_id, state="recovered")
    assert shown["id"] == live["id"]
    assert shown["verdict"]["result"] == "incomplete"
    assert "interrupted" in shown["verdict"]["reasons"]
    audio = read_audio(shown["path"])
    assert shown["duration_s"] == round(len(audio) / RATE, 3)
    (finding,) = shown["verdict"]["findings"]
    assert (finding["reason"], finding["at_s"]) == ("interrupted", shown["duration_s"])
    kept = [beginning(channel, one.packets) for channel, one in zip(audio.T, pair, strict=True)]
    at = assert_heard(audio[:, 0], kept[0]), assert_heard(audio[:, 1], kept[1])
    assert_aligned((left, right), at)
    assert min(map(len, kept)) > sent - LATEST
    assert daemon.ls("--state", "recording") == []
    assert [leg["participants"][0]["name"] for leg in shown["legs"]] == ["Alice", "Bob"]

    again = [player(talk(voice(90 + side, 0.6), ssrc=side)) for side in (1, 2)]
    with sipp(daemon, simple_call(multipart(sdp(offered(*again)), metadata()))) as second:
        play(again, second.answer().ports())
        for one in again:
            one.finish()
        second.go_on()
    assert daemon.recording_of(second.call_id)["verdict"]["result"] == "complete"
    wait_for("nothing to be left open", lambda: daemon.metric("siprec_calls") == 0)
    daemon.stop()


def test_a_recovered_recording_has_the_rate_of_its_file_and_not_the_most_that_was_allowed(
    start_daemon: Callable[..., Daemon], player: NewPlayer
) -> None:
    """The rate was open at the answer: G.722 was agreed on too, and only G.711 came."""
    daemon = start_daemon()
    one = player(talk(voice(77, 4.0), ssrc=77))
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call((Line(one.port, "1", (0, 9)),))
        play([one], answer.message.ports())
        one.finish()
        daemon.kill(workers=True)
        daemon.start()
        shown = daemon.recording_of(caller.call_id, state="recovered")
    info = soundfile.info(shown["path"])
    assert (info.samplerate, shown["sample_rate"]) == (8000, 8000)
    assert shown["duration_s"] == pytest.approx(info.duration, abs=0.001)
    assert info.duration > 2
