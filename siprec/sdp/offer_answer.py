"""Offer and answer of a recording session (RFC 3264, RFC 7866 7 and 8), from the recorder's side.

Three steps, so that everything that can fail is done before an answer exists: `refusals` says which m-lines can
be taken, the caller binds ports for those, `build_answer` writes the answer and says what was agreed. `OfferAnswer`
keeps what a dialog has to remember between two offers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from siprec.sdp.crypto import SUITES, CryptoLine, SrtpKey, StreamCrypto, choose, suites_in
from siprec.sdp.error import SdpError
from siprec.sdp.media import Attribute, Connection, Direction, MediaDescription, Origin, SessionDescription
from siprec.sdp.offer import read_answer
from siprec.sdp.payload import UNKNOWN_CODEC, PayloadFormat, payload_type_of, rtpmap_text
from siprec.sdp.stream import AcceptedStream, LocalPorts, agreed_stream

PLAIN_PROFILES = frozenset({"RTP/AVP", "RTP/AVPF"})
SECURE_PROFILES = frozenset({"RTP/SAVP", "RTP/SAVPF"})
DTLS_PROFILES = frozenset({"UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})

ANSWERED_DIRECTION = {
    Direction.SENDONLY: Direction.RECVONLY,
    Direction.SENDRECV: Direction.RECVONLY,
    Direction.RECVONLY: Direction.INACTIVE,
    Direction.INACTIVE: Direction.INACTIVE,
}
"A recorder never sends (RFC 3264 6.1, RFC 7866 7.2)."

Accepts = Callable[[PayloadFormat], bool]
RandomBytes = Callable[[int], bytes]
OurKey = Callable[[int, str], SrtpKey]
"Our key for an m-line, by its index and suite."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer ready to be sent. `refused` says why for each m-line that got port 0."""

    description: SessionDescription
    streams: list[AcceptedStream]
    refused: dict[int, str]


def accept_any(payload: PayloadFormat) -> bool:
    """Take every format: what cannot be decoded is kept as it came."""
    return True


def no_key(index: int, suite: str) -> SrtpKey:
    """For those who have no source of keys. Raises SdpError 488."""
    raise SdpError(f"no key of ours for {suite}", status=488)


def transport_refusal(media: MediaDescription) -> str | None:
    """Why the transport of an m-line cannot be served, None if it can. Secure profiles are decided here."""
    proto = media.proto.upper()
    if proto in PLAIN_PROFILES:
        return None
    if proto in SECURE_PROFILES:
        if choose(media.crypto) is not None:
            return None
        suites = ", ".join(suites_in(media.crypto))
        return f"{media.proto} without a crypto line that can be used (offered: {suites or 'none'})"
    if proto in DTLS_PROFILES:
        return f"{media.proto}: DTLS-SRTP is not supported, SDES keys in RTP/SAVP are"
    return f"transport {media.proto} is not supported"


def refusal(media: MediaDescription, accepts: Accepts = accept_any) -> str | None:
    """Why an m-line is answered with port 0, None if it can be recorded."""
    if media.port == 0:
        return "offered with port 0"
    if media.media.lower() != "audio":
        return f"media type {media.media} is not recorded"
    payloads = media.payloads()
    if not payloads:
        return "no RTP payload type offered"
    if not any(accepts(p) for p in payloads.values()):
        return "no acceptable format"
    return transport_refusal(media)


def refusals(
    offer: SessionDescription, *, accepts: Accepts = accept_any, may_be_empty: bool = False
) -> list[str | None]:
    """For each m-line why it is refused, None where ports are needed.

    Raises SdpError 488 when nothing can be recorded. With `may_be_empty` (a later offer in a dialog) an offer that
    itself removes every m-line is fine.
    """
    reasons = [refusal(m, accepts) for m in offer.media]
    all_removed = bool(offer.media) and all(m.port == 0 for m in offer.media)
    if None not in reasons and not (may_be_empty and all_removed):
        stated = "; ".join(f"m-line {i}: {r}" for i, r in enumerate(reasons[:4])) or "no m-line"
        raise SdpError(f"nothing to record: {stated}", status=488)
    return reasons


