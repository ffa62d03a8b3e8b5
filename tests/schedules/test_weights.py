"""Weight schedules: where they begin and end, their shape, upstream's numbers, and their errors."""

import math

import pytest
import torch

from nerfreg.schedules import Constant, Cosine, Linear, LogLinear
from tests.golden import golden, golden_cases

RAMPS = [Linear, LogLinear, Cosine]


def test_constant_is_constant() -> None:
    assert [Constant(0.3)(step) for step in (0, 7, 10**9)] == [0.3] * 3
    assert Constant(0.3)(torch.tensor(5)) == 0.3


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("begin", [0, 5])
def test_ramps_keep_start_before_and_end_after(ramp, begin) -> None:
    schedule = ramp(4.0, 0.25, 8, begin=begin)
    assert [schedule(step) for step in (-1, 0, begin)] == [4.0] * 3
    assert [schedule(step) for step in (begin + 8, begin + 9, 10**9)] == [0.25] * 3


@pytest.mark.parametrize(
    ("ramp", "quarter", "half"),
    [
        (Linear, 3.0625, 2.125),
        (LogLinear, 2.0, 1.0),  # factors of ½ for each quarter, from 4 to ¼
        (Cosine, 0.25 + 3.75 * (0.5 + math.sqrt(2) / 4), 2.125),
    ],
)
def test_ramps_by_hand(ramp, quarter, half) -> None:
    schedule = ramp(4.0, 0.25, 8)
    assert schedule(2) == pytest.approx(quarter, rel=1e-15)
    assert schedule(4) == pytest.approx(half, rel=1e-15)


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("ends", [(4.0, 0.25), (0.25, 4.0)])
def test_ramps_are_monotonic_and_between(ramp, ends) -> None:
    values = [ramp(*ends, 50)(step) for step in range(60)]
    assert sorted(values, reverse=ends[0] > ends[1]) == values
    assert all(0.25 <= value <= 4.0 for value in values)


@pytest.mark.parametrize("case", golden_cases("tvweight"))
def test_linear_meets_regnerf(case) -> None:
    numbers = golden("tvweight", case)
    schedule = Linear(
        float(numbers["weight_start"]), float(numbers["weight_end"]), int(numbers["max_step"])
    )
    values = [schedule(int(step)) for step in numbers["steps"]]
    torch.testing.assert_close(
        torch.tensor(values, dtype=torch.float64), numbers["weight"], rtol=1e-14, atol=0
    )


@pytest.mark.parametrize("ramp", RAMPS)
def test_tensor_steps_give_tensors_of_the_same_value(ramp) -> None:
    schedule = ramp(400.0, 0.1, 512, begin=3)
    for step in (0, 3, 100, 515, 10_000):
        value = schedule(torch.tensor(step))
        assert value.shape == ()
        assert value.item() == pytest.approx(schedule(step), rel=1e-5)


@pytest.mark.parametrize("ramp", RAMPS)
def test_the_step_alone_decides(ramp) -> None:
    schedule = ramp(4.0, 0.25, 8)
    before = [schedule(step) for step in range(10)]
    assert [schedule(step) for step in reversed(range(10))] == before[::-1]
    assert schedule == ramp(4.0, 0.25, 8)
    with pytest.raises(AttributeError):
        schedule.start = 3.0


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("n_steps", [0, 1])
def test_the_shortest_ramps_jump_after_their_first_step(ramp, n_steps) -> None:
    assert [ramp(4.0, 0.25, n_steps)(step) for step in (0, 1)] == [4.0, 0.25]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 2.0, -1), "n_steps must be a whole number >= 0, got -1"),
        ((1.0, 2.0, 2.5), "n_steps must be a whole number >= 0, got 2.5"),
        ((1.0, 2.0, True), "n_steps must be a whole number >= 0, got True"),
        ((1.0, 2.0, 10, -3), "begin must be a whole number >= 0, got -3"),
        ((math.nan, 2.0, 10), "start must be finite, got nan"),
        ((1.0, math.inf, 10), "end must be finite, got inf"),
    ],
)
def test_says_what_is_wrong(ramp, arguments, message) -> None:
    with pytest.raises(ValueError, match=f"^{ramp.__name__}: {message}"):
        ramp(*arguments)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_log_linear_needs_positive_values(ends) -> None:
    with pytest.raises(
        ValueError, match=r"LogLinear: start and end must be > 0.*use Linear to reach 0"
    ):
        LogLinear(*ends, 10)
