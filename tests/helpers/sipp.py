"""Signalling by sipp: scenarios in the words of SIP, and calls that go on when the test says so."""

from __future__ import annotations

import re
import socket
import subprocess
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.helpers.daemon import wait_for

END_S = 30.0
_HEAD = re.compile(r"^-{20,} (\S+ \S+)\n(?:UDP|TCP) message (sent|received) [^\n]*\n\n", re.MULTILINE)
"What sipp's message trace puts in front of each message."


class Scenario:
    """What one caller does, step by step; every method adds a step and returns the scenario."""

    def __init__(
        self,
        *,
        caller: str = '"SRC" <sip:src@127.0.0.1>',
        callee: str = "<sip:srs@127.0.0.1>",
        contact: str = "<sip:src@[local_ip]:[local_port];transport=[transport]>;+sip.src",
        require: str = "siprec",
    ) -> None:
        """caller, callee: From and To without tags. An empty `require` leaves that header out."""
        self._caller, self._callee, self._contact, self._require = caller, callee, contact, require
        self._steps: list[str] = []
        self._cseq = self._branches = 0
        self._invite_branch = ""

    def request(
        self,
        method: str,
        body: str = "",
        content_type: str = "",
        *,
        headers: tuple[str, ...] = (),
        cseq: int | None = None,
        branch: str | None = None,
        tagged: bool = True,
        patient: bool = False,
    ) -> Scenario:
        """Send a request.

        cseq, branch: those of an earlier request instead of new ones. tagged: with a To tag. patient: never repeat
        it, and go on with the scenario at once.
        """
        self._cseq += cseq is None and method not in ("ACK", "CANCEL")
        if branch is None:
            self._branches += 1
            branch = f"z9hG4bK-[pid]-[call_number]-{self._branches}"
        if method == "INVITE":
            self._invite_branch = branch
        lines = [
            f"{method} sip:srs@[remote_ip]:[remote_port];transport=[transport] SIP/2.0",
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport",
            f"From: {self._caller};tag=[pid]-[call_number]",
            f"To: {self._callee}" + ("[peer_tag_param]" if tagged else ""),
            "Call-ID: [call_id]",
            f"CSeq: {self._cseq if cseq is None else cseq} {method}",
            "Max-Forwards: 70",
            f"Contact: {self._contact}",
            *([f"Require: {self._require}"] if self._require and method not in ("ACK", "CANCEL") else []),
            *headers,
            *([f"Content-Type: {content_type}"] if body else []),
            "Content-Length: [len]",
        ]
        message = "\n".join(lines) + "\n\n" + body.replace("\r\n", "\n")
        retransmit = "" if patient or method == "ACK" else ' retrans="500"'
        self._steps.append(f"<send{retransmit}><![CDATA[\n{message}\n]]></send>")
        return self

    def invite(self, body: str, content_type: str, **options: object) -> Scenario:
        """A first INVITE or, after an answer, a re-INVITE."""
        return self.request("INVITE", body, content_type, **options)  # type: ignore[arg-type]

    def answered(self, status: int = 200, *, body: str = "", content_type: str = "") -> Scenario:
        """The final answer to the INVITE, and its ACK. body: of the ACK to a 200."""
        self._steps.append('<recv response="100" optional="true"/>')
        self.receive(status)
        branch = self._invite_branch if status >= 300 else None
        return self.request("ACK", body, content_type, branch=branch)

    def receive(self, status: int) -> Scenario:
        """A response."""
        self._steps.append(f'<recv response="{status}"/>')
        return self

    def repeat(self, message: Message) -> Scenario:
        """A message that another sipp has sent, byte by byte."""
        text = message.text.replace("\r\n", "\n").removesuffix("\n")
        self._steps.append(f"<send><![CDATA[\n{text}\n]]></send>")
        return self

    def cancel(self) -> Scenario:
        """CANCEL of the INVITE (RFC 3261 9.1)."""
        return self.request("CANCEL", cseq=self._cseq, branch=self._invite_branch, tagged=False)

    def bye(self) -> Scenario:
        """BYE and its answer."""
        return self.request("BYE").receive(200)

    def serve(self, method: str) -> Scenario:
        """A request of the recorder, answered with 200."""
        self._steps.append(
            f'<recv request="{method}"/><send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n'
            "[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send>"
        )
        return self

    def wait(self) -> Scenario:
        """Until the test says `go_on`."""
        self._steps.append('<recv request="NOTIFY"/>')
        return self

    def pause(self, seconds: float) -> Scenario:
        """Do nothing for so long."""
        self._steps.append(f'<pause milliseconds="{seconds * 1000:.0f}"/>')
        return self

    def xml(self) -> str:
        """As sipp reads it."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="SRC">\n'
            + "\n".join(self._steps)
            + "\n</scenario>\n"
        )


@dataclass(frozen=True, slots=True)
class Message:
    """A message that sipp sent or received. at: by its wall clock, in seconds."""

    at: float
    sent: bool
    text: str

    @property
    def start(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0].strip()

    @property
    def body(self) -> str:
        return self.text.replace("\r\n", "\n").partition("\n\n")[2]

    def is_whole(self) -> bool:
        """Whether all of it is there."""
        length = self.header("Content-Length")
        body = self.text.partition("\r\n\r\n")[2].encode(errors="surrogateescape")
        return length is not None and len(body) >= int(length)

    def header(self, name: str) -> str | None:
        """The first value of a header, None if it is not there."""
        found = re.search(rf"^{re.escape(name)}:[ \t]*(.*?)\r?$", self.text, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else None

    def m_lines(self) -> list[tuple[str, int]]:
        """Media type and port of each m-line."""
        return [(kind, int(port)) for kind, port in re.findall(r"^m=(\w+) (\d+) ", self.body, re.MULTILINE)]

    def ports(self) -> list[int]:
        """The ports of its m-lines."""
        return [port for _, port in self.m_lines()]


class Sipp:
    """A running sipp. As a context manager: it must come to the end of its scenario, and is ended in any case."""

    def __init__(
        self,
        folder: Path,
        port: int,
        scenario: Scenario,
        *,
        transport: str = "udp",
        call_id: str | None = None,
        program: str = "sipp",
    ) -> None:
        """port: of the recorder, for the transport. call_id: of a call that another sipp has placed."""
        name = uuid.uuid4().hex[:12]
        self.call_id = call_id or f"{name}@sipp"
        self._files = folder / name
        self._files.mkdir()
        (self._files / "scenario.xml").write_text(scenario.xml())
        self._trace = self._files / "messages"
        self._cseq = 0
        self._port = _free_port()
        with (self._files / "screen").open("wb") as screen:
            self.process = subprocess.Popen(
                [
                    *(program, "-sf", str(self._files / "scenario.xml")),
                    *("-t", "u1" if transport == "udp" else "t1"),
                    *("-i", "127.0.0.1", "-p", str(self._port)),
                    *("-m", "1", "-cid_str", self.call_id),
                    *("-nostdin", "-timeout", "60", "-timeout_error"),
                    *("-trace_msg", "-message_file", str(self._trace)),
                    *("-trace_err", "-error_file", str(self._files / "errors")),
                    f"127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
                cwd=self._files,
            )
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for name in ("messages", "errors"):
                if (file := self._files / name).exists():
                    print(file.read_text(errors="replace"))

    def finish(self) -> None:
        """Wait for the end of the scenario, which must be that of a successful call."""
        try:
            status = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"sipp has not come to the end of its scenario in {END_S:g} s")
        assert status == 0, f"sipp ended with status {status}"

    def messages(self) -> list[Message]:
        """All messages so far; one that is still being written is left out."""
        text = self._trace.read_bytes().decode(errors="surrogateescape") if self._trace.exists() else ""
        heads = list(_HEAD.finditer(text))
        ends = [head.start() for head in heads[1:]] + [len(text)] * bool(heads)
        found = [
            Message(datetime.fromisoformat(head[1]).timestamp(), head[2] == "sent", text[head.end() : end])
            for head, end in zip(heads, ends, strict=True)
        ]
        return [m for m in found if m.is_whole()]

    def responses(self, method: str = "INVITE", *, provisional: bool = False) -> list[Message]:
        """The responses received to requests of a method, final ones only if not asked otherwise."""
        return [
            m
            for m in self.messages()
            if not m.sent
            and m.start.startswith("SIP/2.0 ")
            and (m.header("CSeq") or "").endswith(method)
            and (provisional or not m.start.startswith("SIP/2.0 1"))
        ]

    def answer(self, number: int = 0, *, method: str = "INVITE") -> Message:
        """The final response to the `number`-th request of a method; waits for it."""

        def look() -> list[Message] | None:
            if self.process.poll() not in (None, 0):
                pytest.fail(f"sipp ended with status {self.process.returncode}")
            by_cseq = {m.header("CSeq"): m for m in reversed(self.responses(method))}
            found = sorted(by_cseq.values(), key=lambda m: m.at)
            return found if len(found) > number else None

        return wait_for(f"answer {number} to {method}", look)[number]

    def go_on(self) -> None:
        """Let the scenario pass its next `wait`."""
        self._cseq += 1
        message = (
            f"NOTIFY sip:src@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-on-{self._cseq}\r\n"
            f"From: <sip:test@127.0.0.1>;tag=test\r\nTo: <sip:src@127.0.0.1>\r\nCall-ID: {self.call_id}\r\n"
            f"CSeq: {self._cseq} NOTIFY\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        if self._transport == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(message, ("127.0.0.1", self._port))
            return
        with socket.create_connection(("127.0.0.1", self._port)) as sock:
            sock.sendall(message)


def _free_port() -> int:
    """A port that is free for UDP and TCP at the moment."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
