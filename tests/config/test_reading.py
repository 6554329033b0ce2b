"""Which configuration is in force, and what is said about a wrong one."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.config import Config, ConfigError, HostPort, Listener, PortRange, differences, load


def loaded(folder: Path, text: str | None = None, **environ: str) -> Config:
    """The configuration of `folder` with `text` as its siprec.yaml."""
    if text is not None:
        (folder / "siprec.yaml").write_text(text)
    return load(environ=environ, folder=folder)


def problems(folder: Path, text: str | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, **environ)
    return caught.value.problems


@pytest.fixture(autouse=True)
def no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("siprec.config.reading.SYSTEM_FILE", tmp_path / "system.yaml")


def test_without_file_and_environment_every_key_has_its_default(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert config.sip == Config().sip
    assert config.rtp == Config().rtp
    assert config.storage.path == tmp_path / "recordings"
    assert config.control.socket == tmp_path / "siprec.sock"
    assert config.catalog_url == f"sqlite:///{tmp_path}/recordings/catalog.db"


def test_file_order_is_option_environment_current_folder_system(tmp_path: Path) -> None:
    for name in ("option", "variable", "siprec", "system"):
        (tmp_path / f"{name}.yaml").write_text(f"catalog: {{url: '{name}'}}")

    def url(given: Path | None = None, **environ: str) -> str | None:
        return load(given, environ=environ, folder=tmp_path).catalog.url

    assert url(Path("option.yaml"), SIPREC_CONFIG="variable.yaml") == "option"
    assert url(SIPREC_CONFIG="variable.yaml") == "variable"
    assert url() == "siprec"
    (tmp_path / "siprec.yaml").unlink()
    assert url() == "system"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
        load(Path("absent.yaml"), environ={}, folder=tmp_path)


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/a.yaml").write_text("storage: {path: calls}\ncontrol: {socket: /run/s.sock}")
    config = load(Path("etc/a.yaml"), environ={}, folder=tmp_path)
    assert config.storage.path == tmp_path / "etc/calls"
    assert config.control.socket == Path("/run/s.sock")


def test_environment_wins_over_the_file_and_is_read_as_yaml(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "rtp: {ports: 20000-20999, workers: 3}",
        SIPREC__RTP__PORTS="30000-30999",
        SIPREC__RTP__WORKERS="auto",
        SIPREC__SIP__LISTEN="[udp://127.0.0.1:0, 'tcp://[::1]:5070']",
        SIPREC__METRICS__LISTEN="null",
        SIPREC__RTP__QUARANTINE_S="0.5",
    )
    assert config.rtp.ports == PortRange(30_000, 30_999)
    assert config.rtp.ports.pairs == 500
    assert config.rtp.workers is None
    assert config.rtp.quarantine_s == 0.5
    assert config.sip.listen == (
        Listener("udp", HostPort("127.0.0.1", 0)),
        Listener("tcp", HostPort("::1", 5070)),
    )
    assert [str(listener) for listener in config.sip.listen] == ["udp://127.0.0.1:0", "tcp://[::1]:5070"]
    assert config.metrics.listen is None


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "sip: {lisen: [], t1_ms: slow}\nstorrage: {path: x}\nrtp: 5\n",
        SIPREC__RTP__PORT="1",
        SIPREC__STORAGE__KEEP="flac",
    )
    file = tmp_path / "siprec.yaml"
    assert found == (
        f"{file}: unknown key sip.lisen, the nearest known one is sip.listen",
        f"{file}: sip.t1_ms: 'slow' was given, allowed is a whole number from 10 to 10000",
        f"{file}: unknown key storrage, the nearest known one is storage",
        f"{file}: rtp: keys were expected, not 5",
        "SIPREC__RTP__PORT: unknown key rtp.port, the nearest known one is rtp.ports",
        "SIPREC__STORAGE__KEEP: storage.keep: 'flac' was given, allowed is same (flac is not available yet)",
    )


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("SIP__LISTEN", "tls://127.0.0.1:5061", "tls is not available yet"),
        ("SIP__LISTEN", "udp://localhost:5060", "with an IP address"),
        ("SIP__LISTEN", "udp://127.0.0.1:65536", "udp://ADDRESS:PORT"),
        ("SIP__LISTEN", "[]", "at least one entry"),
        ("SIP__ALLOW", "10.0.0.1/8", "a network such as"),
        ("SIP__ALLOW", "[any, 10.0.0.0/8]", "a network such as"),
        ("SIP__ADVERTISE", "sbc.example", "null or an IP address"),
        ("SIP__MAX_DIALOGS", "true", "a whole number from 1"),
        ("RTP__PORTS", "10001-10010", "first even and last odd"),
        ("RTP__PORTS", "31999-10000", "FIRST-LAST"),
        ("RTP__PORTS", "10000", "FIRST-LAST"),
        ("RTP__WORKERS", "0", "auto or a whole number from 1"),
        ("RTP__RECEIVE", "ring", "ring is not available yet"),
        ("RTP__QUARANTINE_S", ".nan", "a number from 0"),
        ("RTP__TICK_MS", "200.0", "a whole number from 20"),
        ("STORAGE__PATH", "", "nothing was given, allowed is a path"),
        ("METRICS__LISTEN", "9590", "null or ADDRESS:PORT"),
        ("DTMF__STORE", "all", "masked or digits or none"),
        ("LOG__LEVEL", "no", "debug or info"),
    ],
)
def test_a_value_outside_the_allowed_names_key_value_and_what_is_allowed(
    tmp_path: Path, key: str, value: str, allowed: str
) -> None:
    (problem,) = problems(tmp_path, **{f"SIPREC__{key}": value})
    assert problem.startswith(f"SIPREC__{key}: {key.lower().replace('__', '.')}: ")
    assert allowed in problem


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("sip: {t1_ms: 500}\nsip: {t1_ms: 600}\n", "line 2: key sip is there twice"),
        ("rtp:\n  tick_ms: 100\n  tick_ms: 200\n", "line 3: key tick_ms is there twice"),
        ("a: &a [1]\nb: [*a, *a]\n", "aliases"),
        ("rtp: [", "line 1"),
        ("just words", "sections such as `sip:`"),
        ("sip: !!python/object/apply:os.system [id]", "line 1: could not determine a constructor"),
        ("? [a, b]\n: 1\n", "line 1: a key must be a word"),
        ("x: " + "[" * 20_000, "not YAML"),
        ("# " + "x" * 300_000, "more than"),
    ],
)
def test_an_ambiguous_or_hostile_document_is_one_clear_fault(tmp_path: Path, text: str, fault: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f"{tmp_path}/siprec.yaml: ")
    assert fault in problem
    assert "\n" not in problem


def test_a_file_that_is_not_text_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "siprec.yaml").write_bytes(b"sip: \xff\xfe")
    assert problems(tmp_path) == (f"{tmp_path}/siprec.yaml: not UTF-8 text",)


@pytest.mark.parametrize("listen", ["udp://0.0.0.0:5060", "tcp://192.0.2.1:5060", '"udp://[::]:5060"'])
def test_a_public_listener_does_not_start_without_saying_who_may_call(tmp_path: Path, listen: str) -> None:
    (problem,) = problems(tmp_path, f"sip: {{listen: [{listen}]}}")
    assert problem.startswith("sip.allow: ")
    config = loaded(tmp_path, f"sip: {{listen: [{listen}], allow: any}}")
    assert config.sip.allow == (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert loaded(tmp_path, f"sip: {{listen: [{listen}], allow: [192.0.2.0/24, 2001:db8::1]}}").sip.allow == (
        ip_network("192.0.2.0/24"),
        ip_network("2001:db8::1/128"),
    )


def test_loopback_alone_may_be_allowed_on_a_wildcard_but_not_on_an_address_it_cannot_reach(
    tmp_path: Path,
) -> None:
    assert loaded(tmp_path, "sip: {listen: udp://0.0.0.0:5060, allow: 127.0.0.0/8}").sip.allow
    (problem,) = problems(tmp_path, "sip: {listen: udp://192.0.2.1:5060, allow: 127.0.0.0/8}")
    assert problem.startswith("sip.allow: udp://192.0.2.1:5060 is reachable")


def test_the_same_listener_twice_is_a_fault(tmp_path: Path) -> None:
    assert problems(tmp_path, "sip: {listen: [udp://127.0.0.1:5060, udp://127.0.0.1:5060]}") == (
        "sip.listen: the same listener is there twice",
    )


def test_an_advertised_address_is_of_the_ip_version_of_the_rtp_sockets(tmp_path: Path) -> None:
    """`::` takes IPv4 as well."""
    for advertise, rtp in (("192.0.2.1", "0.0.0.0"), ("2001:db8::1", "::1"), ("192.0.2.1", "::")):
        config = loaded(tmp_path, f'sip: {{advertise: "{advertise}"}}\nrtp: {{address: "{rtp}"}}')
        assert config.sip.advertise == advertise
    for advertise, rtp in (("192.0.2.1", "::1"), ("2001:db8::1", "0.0.0.0")):
        (problem,) = problems(tmp_path, f'sip: {{advertise: "{advertise}"}}\nrtp: {{address: "{rtp}"}}')
        assert problem.startswith(
            f"sip.advertise: peers would send RTP to {advertise}, and rtp.address {rtp} "
        )


def test_differences_name_the_keys_that_changed(tmp_path: Path) -> None:
    old = loaded(tmp_path)
    new = loaded(tmp_path, "rtp: {tick_ms: 100}\nlog: {level: debug}")
    assert differences(old, new) == ("rtp.tick_ms", "log.level")
    assert differences(old, old) == ()


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="siprtp:{}[]&*!?|>-' \n\t#\"0159az", max_size=60))
def test_any_text_is_a_configuration_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        config = load(environ={"SIPREC__SIP__LISTEN": text, "SIPREC__LOG__LEVEL": text}, folder=folder)
    except ConfigError:
        return
    assert config.log.level in ("debug", "info", "warning", "error")
