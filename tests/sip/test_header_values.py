from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sip.errors import SipParseError
from siprec.sip.header_values import (
    contacts,
    parse_contact,
    parse_cseq,
    parse_name_addr,
    parse_parametrized,
    parse_via,
)
from siprec.sip.headers import Headers


@pytest.mark.parametrize(
    ("value", "uri", "display", "tag"),
    [
        ("<sip:a@b>;tag=1", "sip:a@b", "", "1"),
        ('"A \\"q\\" <x>" <sip:a@b;p=1> ; Tag = 1', "sip:a@b;p=1", 'A "q" <x>', "1"),
        ("Alice Smith <sip:a@b>;tag=1", "sip:a@b", "Alice Smith", "1"),
        ("sip:acmeSrc@192.0.2.1;tag=1", "sip:acmeSrc@192.0.2.1", "", "1"),
        ("Bob sip:a@b;tag=1", "sip:a@b", "Bob", "1"),
        ("<sip:a@b>garbage;tag=1", "sip:a@b", "", "1"),
        ("<sip:a@b;tag=1", "sip:a@b;tag=1", "", "1"),
        ("<<sip:a@b>;tag=1>", "sip:a@b", "", "1"),
        ('"unclosed <sip:a@b>;tag=1', "sip:a@b", '"unclosed', "1"),
        ("\udcff\x7f <sip:a@b>;tag=1", "sip:a@b", "\udcff\x7f", "1"),
        ("<sip:a@b>;tag=", "sip:a@b", "", None),
        ('"N"<sip:+1555;user=phone>', "sip:+1555;user=phone", "N", None),
        ("To:<sip:a@b>", "sip:a@b", "To:", None),
    ],
)
def test_addresses_are_read_as_equipment_writes_them(value, uri, display, tag):
    address = parse_name_addr(value)
    assert (address.uri, address.display, address.tag) == (uri, display, tag)


@pytest.mark.parametrize("value", ["", "<>", ";tag=1", '"x" ', "< >;tag=1"])
def test_an_address_without_uri_is_refused(value):
    with pytest.raises(SipParseError):
        parse_name_addr(value)


@pytest.mark.parametrize(
    "value",
    [
        "<sip:10.0.0.1:5060>;+sip.src",
        "<sip:10.0.0.1:5060;+sip.src>",
        "<sip:10.0.0.1:5060;+sip.src",
        "sip:10.0.0.1:5060;+sip.src",
        '"SIPREC-SRC" <sip:10.0.0.1:5060;transport=tcp>;+sip.src;q=1',
        "<<sip:10.0.0.1:5060>;+sip.src>",
        '<sip:10.0.0.1:5060>;+SIP.SRC="<true>"',
    ],
)
def test_the_recording_client_is_known_by_its_feature_tag_wherever_it_stands(value):
    contact = parse_contact(value)
    assert contact.recording_client
    assert contact.address.uri.startswith("sip:10.0.0.1:5060")


def test_a_contact_without_the_tag_is_no_recording_client():
    assert not parse_contact("<sip:10.0.0.1:5060>;src").recording_client


def test_unreadable_contacts_are_left_out():
    assert [c.address.uri for c in contacts(Headers([("m", "<>, <sip:a@b>"), ("m", ";x")]))] == ["sip:a@b"]


def test_via_is_taken_apart_with_blanks_and_without_port():
    via = parse_via("SIP / 2.0 / TCP  first.example.com: 4000;ttl=16 ;maddr=192.0.2.1 ;branch=z9hG4bKa7")
    assert (via.transport, via.host, via.port, via.branch) == ("TCP", "first.example.com", 4000, "z9hG4bKa7")
    assert parse_via("SIP/2.0/UDP [2001:db8::9]:5070;rport").host == "2001:db8::9"
    assert parse_via("SIP/2.0/UDP host:port;branch=x").port is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("SIP/2.0/UDP 192.0.2.9:5062;branch=x", "SIP/2.0/UDP 192.0.2.9:5062;branch=x"),
        ("SIP/2.0/UDP host;branch=x", "SIP/2.0/UDP host;branch=x;received=192.0.2.9"),
        (
            "SIP/2.0/UDP 192.0.2.9;rport;branch=x",
            "SIP/2.0/UDP 192.0.2.9;rport=99;branch=x;received=192.0.2.9",
        ),
        ("SIP/2.0/UDP h;received=1.1.1.1", "SIP/2.0/UDP h;received=192.0.2.9"),
    ],
)
def test_received_and_rport_are_noted(value, expected):
    assert str(parse_via(value).with_source("192.0.2.9", 99)) == expected


@pytest.mark.parametrize("value", ["", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ;branch=x", "UDP host"])
def test_a_via_without_transport_or_host_is_refused(value):
    with pytest.raises(SipParseError) as caught:
        parse_via(value)
    assert caught.value.where == "Via"


def test_content_types_lose_blanks_and_case_but_not_their_parameters():
    parsed = parse_parametrized('Multipart / Mixed;BOUNDARY="a;B" ; x')
    assert (parsed.value, parsed.params.get("boundary"), parsed.params.get("x")) == (
        "multipart/mixed",
        "a;B",
        "",
    )


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text('"<>;=,:\\ sipSIP/20UDPa', max_size=40)))
def test_any_text_is_parsed_or_refused(text):
    for parse in (parse_name_addr, parse_contact, parse_via, parse_cseq):
        with suppress(SipParseError):
            parse(text)
    parse_parametrized(text)


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20).map(
        lambda t: t.strip(" \t")
    ),
    st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
)
def test_an_address_survives_writing_and_reading(display, tag):
    address = parse_name_addr(f"<sip:a@b>;tag={tag}")
    named = type(address)(uri=address.uri, display=display, params=address.params)
    assert parse_name_addr(str(named)) == named
