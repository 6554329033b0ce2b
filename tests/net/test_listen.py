import pytest

from siprec.net.listen import parse_listen_url


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "wildcard"),
    [
        ("udp://127.0.0.1:5080", "udp", "127.0.0.1", 5080, False),
        ("tcp://[::1]:0", "tcp", "::1", 0, False),
        ("udp://0.0.0.0", "udp", "0.0.0.0", 5060, True),
        ("tcp://[::]", "tcp", "::", 5060, True),
    ],
)
def test_listen_addresses_are_read(text, transport, host, port, wildcard):
    url = parse_listen_url(text)
    assert (url.transport, url.host, url.port, url.wildcard) == (transport, host, port, wildcard)
    assert parse_listen_url(str(url)) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.1:5060", "must begin with udp:// or tcp://"),
        ("sctp://127.0.0.1", "must begin with"),
        ("udp://localhost:5060", "localhost is no IP address"),
        ("udp://", "nothing is no IP address"),
        ("udp://127.0.0.1:99999", "[Pp]ort"),
        ("udp://127.0.0.1/path", "only an address and a port"),
    ],
)
def test_a_bad_listen_address_is_refused_with_the_reason(text, why):
    with pytest.raises(ValueError, match=why):
        parse_listen_url(text)