def build_answer(
    offer: SessionDescription,
    *,
    address: str,
    ports: Mapping[int, LocalPorts],
    session_id: int,
    version: int,
    accepts: Accepts = accept_any,
    may_be_empty: bool = False,
    our_key: OurKey = no_key,
) -> Answer:
    """Mirror an offer: same m-lines, labels and payload types, recvonly for what is sent to us.

    address: the local address for `o=` and `c=`.   ports: by m-line index; a line without ports is refused.
    Raises SdpError 488 when no m-line is left to record.
    """
    reasons = refusals(offer, accepts=accepts, may_be_empty=may_be_empty)
    lines: list[MediaDescription] = []
    streams: list[AcceptedStream] = []
    refused: dict[int, str] = {}
    for media, reason in zip(offer.media, reasons, strict=True):
        local = ports.get(media.index)
        if reason is None and local is not None:
            stream = _agreed(media, local, our_key)
            streams.append(stream)
            lines.append(_answer_line(media, stream))
        else:
            refused[media.index] = reason or "no local port"
            lines.append(_refused_line(media))
    if not streams and None in reasons:
        raise SdpError("nothing to record: no local port", status=488)
    description = SessionDescription(
        origin=Origin(username="siprec", session_id=str(session_id), version=str(version), address=address),
        connection=Connection(address),
        timing=list(offer.timing),
        media=lines,
    )
    return Answer(description=description, streams=streams, refused=refused)


class OfferAnswer:
    """The negotiation state of one dialog: the last description of each side, our ports, our `o=` version.

    `answer` and `offer` change nothing; what was sent is made the state by `commit`, so that a request that fails
    on the way leaves the session as it was (RFC 3261 14.1).
    """

    def __init__(
        self,
        *,
        session_id: int,
        address: str,
        random_bytes: RandomBytes,
        accepts: Accepts = accept_any,
        version: int = 1,
    ) -> None:
        """random_bytes: gives so many bytes for a key, as nobody can guess them."""
        self.session_id, self.address, self.accepts = session_id, address, accepts
        self.local: SessionDescription | None = None
        self.remote: SessionDescription | None = None
        self.ports: dict[int, LocalPorts] = {}
        self._version, self._random_bytes = version, random_bytes
        self._keys: dict[tuple[int, str], SrtpKey] = {}

    def refusals(self, offer: SessionDescription) -> list[str | None]:
        """As the function of that name; a later offer may take every m-line away."""
        return refusals(offer, accepts=self.accepts, may_be_empty=self.local is not None)

    def answer(self, offer: SessionDescription, ports: Mapping[int, LocalPorts]) -> Answer:
        """The answer to an offer. Its version is that of the last description unless the content differs."""
        answer = build_answer(
            offer,
            address=self.address,
            ports=ports,
            session_id=self.session_id,
            version=self._version,
            accepts=self.accepts,
            may_be_empty=self.local is not None,
            our_key=self._our_key,
        )
        self._set_version(answer.description)
        return answer

    def _our_key(self, index: int, suite: str) -> SrtpKey:
        """The same for an m-line and suite all the time: an unchanged offer has an unchanged answer."""
        if (index, suite) not in self._keys:
            self._keys[index, suite] = SrtpKey(self._random_bytes(sum(SUITES[suite])))
        return self._keys[index, suite]

    def commit(
        self, local: SessionDescription, remote: SessionDescription, ports: Mapping[int, LocalPorts]
    ) -> None:
        """Remember what was sent and received; the next description is compared with this one."""
        self.local, self.remote, self.ports = local, remote, dict(ports)
        self._version = _version_of(local, self._version)

    def offer(self) -> SessionDescription:
        """Our offer for a request without one in a running dialog (RFC 3261 14.2).

        The current description, with every line that is in use open again, so that the peer can resume it.
        Raises SdpError 488 when nothing was negotiated yet.
        """
        if self.local is None:
            raise SdpError("no session to offer", status=488)
        media = [_reopened(m) if m.port else m for m in self.local.media]
        description = replace(self.local, media=media)
        self._set_version(description)
        return description

    def read_answer(self, offer: SessionDescription, answer: SessionDescription) -> list[AcceptedStream]:
        """What the answer to `offer` settled; both are remembered. Raises SdpError 488 as `read_answer` does."""
        streams = read_answer(offer, answer, self.ports)
        self.commit(offer, answer, self.ports)
        return streams

    def _set_version(self, description: SessionDescription) -> None:
        assert description.origin is not None
        version = self._version
        if self.local is not None and _content(description) != _content(self.local):
            version += 1
        if description.origin.version != str(version):
            description.origin = replace(description.origin, version=str(version))


