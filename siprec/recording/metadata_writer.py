"""Plain RFC 7865 documents, as a recording client sends them."""

from lxml import etree

from siprec.recording.metadata import MetadataDocument, NameId, Timestamp

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"


def write_metadata(document: MetadataDocument) -> bytes:
    """The document as UTF-8 XML in the element order of RFC 7865 9, without reasons and extensions.

    Raises ValueError for control characters, which XML does not have.
    """
    root = etree.fromstring(f'<recording xmlns="{NAMESPACE}"/>')
    _add(root, "datamode", "partial" if document.partial else "complete")
    for group in document.groups:
        _add_times(_add(root, "group", group_id=group.id), group.associated, group.disassociated)
    _add_sessions(root, document)
    for participant in document.participants:
        element = _add(root, "participant", participant_id=participant.id)
        for name in participant.names:
            _add_name(element, name)
    for stream in document.streams:
        session = {"session_id": stream.session_id} if stream.session_id else {}
        _add(_add(root, "stream", stream_id=stream.id, **session), "label", stream.label)
    _add_associations(root, document)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _add_sessions(root: etree._Element, document: MetadataDocument) -> None:
    for session in document.sessions:
        element = _add(root, "session", session_id=session.id)
        for sip_id in session.sip_session_ids:
            _add(element, "sipSessionID", sip_id)
        if session.group_id:
            _add(element, "group-ref", session.group_id)
        _add_time(element, "start-time", session.started)
        _add_time(element, "stop-time", session.stopped)


def _add_associations(root: etree._Element, document: MetadataDocument) -> None:
    for recorded in document.session_recordings:
        element = _add(root, "sessionrecordingassoc", session_id=recorded.session_id)
        _add_times(element, recorded.associated, recorded.disassociated)
    for member in document.participant_sessions:
        element = _add(
            root,
            "participantsessionassoc",
            participant_id=member.participant_id,
            session_id=member.session_id,
        )
        _add_times(element, member.associated, member.disassociated)
    for link in document.participant_streams:
        element = _add(root, "participantstreamassoc", participant_id=link.participant_id)
        for stream in link.send:
            _add(element, "send", stream)
        for stream in link.recv:
            _add(element, "recv", stream)
        _add_times(element, link.associated, link.disassociated)


def _add_name(participant: etree._Element, name: NameId) -> None:
    element = _add(participant, "nameID", aor=name.aor)
    if name.name:
        _add(element, "name", name.name)


def _add_times(
    element: etree._Element, associated: Timestamp | None, disassociated: Timestamp | None
) -> None:
    _add_time(element, "associate-time", associated)
    _add_time(element, "disassociate-time", disassociated)


def _add_time(element: etree._Element, name: str, time: Timestamp | None) -> None:
    if time is not None:
        _add(element, name, time.raw)


def _add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
    element.text = text
    return element
