import pytest

from siprec.probe.plan import EVENT_SLOTS, EVENT_SPACING, CallPlan


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"duration_s": 0.0}, "duration"),
        ({"duration_s": 4000.0}, "duration"),
        ({"codec": "opus"}, "codec"),
        ({"loss_pct": -1.0}, "loss"),
        ({"loss_pct": 91.0}, "loss"),
        ({"duplicate_pct": 101.0}, "duplicates"),
        ({"reorder": -1}, "reordering"),
        ({"hold_s": 0.5}, "hold"),
        ({"digits": "12x"}, "12x"),
        ({"srtp": "ROT13"}, "ROT13"),
        ({"duration_s": 1.0, "digits": "123"}, "too short"),
        ({"duration_s": 0.1, "ssrc_change": True}, "too short"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_with_its_reason(values, said):
    with pytest.raises(ValueError, match=said):
        CallPlan(**values)


def test_every_key_press_ends_before_the_next_one_and_before_the_call():
    assert EVENT_SLOTS < EVENT_SPACING
    plan = CallPlan(duration_s=2.0, digits="12")
    assert plan.first_digit + 2 * EVENT_SPACING <= plan.frames


def test_a_mixed_call_has_one_leg():
    assert (CallPlan().legs, CallPlan(mixed=True).legs) == (2, 1)
