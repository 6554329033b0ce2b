"""Bad input: refused or dropped, counted, answered in time where there is an answer, and no call takes notice."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path

import pytest

from tests.helpers.caller import ANSWER_S, Answer, Caller, two_parties
from tests.helpers.daemon import Daemon, running, wait_for
from tests.helpers.offers import BOUNDARY, METADATA, MULTIPART, SDP, Line, metadata, multipart, sdp
from tests.helpers.player import rtp
from tests.helpers.witness import COMPLETE, nothing_left_by, running_call, untouched_call

MESSAGE_S = 10.0
"A message on a connection must be whole by then."


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all of this, which in the end owes nothing to anybody."""
    sip = {"t1_ms": 50, "allow": ["127.0.0.1/32"]}
    with running(tmp_path_factory.mktemp("hostile"), pairs=100, sip=sip, rtp={"quarantine_s": 0.1}) as one:
        with running_call(one, seconds=0.1):
            pass
        yield one
        wait_for("the last transaction to end", lambda: one.metric("siprec_sip_transactions") == 0)
        one.stop()
        assert "Traceback" not in one.log


@pytest.fixture(autouse=True)
def unharmed(daemon: Daemon) -> Iterator[None]:
    """Every test has a call beside it that is recorded sample by sample, and leaves nothing behind."""
    with nothing_left_by(daemon), untouched_call(daemon, seconds=1.0):
        yield


@pytest.fixture
def caller(daemon: Daemon) -> Iterator[Callable[..., Caller]]:
    """`caller("tcp")`: a client of the daemon, closed after the test."""
    with ExitStack() as stack:

        def make(transport: str = "udp", source: str = "127.0.0.1") -> Caller:
            return stack.enter_context(Caller(daemon.ports[transport], transport=transport, source=source))

        yield make


NewCaller = Callable[..., Caller]


def counted(daemon: Daemon, event: str, label: str) -> float:
    return daemon.metric("siprec_sip_total", event=event, label=label)


# -- what is no SIP --


def test_garbage_datagrams_are_dropped_and_counted(daemon: Daemon, caller: NewCaller) -> None:
    before, rng, sender = counted(daemon, "dropped", "unparsable"), random.Random(7), caller()
    for _ in range(300):
        sender.send(b"\xff" + rng.randbytes(rng.randrange(1400)))
    wait_for("every datagram to be counted", lambda: counted(daemon, "dropped", "unparsable") == before + 300)
    assert sender.hears_nothing()


def test_every_beginning_of_an_invite_is_survived(daemon: Daemon, caller: NewCaller) -> None:
    """A datagram that was cut anywhere: answered 400, or not at all while it has no Via."""
    sender = caller()
    whole = sender.request("INVITE", two_parties(), MULTIPART)
    for end in range(1, len(whole) - 1, 7):
        sender.send(whole[:end])
    sender.send(sender.request("OPTIONS"))
    statuses = []
    while 200 not in statuses:
        statuses.append(sender.final(time.monotonic()).status)
    assert set(statuses) == {400, 488, 200}  # 488: an INVITE without a body


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 4096])
def test_a_connection_that_speaks_something_else_is_closed(
    daemon: Daemon, caller: NewCaller, data: bytes
) -> None:
    before, sender = counted(daemon, "closed_by_fault", "tcp"), caller("tcp")
    sender.send(data)
    assert sender.is_closed()
    assert counted(daemon, "closed_by_fault", "tcp") == before + 1


# -- what is too large, or not as long as it says --


def test_a_header_of_100_kb_is_refused_and_the_connection_closed(daemon: Daemon, caller: NewCaller) -> None:
    before, sender = counted(daemon, "parse_errors", "header section"), caller("tcp")
    answer = sender.ask(sender.request("OPTIONS", headers=("X-Long: " + "x" * 100_000,)))
    assert answer.is_refusal(400)
    assert sender.is_closed()
    assert counted(daemon, "parse_errors", "header section") == before + 1


def test_a_header_line_of_60_kb_in_a_datagram_is_refused(daemon: Daemon, caller: NewCaller) -> None:
    before, sender = counted(daemon, "parse_errors", "header line"), caller()
    assert sender.ask(sender.request("OPTIONS", headers=("X-Long: " + "x" * 60_000,))).is_refusal(400)
    assert counted(daemon, "parse_errors", "header line") == before + 1


