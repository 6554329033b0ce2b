"""Configuration: one frozen dataclass per section, read from YAML and the environment."""

from siprec.config.address import HostPort, Listener, PortRange
from siprec.config.model import (
    CatalogConfig,
    Config,
    ControlConfig,
    DtmfConfig,
    LogConfig,
    MetricsConfig,
    RecordingConfig,
    RtpConfig,
    SipConfig,
    StorageConfig,
    differences,
    taken_over,
)
from siprec.config.reading import ENV_FILE, ConfigError, find_file, load

__all__ = [
    "ENV_FILE",
    "CatalogConfig",
    "Config",
    "ConfigError",
    "ControlConfig",
    "DtmfConfig",
    "HostPort",
    "Listener",
    "LogConfig",
    "MetricsConfig",
    "PortRange",
    "RecordingConfig",
    "RtpConfig",
    "SipConfig",
    "StorageConfig",
    "differences",
    "find_file",
    "load",
    "taken_over",
]
