"""Offers of our own, as a recording client makes them (RFC 7866 7.1), and what their answers settle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from siprec.sdp.crypto import CryptoLine, StreamCrypto, choose, read_crypto
from siprec.sdp.error import SdpError
from siprec.sdp.media import Attribute, Connection, Direction, MediaDescription, Origin, SessionDescription
from siprec.sdp.payload import PayloadFormat, rtpmap_text
from siprec.sdp.stream import AcceptedStream, LocalPorts, agreed_stream

G711_AND_EVENTS = (
    PayloadFormat(payload_type=0, name="PCMU", clock=8000),
    PayloadFormat(payload_type=8, name="PCMA", clock=8000),
    PayloadFormat(payload_type=101, name="TELEPHONE-EVENT", clock=8000, fmtp="0-16"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedStream:
    """One audio m-line to offer."""

    label: str | None
    ports: LocalPorts
    direction: Direction = Direction.SENDONLY
    payloads: Sequence[PayloadFormat] = G711_AND_EVENTS
    ptime: int | None = 20
    rtcp_mux: bool = False
    crypto: CryptoLine | None = None
    "Our key; the profile is RTP/SAVP then."


def build_offer(
    streams: Sequence[OfferedStream], *, address: str, session_id: int, version: int = 1
) -> SessionDescription:
    """An offer with one m-line per stream; `address` for `o=` and `c=`."""
    return SessionDescription(
        origin=Origin(username="siprec", session_id=str(session_id), version=str(version), address=address),
        connection=Connection(address),
        media=[_media(i, s) for i, s in enumerate(streams)],
    )


def read_answer(
    offer: SessionDescription, answer: SessionDescription, ports: Mapping[int, LocalPorts]
) -> list[AcceptedStream]:
    """What an answer to our own offer settled; m-lines with port 0 and missing ones are left out.

    Raises SdpError 488 when the answer has more m-lines than the offer (RFC 3264 6), or takes a secure one without one of
    the crypto lines offered (RFC 4568 5.1.3).
    """
    if len(answer.media) > len(offer.media):
        raise SdpError(f"{len(answer.media)} m-lines answer {len(offer.media)}", status=488)
    streams = []
    for ours, theirs in zip(offer.media, answer.media, strict=False):
        local = ports.get(ours.index)
        if ours.port and theirs.port and local is not None:
            stream = agreed_stream(
                theirs,
                local,
                theirs.direction.reversed(),
                theirs.rtcp_mux and ours.rtcp_mux,
                _agreed_crypto(ours, theirs),
            )
            streams.append(replace(stream, label=ours.label))
    return streams


def _agreed_crypto(ours: MediaDescription, theirs: MediaDescription) -> StreamCrypto | None:
    """The line that the answer took of those in the offer (RFC 4568 5.1.3); None if a plain one has none."""
    line = choose(theirs.crypto)
    offered = [known for value in ours.crypto if (known := read_crypto(value)) is not None]
    taken = next((o for o in offered if line and (o.tag, o.suite) == (line.tag, line.suite)), None)
    required = "SAVP" in ours.proto.upper()
    if line is None or taken is None:
        if required:
            raise SdpError(
                f"m-line {ours.index}: the answer has none of the crypto lines offered", status=488
            )
        return None
    return StreamCrypto(
        tag=line.tag, suite=line.suite, remote=line.keys, local=taken.keys[0], required=required
    )


def _media(index: int, stream: OfferedStream) -> MediaDescription:
    attributes = []
    for p in stream.payloads:
        attributes.append(Attribute("rtpmap", f"{p.payload_type} {rtpmap_text(p)}"))
        if p.fmtp:
            attributes.append(Attribute("fmtp", f"{p.payload_type} {p.fmtp}"))
    if stream.ptime is not None:
        attributes.append(Attribute("ptime", str(stream.ptime)))
    if stream.rtcp_mux:
        attributes.append(Attribute("rtcp-mux"))
    if stream.ports.rtcp not in (None, stream.ports.rtp, stream.ports.rtp + 1):
        attributes.append(Attribute("rtcp", str(stream.ports.rtcp)))
    if stream.crypto is not None:
        attributes.append(Attribute("crypto", str(stream.crypto)))
    attributes.append(Attribute(stream.direction.value))
    if stream.label is not None:
        attributes.append(Attribute("label", stream.label))
    return MediaDescription(
        index=index,
        media="audio",
        port=stream.ports.rtp,
        proto="RTP/SAVP" if stream.crypto is not None else "RTP/AVP",
        formats=[str(p.payload_type) for p in stream.payloads],
        attributes=attributes,
    )
