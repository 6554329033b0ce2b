"""The configuration as the daemon and the commands see it: every key, its default and its meaning."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_network
from pathlib import Path
from typing import TypeVar, cast

from siprec.config import kinds
from siprec.config.address import HostPort, Listener, PortRange
from siprec.config.kinds import Kind, Network

D = TypeVar("D")
T = TypeVar("T")


def key(default: D, kind: Kind[T]) -> D | T:
    """A key of a section: its default, and what may be written for it."""
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True, slots=True, kw_only=True)
class SipConfig:
    """Signalling: listeners, who may call, and the bounds of what is read and kept."""

    listen: tuple[Listener, ...] = key(
        (
            Listener("udp", HostPort("127.0.0.1", 5060)),
            Listener("tcp", HostPort("127.0.0.1", 5060)),
        ),
        kinds.many(kinds.listener),
    )
    "Where SIP is received."
    advertise: str | None = key(None, kinds.optional(kinds.address))
    "Address for Contact and SDP behind NAT; null: the local address that the peer reached."
    allow: tuple[Network, ...] = key((ip_network("127.0.0.0/8"),), kinds.networks)
    "Who may send calls; everything else is dropped before it is parsed."
    max_dialogs: int = key(20_000, kinds.integer(1, 1_000_000))
    "Dialogs at a time; above it a new one is answered 503."
    max_transactions: int = key(50_000, kinds.integer(1, 1_000_000))
    "Transactions at a time; above it a request is answered 503 without state."
    max_connections: int = key(1_000, kinds.integer(1, 100_000))
    "TCP connections at a time, at most a quarter of the file descriptors; above it a new one is closed."
    max_message_udp: int = key(65_535, kinds.integer(1_300, 65_535))
    "Longest datagram, in bytes; a longer one is answered 513."
    max_message_tcp: int = key(1_048_576, kinds.integer(4_096, 16_777_216))
    "Longest message on a stream, headers and body, in bytes; a longer one is answered 413."
    max_header_bytes: int = key(65_536, kinds.integer(1_024, 1_048_576))
    "All headers of a message together, in bytes; more are answered 400."
    max_headers: int = key(512, kinds.integer(32, 10_000))
    "Header lines of a message; more are answered 400."
    t1_ms: int = key(500, kinds.integer(10, 10_000))
    "Round-trip estimate T1, in milliseconds (RFC 3261 17.1.1.1); the other timers follow from it."


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpConfig:
    """Media: ports, workers and the media tick."""

    address: str = key("127.0.0.1", kinds.address)
    "Where RTP is received; a wildcard address gives each peer the local address that it reached, `::` takes IPv4 too."
    ports: PortRange = key(PortRange(10_000, 31_999), kinds.ports)
    "Ports for RTP and RTCP, below the ephemeral range; one in use is skipped and counted."
    workers: int | None = key(None, kinds.auto_or(kinds.integer(1, 256)))
    "Media worker processes; None, written `auto`: one for each core."
    receive: str = key("udp", kinds.one_of("udp", later=("ring",)))
    "How packets are taken in."
    quarantine_s: float = key(10.0, kinds.number(0, 600))
    "Seconds for which the ports of an ended call stay out of use."
    tick_ms: int = key(200, kinds.integer(20, 1_000))
    "Period of the media tick in milliseconds: every socket is drained once in it."
    hold_back_ms: int = key(500, kinds.integer(0, 5_000))
    "How long a missing packet is waited for before its place is written, in milliseconds."
    rcvbuf: int | None = key(None, kinds.optional(kinds.integer(4_096, 1 << 30)))
    "SO_RCVBUF of an RTP socket, in bytes; null: as the kernel gives it."
    rows_per_tick: int = key(256, kinds.integer(16, 4_096))
    "Packets taken from one socket in one tick; the rest waits for the next."
    pool_mb: int = key(256, kinds.integer(1, 65_536))
    "Shared pool per worker, in MB, from which rings grow while the disk stalls."


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """Where recordings go, in which form, and how much room they need."""

    path: Path = key(Path("recordings"), kinds.path)
    "Folder of the recordings, the journal and the embedded catalogue."
    format: str = key("wav", kinds.one_of("wav", "wav-g711"))
    "Written while the call goes on: 16-bit PCM, or G.711 mu-law, into which A-law is converted."
    keep: str = key("same", kinds.one_of("same", later=("flac", "opus")))
    "Kept after the call: same, what was written."
    max_rate: int = key(16_000, kinds.integer(8_000, 48_000))
    "Highest sample rate of a file, in Hz. A file has the highest rate that arrived on its legs, up to this."
    reserve_mb_per_call: int = key(32, kinds.integer(1, 10_000))
    "Disk space that an admitted call reserves, in MB."
    low_water_mb: int = key(1_024, kinds.integer(0, 10_000_000))
    "Free disk space that new calls may not touch, in MB."
    rtpdump_max_mb: int = key(64, kinds.integer(0, 100_000))
    "Longest raw dump of one undecodable leg, in MB."


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogConfig:
    """The catalogue of recordings."""

    url: str | None = key(None, kinds.optional(kinds.text))
    "SQLAlchemy URL; null: SQLite in <storage.path>/catalog.db."


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """How commands reach a running daemon."""

    socket: Path = key(Path("siprec.sock"), kinds.path)
    "Unix socket of the daemon, mode 0660."


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """What the daemon says about itself over HTTP."""

    listen: HostPort | None = key(HostPort("127.0.0.1", 9590), kinds.optional(kinds.host_port))
    "/metrics, /healthz and /readyz; null: no listener."


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecsConfig:
    """How what was received becomes sound."""

    conceal: str = key("off", kinds.one_of("off", "short"))
    "Lost packets: off: silence; short: losses up to 60 ms are filled with the sound before them, and marked."


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfConfig:
    """Digits that were pressed during a call."""

    store: str = key("masked", kinds.one_of("masked", "digits", "none"))
    "masked: that and when a digit was pressed; digits: which one; none: nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingConfig:
    """Bounds of a recording."""

    no_media_s: int = key(30, kinds.integer(5, 3_600))
    "Seconds without RTP on a leg that should send, after which an alarm says so."
    max_calls: int | None = key(None, kinds.optional(kinds.integer(1, 1_000_000)))
    "Calls at a time; null: as many as descriptors, ports and disk carry."
    max_admitting: int = key(100, kinds.integer(1, 100_000))
    "INVITEs at a time that are on the way to their answer; one more is refused at once, so that those get theirs in time."


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The log on stderr."""

    level: str = key("info", kinds.one_of("debug", "info", "warning", "error"))
    "Least important level that is written."


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; every path in a loaded one is absolute."""

    sip: SipConfig = field(default_factory=SipConfig)
    rtp: RtpConfig = field(default_factory=RtpConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    catalog: CatalogConfig = field(default_factory=CatalogConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    codecs: CodecsConfig = field(default_factory=CodecsConfig)
    dtmf: DtmfConfig = field(default_factory=DtmfConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def catalog_url(self) -> str:
        """`catalog.url`, or the embedded SQLite catalogue beside the recordings."""
        return self.catalog.url or f"sqlite:///{self.storage.path / 'catalog.db'}"


SECTIONS: dict[str, type] = {
    "sip": SipConfig,
    "rtp": RtpConfig,
    "storage": StorageConfig,
    "catalog": CatalogConfig,
    "control": ControlConfig,
    "metrics": MetricsConfig,
    "codecs": CodecsConfig,
    "dtmf": DtmfConfig,
    "recording": RecordingConfig,
    "log": LogConfig,
}


def keys() -> Iterator[tuple[str, str, Kind[object]]]:
    """Every key there is: its section, its name, and the kind that reads it."""
    for section, model in SECTIONS.items():
        for item in fields(model):
            yield section, item.name, cast(Kind[object], item.metadata["kind"])


def differences(old: Config, new: Config) -> tuple[str, ...]:
    """The keys (`rtp.ports`) in which two configurations differ, in the order of the model."""
    return tuple(
        f"{section}.{name}"
        for section, name, _ in keys()
        if getattr(getattr(old, section), name) != getattr(getattr(new, section), name)
    )


def taken_over(running: Config, new: Config, keys: Collection[str]) -> Config:
    """`running`, in which these keys (`log.level`) have the values of `new`."""
    changed = {}
    for section, model in SECTIONS.items():
        names = [item.name for item in fields(model) if f"{section}.{item.name}" in keys]
        values = {name: getattr(getattr(new, section), name) for name in names}
        changed[section] = replace(getattr(running, section), **values)
    return replace(running, **changed)
