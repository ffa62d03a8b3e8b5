"""Laws of depth smoothness."""

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from nerfreg.losses import depth_smoothness

NORMS = pytest.mark.parametrize("norm", ["l2", "l1"])
POWER = {"l2": 2, "l1": 1}


@st.composite
def patches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Depths, opacities and masks of some small patches, in float64."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(2, 4), st.integers(2, 4)))

    def numbers(low: float, high: float) -> Tensor:
        width = {"width": 32, "allow_subnormal": False}
        found = draw(arrays.arrays("f8", shape, elements=st.floats(low, high, **width)))
        return torch.from_numpy(found)

    valid = torch.from_numpy(draw(arrays.arrays(bool, shape)))
    return numbers(-100.0, 100.0), numbers(0.0, 1.0), valid


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@NORMS
@given(patches(), st.floats(0.01, 10.0))
def test_scaling_a_scene_scales_by_the_unit(norm, inputs, factor) -> None:
    depth, opacity, valid = inputs
    options = {"norm": norm, "valid": valid, "reduction": "none"}
    scaled = depth_smoothness(factor * depth, opacity, **options)
    assert_same(scaled, factor ** POWER[norm] * depth_smoothness(depth, opacity, **options))


@NORMS
@given(patches())
def test_near_and_far_may_swap_and_rows_and_columns_too(norm, inputs) -> None:
    depth, opacity, valid = inputs
    expected = depth_smoothness(depth, opacity, norm=norm, valid=valid)
    assert_same(depth_smoothness(-depth, opacity, norm=norm, valid=valid), expected)
    turned = (x.transpose(-2, -1) for x in (depth, opacity))
    assert_same(depth_smoothness(*turned, norm=norm, valid=valid.transpose(-2, -1)), expected)


@NORMS
@given(patches())
def test_weights_of_ones_equal_none(norm, inputs) -> None:
    depth, _, valid = inputs
    for reduction in ("mean", "sum", "none"):
        options = {"norm": norm, "valid": valid, "reduction": reduction}
        ones = torch.ones_like(depth)
        assert_same(depth_smoothness(depth, ones, **options), depth_smoothness(depth, **options))


@NORMS
@given(patches())
def test_a_position_without_opacity_moves_no_depth(norm, inputs) -> None:
    depth, opacity, _ = inputs
    depth = depth.clone().requires_grad_()
    opacity = opacity.requires_grad_()
    loss = depth_smoothness(depth, torch.zeros_like(opacity) * opacity, norm=norm)
    loss.backward()
    assert not depth.grad.any()
    assert opacity.grad is None
