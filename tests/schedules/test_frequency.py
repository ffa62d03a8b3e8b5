"""Frequency masks against FreeNeRF's numbers, and by hand."""

import pytest
import torch

from nerfreg.schedules import FrequencyMask
from tests.golden import golden, golden_cases


@pytest.mark.parametrize("case", golden_cases("freenerf"))
def test_meets_upstream_group_by_group(case):
    """Its mask is a prefix over groups of three features, within 1e-8 of 0 and of 1."""
    numbers = golden("freenerf", case)
    groups = int(numbers["length"]) // 3
    mask = FrequencyMask(int(numbers["total_iters"]))
    for step, expected in zip(numbers["its"].tolist(), numbers["mask"], strict=True):
        weights = mask(step, groups).double()
        # float32 weights of numbers up to 33.
        torch.testing.assert_close(weights, expected[::3], rtol=0, atol=3e-6)
        assert torch.equal(expected[::3], expected[2::3])


def test_by_hand():
    mask = FrequencyMask(100, start=0.5)
    assert mask(0, 3).tolist() == [0.5, 0.0, 0.0]
    assert mask(50, 3).tolist() == [1.0, 1.0, 0.0]
    assert mask(75, 3).tolist() == [1.0, 1.0, 0.75]
    assert mask(100, 3).tolist() == [1.0, 1.0, 1.0]


def test_no_steps_show_everything():
    assert FrequencyMask(0)(0, 5).tolist() == [1.0] * 5


def test_a_tensor_step_gives_the_same_without_waiting_for_it():
    mask = FrequencyMask(100)
    for step in (0, 17, 50, 1000):
        assert torch.equal(mask(torch.tensor(step), 6), mask(step, 6))
    assert mask(torch.tensor(3, device="meta"), 6).device.type == "meta"


def test_no_octave_is_no_mask():
    assert FrequencyMask(10)(5, 0).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "FrequencyMask: n_steps must be a whole number >= 0, got -1"),
        ((1.5,), "FrequencyMask: n_steps must be a whole number >= 0, got 1.5"),
        ((10, -0.1), "FrequencyMask: start must be finite and >= 0, got -0.1"),
        ((10, float("nan")), "FrequencyMask: start must be finite and >= 0, got nan"),
        ((10, float("inf")), "FrequencyMask: start must be finite and >= 0, got inf"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrequencyMask(*arguments)


def test_octaves_must_be_a_count():
    with pytest.raises(ValueError, match="n_octaves must be a whole number >= 0, got -2"):
        FrequencyMask(10)(0, -2)


def test_several_steps_are_refused():
    with pytest.raises(ValueError, match=r"step must be an int or a 0-d tensor, .* \(3,\)"):
        FrequencyMask(10)(torch.tensor([1, 5, 9]), 3)