def test_ten_thousand_headers_are_refused(caller: NewCaller) -> None:
    sender = caller()
    assert sender.ask(sender.request("OPTIONS", headers=("a:b",) * 10_000)).is_refusal(400)


def test_a_body_of_10_mb_is_refused_by_its_announcement(daemon: Daemon, caller: NewCaller) -> None:
    """Before the body has come: whoever sends on writes into a closed connection."""
    before, sender = counted(daemon, "parse_errors", "Content-Length"), caller("tcp")
    wire = sender.request("INVITE", b"v=0\r\n" * 2_000_000, SDP)
    answer = sender.ask(wire[:2_000])
    assert answer.is_refusal(413)
    with suppress(ConnectionError):
        for start in range(2_000, len(wire), 100_000):
            sender.send(wire[start : start + 100_000])
    assert sender.is_closed()
    assert counted(daemon, "parse_errors", "Content-Length") == before + 1


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("-1", 400),
        ("4294967296", 413),
        ("9" * 300, 413),
        ("0x10", 400),
        ("1 2", 400),
        ("12\r\nl: 13", 400),
        ("60000", 400),
    ],
)
def test_a_false_content_length_in_a_datagram_is_refused(caller: NewCaller, length: str, status: int) -> None:
    sender = caller()
    assert sender.ask(sender.request("INVITE", two_parties(), MULTIPART, length=length)).is_refusal(status)


@pytest.mark.parametrize(
    ("length", "status"),
    [("-1", 400), ("4294967296", 413), ("9" * 300, 413), ("0x10", 400), ("12\r\nl: 13", 400), ("", 400)],
)
def test_a_false_content_length_on_a_connection_is_refused_and_ends_it(
    caller: NewCaller, length: str, status: int
) -> None:
    sender = caller("tcp")
    assert sender.ask(sender.request("INVITE", two_parties(), MULTIPART, length=length)).is_refusal(status)
    assert sender.is_closed()


def test_what_stands_behind_the_announced_length_is_no_second_request(caller: NewCaller) -> None:
    """RFC 3261 18.3: discarded in a datagram; on a connection it is where the next message begins, and here is none."""
    body = two_parties()
    datagram = caller()
    answer = datagram.ask(datagram.request("INVITE", body + body, MULTIPART, length=len(body)))
    datagram.acknowledge(answer)
    assert answer.status == 200
    assert datagram.bye().status == 200
    stream = caller("tcp")
    answer = stream.ask(stream.request("INVITE", body, MULTIPART))
    assert answer.status == 200
    stream.send(body.encode())
    assert stream.is_closed()
    back = caller("tcp")  # the call outlives its connection
    back.call_id, back.cseq = stream.call_id, stream.cseq
    back.acknowledge(answer)
    assert back.bye().status == 200


# -- half messages --


