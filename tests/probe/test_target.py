import pytest

from siprec.probe.target import Target


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "chosen"),
    [
        ("sip:127.0.0.1:5080", None, "127.0.0.1", 5080, "udp"),
        ("sip:rec.example.com", None, "rec.example.com", 5060, "udp"),
        ("sip:127.0.0.1:5080;transport=TCP", None, "127.0.0.1", 5080, "tcp"),
        ("sip:127.0.0.1", "tcp", "127.0.0.1", 5060, "tcp"),
        ("sip:[::1]:5080;transport=udp", "udp", "::1", 5080, "udp"),
    ],
)
def test_host_port_and_transport_are_found(text, transport, host, port, chosen):
    target = Target.parse(text, transport=transport)
    assert (target.host, target.port, target.transport) == (host, port, chosen)


def test_the_request_uri_names_all_that_matters():
    assert Target.parse("sip:rec@[::1]:5080", transport="tcp").uri == "sip:rec@[::1]:5080;transport=tcp"
    assert Target.parse("sip:127.0.0.1").uri == "sip:127.0.0.1:5060"


@pytest.mark.parametrize(
    ("text", "transport"),
    [
        ("127.0.0.1:5060", None),
        ("http://127.0.0.1", None),
        ("sips:127.0.0.1", None),
        ("tel:123", None),
        ("sip:", None),
        ("sip:127.0.0.1;transport=tls", None),
        ("sip:127.0.0.1;transport=tcp", "udp"),
    ],
)
def test_what_cannot_be_called_is_refused(text, transport):
    with pytest.raises(ValueError, match=r"sip|transport"):
        Target.parse(text, transport=transport)
