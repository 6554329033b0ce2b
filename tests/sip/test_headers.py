import pytest

from siprec.sip.headers import Headers


def test_names_compare_without_case_and_compact_forms_are_long_ones():
    headers = Headers([("v", "one"), ("VIA", "two"), ("x-Odd", "three")])
    assert headers.get_all("Via") == ["one", "two"]
    assert list(headers.items()) == [("Via", "one"), ("Via", "two"), ("x-Odd", "three")]
    assert headers.get("X-ODD") == "three"
    assert "i" not in headers
    assert headers.get("Call-ID") is None


def test_comma_lists_equal_repeated_headers_only_where_the_grammar_has_lists():
    headers = Headers(
        [("Require", "siprec, timer"), ("Require", "100rel"), ("Date", "Sat, 13 Nov 2010 23:29:00 GMT")]
    )
    assert headers.get_all("Require") == ["siprec", "timer", "100rel"]
    assert headers.get_all("Date") == ["Sat, 13 Nov 2010 23:29:00 GMT"]
    assert headers.lines("Require") == ["siprec, timer", "100rel"]


def test_commas_in_quotes_and_brackets_do_not_split():
    headers = Headers([("Contact", '"Smith, J" <sip:a@b;x=1,2>;q=1, <sip:c@d>')])
    assert headers.get_all("Contact") == ['"Smith, J" <sip:a@b;x=1,2>;q=1', "<sip:c@d>"]


def test_an_unclosed_quote_does_not_swallow_the_list():
    assert Headers([("Contact", '"oops <sip:a@b>, <sip:c@d>')]).get_all("Contact") == [
        '"oops <sip:a@b>',
        "<sip:c@d>",
    ]


def test_set_replaces_in_place_and_remove_deletes():
    headers = Headers([("To", "a"), ("Via", "b"), ("From", "c"), ("Via", "d")])
    headers.set("v", "e", "f")
    assert [value for _, value in headers.items()] == ["a", "e", "f", "c"]
    headers.remove("VIA")
    assert "Via" not in headers
    headers.set("Via", "g")
    assert list(headers.items())[-1] == ("Via", "g")


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\rb"])
def test_a_value_cannot_forge_another_header(value):
    with pytest.raises(ValueError, match="line break"):
        Headers().add("Subject", value)


def test_copies_are_independent():
    headers = Headers([("To", "a")])
    other = headers.copy()
    other.add("From", "b")
    assert len(headers) == 1
    assert headers != other