def test_half_messages_and_slow_writers_are_cut_off(daemon: Daemon, caller: NewCaller) -> None:
    """A connection may be slow, a message may not: whole in ten seconds, however diligently bytes drip."""
    before = counted(daemon, "half_messages", "tcp")
    silent, dripping, gone = caller("tcp"), [caller("tcp") for _ in range(20)], caller("tcp")
    wire = silent.request("INVITE", two_parties(), MULTIPART)
    began = time.monotonic()
    silent.send(wire[: len(wire) // 2])
    gone.send(wire[: len(wire) // 2])
    gone.socket.close()
    open_ones = list(dripping)
    for byte in cycle([b"I", b"N", b"V", b"I", b"T", b"E", b" ", b"s"]):
        for one in list(open_ones):
            try:
                one.send(byte)
            except ConnectionError:
                open_ones.remove(one)
        if not open_ones or time.monotonic() - began > 2 * MESSAGE_S:
            break
        time.sleep(0.25)
    assert not open_ones
    assert time.monotonic() - began >= MESSAGE_S
    assert silent.is_closed()
    assert counted(daemon, "half_messages", "tcp") == before + 21


# -- bodies that want to cost something --


def laughs(levels: int = 12) -> str:
    """A document of a few lines that would be gigabytes of text."""
    entities = ['<!ENTITY a0 "ha">'] + [f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, levels)]
    body = metadata().partition("<recording")[2].replace("<datamode>", f"<datamode>&a{levels - 1};", 1)
    return f'<?xml version="1.0"?>\r\n<!DOCTYPE recording [{"".join(entities)}]>\r\n<recording{body}'


EXTERNAL = (
    '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><recording>&x;</recording>'
)
DEEP = (
    '<recording xmlns="urn:ietf:params:xml:ns:recording:1">'
    + "<a>" * 10_000
    + "</a>" * 10_000
    + "</recording>"
)
WIDE = "<recording>" + '<participant participant_id="p"/>' * 600 + "</recording>"
UNCLOSED = metadata()[:-40]
BINARY = "<recording>\0\x01\x02</recording>"


@pytest.mark.parametrize(
    "document",
    [laughs(), EXTERNAL, DEEP, WIDE, UNCLOSED, BINARY],
    ids=["laughs", "external", "deep", "wide", "unclosed", "binary"],
)
def test_hostile_metadata_costs_no_recording_and_no_time(
    daemon: Daemon, caller: NewCaller, document: str
) -> None:
    """The call is recorded with the parties of its headers, what was sent is kept as it came, nothing is expanded."""
    before, sender = memory(daemon), caller("tcp")
    answer = sender.call(document=document)
    assert answer.status == 200
    assert answer.seconds < ANSWER_S
    assert sender.bye().status == 200
    shown = daemon.recording_of(sender.call_id)
    kept = Path(shown["path"]).with_name("metadata-0001.xml").read_bytes()
    assert kept == document.encode()
    assert "root:" not in Path(shown["path"]).with_name("recording.json").read_text()
    assert memory(daemon) - before < 50_000_000


def memory(daemon: Daemon) -> int:
    """Bytes of the main process that are resident."""
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * 4096


def test_a_thousand_m_lines_are_refused(caller: NewCaller) -> None:
    sender = caller("tcp")
    offer = sdp([Line(20_000, str(i)) for i in range(1_000)])
    answer = sender.invite(multipart(offer, metadata()))
    assert answer.is_refusal(488) or answer.is_refusal(400)
    assert answer.message.header("Warning")


def test_a_thousand_m_lines_in_a_datagram_are_refused(caller: NewCaller) -> None:
    offer = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        + "m=audio 9 RTP/AVP 0\r\n" * 1_000
    )
    assert caller().invite(offer, SDP).is_refusal(488)


def test_as_many_legs_as_there_may_be_are_recorded_and_given_back(daemon: Daemon, caller: NewCaller) -> None:
    """The most that one call can take: beside it the others go on."""
    sender = caller("tcp")
    answer = sender.invite(
        sdp([Line(0 if i > 30 else 20_000, str(i), tuple(range(128))) for i in range(64)]), SDP
    )
    assert answer.status == 200
    assert len([port for port in answer.message.ports() if port]) == 31
    assert sender.bye().status == 200
    assert len(daemon.recording_of(sender.call_id)["legs"]) == 31


def nested(depth: int) -> str:
    """Multiparts in multiparts, a whole body in the innermost."""
    body, content = two_parties(), MULTIPART
    for level in range(depth):
        body = f"--level{level}\r\nContent-Type: {content}\r\n\r\n{body}\r\n--level{level}--\r\n"
        content = f"multipart/mixed;boundary=level{level}"
    return body


def test_multiparts_nested_a_hundred_times_are_refused(caller: NewCaller) -> None:
    answer = caller().invite(nested(100), "multipart/mixed;boundary=level99")
    assert answer.is_refusal(400)
    assert "nested" in (answer.message.header("Warning") or "")


@pytest.mark.parametrize("count", [65, 20_000])
def test_a_multipart_of_very_many_parts_is_refused(caller: NewCaller, count: int) -> None:
    part = f"--{BOUNDARY}\r\nContent-Type: {METADATA}\r\n\r\n<recording/>\r\n"
    small = f"--{BOUNDARY}\r\n\r\nx\r\n"
    body = (part if count < 100 else small) * count + f"--{BOUNDARY}--\r\n"
    assert caller("tcp").invite(body, MULTIPART).is_refusal(400)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("--" * 400_000, MULTIPART),
        (f"--{BOUNDARY}\r\n" * 60_000, MULTIPART),
        ("a=" + "b" * 900_000, SDP),
        ("v=0\r\n" + "a=rtpmap:\r\n" * 5_000 + "m=audio 1 RTP/AVP " + "96 " * 3_000, SDP),
        ("\r\n" * 400_000, SDP),
        (f"--{BOUNDARY}\r\n" + "X: y\r\n" * 100_000, MULTIPART),
    ],
    ids=["dashes", "delimiters", "one line", "attributes", "blank", "part headers"],
)
def test_bodies_made_to_be_slow_are_answered_in_time(caller: NewCaller, body: str, content_type: str) -> None:
    sender = caller("tcp")
    answer = sender.invite(body, content_type)
    assert answer.status in (200, 400, 413, 415, 488)
    assert answer.seconds < ANSWER_S
    if answer.status == 200:
        assert sender.bye().status == 200


