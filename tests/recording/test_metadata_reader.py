"""Small documents in the shape each vendor sends."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.recording.metadata import (
    Extension,
    Group,
    MetadataDocument,
    MetadataError,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStreams,
    Session,
    SessionRecording,
    Stream,
    Timestamp,
)
from siprec.recording.metadata_reader import read_metadata
from siprec.recording.metadata_time import read_time, write_time
from siprec.recording.metadata_writer import write_metadata
from siprec.recording.metadata_xml import XmlLimits

STANDARD = b"""<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1">
  <datamode>complete</datamode>
  <group group_id="Rw=="><associate-time>2024-03-01T10:00:00Z</associate-time></group>
  <session session_id="Ug=="><sipSessionID>ab30317f;
     remote=47755a9d</sipSessionID><group-ref>Rw==</group-ref><start-time>2024-03-01T10:00:00Z</start-time></session>
  <participant participant_id="cEE="><nameID aor="sip:ann@example.com"><name xml:lang="en">Ann</name></nameID>
    <nameID aor="tel:+15550100"/></participant>
  <participant participant_id="cEI="><nameID aor="sip:ben@example.com"/></participant>
  <stream stream_id="c0E=" session_id="Ug=="><label>1</label></stream>
  <stream stream_id="c0I=" session_id="Ug=="><label>2</label></stream>
  <sessionrecordingassoc session_id="Ug=="><associate-time>2024-03-01T10:00:00Z</associate-time></sessionrecordingassoc>
  <participantsessionassoc participant_id="cEE=" session_id="Ug=="><associate-time>2024-03-01T10:00:01Z</associate-time>
  </participantsessionassoc>
  <participantstreamassoc participant_id="cEE="><send>c0E=</send><recv>c0I=</recv></participantstreamassoc>
  <participantstreamassoc participant_id="cEI="><send>c0I=</send><recv>c0E=</recv></participantstreamassoc>
