"""`siprec show`."""

from contextlib import closing
from typing import Any

import pytest

from siprec.storage.catalog import Catalog
from siprec.storage.model import Recording

Siprec = Any


def test_json_is_the_whole_recording(siprec: Siprec, recordings: list[Recording]) -> None:
    shown = siprec("show", recordings[1].id, "--json").json
    assert shown == recordings[1].to_dict()
    assert {"id", "tenant", "state", "verdict", "t0", "t_end", "path", "channels", "legs", "events"} <= set(
        shown
    )


def test_the_text_has_verdict_legs_findings_and_events(siprec: Siprec, recordings: list[Recording]) -> None:
    text = siprec("show", recordings[1].id).out
    assert "verdict      incomplete (gap)\n" in text
    assert "caller, sip:eve@example.net: PCMA, 3000 packets, 12 lost, jitter 1.2 ms\n" in text
    assert "finding      gap on leg 0 at 3.500 s for 0.250 s\n" in text
    assert "3.500 s  hold: leg 0\n" in text
    assert "\x1b" not in text


def test_what_else_came_to_a_leg_is_named_where_there_was_any(
    siprec: Siprec, recordings: list[Recording]
) -> None:
    document = recordings[1].to_document()
    document["legs"][0] |= {"stun": 3, "t38": 50, "dtls": 0}
    with closing(Catalog("sqlite:///calls/catalog.db")) as catalog:
        catalog.apply([{"type": "recording", "document": document}])
    text = siprec("show", recordings[1].id).out
    assert "PCMA, 3000 packets, 12 lost, 50 t38, 3 stun, jitter 1.2 ms\n" in text


def test_a_running_recording_can_be_shown(siprec: Siprec, recordings: list[Recording]) -> None:
    text = siprec("show", recordings[2].id).out
    assert "state        recording\nverdict      -\n" in text


def test_the_beginning_of_an_id_is_enough_when_it_is_unique(
    siprec: Siprec, recordings: list[Recording]
) -> None:
    for one in recordings:
        for length in (13, 20, 36):
            assert siprec("show", one.id[:length].upper(), "--json").json["id"] == one.id


@pytest.mark.parametrize("written", ["0", "../../etc", "ffffffff", "00000000", "not-an-id", "0192f0zz", "%"])
def test_an_id_that_names_nothing_is_status_1(
    siprec: Siprec, recordings: list[Recording], written: str
) -> None:
    assert recordings
    outcome = siprec("show", written)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"siprec: no recording '{written}'; ")


def test_a_beginning_of_several_ids_is_refused(siprec: Siprec, recordings: list[Recording]) -> None:
    one = recordings[0]
    twin = one.to_document() | {"id": f"{one.id[:-1]}f"}
    with closing(Catalog("sqlite:///calls/catalog.db")) as catalog:
        catalog.apply([{"type": "recording", "document": twin}])
    outcome = siprec("show", one.id[:20])
    assert outcome.status == 1
    assert f"'{one.id[:20]}' is the beginning of 2 ids" in outcome.err
    assert siprec("show", one.id).status == 0
