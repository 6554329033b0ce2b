import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.storage.fileops import StorageError
from siprec.storage.space import OutOfSpace, SpaceAccount, free_bytes


def account(free, *, step=10, low_water=100):
    return SpaceAccount(lambda: free[0], reserve_per_call=step, low_water=low_water)


def test_the_call_that_would_go_below_the_mark_is_refused_with_the_figures():
    space = account([125])
    assert space.room_for() == 2
    space.reserve("a")
    space.reserve("b")
    with pytest.raises(OutOfSpace) as caught:
        space.reserve("c")
    assert (caught.value.free, caught.value.reserved, caught.value.wanted) == (125, 20, 10)
    assert "low-water mark of 100" in str(caught.value)
    assert (space.calls, space.outstanding) == (2, 20)
    space.release("a")
    space.reserve("c")


def test_what_is_written_is_no_longer_spoken_for():
    free = [120]
    space = account(free)
    space.reserve("a")
    space.reserve("b")
    free[0] = 112
    space.grow("a", 8)
    assert space.outstanding == 12
    space.release("a")
    assert space.outstanding == 10
    space.release("b")
    space.release("b")
    assert space.outstanding == 0


def test_a_used_up_reservation_is_renewed_or_refused_and_then_tried_again():
    free = [120]
    space = account(free)
    space.reserve("a")
    free[0] = 109
    with pytest.raises(OutOfSpace):
        space.grow("a", 11)
    assert space.outstanding == 0
    free[0] = 130
    space.grow("a", 12)
    assert space.outstanding == 10
    space.grow("a", 15)
    assert space.outstanding == 7


def test_a_call_reserves_once_and_only_a_call_with_a_reservation_grows():
    space = account([1000])
    space.reserve("a")
    with pytest.raises(KeyError):
        space.reserve("a")
    with pytest.raises(KeyError):
        space.grow("b", 1)


@given(st.lists(st.tuples(st.sampled_from("rgx"), st.sampled_from("abc"), st.integers(0, 50)), max_size=40))
def test_the_sum_is_that_of_the_calls_whatever_happens(steps):
    free = [400]
    space = account(free, step=20)
    written = {}
    for what, call, more in steps:
        if what == "r" and call not in written:
            try:
                space.reserve(call)
                written[call] = 0
            except OutOfSpace:
                assert free[0] - space.outstanding - 20 < 100
        elif what == "g" and call in written:
            written[call] += more
            free[0] -= more
            try:
                space.grow(call, written[call])
            except OutOfSpace:
                assert free[0] - space.outstanding - 20 < 100
        elif what == "x":
            space.release(call)
            written.pop(call, None)
        assert 0 <= space.outstanding <= 20 * len(written)
    for call in "abc":
        space.release(call)
    assert (space.outstanding, space.calls) == (0, 0)


def test_free_bytes_are_those_of_the_file_system(tmp_path):
    assert free_bytes(tmp_path) > 0
    with pytest.raises(StorageError) as caught:
        free_bytes(tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")
