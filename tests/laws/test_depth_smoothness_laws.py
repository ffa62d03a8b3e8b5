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
@given(patches(), st.floats(-50.0, 50.0))
def test_shifting_a_scene_changes_nothing(norm, inputs, shift) -> None:
    depth, opacity, valid = inputs
    options = {"norm": norm, "valid": valid, "reduction": "none"}
    moved = depth_smoothness(depth + shift, opacity, **options)
    torch.testing.assert_close(
        moved, depth_smoothness(depth, opacity, **options), rtol=1e-9, atol=1e-7
    )


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
def test_never_negative_and_zero_on_constant_patches(norm, inputs) -> None:
    depth, opacity, valid = inputs
    options = {"norm": norm, "valid": valid, "reduction": "none"}
    assert (depth_smoothness(depth, opacity, **options) >= 0.0).all()
    flat = depth[:, :1, :1].expand_as(depth)
    assert not depth_smoothness(flat, opacity, **options).any()


@NORMS
@given(patches())
def test_masks_and_weights_of_ones_equal_none(norm, inputs) -> None:
    depth, opacity, valid = inputs
    for reduction in ("mean", "sum", "none"):
        options = {"norm": norm, "reduction": reduction}
        ones = torch.ones_like(valid)
        assert_same(
            depth_smoothness(depth, opacity, valid=ones, **options),
            depth_smoothness(depth, opacity, **options),
        )
        assert_same(
            depth_smoothness(depth, ones.double(), valid=valid, **options),
            depth_smoothness(depth, valid=valid, **options),
        )


@NORMS
@given(patches())
def test_an_empty_mask_gives_a_differentiable_zero(norm, inputs) -> None:
    depth, opacity, valid = inputs
    depth = depth.clone().requires_grad_()
    loss = depth_smoothness(depth, opacity, norm=norm, valid=torch.zeros_like(valid))
    loss.backward()
    assert loss.item() == 0.0
    assert not depth.grad.any()


@NORMS
@given(patches(), st.randoms(use_true_random=False))
def test_patches_are_independent(norm, inputs, random) -> None:
    options = {"norm": norm, "reduction": "none"}
    depth, opacity, valid = inputs
    together = depth_smoothness(depth, opacity, valid=valid, **options)
    order = list(range(len(depth)))
    random.shuffle(order)
    for i in order:
        alone = depth_smoothness(depth[i], opacity[i], valid=valid[i], **options)
        assert_same(alone, together[i])
    assert_same(
        depth_smoothness(depth[order], opacity[order], valid=valid[order], **options),
        together[order],
    )
    total = depth_smoothness(depth, opacity, valid=valid, norm=norm, reduction="sum")
    assert_same(total, together.sum())


@NORMS
@given(patches())
def test_a_masked_patch_is_neutral(norm, inputs) -> None:
    depth, opacity, valid = inputs
    padded = [torch.cat([x, x[:1]]) for x in (depth, opacity)]
    hidden = torch.cat([valid, torch.zeros_like(valid[:1])])
    assert_same(
        depth_smoothness(*padded, norm=norm, valid=hidden),
        depth_smoothness(depth, opacity, norm=norm, valid=valid),
    )


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