# -- strangers --


def test_a_source_that_is_not_allowed_is_not_even_read(daemon: Daemon, caller: NewCaller) -> None:
    before = {name: counted(daemon, "source_refused", name) for name in ("udp", "tcp")}
    parsed = counted(daemon, "requests_received", "OPTIONS")
    stranger = caller(source="127.0.0.2")
    for _ in range(20):
        stranger.send(stranger.request("OPTIONS"))
    assert stranger.hears_nothing()
    connected = caller("tcp", source="127.0.0.2")
    assert connected.is_closed()
    assert counted(daemon, "source_refused", "udp") == before["udp"] + 20
    assert counted(daemon, "source_refused", "tcp") == before["tcp"] + 1
    assert counted(daemon, "requests_received", "OPTIONS") == parsed


def test_requests_out_of_the_blue_change_nothing(caller: NewCaller) -> None:
    """BYE, CANCEL, ACK and UPDATE of calls that nobody knows, a method and an extension that nobody knows."""
    sender = caller()
    assert sender.ask(sender.request("BYE")).is_refusal(481)
    sender._invite_branch = "z9hG4bK-nothing"
    assert sender.ask(sender.request("CANCEL")).is_refusal(481)
    assert sender.ask(sender.request("UPDATE", "v=0\r\n", SDP)).is_refusal(481)
    sender.send(sender.request("ACK"))
    assert sender.ask(sender.request("FROB")).is_refusal(405)
    answer = sender.ask(sender.request("INVITE", two_parties(), MULTIPART, headers=("Require: time-travel",)))
    sender.acknowledge(answer)
    assert answer.is_refusal(420)
    assert answer.message.header("Unsupported") == "time-travel"


def test_every_invite_is_accounted_for_as_recorded_or_as_refused_with_a_reason(
    daemon: Daemon, caller: NewCaller
) -> None:
    """Also those that never got as far as to be looked at as a call."""

    def refused() -> dict[int, float]:
        return {
            s: daemon.metric("siprec_calls_refused_total", status=str(s)) for s in (400, 415, 416, 420, 482)
        }

    def answered(data: Callable[[Caller], bytes]) -> int:
        one = caller()
        answer = one.ask(data(one))
        one.acknowledge(answer)
        return answer.status

    before, alarms = refused(), daemon.metric("siprec_alarms_total", kind="call_refused")
    body = two_parties()
    wires: dict[int, Callable[[Caller], bytes]] = {
        400: lambda one: one.request("INVITE", body, MULTIPART, length=60_000),
        415: lambda one: one.request("INVITE", body, MULTIPART, headers=("Content-Encoding: gzip",)),
        416: lambda one: one.request("INVITE", body, MULTIPART).replace(b" sip:srs", b" mailto:srs", 1),
        420: lambda one: one.request("INVITE", body, MULTIPART, headers=("Require: time-travel",)),
    }
    assert [answered(wire) for wire in wires.values()] == list(wires)
    twice = caller()
    assert twice.call().status == 200
    tag, twice.to_tag, twice.cseq = twice.to_tag, "", 0
    twice.send(twice.request("INVITE", body, MULTIPART))
    assert twice.final(time.monotonic()).status == 482
    twice.to_tag = tag
    assert twice.bye().status == 200
    assert refused() == {status: count + 1 for status, count in before.items()}
    assert daemon.metric("siprec_alarms_total", kind="call_refused") == alarms + 5


