import pytest

from siprec.net.allow import AllowList


def test_networks_and_single_addresses_of_both_families():
    allow = AllowList(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
    assert [allow.allows(host) for host in ("10.9.9.9", "192.0.2.7", "2001:db8::1", "::ffff:10.0.0.1")] == [
        True
    ] * 4
    assert [
        allow.allows(host) for host in ("11.0.0.1", "192.0.2.8", "2001:db9::1", "::ffff:11.0.0.1", "name", "")
    ] == [False] * 6


def test_any_is_everybody_and_nothing_is_nobody():
    assert AllowList(["any"]).allows("203.0.113.9")
    assert not AllowList([]).allows("127.0.0.1")


def test_answers_stay_right_however_many_are_asked():
    allow = AllowList(["10.0.0.0/20"])
    hosts = [f"10.0.{n // 256}.{n % 256}" for n in range(6000)]
    assert [allow.allows(host) for host in hosts] == [n < 4096 for n in range(6000)]
    assert allow.allows(hosts[0])


def test_a_bad_entry_is_named():
    with pytest.raises(ValueError, match="10\\.0\\.0\\.0/99"):
        AllowList(["10.0.0.0/99"])
