"""What a stack is told once, when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from siprec.sip.flow import Flow
from siprec.sip.transaction import TimerConfig
from siprec.sip.uri import format_host

_DEFAULT_TIMERS = TimerConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """Identity, abilities and limits of a user agent."""

    user_agent: str = "siprec"
    "Value of Server and User-Agent."
    contact_user: str | None = None
    contact_features: tuple[str, ...] = ("+sip.srs",)
    "Feature parameters of every Contact (RFC 7866 6.2)."
    advertise: str | None = None
    "Host for Contact and Via instead of the local address that the peer reached (behind NAT)."
    methods: tuple[str, ...] = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE", "INFO")
    "Allow; anything else gets 405."
    supported: tuple[str, ...] = ("siprec",)
    understood: frozenset[str] = frozenset(
        {"siprec", "timer", "100rel", "replaces", "resource-priority", "sdp-anat"}
    )
    "Tags in Require that do not cost a request; any other gets 420."
    accept: tuple[str, ...] = (
        "application/sdp",
        "application/rs-metadata+xml",
        "application/rs-metadata",
        "multipart/mixed",
    )
    timers: TimerConfig = _DEFAULT_TIMERS
    max_transactions: int = 50_000
    "Beyond it a request out of dialog gets 503; requests in dialogs have a quarter more, so that BYE gets through."
    max_dialogs: int = 20_000
    retry_after: int = 5
    "Seconds, in a 503 at one of these limits."

    def host_of(self, flow: Flow) -> str:
        """host:port under which the peer of this flow reaches us."""
        return format_host(self.advertise or flow.local[0], flow.local[1] or None)

    def contact(self, flow: Flow) -> str:
        """Contact for the peer of this flow."""
        user = f"{self.contact_user}@" if self.contact_user else ""
        transport = "" if flow.transport == "udp" else f";transport={flow.transport}"
        features = "".join(f";{feature}" for feature in self.contact_features)
        return f"<sip:{user}{self.host_of(flow)}{transport}>{features}"