def test_another_caller_cannot_end_a_call_by_guessing(daemon: Daemon, caller: NewCaller) -> None:
    """The tags are the secret (RFC 3261 12): with a wrong one it is 481."""
    victim, thief = caller(), caller()
    assert victim.call().status == 200
    thief.call_id, thief.to_tag, thief.cseq = victim.call_id, ";tag=guessed", 5
    assert thief.bye().is_refusal(481)
    assert daemon.metric("siprec_calls") == 2
    assert victim.bye().status == 200


def test_calls_that_are_cancelled_at_once_leave_nothing(daemon: Daemon, caller: NewCaller) -> None:
    """CANCEL behind INVITE: 487, or 200 when the answer was quicker; ports, files and space come back either way."""
    before, callers = daemon.metric("siprec_calls_refused_total", status="487"), [caller() for _ in range(40)]
    for one in callers:
        one.send(one.request("INVITE", two_parties(), MULTIPART) + b"")
        one.send(one.request("CANCEL"))
    recorded = 0
    for one in callers:
        answers = {"INVITE": 0, "CANCEL": 0}
        while not all(answers.values()):
            answer = one.final(time.monotonic())
            method = (answer.message.header("CSeq") or "").split()[1]
            answers[method] = answer.status
            if method == "INVITE":
                one.acknowledge(answer)
        assert answers["CANCEL"] == 200
        assert answers["INVITE"] in (200, 487)
        if answers["INVITE"] == 200:
            recorded += 1
            assert one.bye().status == 200
    assert daemon.metric("siprec_calls_refused_total", status="487") == before + 40 - recorded


def test_a_caller_that_never_acknowledges_is_hung_up(daemon: Daemon, caller: NewCaller) -> None:
    """No ACK and no RTP in 64 * T1: BYE, and what there is of the recording is finished (RFC 3261 13.3.1.4)."""
    silent = caller()
    assert silent.ask(silent.request("INVITE", two_parties(), MULTIPART)).status == 200
    while not silent.receive().start.startswith("BYE"):
        pass
    shown = daemon.recording_of(silent.call_id)
    assert shown["verdict"]["reasons"] == ["no_media", "ended_without_bye"]


def test_a_storm_of_offers_ends_with_every_port_given_back(daemon: Daemon, caller: NewCaller) -> None:
    """A second m-line that comes and goes: each time a new leg, and the file is as it was."""
    sender = caller()
    one, two = Line(41_000, "1"), Line(41_002, "2")
    assert sender.call((one,)).status == 200
    refused = 0
    for turn in range(150):
        line = two if turn % 2 == 0 else Line(0, "2")
        answer = sender.invite(sdp([one, line], version=turn + 2), SDP)
        refused += answer.status != 200
        assert answer.seconds < ANSWER_S
    assert sender.bye().status == 200
    shown = daemon.recording_of(sender.call_id)
    assert (len(shown["legs"]), refused) == (64, 12)


def test_a_storm_of_documents_is_kept_up_to_a_bound(daemon: Daemon, caller: NewCaller) -> None:
    """Metadata and headers that are new each time: every request is answered, the recording does not grow for ever."""
    sender = caller("tcp")
    assert sender.call().status == 200
    for turn in range(20):
        headers = tuple(f"X-Key-{turn}-{i}: {i}" for i in range(50))
        document = f"<recording>{turn}" + "x" * 900_000
        answer = sender.ask(sender.request("UPDATE", document, METADATA, headers=headers))
        assert answer.status == 200
        assert answer.seconds < ANSWER_S
    assert sender.bye().status == 200
    shown = daemon.recording_of(sender.call_id)
    kept = [file.stat().st_size for file in Path(shown["path"]).parent.glob("*.xml")]
    assert len(kept) == 18
    assert sum(kept) <= 16_000_000
    assert [event["type"] for event in shown["events"]].count("metadata_not_kept") == 3
    assert len(shown["search_keys"]) == 256


def crowd(turn: int, people: int, name_chars: int) -> str:
    """A document that brings so many people who were not there before."""
    said = "".join(
        f'<participant participant_id="{turn}-{i}"><nameID aor="sip:{turn}-{i}@a.example.com">'
        f"<name>{'x' * name_chars}</name></nameID></participant>"
        for i in range(people)
    )
    return f"<recording><datamode>partial</datamode>{said}</recording>"


