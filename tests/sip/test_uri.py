import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sip.errors import SipParseError
from siprec.sip.uri import Uri, format_host, parse_uri


def test_a_full_uri_is_taken_apart():
    uri = parse_uri("SIPS:alice:secret@example.com:5061;Transport=tcp;lr?subject=x&a=b")
    assert (uri.scheme, uri.user, uri.host, uri.port) == ("sips", "alice:secret", "example.com", 5061)
    assert uri.params.get("transport") == "tcp"
    assert uri.params.get("lr") == ""
    assert uri.headers == "subject=x&a=b"
    assert str(uri) == "sips:alice:secret@example.com:5061;Transport=tcp;lr?subject=x&a=b"


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:192.0.2.1", None, "192.0.2.1", None),
        ("sip:[2001:db8::1]:5070", None, "2001:db8::1", 5070),
        ("sip:a@[::1];lr", "a", "::1", None),
        ("sip:+1555]@192.0.2.1:5060", "+1555]", "192.0.2.1", 5060),
        ("sip:proxy@192.0.2.1:remote_port;lr", "proxy", "192.0.2.1", None),
        ("sip:192.0.2.1:99999", None, "192.0.2.1", None),
        ("sip:user;par=u%40h@example.com", "user;par=u%40h", "example.com", None),
        ("sip:9901;x-nearend;x-refci=1@192.0.2.3", "9901;x-nearend;x-refci=1", "192.0.2.3", None),
    ],
)
def test_what_equipment_writes_is_understood(text, user, host, port):
    uri = parse_uri(text)
    assert (uri.user, uri.host, uri.port) == (user, host, port)


def test_a_tel_uri_has_a_number_and_no_host():
    uri = parse_uri("tel:+1-201-555-0123;phone-context=x")
    assert (uri.scheme, uri.user, uri.host) == ("tel", "+1-201-555-0123", "")
    assert str(uri) == "tel:+1-201-555-0123;phone-context=x"


@pytest.mark.parametrize(
    ("text", "status"),
    [("", 400), ("alice@x", 400), ("http://x", 416), ("sip:", 400), ("sip:a@", 400), ("sip:;x", 400)],
)
def test_other_schemes_and_no_host_are_refused(text, status):
    with pytest.raises(SipParseError) as caught:
        parse_uri(text)
    assert caught.value.status == status


def test_ipv6_hosts_get_brackets():
    assert format_host("::1", 5060) == "[::1]:5060"
    assert format_host("host") == "host"


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=40), st.text("sip:@;?[]<>.,=a1 ", max_size=30).map("sip:{}".format)))
def test_any_text_is_parsed_or_refused_and_what_is_parsed_reads_the_same_again(text):
    try:
        uri = parse_uri(text)
    except SipParseError:
        return
    again = parse_uri(str(uri))
    assert isinstance(again, Uri)
    assert (again.scheme, again.user, again.host, again.port) == (uri.scheme, uri.user, uri.host, uri.port)
