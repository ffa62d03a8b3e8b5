"""One value per unit becomes one number, over what is valid."""

import pytest
import torch

from nerfreg.losses import reduce
from nerfreg.losses.reduction import fill_invalid

VALUES = torch.tensor([1.0, 2.0, 6.0])


@pytest.mark.parametrize(
    ("reduction", "all_valid", "two_valid"),
    [("mean", 3.0, 3.5), ("sum", 9.0, 7.0), ("none", [1.0, 2.0, 6.0], [1.0, 0.0, 6.0])],
)
def test_reduces_over_what_is_valid(reduction, all_valid, two_valid) -> None:
    valid = torch.tensor([True, False, True])
    torch.testing.assert_close(reduce(VALUES, reduction), torch.tensor(all_valid))
    torch.testing.assert_close(reduce(VALUES, reduction, valid), torch.tensor(two_valid))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("n", [0, 3])
def test_nothing_valid_is_a_differentiable_zero(reduction, n) -> None:
    values = torch.full((n,), torch.nan, requires_grad=True)
    total = reduce(values, reduction, torch.zeros(n, dtype=torch.bool)).sum()
    total.backward()
    assert total.item() == 0.0
    torch.testing.assert_close(values.grad, torch.zeros(n))


def test_no_units_and_no_mask_is_a_zero() -> None:
    assert reduce(torch.zeros(0), "mean").item() == 0.0


def test_filled_inputs_reach_neither_value_nor_gradient() -> None:
    x = torch.tensor([4.0, torch.nan], requires_grad=True)
    root = fill_invalid(x, torch.tensor([True, False]), 1.0).sqrt()
    root.sum().backward()
    assert root.tolist() == [2.0, 1.0]
    assert x.grad is not None
    assert x.grad.tolist() == [0.25, 0.0]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("average",), r'f: reduction must be "mean", "sum" or "none", got \'average\''),
        (("mean", torch.ones(3)), r"f: valid must be boolean of shape \(3,\), got torch.float32"),
        (
            ("mean", torch.ones(3, 1, dtype=torch.bool)),
            r"f: valid must be .* got torch.bool \(3, 1\)",
        ),
    ],
)
def test_says_what_is_wrong(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        reduce(VALUES, *arguments, function="f")
