"""Laws of the depth KL, and of the published sum, beyond those of every regularizer."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from nerfreg.losses import depth_kl

FORMS = pytest.mark.parametrize("form", ["kl", "dsnerf"])


def numbers(low: float, high: float, n: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(low, high, width=32, allow_subnormal=False), min_size=n, max_size=n)


@st.composite
def rays(draw: st.DrawFn) -> tuple[Tensor, ...]:
    """A few rays in float64: intervals with gaps, some without width; weights with sum ≤ 1."""
    n_rays, n_samples = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    cells = n_rays * n_samples
    shape = n_rays, n_samples
    steps = torch.tensor(draw(numbers(0.0, 2.0, 2 * cells)), dtype=torch.float64)
    bounds = draw(st.floats(0.0, 2.0)) + steps.reshape(n_rays, 2 * n_samples).cumsum(-1)
    weights = torch.tensor(draw(numbers(0.0, 1.0, cells)), dtype=torch.float64).reshape(shape)
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(1.0)
    depth = torch.tensor(draw(numbers(-1.0, 20.0, n_rays)), dtype=torch.float64)
    std = torch.tensor(draw(numbers(1 / 64, 5.0, n_rays)), dtype=torch.float64)
    return weights, bounds[:, 0::2], bounds[:, 1::2], depth, std


def assert_same(a: Tensor, b: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=atol)


@given(rays())
def test_never_negative_and_bounded(inputs) -> None:
    value = depth_kl(*inputs, reduction="none")
    assert (value >= -1e-12).all()
    assert (value <= 13.9).all()


@given(rays())
def test_zero_where_p_equals_q_and_only_there(inputs) -> None:
    weights, starts, ends, depth, std = inputs
    normal = torch.distributions.Normal(depth[:, None], std[:, None])
    mass = normal.cdf(ends) - normal.cdf(starts)
    assert (depth_kl(mass, starts, ends, depth, std).abs() < 1e-9).all()
    off = (weights - mass).abs().amax(-1)
    value = depth_kl(*inputs, reduction="none")
    # Pinsker: at least half the squared total variation, of which ε takes little.
    assert (value >= 0.5 * off.square() - 1e-4).all()


@given(rays(), st.sampled_from([0.1, 10.0, 1000.0]))
def test_the_published_sum_grows_with_the_unit(inputs, factor) -> None:
    weights, *lengths = inputs
    options = {"form": "dsnerf", "reduction": "none"}
    scaled = depth_kl(weights, *(factor * x for x in lengths), **options)
    assert_same(scaled, factor * depth_kl(*inputs, **options))


@given(rays(), st.floats(-5.0, 5.0))
def test_shifting_a_ray_leaves_the_published_sum(inputs, shift) -> None:
    weights, starts, ends, depth, std = inputs
    options = {"form": "dsnerf", "reduction": "none"}
    moved = depth_kl(weights, starts + shift, ends + shift, depth + shift, std, **options)
    assert_same(moved, depth_kl(*inputs, **options), atol=1e-6)


@given(rays())
def test_a_mirrored_ray_is_the_same_ray(inputs) -> None:
    weights, starts, ends, depth, std = inputs
    mirrored = depth_kl(
        weights.flip(-1), -ends.flip(-1), -starts.flip(-1), -depth, std, reduction="none"
    )
    assert_same(mirrored, depth_kl(*inputs, reduction="none"))


@given(rays())
def test_finer_intervals_tell_more(inputs) -> None:
    """Halving intervals, weights in proportion, cannot lower a divergence (log-sum inequality).

    The weights hold a tenth of the target, so that ε, which each cell has anew, decides nowhere.
    """
    weights, starts, ends, depth, std = inputs
    normal = torch.distributions.Normal(depth[:, None], std[:, None])
    weights = 0.9 * weights + 0.1 * (normal.cdf(ends) - normal.cdf(starts))
    middle = 0.5 * (starts + ends)
    fine = [torch.stack(pair, dim=-1).flatten(1) for pair in [(starts, middle), (middle, ends)]]
    halves = (0.5 * weights).repeat_interleave(2, dim=-1)
    coarse = depth_kl(weights, starts, ends, depth, std, reduction="none")
    assert (depth_kl(halves, *fine, depth, std, reduction="none") >= coarse - 1e-4).all()


@FORMS
@given(rays())
def test_gradients_are_finite_everywhere(form, inputs) -> None:
    weights, *rest = inputs
    weights = weights.float().requires_grad_()
    depth_kl(weights, *(x.float() for x in rest), form=form).backward()
    assert weights.grad.isfinite().all()


@given(rays())
def test_descent_from_any_ray_finds_the_target(inputs) -> None:
    """Moving the weights towards q lowers the divergence: it is convex with its minimum there."""
    weights, starts, ends, depth, std = inputs
    normal = torch.distributions.Normal(depth[:, None], std[:, None])
    mass = normal.cdf(ends) - normal.cdf(starts)
    values = torch.stack(
        [
            depth_kl((1 - a) * weights + a * mass, starts, ends, depth, std, reduction="none")
            for a in (0.0, 0.5, 1.0)
        ]
    )
    assert (values[1:] <= values[:-1] + 1e-9).all()
