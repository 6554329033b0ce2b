"""What our own recording client sends, read back by the recorder's side."""

from siprec.recording.header_parties import SipFacts
from siprec.recording.metadata import (
    MetadataDocument,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStreams,
    Session,
    Stream,
)
from siprec.recording.metadata_reader import read_metadata
from siprec.recording.metadata_state import RecordingMetadata
from siprec.recording.metadata_writer import write_metadata
from siprec.recording.multipart import (
    METADATA_TYPE,
    Part,
    build_multipart,
    find_metadata,
    find_sdp,
    parse_body,
)
from siprec.recording.parties import MediaLine, plan_channels
from siprec.sdp.offer import OfferedStream, build_offer
from siprec.sdp.parser import parse_sdp
from siprec.sdp.stream import LocalPorts


def test_two_leg_call_arrives_as_it_was_meant():
    """The second m-line carries the caller; a display name that XML has to escape survives."""
    document = MetadataDocument(
        sessions=[Session(id="s", sip_session_ids=("call-1@pbx",))],
        participants=[
            Participant(id="a", names=(NameId(aor="sip:ann@example.com", name="R&D <lab>"),)),
            Participant(id="b", names=(NameId(aor="sip:ben@example.com"),)),
        ],
        streams=[Stream(id="ma", label="2", session_id="s"), Stream(id="mb", label="1", session_id="s")],
        participant_sessions=[ParticipantSession(participant_id=p, session_id="s") for p in "ab"],
        participant_streams=[ParticipantStreams(participant_id=p, send=(f"m{p}",)) for p in "ab"],
    )
    offer = build_offer(
        [OfferedStream(label=label, ports=LocalPorts(6000 + 2 * i)) for i, label in enumerate("12")],
        address="127.0.0.1",
        session_id=1,
    )
    content_type, body = build_multipart(
        [
            Part(content_type="application/sdp", body=offer.to_bytes()),
            Part(content_type=METADATA_TYPE, disposition="recording-session", body=write_metadata(document)),
        ],
        boundary="probe",
    )
    parts = parse_body(content_type, body)
    sdp, metadata = find_sdp(parts), find_metadata(parts)
    assert sdp is not None
    assert metadata is not None
    media = [MediaLine(index=m.index, label=m.label) for m in parse_sdp(sdp.body).media]
    state = RecordingMetadata()
    state.apply(read_metadata(metadata.body, charset=metadata.parameters.get("charset")), at=0.0)
    plan = plan_channels(media, state, SipFacts())
    assert [(leg.label, leg.participants[0].name, str(leg.role), leg.channel) for leg in plan.legs] == [
        ("1", "", "callee", 1),
        ("2", "R&D <lab>", "caller", 0),
    ]