@pytest.mark.parametrize(("people", "name_chars"), [(2_500, 70), (1_600, 120), (990, 300)])
def test_while_one_peer_sends_ever_more_people_another_one_is_answered_soon(
    daemon: Daemon, caller: NewCaller, people: int, name_chars: int
) -> None:
    """Up to 5,000 elements are read, 1,000 people are known, 500 are in the recording."""
    sender, other = caller("tcp"), caller()
    assert sender.call().status == 200
    waited, updates, storm = [], [], ThreadPoolExecutor(1)
    with storm:
        for turn in range(10):
            document = crowd(turn, people, name_chars)
            update = storm.submit(sender.ask, sender.request("UPDATE", document, METADATA))
            updates.append(update)
            while not update.done():
                waited.append(other.ask(other.request("OPTIONS")).seconds)
    assert all(update.result().is_refusal(200) for update in updates)
    assert max(waited) < ANSWER_S
    assert sender.bye().status == 200
    shown = daemon.recording_of(sender.call_id)
    events = [event["type"] for event in shown["events"]]
    if people * 3 > 5_000:
        assert len(shown["participants"]) == 2
        assert events.count("metadata") == 1
    else:
        assert len(shown["participants"]) == 500
        assert events.count("participant_list_full") == 1


# -- floods --


def flood(port: int, packets: int, source: socket.socket, *, ssrc: int = 0xBAD, batch: int = 100) -> None:
    """Packets of noise to one port, as fast as this machine sends."""
    noise = random.Random(3).randbytes(160)
    for i in range(packets):
        source.sendto(rtp(noise, pt=0, seq=i, timestamp=160 * i, ssrc=ssrc), ("127.0.0.1", port))


def test_strangers_on_an_rtp_port_are_left_out_and_counted(daemon: Daemon) -> None:
    """The address in the SDP wins: a thousand packets of others, before and in between, are not heard."""
    with running_call(daemon, seed=5) as call, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        sent = 0
        call.wait_until_heard()
        for _ in range(8):
            flood(call.ports[0], 125, stranger)
            sent += 125
            time.sleep(0.2)
    assert call.shown["verdict"] == COMPLETE
    call.assert_exact(0, 1)
    assert [leg["foreign"] for leg in call.shown["legs"]] == [sent, 0]


