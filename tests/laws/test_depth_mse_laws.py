"""Laws of the squared depth error."""

import hypothesis.strategies as st
import torch
from hypothesis import given
from torch import Tensor

from nerfreg.losses import depth_mse

rays = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        *[
            st.lists(st.floats(1 / 8, 100.0, width=32), min_size=n, max_size=n).map(
                lambda x: torch.tensor(x, dtype=torch.float64)
            )
            for _ in range(3)
        ]
    )
)


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@given(rays, st.floats(0.01, 100.0))
def test_only_the_plain_loss_knows_the_unit(inputs, factor) -> None:
    rendered, depth, std = inputs
    assert_same(
        depth_mse(factor * rendered, factor * depth), factor**2 * depth_mse(rendered, depth)
    )
    assert_same(
        depth_mse(factor * rendered, factor * depth, std=factor * std),
        depth_mse(rendered, depth, std=std),
    )
    assert_same(
        depth_mse(factor * rendered, factor * depth, relative=True),
        depth_mse(rendered, depth, relative=True),
    )


@given(rays)
def test_never_negative_and_zero_on_target(inputs) -> None:
    rendered, depth, std = inputs
    for options in ({}, {"std": std}, {"relative": True}):
        assert (depth_mse(rendered, depth, reduction="none", **options) >= 0.0).all()
        assert depth_mse(depth, depth, **options).item() == 0.0


@given(rays)
def test_one_scale_in_two_words(inputs) -> None:
    rendered, depth, weight = inputs
    assert_same(depth_mse(rendered, depth, relative=True), depth_mse(rendered, depth, std=depth))
    assert_same(
        depth_mse(rendered, depth, std=weight), depth_mse(rendered, depth, weight=weight**-2)
    )


@given(rays)
def test_masks_and_weights_of_ones_equal_none_and_empty_masks_give_zero(inputs) -> None:
    rendered, depth, std = inputs
    rendered = rendered.clone().requires_grad_()
    ones = torch.ones_like(depth)
    for reduction in ("mean", "sum", "none"):
        expected = depth_mse(rendered, depth, std=std, reduction=reduction)
        options = {"valid": ones.bool(), "weight": ones, "reduction": reduction}
        assert_same(depth_mse(rendered, depth, std=std, **options), expected)
    loss = depth_mse(rendered, depth, std=std, valid=~ones.bool())
    loss.backward()
    assert loss.item() == 0.0
    assert not rendered.grad.any()


@given(rays, rays)
def test_a_split_batch_equals_the_whole(first, second) -> None:
    whole = depth_mse(*(torch.cat(pair) for pair in zip(first[:2], second[:2], strict=True)))
    n, m = len(first[0]), len(second[0])
    parts = n * depth_mse(*first[:2]) + m * depth_mse(*second[:2])
    assert_same(whole, parts / (n + m))
