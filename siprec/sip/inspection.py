"""Checks before a request reaches the upper layer (RFC 3261 8.2, 12.2.2, 14.2; RFC 3311 5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from siprec.sip.config import StackConfig
from siprec.sip.dialog import Dialog
from siprec.sip.header_values import parse_parametrized
from siprec.sip.message import Request
from siprec.sip.uri import uri_scheme

_IN_DIALOG_ONLY = ("BYE", "UPDATE", "INFO", "PRACK", "NOTIFY", "REFER")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response that a request gets instead of going up."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


def inspect(request: Request, dialog: Dialog | None, config: StackConfig) -> Refusal | None:
    """Version, method, Request-URI, dialog, Require and encoding, in the order of RFC 3261 8.2."""
    if request.version != "2.0":
        return Refusal(505)
    if request.method not in config.methods:
        return Refusal(405, (("Allow", ", ".join(config.methods)),))
    if dialog is None and (refusal := _inspect_uri(request.uri)):
        return refusal
    if dialog is None and (request.to.tag is not None or request.method in _IN_DIALOG_ONLY):
        return Refusal(481)
    unknown = [tag for tag in request.headers.get_all("Require") if tag.lower() not in config.understood]
    if unknown:
        return Refusal(420, (("Unsupported", ", ".join(unknown)),))
    return _inspect_encoding(request)


def _inspect_encoding(request: Request) -> Refusal | None:
    """A body that is packed and has to be read (RFC 3261 8.2.3); nobody looks into those of other methods."""
    encodings = request.headers.get_all("Content-Encoding")
    if request.method not in ("INVITE", "UPDATE") or not request.body:
        return None
    if all(encoding.lower() == "identity" for encoding in encodings):
        return None
    disposition = parse_parametrized(request.headers.get("Content-Disposition") or "")
    if (disposition.params.get("handling") or "").lower() == "optional":
        return None
    return Refusal(415, (("Accept-Encoding", "identity"),))


def _inspect_uri(uri: str) -> Refusal | None:
    scheme = uri_scheme(uri)
    if scheme is None:
        return Refusal(400, reason="Bad Request-URI")
    return None if scheme in ("sip", "sips", "tel") else Refusal(416)


def inspect_in_dialog(request: Request, dialog: Dialog, rng: Random) -> Refusal | None:
    """Sequence number, then overlap with transactions under way."""
    if not dialog.accept_cseq(request):
        return Refusal(500, reason="CSeq Too Low")
    if request.method == "INVITE":
        return _inspect_overlap(dialog, rng)
    if request.method == "UPDATE":
        return _inspect_update(request, dialog, rng)
    return None


def _inspect_overlap(dialog: Dialog, rng: Random) -> Refusal | None:
    if any(not invite.answered for invite in dialog.invites_in):
        return _try_later(rng)
    if dialog.invite_out is not None and dialog.invite_out.pending:
        return Refusal(491)
    return None


def _inspect_update(request: Request, dialog: Dialog, rng: Random) -> Refusal | None:
    """An UPDATE with SDP is an offer and must not cross another; one with metadata only is never blocked by it."""
    if dialog.update_in is not None and not dialog.update_in.answered:
        return _try_later(rng)
    return _inspect_overlap(dialog, rng) if _carries_sdp(request) else None


def _try_later(rng: Random) -> Refusal:
    return Refusal(500, (("Retry-After", str(rng.randint(0, 10))),))


def _carries_sdp(request: Request) -> bool:
    content_type = parse_parametrized(request.headers.get("Content-Type") or "").value
    if content_type.startswith("multipart/"):
        return b"application/sdp" in request.body.lower()
    return content_type == "application/sdp"
