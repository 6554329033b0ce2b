from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.recording import metadata_state
from siprec.recording.metadata import (
    Extension,
    Group,
    MetadataDocument,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStreams,
    Session,
    Stream,
)
from siprec.recording.metadata_state import MetadataEvent, RecordingMetadata
from siprec.recording.metadata_time import read_time


def party(identity: str, aor: str = "") -> Participant:
    return Participant(id=identity, names=(NameId(aor=aor or f"sip:{identity}@x", name=identity.upper()),))


def member(participant: str, session: str = "s", left: str = "") -> ParticipantSession:
    return ParticipantSession(participant_id=participant, session_id=session, disassociated=read_time(left))


def snapshot(*parties: str, session: str = "s", partial: bool = False) -> MetadataDocument:
    """A session with those in it, each of whom sends a stream of its own."""
    return MetadataDocument(
        partial=partial,
        groups=[Group(id="g")],
        sessions=[Session(id=session, group_id="g", started=read_time("2024-03-01T10:00:00Z"))],
        participants=[party(p) for p in parties],
        streams=[Stream(id=f"m{p}", label=p, session_id=session) for p in parties],
        participant_sessions=[member(p, session) for p in parties],
        participant_streams=[ParticipantStreams(participant_id=p, send=(f"m{p}",)) for p in parties],
    )


def told(events: list[MetadataEvent]) -> list[str]:
    return [f"{e.type} {e.id}" for e in events]


def test_first_snapshot_starts_everything():
    state = RecordingMetadata()
    events = state.apply(snapshot("a", "b"), at=5.0)
    assert told(events) == [
        "session_started s",
        "stream_started ma",
        "stream_started mb",
        "participant_joined a",
        "participant_joined b",
    ]
    assert {e.at for e in events} == {5.0}
    assert (events[3].aor, events[3].name, events[3].session_id) == ("sip:a@x", "A", "s")
    assert events[1].label == "a"
    assert events[0].stated is not None
    assert state.has_base


def test_identical_snapshots_six_times_give_no_event():
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    for at in range(1, 7):
        assert state.apply(snapshot("a", "b"), at=float(at)) == []
    assert state.revision == 1


def test_complete_snapshot_replaces_everything():
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    assert told(state.apply(snapshot("a", "c"), at=1.0)) == [
        "participant_left b",
        "stream_ended mb",
        "stream_started mc",
        "participant_joined c",
    ]
    assert list(state.participants) == ["a", "c"]
    assert state.revision == 2


def test_participant_that_comes_back_joins_a_second_time():
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    state.apply(snapshot("a"), at=1.0)
    assert "participant_joined b" in told(state.apply(snapshot("a", "b"), at=2.0))


def test_broadworks_transfer_gives_new_sessions_in_the_same_dialog():
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    events = state.apply(snapshot("a", "c", session="s2"), at=1.0)
    assert told(events) == [
        "participant_left a",
        "participant_left b",
        "stream_ended mb",
        "session_ended s",
        "session_started s2",
        "stream_started mc",
        "participant_joined a",
        "participant_joined c",
    ]


def test_partial_is_merged_by_id_and_what_it_does_not_name_stays():
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    update = MetadataDocument(
        partial=True,
        participants=[Participant(id="a"), party("c")],
        streams=[Stream(id="ma", label="9")],
        participant_sessions=[member("c")],
    )
    assert told(state.apply(update, at=1.0)) == ["participant_joined c"]
    assert state.participants["a"].aor == "sip:a@x", "an element without names takes none away"
    assert state.streams["ma"] == Stream(id="ma", label="9", session_id="s")
    assert state.sends("b") == ("mb",)


def test_partial_disassociation_is_leaving_and_a_new_association_a_second_interval():
    """RFC 7865 8.2."""
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    left = MetadataDocument(
        partial=True,
        participants=[party("a")],
        participant_sessions=[member("a", left="2024-03-01T10:05:00Z")],
    )
    events = state.apply(left, at=1.0)
    assert told(events) == ["participant_left a"]
    assert events[0].stated is not None
    assert [p.id for p in state.active_participants()] == ["b"]
    assert state.apply(left, at=2.0) == []
    back = MetadataDocument(partial=True, participant_sessions=[member("a")])
    assert told(state.apply(back, at=3.0)) == ["participant_joined a"]


def test_partial_before_any_complete_one_adds():
    state = RecordingMetadata()
    assert "participant_joined a" in told(state.apply(snapshot("a", partial=True), at=0.0))
    assert not state.has_base


def test_partial_with_unknown_references_names_nobody():
    state = RecordingMetadata()
    state.apply(snapshot("a"), at=0.0)
    update = MetadataDocument(
        partial=True,
        participant_sessions=[member("ghost")],
        participant_streams=[ParticipantStreams(participant_id="ghost", send=("x",))],
    )
    assert state.apply(update, at=1.0) == []
    assert [p.id for p in state.active_participants()] == ["a"]


