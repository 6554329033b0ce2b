"""A configuration compared with another, and what a running daemon takes of it."""

from dataclasses import replace

from siprec.config import Config, LogConfig, RtpConfig, differences, taken_over


def test_only_the_named_keys_are_taken_over() -> None:
    running = Config()
    new = Config(log=LogConfig(level="debug"), rtp=RtpConfig(tick_ms=100, pool_mb=64))
    assert differences(running, new) == ("rtp.tick_ms", "rtp.pool_mb", "log.level")
    taken = taken_over(running, new, ("log.level", "rtp.pool_mb"))
    assert taken == replace(running, log=new.log, rtp=RtpConfig(pool_mb=64))
    assert differences(taken, new) == ("rtp.tick_ms",)
