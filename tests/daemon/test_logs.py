"""The shape of a log line."""

import io
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.daemon import logs
from siprec.daemon.logs import LogThread, RecordingLog, one_line


@pytest.fixture(autouse=True)
def root_level() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def written(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_line_has_time_level_logger_recording_and_text() -> None:
    stream = io.StringIO()
    thread = logs.start("info", environ={}, stream=stream)
    RecordingLog(logging.getLogger("siprec.session"), "0192f0").info("begins, %d legs", 2)
    logging.getLogger("siprec.session").debug("not written")
    logs.stop(thread)
    (line,) = written(stream)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO siprec\.session: \[0192f0\] begins, 2 legs", line
    )


def test_what_the_network_says_stays_within_its_line() -> None:
    stream = io.StringIO()
    thread = logs.start("debug", environ={}, stream=stream)
    logging.getLogger("siprec.sip").debug("< %s", "INVITE x\r\nFrom: a\n\x1b[2J\x85\u2028end")
    logs.stop(thread)
    (line,) = written(stream)
    assert line.endswith(r"< INVITE x\r\nFrom: a\n\x1b[2J\x85\u2028end")
    assert one_line("\udce4") == r"\udce4"


def test_a_traceback_is_one_line() -> None:
    stream = io.StringIO()
    thread = logs.start("info", environ={}, stream=stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("siprec").exception("failed")
    logs.stop(thread)
    (line,) = written(stream)
    assert "ValueError: two\\nlines" in line


def test_in_the_journal_a_line_has_a_priority_and_no_time(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as stream:
        at = os.fstat(stream.fileno())
        thread = logs.start("info", environ={"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"}, stream=stream)
        logging.getLogger("siprec").warning("disk low")
        logging.getLogger("siprec").error("disk gone")
        logs.stop(thread)
    assert (tmp_path / "journal").read_text().splitlines() == [
        "<4>WARNING siprec: disk low",
        "<3>ERROR siprec: disk gone",
    ]


def test_stderr_that_was_sent_elsewhere_keeps_its_times(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        thread = logs.start("info", environ={"JOURNAL_STREAM": "8:12345"}, stream=stream)
        logging.getLogger("siprec").info("x")
        logs.stop(thread)
    assert (tmp_path / "file").read_text()[:2] == "20"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9|2^20",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:…|2^20",
        ),
        ('Authorization: Digest response="6629"\r\nTo: b', "Authorization: …\\r\\nTo: b"),
        ("Proxy-Authorization:Basic eHg=", "Proxy-Authorization:…"),
        (
            "cannot reach postgresql+psycopg://siprec:geheim@db/calls",
            "cannot reach postgresql+psycopg://siprec:…@db/calls",
        ),
    ],
)
def test_secrets_do_not_reach_the_log(text: str, line: str) -> None:
    assert one_line(text) == line


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert one_line(text).isprintable()


def test_a_reader_that_stalls_costs_lines_not_time() -> None:
    release = threading.Event()

    class Stalled(io.StringIO):
        def write(self, text: str) -> int:
            release.wait()
            return super().write(text)

    stream = Stalled()
    thread = LogThread(stream, journal=True)
    for number in range(logs.QUEUE_LINES + 100):
        thread.handle(logging.LogRecord("siprec", logging.INFO, "", 0, f"{number}", None, None))
    assert 98 <= thread.dropped <= 100
    release.set()
    thread.close()
    assert written(stream)[:2] == ["<6>INFO siprec: 0", "<6>INFO siprec: 1"]
    assert len(written(stream)) == logs.QUEUE_LINES + 100 - thread.dropped


def test_of_two_levels_the_lower_one_writes_more() -> None:
    assert (logs.lower("error", "info"), logs.lower("debug", "warning")) == ("info", "debug")
