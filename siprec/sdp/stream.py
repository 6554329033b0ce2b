"""What an offer and its answer settled for one m-line."""

from collections.abc import Mapping
from dataclasses import dataclass

from siprec.sdp.crypto import StreamCrypto
from siprec.sdp.media import Direction, MediaDescription
from siprec.sdp.payload import PayloadFormat


@dataclass(frozen=True, slots=True)
class LocalPorts:
    """Our ports of one m-line. `rtcp` None: RTCP comes to the RTP port, if the peer agrees to rtcp-mux."""

    rtp: int
    rtcp: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedStream:
    """What an offer and its answer settled for one m-line; all that the media layer has to know."""

    index: int
    "Place of the m-line: its identity for the life of the dialog."
    label: str | None
    local: LocalPorts
    remote_rtp: tuple[str, int] | None
    "Address (or host name) and port from the SDP; None when there is none or the line is held by 0.0.0.0."
    remote_rtcp: tuple[str, int] | None
    direction: Direction
    "Ours."
    held: bool
    "No media is to be expected: inactive, or a null address."
    payloads: Mapping[int, PayloadFormat]
    ptime: float | None
    "Packet time in ms that the peer announced."
    rtcp_mux: bool
    crypto: StreamCrypto | None = None
    "Keys for SRTP; None where there are none."


def agreed_stream(
    media: MediaDescription,
    local: LocalPorts,
    direction: Direction,
    mux: bool,
    crypto: StreamCrypto | None = None,
) -> AcceptedStream:
    """An m-line of the peer as the media layer sees it."""
    null = media.connection is not None and media.connection.is_null
    rtp, rtcp = _remote_addresses(media, mux)
    return AcceptedStream(
        index=media.index,
        label=media.label,
        local=local,
        remote_rtp=rtp,
        remote_rtcp=rtcp,
        direction=direction,
        held=null or direction is Direction.INACTIVE,
        payloads=media.payloads(),
        ptime=media.ptime,
        rtcp_mux=mux,
        crypto=crypto,
    )


def _remote_addresses(
    media: MediaDescription, mux: bool
) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """Where the peer's RTP and RTCP live: rtcp-mux, else `a=rtcp` (RFC 3605), else the next port."""
    if media.connection is None or media.connection.is_null:
        return None, None
    rtp = (media.connection.address, media.port)
    if mux:
        return rtp, rtp
    if media.rtcp:
        port, address = media.rtcp
        return rtp, (address or media.connection.address, port)
    return rtp, (media.connection.address, media.port + 1) if media.port < 65535 else None
