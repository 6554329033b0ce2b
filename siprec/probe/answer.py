"""Whether a recorder's answer is what RFC 7866 and RFC 3264 ask for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from siprec.recording.multipart import MultipartError, find_sdp, parse_body
from siprec.sdp.error import SdpError
from siprec.sdp.media import Direction, MediaDescription, SessionDescription
from siprec.sdp.parser import parse_sdp
from siprec.sip.header_values import contacts
from siprec.sip.message import Response


def answer_of(response: Response) -> SessionDescription:
    """The session description of a response. Raises ValueError, saying what is wrong."""
    try:
        part = find_sdp(parse_body(response.headers.get("Content-Type"), response.body))
        if part is None:
            raise ValueError("the answer has no SDP")
        return parse_sdp(part.body)
    except (MultipartError, SdpError) as error:
        raise ValueError(f"the answer cannot be read: {error}") from None


def faults_of_headers(response: Response) -> list[str]:
    """What a 2xx of a recorder has to say of itself (RFC 7866 6.2)."""
    found = contacts(response.headers)
    faults = []
    if not found:
        faults.append("no Contact in the 2xx")
    elif "+sip.srs" not in found[0].features:
        faults.append("no +sip.srs in the Contact of the 2xx")
    if "siprec" not in [tag.strip().lower() for tag in response.headers.get_all("Supported")]:
        faults.append("no siprec in the Supported of the 2xx")
    return faults


def faults_of_answer(offer: SessionDescription, answer: SessionDescription) -> list[str]:
    """Where the answer does not mirror the offer: m-lines, labels, directions, payload types."""
    if len(answer.media) != len(offer.media):
        return [f"{len(answer.media)} m-lines answer {len(offer.media)}"]
    pairs = zip(offer.media, answer.media, strict=True)
    return [
        f"m-line {ours.index + 1}: {fault}" for ours, theirs in pairs for fault in _line_faults(ours, theirs)
    ]


def _line_faults(ours: MediaDescription, theirs: MediaDescription) -> Iterator[str]:
    if theirs.media != ours.media or theirs.proto != ours.proto:
        yield f"{theirs.media} {theirs.proto} answers {ours.media} {ours.proto}"
    if not theirs.port:
        yield "refused (port 0)"
        return
    if theirs.label != ours.label:
        yield f"label {theirs.label} answers {ours.label}"
    wanted = Direction.INACTIVE if ours.direction is Direction.INACTIVE else Direction.RECVONLY
    if theirs.direction is not wanted:
        yield f"{theirs.direction} answers {ours.direction}, not {wanted}"
    if missing := [format for format in ours.formats if format not in theirs.formats]:
        yield f"payload types {' '.join(missing)} are not in it"
    if theirs.connection is None:
        yield "no c= line"
