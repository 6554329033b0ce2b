"""Bodies as recording clients write them: SDP, rs-metadata, and both in one multipart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BOUNDARY = "unique-boundary-1"
MULTIPART = f"multipart/mixed;boundary={BOUNDARY}"
SDP = "application/sdp"
METADATA = "application/rs-metadata+xml"
RTPMAPS = {0: "PCMU/8000", 8: "PCMA/8000", 18: "G729/8000", 101: "telephone-event/8000"}


@dataclass(frozen=True, slots=True)
class Line:
    """An m-line of an offer."""

    port: int
    label: str | None = None
    formats: tuple[int, ...] = (0, 8, 101)
    direction: str = "sendonly"
    media: str = "audio"
    proto: str = "RTP/AVP"
    extra: tuple[str, ...] = ()
    "Further attributes, without `a=`."

    def text(self) -> str:
        formats = " ".join(map(str, self.formats))
        attributes = [f"rtpmap:{pt} {RTPMAPS[pt]}" for pt in self.formats if pt in RTPMAPS]
        attributes += [*self.extra, self.direction]
        if self.label is not None:
            attributes.append(f"label:{self.label}")
        lines = [f"m={self.media} {self.port} {self.proto} {formats}", *(f"a={a}" for a in attributes)]
        return "\r\n".join(lines) + "\r\n"


def sdp(lines: Sequence[Line], *, version: int = 1) -> str:
    """An offer."""
    head = ["v=0", f"o=src 2890844526 {version} IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    return "\r\n".join(head) + "\r\n" + "".join(line.text() for line in lines)


@dataclass(frozen=True, slots=True)
class Person:
    """A participant and the labels of the m-lines that carry what he or she says."""

    id: str
    aor: str
    name: str
    sends: tuple[str, ...] = ()


ALICE = Person("cGFydGljaXBhbnQx", "sip:alice@a.example.com", "Alice", ("1",))
BOB = Person("cGFydGljaXBhbnQy", "sip:bob@b.example.com", "Bob", ("2",))
CAROL = Person("cGFydGljaXBhbnQz", "sip:carol@c.example.com", "Carol", ("3",))


def metadata(people: Sequence[Person] = (ALICE, BOB), *, session: str = "c2Vzc2lvbjE=") -> str:
    """A complete rs-metadata document (RFC 7865); one stream per label, named stream-LABEL."""
    labels = list(dict.fromkeys(label for person in people for label in person.sends))
    parts = [
        f'<session session_id="{session}"><sipSessionID>ab30317f1a784dc48ff824d0d3715d86</sipSessionID></session>'
    ]
    parts += [
        f'<participant participant_id="{p.id}"><nameID aor="{p.aor}"><name xml:lang="en">{p.name}</name></nameID>'
        "</participant>"
        for p in people
    ]
    parts += [
        f'<stream stream_id="stream-{label}" session_id="{session}"><label>{label}</label></stream>'
        for label in labels
    ]
    for person in people:
        sends = "".join(f"<send>stream-{label}</send>" for label in person.sends)
        hears = "".join(f"<recv>stream-{label}</recv>" for label in labels if label not in person.sends)
        parts.append(
            f'<participantstreamassoc participant_id="{person.id}">{sends}{hears}</participantstreamassoc>'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n'
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1">\r\n<datamode>complete</datamode>\r\n'
        + "\r\n".join(parts)
        + "\r\n</recording>\r\n"
    )


def multipart(offer: str, document: str) -> str:
    """Both in one body (RFC 7866 9.1)."""
    return (
        f"--{BOUNDARY}\r\nContent-Type: {SDP}\r\n\r\n{offer}\r\n"
        f"--{BOUNDARY}\r\nContent-Type: {METADATA}\r\nContent-Disposition: recording-session\r\n\r\n{document}\r\n"
        f"--{BOUNDARY}--\r\n"
    )