</recording>
"""


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def names(document: MetadataDocument) -> list[tuple[str, str]]:
    return [(p.aor, p.name) for p in document.participants]


def test_standard_document():
    document = read_metadata(STANDARD)
    assert document.problems == []
    assert (document.partial, document.incomplete) == (False, False)
    ten = Timestamp("2024-03-01T10:00:00Z", at(2024, 3, 1, 10))
    assert document.groups == [Group(id="Rw==", associated=ten)]
    assert document.sessions == [
        Session(id="Ug==", sip_session_ids=("ab30317f; remote=47755a9d",), group_id="Rw==", started=ten)
    ]
    assert document.participants == [
        Participant(
            id="cEE=", names=(NameId(aor="sip:ann@example.com", name="Ann"), NameId(aor="tel:+15550100"))
        ),
        Participant(id="cEI=", names=(NameId(aor="sip:ben@example.com"),)),
    ]
    assert document.participants[0].aor == "sip:ann@example.com"
    assert document.streams == [
        Stream(id="c0E=", label="1", session_id="Ug=="),
        Stream(id="c0I=", label="2", session_id="Ug=="),
    ]
    assert document.session_recordings == [SessionRecording(session_id="Ug==", associated=ten)]
    assert document.participant_sessions == [
        ParticipantSession(
            participant_id="cEE=",
            session_id="Ug==",
            associated=Timestamp("2024-03-01T10:00:01Z", at(2024, 3, 1, 10, 0, 1)),
        )
    ]
    assert document.participant_streams == [
        ParticipantStreams(participant_id="cEE=", send=("c0E=",), recv=("c0I=",)),
        ParticipantStreams(participant_id="cEI=", send=("c0I=",), recv=("c0E=",)),
    ]


def test_metaswitch_namespace_without_version_and_mixed_stream():
    """`<recording id=>`, `<stream id=>` beside `session_id`; bare numbers, a blank and a stray bracket; extensions."""
    document = read_metadata(
        b'<recording xmlns="urn:ietf:params:xml:ns:recording" id="cg=="><dataMode>complete</dataMode>'
        b'<session session_id="cw=="/>'
        b'<participant participant_id="cDE="><nameID aor="2015550100 "><name>Office</name></nameID></participant>'
        b'<participant participant_id="cDI="><nameID aor="2015550199]"/></participant>'
        b'<stream id="bQ==" session_id="cw=="><label>1</label></stream>'
        b'<participantstreamassoc participant_id="cDE="><send>bQ==</send><recv>bQ==</recv></participantstreamassoc>'
        b'<participantstreamassoc participant_id="cDI="><send>bQ==</send><recv>bQ==</recv></participantstreamassoc>'
        b"<extensiondata><metaswitchRecordingMetadata><callType>terminating</callType><userName/>"
        b"<callingPartyNumber>2015550199</callingPartyNumber><dialedDigits>*302100</dialedDigits>"
        b"</metaswitchRecordingMetadata></extensiondata></recording>"
    )
    assert names(document) == [("2015550100", "Office"), ("2015550199", "")]
    assert [link.send for link in document.participant_streams] == [("bQ==",), ("bQ==",)]
    assert document.streams == [Stream(id="bQ==", label="1", session_id="cw==")]
    assert document.extensions[0] == Extension(
        "extensiondata/metaswitchRecordingMetadata/callType", "terminating"
    )
    assert document.extensions[-1].text == "*302100"
    assert document.problems == []


def test_broadworks_draft_schema_with_inline_send():
    document = read_metadata(
        b'<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec"><dataMode>partial</dataMode>'
        b'<recording id="urn:uuid:r"><requestor>SRC</requestor><type>selective</type></recording>'
        b'<group id="urn:uuid:g" recording="urn:uuid:r"><initiator>sip:a@x</initiator></group>'
        b'<session id="urn:uuid:s" group="urn:uuid:g"><start-time>2024-03-01T10:00:00</start-time></session>'
        b'<participant id="urn:uuid:a" session="urn:uuid:s"><aor>sip:+15550100@x;user=phone</aor><name>Ann</name>'
        b"<send><id>urn:uuid:m1</id></send><recv><id>urn:uuid:m2</id></recv></participant>"
        b'<participant id="urn:uuid:b" session="urn:uuid:s"><aor>5550199</aor><send><id>urn:uuid:m2</id></send>'
        b'</participant><stream id="urn:uuid:m1" session="urn:uuid:s"><label>1</label><mode>separate</mode></stream>'
        b"</recording_metadata>"
    )
    assert document.partial
    assert names(document) == [("sip:+15550100@x;user=phone", "Ann"), ("5550199", "")]
    assert document.sessions[0].group_id == "urn:uuid:g"
    assert document.sessions[0].started == Timestamp("2024-03-01T10:00:00", at(2024, 3, 1, 10))
    assert document.participant_sessions == [
        ParticipantSession(participant_id=f"urn:uuid:{p}", session_id="urn:uuid:s") for p in "ab"
    ]
    assert document.participant_streams == [
        ParticipantStreams(participant_id="urn:uuid:a", send=("urn:uuid:m1",), recv=("urn:uuid:m2",)),
        ParticipantStreams(participant_id="urn:uuid:b", send=("urn:uuid:m2",)),
    ]
    assert document.streams == [Stream(id="urn:uuid:m1", label="1", session_id="urn:uuid:s", mode="separate")]
    assert Extension("requestor", "SRC") in document.extensions
    assert Extension("group/initiator", "sip:a@x", "urn:uuid:g") in document.extensions


def test_broadworks_send_of_a_stream_that_is_nowhere_is_told():
    document = read_metadata(
        b'<recording_metadata><participant id="a"><aor>x</aor><send><id>gone</id></send></participant>'
        b"</recording_metadata>"
    )
    assert document.problems == ["participant 'a' sends unknown stream 'gone'"]


def test_webex_later_participants_without_scheme_share_a_stream():
    document = read_metadata(
        b'<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec"><dataMode>complete</dataMode>'
        b'<stream id="m"><label>1</label></stream>'
        b'<participant id="a"><aor>sip:k3jd92jf@x.example</aor><send><id>m</id></send></participant>'
        b'<participant id="b"><aor>k4jd@x.example</aor><send><id>m</id></send></participant></recording_metadata>'
    )
    assert [link.send for link in document.participant_streams] == [("m",), ("m",)]
    assert document.problems == []


def test_cube_interleaved_elements_and_empty_associations():
    document = read_metadata(
        b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>'
        b'<session session_id="s"><sipSessionID>abc;remote=def</sipSessionID>'
        b"<start-time>2024-03-01T10:00:00.123Z</start-time></session>"
        b'<participant participant_id="a"><nameID aor="sip:1@x"/></participant>'
        b'<participantsessionassoc participant_id="a" session_id="s"/><stream stream_id="m1" session_id="s">'
        b'<label>1</label></stream><participant participant_id="b"><nameID aor="sip:2@x"><name/></nameID></participant>'
        b'<participantstreamassoc participant_id="a"/><participantstreamassoc participant_id="b"/></recording>'
    )
    assert names(document) == [("sip:1@x", ""), ("sip:2@x", "")]
    assert document.participant_streams == [
        ParticipantStreams(participant_id="a"),
        ParticipantStreams(participant_id="b"),
    ]
    assert document.sessions[0].started is not None
    assert document.sessions[0].started.utc == at(2024, 3, 1, 10, 0, 0, 123000)


def test_avaya_placeholder_party_empty_stream_id_and_times_without_zone():
    document = read_metadata(
        b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><dataMode>complete</dataMode>'
        b'<session session_id="00010C0A5E"><associate-time>2024-03-01T10:00:00</associate-time></session>'
        b'<participant participant_id="abcdef12345678901234"><nameID aor="sip:ASBCE@asbce.com"/></participant>'
        b'<participantstreamassoc participant_id="abcdef12345678901234"/>'
        b'<stream stream_id="" session_id="00010C0A5E"><label>10</label></stream>'
        b'<stream stream_id="" session_id="00010C0A5E"><label>20</label></stream></recording>'
    )
    assert [(s.id, s.label) for s in document.streams] == [("#stream-1", "10"), ("#stream-2", "20")]
    assert "stream without an id, called #stream-1" in document.problems
    assert document.sessions[0].started is not None
    assert document.sessions[0].started.utc == at(2024, 3, 1, 10)


def test_oracle_inline_send_and_acme_extensions():
    document = read_metadata(
        b"<?xml version='1.0' encoding='UTF-8'?><recording xmlns='urn:ietf:params:xml:ns:recording'"
        b" xmlns:apkt='http://acmepacket.com/siprec/extensiondata'><datamode>complete</datamode>"
        b"<session id='s'><associate-time>2024-03-01T10:00:00</associate-time><extensiondata>"
        b"<apkt:ucid>00FA08</apkt:ucid><apkt:callerOrig>true</apkt:callerOrig></extensiondata></session>"
        b"<participant id='a' session='s'><nameID aor='sip:1@x'><name>One</name></nameID><send>m1</send>"
        b"<extensiondata><apkt:callingParty>true</apkt:callingParty>"
        b"<apkt:header label='X-Y'>z</apkt:header></extensiondata></participant>"
        b"<stream id='m1' session='s'><label>16777227</label><mode>separate</mode></stream></recording>"
    )
    assert document.extensions == [
        Extension("session/extensiondata/ucid", "00FA08", "s"),
        Extension("session/extensiondata/callerOrig", "true", "s"),
        Extension("participant/extensiondata/callingParty", "true", "a"),
        Extension("participant/extensiondata/header", "z", "a"),
        Extension("participant/extensiondata/header/@label", "X-Y", "a"),
    ]
    assert document.participant_streams == [ParticipantStreams(participant_id="a", send=("m1",))]


def test_audiocodes_extensions_in_two_namespaces():
    document = read_metadata(
        b'<recording xmlns="urn:ietf:params:xml:ns:recording" xmlns:ac="http://AudioCodes"><datamode>complete</datamode>'
        b'<group id="00000000-0000-0000-0000-000000000001"><ac:AvayaUCID xmlns="urn:ietf:params:xml:ns:Avaya">FA08'
        b'</ac:AvayaUCID></group><session id="0-2" group-ref="0-1"/>'
        b'<participant id="0-3" session="0-2"><nameID aor="1001@10.1.1.1"/></participant></recording>'
    )
    assert document.extensions[0].path == "group/AvayaUCID"
    assert document.sessions[0].group_id == "0-1"
    assert names(document) == [("1001@10.1.1.1", "")]


def test_ribbon_prefixed_elements_call_data_and_1970():
    document = read_metadata(
        b'<tns:recording xmlns:tns="urn:ietf:params:xml:ns:recording"><tns:datamode>complete</tns:datamode>'
        b'<tns:session session_id="s"><tns:start-time>1970-01-01T00:00:07Z</tns:start-time></tns:session>'
        b'<tns:participant participant_id="a"><tns:nameID aor="2015550100"><tns:name> </tns:name></tns:nameID>'
        b"</tns:participant>"
        b'<callData xmlns="urn:ietf:params:xml:ns:callData"><fromhdr>&lt;sip:1@x&gt;</fromhdr><gcid>7</gcid></callData>'
        b"</tns:recording>"
    )
    assert names(document) == [("2015550100", "")]
    assert document.extensions == [
        Extension("callData/fromhdr", "<sip:1@x>"),
        Extension("callData/gcid", "7"),
    ]
    assert document.sessions[0].started is not None
    assert document.sessions[0].started.utc == at(1970, 1, 1, 0, 0, 7)


def test_prefix_that_was_never_declared():
    document = read_metadata(
        b'<tns:recording><tns:stream stream_id="m"><tns:label>1</tns:label></tns:stream></tns:recording>'
    )
    assert document.streams == [Stream(id="m", label="1")]


@pytest.mark.parametrize("name", ["R&D <lab>", "R&amp;D <lab>", "a < b", "AT&T", "<<>>", "A&B;C", 'say "hi"'])
def test_opensips_display_name_unescaped(name: str):
    """Malformed XML; everything behind the name is still there."""
    document = read_metadata(
        f'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><session session_id="a+/="><sipSessionID>1@pbx'
        f'</sipSessionID></session><participant participant_id="p"><nameID aor="sip:a@x"><name>{name}</name></nameID>'
        f'</participant><participantstreamassoc participant_id="p"><send>m+/=</send></participantstreamassoc>'
        f'<stream stream_id="m+/=" session_id="a+/="><label>0</label></stream></recording>'.encode()
    )
    assert names(document) == [("sip:a@x", name.replace("&amp;", "&"))]
    assert document.streams == [Stream(id="m+/=", label="0", session_id="a+/=")]
    assert document.participant_streams[0].send == ("m+/=",)
    assert not document.incomplete


def test_opensips_zone_without_colon_and_raw_characters_in_an_aor():
    document = read_metadata(
        b'<recording><participant participant_id="p"><nameID aor="sip:a&b<c>@x"><name>Q&A;lang=en</name></nameID>'
        b'</participant><participantsessionassoc participant_id="p" session_id="s">'
        b"<associate-time>2024-03-01T12:00:00+0200</associate-time></participantsessionassoc></recording>"
    )
    assert names(document) == [("sip:a&b<c>@x", "Q&A")]
    associated = document.participant_sessions[0].associated
    assert associated is not None
    assert associated.utc == at(2024, 3, 1, 10)


def test_name_element_with_language_glued_to_its_tag():
    document = read_metadata(
        b'<recording><participant participant_id="p"><nameID aor="sip:a@x"><name;lang=en>Ann</name></nameID>'
        b"</participant></recording>"
    )
    assert names(document) == [("sip:a@x", "Ann")]


def test_jambonz_extension_between_session_and_participant():
    document = read_metadata(
        b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><session session_id="s"/>'
        b'<extensiondata xmlns:jb="http://jambonz.org/siprec"><jb:callsid>c1</jb:callsid><jb:direction>inbound'
        b'</jb:direction></extensiondata><participant id="p" session="s"><nameID aor="15550100"/></participant></recording>'
    )
    assert document.extensions[:1] == [Extension("extensiondata/callsid", "c1")]
    assert names(document) == [("15550100", "")]


def test_netsapiens_call_id_as_group_id():
    document = read_metadata(
        b'<recording><group group_id="20240301@10.0.0.1"/><session session_id="s"/></recording>'
    )
    assert document.groups[0].id == "20240301@10.0.0.1"


def test_elements_inside_a_foreign_element_are_not_ours():
    document = read_metadata(
        b'<recording><x xmlns="urn:x"><participant id="p"><aor>a</aor></participant></x></recording>'
    )
    assert document.participants == []
    assert [(e.path, e.text) for e in document.extensions] == [
        ("x/participant/@id", "p"),
        ("x/participant/aor", "a"),
    ]


def test_participant_inside_its_session_belongs_to_it():
    document = read_metadata(
        b'<recording><session id="s"><participant id="p"><aor>a</aor></participant></session></recording>'
    )
    assert document.participant_sessions == [ParticipantSession(participant_id="p", session_id="s")]


def test_root_inside_an_envelope():
    assert len(read_metadata(b'<body><recording><stream id="m"/></recording></body>').streams) == 1


def test_missing_label_duplicate_id_and_unknown_participant_are_problems_not_errors():
    document = read_metadata(
        b'<recording><stream stream_id="m"/><stream stream_id="m"><label>2</label></stream>'
        b'<participantstreamassoc participant_id="ghost"/></recording>'
    )
    assert document.streams == [Stream(id="m")]
    assert document.problems == [
        "stream 'm' has no label",
        "second stream with id 'm' ignored",
        "streams of unknown participant 'ghost'",
    ]


def test_one_id_for_elements_of_two_kinds_is_a_problem_and_both_are_kept():
    """RFC 7865 6.10."""
    document = read_metadata(
        b'<recording><session session_id="x"/><participant participant_id="x"/><participant participant_id="x"/>'
        b'<stream stream_id="x"><label>1</label></stream></recording>'
    )
    assert [len(part) for part in (document.sessions, document.participants, document.streams)] == [1, 1, 1]
    assert document.problems == [
        "session and participant with the same id 'x'",
        "second participant with id 'x' ignored",
        "session and stream with the same id 'x'",
    ]


def test_several_associations_of_one_participant_add_up():
    document = read_metadata(
        b'<recording><participant id="p"/><stream id="1"><label>1</label></stream><stream id="2"><label>2</label></stream>'
        b'<participantstreamassoc participant_id="p"><send>1</send></participantstreamassoc>'
        b'<participantstreamassoc participant_id="p"><send>2</send><send>1</send></participantstreamassoc></recording>'
    )
    assert document.participant_streams == [ParticipantStreams(participant_id="p", send=("1", "2"))]


def test_missing_datamode_is_complete_and_its_case_does_not_matter():
    assert not read_metadata(b"<recording/>").partial
    assert read_metadata(b"<recording><DATAMODE> Partial </DATAMODE></recording>").partial


def test_whitespace_is_trimmed_everywhere():
    document = read_metadata(
        b'<recording><participant participant_id=" p "><nameID aor=" sip:a@x\n"><name>\n Ann  Lee </name></nameID>'
        b'</participant><stream stream_id=" m "><label> 1\n</label></stream></recording>'
    )
    assert (document.participants[0].id, document.streams[0].label) == ("p", "1")
    assert names(document) == [("sip:a@x", "Ann Lee")]


def test_truncated_document_is_read_as_far_as_it_goes_and_says_so():
    document = read_metadata(STANDARD[: STANDARD.index(b"<sessionrecordingassoc")])
    assert document.incomplete
    assert document.problems == ["not well-formed", "recovered, parts may be missing"]
    assert len(document.participants) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encoding_is_found_from_the_bytes(encoding: str):
    text = '<?xml version="1.0" encoding="UTF-16"?><recording><participant id="p"><aor>é</aor></participant></recording>'
    assert names(read_metadata(text.encode(encoding))) == [("é", "")]


def test_charset_parameter_beats_the_declaration():
    text = '<?xml version="1.0" encoding="UTF-8"?><recording><participant id="p"><aor>Ł</aor></participant></recording>'
    document = read_metadata(text.encode("iso-8859-2"), charset="ISO-8859-2")
    assert (names(document), document.problems) == ([("Ł", "")], [])


def test_declared_encoding_is_used_without_a_charset():
    text = '<?xml version="1.0" encoding="windows-1251"?><recording><participant id="p"><aor>Я</aor></participant></recording>'
    assert names(read_metadata(text.encode("windows-1251"))) == [("Я", "")]


@pytest.mark.parametrize(
    "charset", ["utf-16", "punycode", "zip", "idna", "unicode_escape", "x" * 200, "undefined"]
)
def test_wrong_or_strange_charset_costs_nothing(charset: str):
    document = read_metadata(STANDARD, charset=charset)
    assert len(document.participants) == 2
    assert document.problems != []


def test_bad_utf8_is_read_as_windows_1252():
    document = read_metadata(b'<recording><participant id="p"><aor>M\xfcller</aor></participant></recording>')
    assert names(document) == [("Müller", "")]
    assert document.problems == ["not valid utf-8, read as Windows-1252"]


def test_control_characters_are_dropped():
    document = read_metadata(
        b'<recording><participant id="p"><aor>a\x00\x0bb&#0;</aor></participant></recording>'
    )
    assert names(document)[0][0].startswith("ab")


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE recording [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><recording>&b;</recording>',
        b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><recording><stream id="&x;"/></recording>',
        b'<?xml version="1.0"?><!doctype recording SYSTEM "http://127.0.0.1:9/x.dtd"><recording/>',
        '<!DOCTYPE recording [<!ENTITY a "b">]><recording/>'.encode("utf-16"),
    ],
)
def test_billion_laughs_and_external_entities_are_refused(document: bytes):
    with pytest.raises(MetadataError, match="DOCTYPE"):
        read_metadata(document)


def test_undeclared_entity_is_only_text():
    assert names(
        read_metadata(b'<recording><participant id="p"><aor>a&xxe;b</aor></participant></recording>')
    ) == [("a&xxe;b", "")]


def test_ten_megabytes_are_refused_unread():
    with pytest.raises(MetadataError, match="at most 524288"):
        read_metadata(b"<recording>" + b" " * 10_000_000 + b"</recording>")


@pytest.mark.parametrize("closed", [True, False])
def test_deep_nesting_is_refused(closed: bool):
    body = b"<recording>" + b"<a>" * 64 + (b"</a>" * 64 + b"</recording>" if closed else b"")
    with pytest.raises(MetadataError, match="deeper than 64"):
        read_metadata(body)
    deepest = b"<recording>" + b"<a>" * 63 + b"</a>" * 63 + b"</recording>"
    assert read_metadata(deepest).extensions == []
    with pytest.raises(MetadataError, match="deeper than 5"):
        read_metadata(deepest, limits=XmlLimits(depth=5))


def test_very_deep_nesting_and_very_many_elements_are_refused():
    with pytest.raises(MetadataError):
        read_metadata(b"<recording>" + b"<a>" * 150_000)
    with pytest.raises(MetadataError, match="more than 5000 elements"):
        read_metadata(b"<recording>" + b"<a/>" * 5_000 + b"</recording>")


def test_extensions_and_problems_are_bounded():
    document = read_metadata(
        b"<recording>" + b"<stream/>" * 1000 + b"<x>" + b"<y>1</y>" * 3000 + b"</x>"
        b"<z>" + b"q" * 9000 + b"</z></recording>"
    )
    assert (len(document.extensions), len(document.problems)) == (2000, 50)
    assert (
        len(read_metadata(b"<recording><z>" + b"q" * 9000 + b"</z></recording>").extensions[0].text) == 2048
    )


@pytest.mark.parametrize(
    "body", [b"", b" ", b"<", b"abc", b"<foo/>", b"\xff\xfe", b"<?xml version='1.0'?>", b"<>"]
)
def test_what_has_no_recording_element_is_refused(body: bytes):
    with pytest.raises(MetadataError):
        read_metadata(body)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-03-01T10:00:00Z", at(2024, 3, 1, 10)),
        ("2024-03-01T10:00:00", at(2024, 3, 1, 10)),
        ("2024-03-01T10:00:00.5Z", at(2024, 3, 1, 10, 0, 0, 500000)),
        ("2024-03-01T10:00:00,123456789", at(2024, 3, 1, 10, 0, 0, 123456)),
        ("2024-03-01T10:00:00+00:00", at(2024, 3, 1, 10)),
        ("2024-03-01T10:00:00+0000", at(2024, 3, 1, 10)),
        ("2024-03-01T10:00:00-0530", at(2024, 3, 1, 15, 30)),
        ("2024-03-01 10:00:00 UTC", at(2024, 3, 1, 10)),
        ("2024-03-01t10:00z", at(2024, 3, 1, 10)),
        ("2016-12-31T23:59:60Z", at(2016, 12, 31, 23, 59, 59)),
        ("2024-02-30T10:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("2024-03-01T10:00:00+99:99", None),
        ("yesterday", None),
    ],
)
def test_times(text: str, utc: datetime | None):
    assert read_time(f" {text}\n") == Timestamp(text, utc)


def test_empty_time_is_none_and_written_times_are_read_back():
    assert read_time(" ") is None
    assert read_time(write_time(at(2024, 3, 1, 10, 0, 0, 5000))) == Timestamp(
        "2024-03-01T10:00:00.005Z", at(2024, 3, 1, 10, 0, 0, 5000)
    )


def test_unreadable_time_is_a_problem_and_its_text_is_kept():
    document = read_metadata(
        b'<recording><group id="g"><associate-time>noon</associate-time></group></recording>'
    )
    assert document.groups[0].associated == Timestamp("noon", None)
    assert document.problems == ["time 'noon' not understood"]


def test_what_is_written_is_read_back():
    document = read_metadata(STANDARD)
    written = write_metadata(document)
    assert b'<recording xmlns="urn:ietf:params:xml:ns:recording:1">' in written
    assert read_metadata(written) == document


FRAGMENTS = st.sampled_from(
    [b"<recording>", b"</recording>", b"<name>", b"</name>", b"<nameID aor='", b"'>", b"</nameID>", b"&", b"<", b">", b"]]>",
     b"<![CDATA[", b"<participant id='a'>", b"</participant>", b"<stream id=''/>", b"<send><id>", b"</id></send>", b"<!--",
     b"-->", b"<?xml version='1.0' encoding='utf-16'?>", b"<session>", b"</session>", b"\xff", b"\x00", b"x:", b"R&D <lab>",
     b"<start-time>2024", b"<name;lang=en>", b"<participantstreamassoc participant_id='a'/>", "é".encode(), b" ", b"="]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=100).map(lambda t: t.encode("utf-16", "surrogatepass")),
        st.lists(FRAGMENTS, max_size=25).map(lambda f: b"<recording>" + b"".join(f) + b"</recording>"),
    ),
    st.sampled_from([None, "utf-8", "utf-16", "latin1", "nonsense", ""]),
)
def test_any_input_is_read_or_refused_with_metadata_error(data: bytes, charset: str | None):
    with contextlib.suppress(MetadataError):
        check_is_consistent(read_metadata(data, charset=charset))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(STANDARD) - 1), st.integers(0, 255))
def test_any_damaged_byte_is_read_or_refused(place: int, value: int):
    with contextlib.suppress(MetadataError):
        check_is_consistent(read_metadata(STANDARD[:place] + bytes([value]) + STANDARD[place + 1 :]))


def check_is_consistent(document: MetadataDocument) -> None:
    for elements in (document.groups, document.sessions, document.participants, document.streams):
        ids = [e.id for e in elements]
        assert len(ids) == len(set(ids))
        assert all(ids)
    assert len({link.participant_id for link in document.participant_streams}) == len(
        document.participant_streams
    )
