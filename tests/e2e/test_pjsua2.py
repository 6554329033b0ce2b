"""SIPREC calls of another SIP stack, which plays sound files through its own conference bridge and codec."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.daemon import Daemon
from tests.helpers.offers import ALICE, BOB, metadata
from tests.helpers.voices import I16, RATE, expand, read_audio, voice

SOURCE = Path(__file__).parents[1] / "helpers" / "pjsua2_source.py"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pjsua2") is None,
    reason="pjsua2 is missing: pip install 'siprec[pjsua2]' (CPython 3.11 and 3.12 on x86-64)",
)


SILENCE = {"PCMU": 0, "PCMA": 8}
"What a sample of 0 sounds like after G.711, which pjsua2 sends around its files."


def first_sound(samples: I16) -> int:
    """The first sample that is louder than any silence."""
    return int(np.flatnonzero(np.abs(samples.astype(np.int32)) > max(SILENCE.values()))[0])


def played(folder: Path, seed: int, law: str) -> tuple[Path, I16]:
    """A sound file, and its samples: only such as G.711 has, so that a codec that is right does not change them."""
    samples = expand(law, voice(seed, 2.0, law))
    file = folder / f"{seed}.wav"
    soundfile.write(file, samples, RATE, subtype="PCM_16")
    return file, samples


@pytest.mark.parametrize(("transport", "law"), [("udp", "PCMU"), ("tcp", "PCMU"), ("udp", "PCMA")])
def test_two_files_played_by_pjsua2_are_recorded_sample_by_sample(
    daemon: Daemon, tmp_path: Path, transport: str, law: str
) -> None:
    """Each on its channel, from its first sample to its last, with nothing but silence around it.

    pjsua2 says nowhere when it began to play, so each file is looked for; between its two legs there may be a frame
    of its conference bridge, and what their first packets took to arrive.
    """
    files = [played(tmp_path, seed, law) for seed in (1, 2)]
    job = {
        "uri": f"sip:srs@127.0.0.1:{daemon.ports[transport]};transport={transport}",
        "transport": transport,
        "codec": law,
        "files": [str(file) for file, _ in files],
        "metadata": metadata(),
    }
    client = subprocess.run(
        [sys.executable, SOURCE, json.dumps(job)], capture_output=True, text=True, timeout=60, check=False
    )
    assert client.returncode == 0, client.stderr
    said = json.loads(client.stdout.splitlines()[-1])
    assert said["finished"], client.stdout
    shown = daemon.recording_of(said["call_id"])
    audio = read_audio(shown["path"])
    starts = []
    for channel, (_, samples) in zip(audio.T, files, strict=True):
        start = first_sound(channel) - first_sound(samples)
        end = start + samples.size
        assert np.array_equal(channel[start:end], samples)
        around = np.concatenate([channel[:start], channel[end:]])
        assert set(np.unique(around)) <= {0, SILENCE[law]}
        starts.append(start)
    assert abs(starts[0] - starts[1]) <= 0.1 * RATE
    assert shown["verdict"] == {"result": "complete", "reasons": [], "findings": []}
    assert [(c["role"], c["legs"]) for c in shown["channels"]] == [("caller", [0]), ("callee", [1])]
    assert [leg["participants"] for leg in shown["legs"]] == [
        [{"aor": person.aor, "name": person.name}] for person in (ALICE, BOB)
    ]
    assert [leg["codecs"] for leg in shown["legs"]] == [[law], [law]]
    assert "+sip.srs" in said["answer"]
    assert "not_siprec" not in [e["type"] for e in shown["events"]]