def test_a_flood_on_one_rtp_port_costs_that_leg_alone(daemon: Daemon) -> None:
    """What the kernel had to drop is said; the other leg and every other call are whole."""
    before = daemon.metric("siprec_alarms_total", kind="flood")
    with (
        running_call(daemon, seed=6, seconds=3.0) as call,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        call.wait_until_heard()
        for _ in range(5):
            flood(call.ports[0], 5_000, stranger)
    call.assert_exact(1)
    legs = call.shown["legs"]
    assert legs[0]["dropped"] > 0
    assert legs[0]["foreign"] > 0
    assert legs[0]["capped"] > 0
    assert legs[1]["verdict"] == COMPLETE
    assert "dropped" in call.shown["verdict"]["reasons"]
    assert daemon.metric("siprec_alarms_total", kind="flood") > before


def test_a_flood_from_the_true_source_costs_its_leg_alone(daemon: Daemon) -> None:
    """Thousands of packets that claim to be audio of the next minutes."""
    with running_call(daemon, seed=7, seconds=3.0) as call:
        call.wait_until_heard()
        flood(call.ports[0], 20_000, call.players[0].rtp)
    call.assert_exact(1)
    legs = call.shown["legs"]
    assert legs[1]["verdict"] == COMPLETE
    assert (
        legs[0]["dropped"] + legs[0]["late"] + legs[0]["lost"] + legs[0]["duplicates"] + legs[0]["discarded"]
        > 0
    )
    assert call.shown["verdict"]["result"] == "incomplete"
    assert call.shown["duration_s"] < 10


def test_oddities_on_an_rtp_port_are_never_heard(daemon: Daemon) -> None:
    """Empty, short, long, cut, STUN, DTLS, RTCP and nonsense datagrams, from the true source and from another."""
    rng = random.Random(11)
    odd = [
        b"",
        b"\x80",
        b"\x80\x00" * 3,
        b"\x00\x01\x00\x00!\x12\xa4B" + bytes(12),
        b"\x16\xfe\xfd" + bytes(40),
    ]
    odd += [
        bytes([0x80, 200, 0, 6]) + bytes(24),
        b"\x80\xc9\xff\xff",
        rng.randbytes(3_000),
        b"\xbf\x00" + bytes(50),
    ]
    odd += [b"\x40" + rng.randbytes(200) for _ in range(50)]
    with running_call(daemon, seed=8) as call, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for data in odd:
            for source in (stranger, call.players[0].rtp):
                source.sendto(data, ("127.0.0.1", call.ports[0]))
                source.sendto(data, ("127.0.0.1", call.ports[0] + 1))
    assert call.shown["verdict"] == COMPLETE
    call.assert_exact(0, 1)


def test_an_invite_flood_above_max_calls_is_refused_call_by_call(tmp_path: Path) -> None:
    """As many as fit are recorded; every other one has its 503 in time, and is welcome afterwards."""
    with (
        running(tmp_path, recording={"max_calls": 3}, rtp={"quarantine_s": 0.1}) as small,
        ExitStack() as stack,
    ):
        with running_call(small, seconds=0.1):
            pass
        with nothing_left_by(small):
            callers = [stack.enter_context(Caller(small.ports["udp"])) for _ in range(100)]
            answers = ask_all(callers)
            assert max(answer.seconds for answer in answers) < ANSWER_S
            assert sorted(answer.status for answer in answers) == [200] * 3 + [503] * 97
            assert all(a.message.header("Retry-After") for a in answers if a.status == 503)
            assert small.http("/readyz")[0] == 503
            assert "recording.max_calls" in small.http("/readyz")[1]
            assert small.metric("siprec_calls_refused_total", status="503") == 97
            for one, answer in zip(callers, answers, strict=True):
                if answer.status == 200:
                    assert one.bye().status == 200
        with running_call(small, seconds=0.2):
            pass
        small.stop()


def test_more_new_calls_at_once_than_can_be_answered_in_time_are_refused_at_once(tmp_path: Path) -> None:
    """All come in one burst; the refused ones did not even have their bodies read."""
    with (
        running(tmp_path, recording={"max_admitting": 4}, rtp={"quarantine_s": 0.1}) as small,
        ExitStack() as stack,
    ):
        with running_call(small, seconds=0.1):
            pass
        callers = [stack.enter_context(Caller(small.ports["udp"])) for _ in range(60)]
        answers = ask_all(callers)
        assert max(answer.seconds for answer in answers) < ANSWER_S
        refused = [answer for answer in answers if answer.status == 503]
        assert all("recording.max_admitting" in (a.message.header("Warning") or "") for a in refused)
        assert {answer.status for answer in answers} == {200, 503}
        assert small.metric("siprec_calls_refused_total", status="503") == len(refused)
        for one, answer in zip(callers, answers, strict=True):
            if answer.status == 200:
                assert one.bye().status == 200
        with running_call(small, seconds=0.2):
            pass
        small.stop()


def ask_all(callers: list[Caller]) -> list[Answer]:
    """An INVITE from everybody in one burst, and everybody's final answer."""
    wires = [one.request("INVITE", two_parties(), MULTIPART) for one in callers]
    began = []
    for one, wire in zip(callers, wires, strict=True):
        began.append(time.monotonic())
        one.send(wire)
    answers = [one.final(at) for one, at in zip(callers, began, strict=True)]
    for one, answer in zip(callers, answers, strict=True):
        one.acknowledge(answer)
    return answers


def test_more_connections_than_allowed_are_closed(tmp_path: Path) -> None:
    """Calls on UDP and on the connections that are there go on."""
    with running(tmp_path, sip={"max_connections": 10}) as small, ExitStack() as stack:
        with running_call(small, transport="tcp", seconds=1.0):
            first = [stack.enter_context(Caller(small.ports["tcp"], transport="tcp")) for _ in range(9)]
            wait_for("nine more connections", lambda: small.metric("siprec_sip_connections") == 10)
            with Caller(small.ports["tcp"], transport="tcp") as eleventh:
                assert eleventh.is_closed()
            assert first[0].ask(first[0].request("OPTIONS")).status == 200
            assert small.metric("siprec_sip_total", event="connections_refused", label="tcp") == 1
        small.stop()
