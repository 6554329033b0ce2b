import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.recording.header_parties import (
    HeaderParties,
    Party,
    SipFacts,
    address_key,
    parse_name_address,
    parties_of,
    user_of,
)

ANN, BEN = Party(aor="sip:ann@x", name="Ann"), Party(aor="sip:ben@x", name="Ben")


@pytest.mark.parametrize(
    ("value", "aor", "name"),
    [
        ('"Ann" <sip:ann@x>;tag=1', "sip:ann@x", "Ann"),
        ("Ann Lee <sip:ann@x;user=phone>", "sip:ann@x", "Ann Lee"),
        ('"A <b> \\"c\\"" <sip:ann@x>', "sip:ann@x", 'A <b> "c"'),
        ("sip:ann@x;tag=1", "sip:ann@x", ""),
        ('"Ann <sip:ann@x>;tag=1', "sip:ann@x", "Ann"),
        ("<sip:ann@x", "sip:ann@x", ""),
        ("<<sip:ann@x>;+sip.src>", "sip:ann@x", ""),
        ("<sip:ann@x?Replaces=1>", "sip:ann@x", ""),
        ("<tel:+15550100>", "tel:+15550100", ""),
        ('"Jörg" <sip:jörg@x>', "sip:jörg@x", "Jörg"),
        ('"J\udcf6rg" <sip:j\udcf6rg@x>', "sip:jörg@x", "Jörg"),
        ("", "", ""),
    ],
)
def test_addresses_are_read_however_they_are_written(value: str, aor: str, name: str):
    address = parse_name_address(value)
    assert (address.aor, address.name) == (aor, name)


def test_parameters_inside_and_outside_of_the_brackets():
    address = parse_name_address("<sip:ann@x;user=phone>;tag=7;Party=Calling")
    assert (address.uri_parameters, address.parameters) == (
        {"user": "phone"},
        {"tag": "7", "party": "Calling"},
    )


def test_users_compare_without_scheme_plus_and_separators():
    assert (
        user_of("sip:+1-555-0100@x")
        == user_of("tel:+15550100;phone-context=x")
        == user_of("15550100")
        == "15550100"
    )
    assert user_of("sip:Ann@x") == "ann"


def test_same_address_however_it_is_written():
    assert address_key("sip:rec@10.0.0.1:5060;transport=udp") == address_key("<sips:REC@10.0.0.1>")
    assert address_key("sip:rec@[2001:db8::1]") == ("rec", "[2001:db8::1]")


def test_from_is_the_caller_and_to_the_callee():
    facts = SipFacts(request_uri="sip:ben@x", from_='"Ann" <sip:ann@x>;tag=1', to='"Ben" <sip:ben@x>')
    assert parties_of(facts) == HeaderParties(caller=ANN, callee=BEN)


def test_opensips_from_to_and_request_uri_are_the_recorder_itself():
    facts = SipFacts(
        request_uri="sip:rec@10.0.0.1:5060;transport=tcp",
        from_="<sip:rec@10.0.0.1>;tag=1",
        to="<sip:rec@10.0.0.1:5060>",
    )
    assert parties_of(facts) == HeaderParties()


def test_anonymous_caller_is_found_in_the_asserted_identity_or_the_remote_party():
    anonymous = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'
    asserted = SipFacts(from_=anonymous, to="<sip:ben@x>", asserted_identity=['"Ann" <sip:ann@x>'])
    assert parties_of(asserted).caller == ANN
    remote = SipFacts(
        from_=anonymous, remote_party_id=['"Ben" <sip:ben@x>;party=called', '"Ann" <sip:ann@x>;screen=no']
    )
    assert parties_of(remote) == HeaderParties(caller=ANN, callee=BEN)


def test_cisco_recording_participants_by_media_index():
    facts = SipFacts(
        from_="<sip:cube@10.0.0.1>",
        to="<sip:rec@10.0.0.2>",
        cisco_participant=['sip:ben@x;media-index="1 3"', 'sip:ann@x;media-index="0 2"'],
    )
    ann, ben = Party(aor="sip:ann@x"), Party(aor="sip:ben@x")
    assert parties_of(facts) == HeaderParties(
        caller=ann, callee=ben, by_line={1: ben, 3: ben, 0: ann, 2: ann}
    )


@pytest.mark.parametrize(
    ("parameters", "owner"),
    [
        ("x-nearend;x-refci=1;x-nearendaddr=1001;x-farendaddr=+15550100", "1001"),
        ("x-farend;x-refci=1;x-nearendaddr=1001;x-farendaddr=+15550100", "+15550100"),
        ("x-farrend;x-refci=1;x-nearendaddr=1001;x-farendaddr=+15550100", "+15550100"),
    ],
)
def test_forking_cisco_phone_names_both_ends_in_the_from_uri(parameters: str, owner: str):
    named = parties_of(SipFacts(from_=f"<sip:1001@cucm;{parameters}>;tag=1", to="<sip:rec@x>"))
    assert named.by_line == {0: Party(aor=owner)}
    assert (named.caller, named.callee) == (Party(aor="1001"), Party(aor="+15550100"))
    assert named.near_is_left


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=30), st.text('<>";@:=\\ xsip', max_size=30)), min_size=4, max_size=4)
)
def test_any_header_value_is_taken(values: list[str]):
    named = parties_of(
        SipFacts(
            request_uri=values[0],
            from_=values[1],
            to=values[2],
            remote_party_id=values[2:],
            cisco_participant=values[3:] if "x" in values[3] else (),
        )
    )
    assert named.caller is None or named.caller.aor
