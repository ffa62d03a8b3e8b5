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
def test_the_relative_loss_does_not_know_the_unit(inputs, factor) -> None:
    rendered, depth, _ = inputs
    scaled = depth_mse(factor * rendered, factor * depth, relative=True)
    assert_same(scaled, depth_mse(rendered, depth, relative=True))


@given(rays)
def test_weights_of_ones_equal_none(inputs) -> None:
    rendered, depth, std = inputs
    ones = torch.ones_like(depth)
    for reduction in ("mean", "sum", "none"):
        expected = depth_mse(rendered, depth, std=std, reduction=reduction)
        assert_same(depth_mse(rendered, depth, std=std, weight=ones, reduction=reduction), expected)


@given(rays)
def test_one_scale_in_two_words(inputs) -> None:
    rendered, depth, weight = inputs
    assert_same(depth_mse(rendered, depth, relative=True), depth_mse(rendered, depth, std=depth))
    assert_same(
        depth_mse(rendered, depth, std=weight), depth_mse(rendered, depth, weight=weight**-2)
    )