def _agreed(media: MediaDescription, local: LocalPorts, our_key: OurKey) -> AcceptedStream:
    """What we make of an offered m-line."""
    mux = media.rtcp_mux and local.rtcp in (None, local.rtp)
    crypto = None
    if (line := choose(media.crypto)) is not None:
        crypto = StreamCrypto(
            tag=line.tag,
            suite=line.suite,
            remote=line.keys,
            local=our_key(media.index, line.suite),
            required=media.proto.upper() in SECURE_PROFILES,
        )
    return agreed_stream(media, local, ANSWERED_DIRECTION[media.direction], mux, crypto)


def _answer_line(media: MediaDescription, stream: AcceptedStream) -> MediaDescription:
    attributes = _format_attributes(media, stream.payloads)
    if (ptime := media.first("ptime")) and media.ptime:
        attributes.append(Attribute("ptime", ptime))
    if stream.rtcp_mux:
        attributes.append(Attribute("rtcp-mux"))
    elif stream.local.rtcp is not None and stream.local.rtcp != stream.local.rtp + 1:
        attributes.append(Attribute("rtcp", str(stream.local.rtcp)))
    if (crypto := stream.crypto) is not None:
        attributes.append(Attribute("crypto", str(CryptoLine(crypto.tag, crypto.suite, (crypto.local,)))))
    attributes.append(Attribute(stream.direction.value))
    return _mirrored(media, port=stream.local.rtp, attributes=attributes + _label(media))


def _refused_line(media: MediaDescription) -> MediaDescription:
    """Port 0 with at least one format (RFC 3264 6)."""
    return _mirrored(media, port=0, attributes=_label(media))


def _mirrored(media: MediaDescription, *, port: int, attributes: list[Attribute]) -> MediaDescription:
    formats = list(media.formats) or ["0"]
    return MediaDescription(
        index=media.index,
        media=media.media,
        port=port,
        proto=media.proto,
        formats=formats,
        attributes=attributes,
    )


def _label(media: MediaDescription) -> list[Attribute]:
    return [Attribute("label", media.label)] if media.label is not None else []


def _format_attributes(media: MediaDescription, payloads: Mapping[int, PayloadFormat]) -> list[Attribute]:
    """rtpmap and fmtp of each payload type as they were offered; an rtpmap of ours where there was none."""
    offered: dict[int | None, list[Attribute]] = {}
    for name in ("rtpmap", "fmtp"):
        for value in dict.fromkeys(media.values(name)):
            offered.setdefault(payload_type_of(value), []).append(Attribute(name, value))
    out: list[Attribute] = []
    for pt, payload in payloads.items():
        lines = offered.get(pt, [])
        if not any(a.name == "rtpmap" for a in lines) and payload.name != UNKNOWN_CODEC:
            out.append(Attribute("rtpmap", f"{pt} {rtpmap_text(payload)}"))
        out += lines
    return out


def _reopened(media: MediaDescription) -> MediaDescription:
    closed = {d.value for d in Direction}
    attributes = [
        Attribute(Direction.RECVONLY.value) if a.value is None and a.name in closed else a
        for a in media.attributes
    ]
    return replace(media, attributes=attributes)


def _content(description: SessionDescription) -> bytes:
    """Everything but the version: what decides whether it has to rise (RFC 3264 8)."""
    assert description.origin is not None
    return replace(description, origin=replace(description.origin, version="0")).to_bytes()


def _version_of(description: SessionDescription, default: int) -> int:
    origin = description.origin
    return int(origin.version) if origin is not None else default