def test_damaged_document_takes_nothing_away():
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    damaged = snapshot("a")
    damaged.incomplete = True
    damaged.participant_streams = [ParticipantStreams(participant_id="a")]
    assert state.apply(damaged, at=1.0) == []
    assert state.sends("a") == ("ma",)


def test_empty_association_means_neither_sending_nor_receiving():
    state = RecordingMetadata()
    state.apply(snapshot("a", "b"), at=0.0)
    held = MetadataDocument(partial=True, participant_streams=[ParticipantStreams(participant_id="a")])
    assert state.apply(held, at=1.0) == []
    assert state.sends("a") == ()
    assert state.revision == 2


def test_association_with_streams_that_is_over_sends_nothing():
    state = RecordingMetadata()
    document = snapshot("a")
    over = read_time("2024-03-01T10:05:00Z")
    document.participant_streams = [ParticipantStreams(participant_id="a", send=("ma",), disassociated=over)]
    state.apply(document, at=0.0)
    assert state.sends("a") == ()


def test_stop_time_ends_the_session_and_all_in_it():
    state = RecordingMetadata()
    state.apply(snapshot("a"), at=0.0)
    stopped = snapshot("a")
    stopped.sessions = [Session(id="s", stopped=read_time("2024-03-01T10:09:00Z"))]
    events = state.apply(stopped, at=1.0)
    assert told(events) == ["participant_left a", "stream_ended ma", "session_ended s"]
    assert events[2].stated is not None
    assert state.active_participants() == []


def test_changed_name_is_told():
    state = RecordingMetadata()
    state.apply(snapshot("a"), at=0.0)
    renamed = snapshot("a")
    renamed.participants = [party("a", "sip:real@x")]
    events = state.apply(renamed, at=1.0)
    assert told(events) == ["participant_changed a"]
    assert events[0].aor == "sip:real@x"


def test_participants_without_any_association_take_part():
    document = snapshot("a", "b")
    document.participant_sessions = []
    state = RecordingMetadata()
    events = state.apply(document, at=0.0)
    assert [e.session_id for e in events if e.type == "participant_joined"] == ["", ""]
    assert state.apply(snapshot("a", "b"), at=1.0) == [], "naming the session later moves nobody"
    assert state.apply(document, at=2.0) == []


def test_participants_without_association_leave_with_the_last_session():
    document = snapshot("a")
    document.participant_sessions = []
    state = RecordingMetadata()
    state.apply(document, at=0.0)
    document.sessions = [Session(id="s", stopped=read_time("2024-03-01T10:09:00Z"))]
    assert "participant_left a" in told(state.apply(document, at=1.0))


def test_empty_complete_document_is_legal():
    """RFC 7866 10: a persistent recording session may have no call in it."""
    state = RecordingMetadata()
    assert state.apply(MetadataDocument(), at=0.0) == []
    state.apply(snapshot("a"), at=1.0)
    assert told(state.apply(MetadataDocument(), at=2.0)) == [
        "participant_left a",
        "stream_ended ma",
        "session_ended s",
    ]


def test_state_is_bounded_however_many_partial_documents_come():
    state = RecordingMetadata()
    for i in range(3):
        names = [str(n) for n in range(i * 2500, (i + 1) * 2500)]
        update = MetadataDocument(
            partial=True,
            participants=[party(n) for n in names],
            extensions=[Extension(n, "x") for n in names],
        )
        state.apply(update, at=float(i))
    assert len(state.participants) == len(state.extensions) == metadata_state.MAX_ELEMENTS


DOCUMENTS = st.builds(
    lambda parties, session, partial, incomplete, unplaced: _variant(
        parties, session, partial, incomplete, unplaced
    ),
    st.lists(st.sampled_from("abcd"), unique=True),
    st.sampled_from(["s", "t"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def _variant(
    parties: list[str], session: str, partial: bool, incomplete: bool, unplaced: bool
) -> MetadataDocument:
    document = snapshot(*parties, session=session, partial=partial)
    document.incomplete = incomplete
    if unplaced:
        document.participant_sessions = []
    return document


@settings(max_examples=150, deadline=None)
@given(st.lists(DOCUMENTS, max_size=8))
def test_events_add_up_to_the_state_and_a_repeated_document_is_silent(documents: list[MetadataDocument]):
    state, present, running = RecordingMetadata(), set(), set()
    for at, document in enumerate(documents):
        for event in state.apply(document, at=float(at)):
            if event.type == "stream_started":
                running.add(event.id)
            elif event.type == "stream_ended":
                running.remove(event.id)
            elif event.type == "participant_joined":
                present.add(event.id)
        assert running == state.active_streams().keys()
        assert {p.id for p in state.active_participants()} <= present
        revision = state.revision
        assert state.apply(document, at=float(at)) == []
        assert state.revision == revision


def test_of_each_kind_a_thousand_are_kept_however_many_documents_come():
    metadata = RecordingMetadata()
    for turn in range(3):
        people = [Participant(id=f"{turn}-{i}") for i in range(600)]
        metadata.apply(MetadataDocument(partial=True, participants=people), at=float(turn))
    assert len(metadata.participants) == 1000
