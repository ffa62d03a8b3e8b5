"""Laws of weights and depths."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from nerfreg.rays import edges_to_intervals, expected_depth, median_depth, opacity
from nerfreg.rays import weights_from_density as weights_of

DEPTHS = pytest.mark.parametrize("depth_of", [expected_depth, median_depth])


@st.composite
def rays(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Densities and intervals of one ray, in float64."""
    n = draw(st.integers(1, 6))

    def numbers(low: float, high: float, count: int) -> Tensor:
        element = st.floats(low, high, width=32, allow_subnormal=False)
        found = draw(st.lists(element, min_size=count, max_size=count))
        return torch.tensor(found, dtype=torch.float64)

    starts, ends = edges_to_intervals(numbers(0.0, 2.0, n + 1).cumsum(-1))
    return numbers(0.0, 10.0, n), starts, ends


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@given(rays())
def test_weights_are_a_distribution_with_beer_lamberts_opacity(inputs) -> None:
    density, starts, ends = inputs
    weights = weights_of(density, starts, ends)
    assert (weights >= 0.0).all()
    assert_same(opacity(weights), -torch.expm1(-(density * (ends - starts)).sum()))


@given(rays(), st.floats(0.1, 10.0))
def test_density_is_per_distance(inputs, factor) -> None:
    density, starts, ends = inputs
    expected = weights_of(density, starts, ends)
    assert_same(weights_of(density / factor, factor * starts, factor * ends), expected)
    norm = torch.tensor(factor, dtype=torch.float64)
    assert_same(weights_of(density / factor, starts, ends, norm), expected)


@given(rays())
def test_cutting_intervals_changes_what_stops_where_in_nothing(inputs) -> None:
    density, starts, ends = inputs
    middle = 0.5 * (starts + ends)
    halves = [torch.stack(pair, dim=-1).flatten() for pair in [(starts, middle), (middle, ends)]]
    fine = weights_of(density.repeat_interleave(2), *halves)
    assert_same(fine.unflatten(-1, (-1, 2)).sum(-1), weights_of(density, starts, ends))


@DEPTHS
@given(rays(), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_depth_moves_and_grows_with_its_ray(depth_of, inputs, factor, shift) -> None:
    density, starts, ends = inputs
    weights = weights_of(density, starts, ends)
    if opacity(weights) < 1e-3:
        return  # where there is next to nothing, depth is where the ray begins
    depth = depth_of(weights, starts, ends)
    assert starts[0] <= depth <= ends[-1]
    moved = depth_of(weights, factor * starts + shift, factor * ends + shift)
    torch.testing.assert_close(moved, factor * depth + shift, rtol=1e-6, atol=1e-6)


@DEPTHS
@given(rays(), st.floats(0.1, 1.0))
def test_depth_does_not_depend_on_opacity(depth_of, inputs, share) -> None:
    density, starts, ends = inputs
    weights = weights_of(density, starts, ends)
    if opacity(weights) < 1e-3:
        return
    torch.testing.assert_close(
        depth_of(share * weights, starts, ends), depth_of(weights, starts, ends), rtol=1e-6, atol=0
    )


@DEPTHS
@given(rays(), st.integers(0, 6))
def test_empty_intervals_are_neutral(depth_of, inputs, at) -> None:
    density, starts, ends = inputs
    weights = weights_of(density, starts, ends)
    if opacity(weights) < 1e-3:
        return
    edge = torch.cat([starts, ends[-1:]])[min(at, len(starts))][None]
    at = min(at, len(starts))
    padded = [
        torch.cat([x[:at], new, x[at:]])
        for x, new in [(weights, torch.zeros_like(edge)), (starts, edge), (ends, edge)]
    ]
    assert_same(depth_of(*padded), depth_of(weights, starts, ends))
