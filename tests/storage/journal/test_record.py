import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.storage.journal.record import (
    Damage,
    Entry,
    Position,
    decode_header,
    decode_records,
    encode_header,
    encode_record,
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(), plain, max_size=4)


def decoded(data, number=3, offset=100):
    return list(decode_records(data, number, offset))


@settings(max_examples=100, deadline=None)
@given(st.lists(records, max_size=6))
def test_records_read_back_each_with_the_place_behind_it(made):
    lines = [encode_record(record) for record in made]
    found = decoded(b"".join(lines))
    assert [entry.record for entry in found] == made
    ends = [100 + sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    assert [entry.position for entry in found] == [Position(3, end) for end in ends]


@settings(max_examples=100, deadline=None)
@given(st.lists(records, min_size=1, max_size=5), st.data())
def test_a_changed_byte_hides_its_own_record_only(made, data):
    lines = [encode_record(record) for record in made]
    whole = bytearray(b"".join(lines))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    hit = next(i for i in range(len(lines)) if at < sum(map(len, lines[: i + 1])))
    found = decoded(bytes(whole))
    kept = [entry.record for entry in found if isinstance(entry, Entry)]
    newline = at == sum(map(len, lines[: hit + 1])) - 1
    assert kept == made[:hit] + made[hit + 1 + newline :] or kept == made[:hit] + made[hit + 1 :]
    damages = [damage for damage in found if isinstance(damage, Damage)]
    assert [damage.start for damage in damages] == [Position(3, 100 + sum(map(len, lines[:hit])))]


def test_a_tail_torn_at_every_byte_is_reported_where_it_begins():
    first, last = encode_record({"n": 1}), encode_record({"n": 2, "text": "last words"})
    for cut in range(len(last)):
        found = decoded(first + last[:cut])
        assert found[0].record == {"n": 1}
        end = 100 + len(first)
        torn = Damage(start=Position(3, end), position=Position(3, end + cut), reason="torn")
        assert found[1:] == ([torn] if cut else [])


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\n" * 9, b"ffffffff 00000000 ", b"00000002 00000000 {}\n"])
def test_other_tails_are_damage_to_their_end(tail):
    first = encode_record({"n": 1})
    found = decoded(first + tail)
    assert [type(one) for one in found] == [Entry, Damage]
    assert (found[1].start, found[1].position) == (
        found[0].position,
        Position(3, 100 + len(first) + len(tail)),
    )


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_read_to_their_end(data):
    found = decoded(data)
    assert (found[-1].position if found else Position(3, 100)) == Position(3, 100 + len(data))


@pytest.mark.parametrize(
    ("text", "reason"), [(b"[]", "no JSON object"), (b"{", "no JSON"), (b"[" * 99999, "no JSON")]
)
def test_a_record_is_an_object(text, reason):

    length = b"%08x " % len(text)
    found = decoded(b"%b%08x %b\n" % (length, zlib.crc32(length + text), text))
    assert [one.reason for one in found] == [reason]


def test_what_json_cannot_hold_is_refused_when_it_is_encoded():
    with pytest.raises(ValueError, match="JSON"):
        encode_record({"x": float("inf")})
    with pytest.raises(TypeError):
        encode_record({"x": b"bytes"})


def test_a_record_is_a_line_that_people_can_read():
    line = encode_record({"type": "recording", "name": "Ä\n"})
    assert line.count(b"\n") == 1
    assert json.loads(line[18:]) == {"type": "recording", "name": "Ä\n"}


@given(st.integers(1, 10**12), st.binary(min_size=8, max_size=8))
def test_a_header_reads_back(number, journal):
    line = encode_header(number, journal.hex())
    header = decode_header(line + b"records")
    assert (header.version, header.number, header.journal, header.size) == (
        1,
        number,
        journal.hex(),
        len(line),
    )
    for cut in range(len(line)):
        assert decode_header(line[:cut]) is None
