"""Laws of weights and depths, one ray's and, packed or dense, those of many."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from nerfreg.rays import edges_to_intervals, expected_depth, median_depth, opacity
from nerfreg.rays import weights_from_density as weights_of
from tests.laws.calls import library
from tests.rays.functions import FUNCTIONS, Function, draw, split

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


# Packed equals dense, and one library equals the others, for every function of both layouts.

NAMED = pytest.mark.parametrize("name", FUNCTIONS)
seeds = st.integers(0, 2**32 - 1)
# Rays without samples and with one are as likely as others, anywhere.
counts = st.lists(st.sampled_from([0, 1, 2, 5]), max_size=7)


def value_and_gradients(
    chosen: Function, inputs: dict[str, Tensor], **layout: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Call, and differentiate a sum in which every number has a weight of its own."""
    leaves = {name: inputs[name].clone().requires_grad_() for name in chosen.inputs}
    value = chosen.function(**leaves, **layout)
    cotangent = inputs["cotangent"].reshape(value.shape)
    found = torch.autograd.grad(
        (cotangent * value).sum(), list(leaves.values()), materialize_grads=True
    )
    return value.detach(), dict(zip(leaves, found, strict=True))


def tensors(inputs: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(x) for name, x in inputs.items()}


@NAMED
@given(seeds, counts)
def test_packed_equals_each_ray_by_itself_in_value_and_gradients(name, seed, counts) -> None:
    chosen, rng = FUNCTIONS[name], np.random.default_rng(seed)
    inputs, n_rays = tensors(draw(rng, counts)), len(counts)
    cotangent = torch.from_numpy(rng.uniform(-1.0, 1.0, n_rays if chosen.a_ray else sum(counts)))
    inputs["cotangent"] = cotangent
    value, gradients = value_and_gradients(
        chosen, inputs, ray_indices=inputs["ray_indices"], n_rays=n_rays
    )
    assert value.shape == cotangent.shape
    ends = np.cumsum(counts)
    for ray, dense in enumerate(split(chosen, inputs, counts)):
        its = slice(ends[ray] - counts[ray], ends[ray])
        at = ray if chosen.a_ray else its
        if dense is None:
            # An empty ray has value and gradient 0.
            assert not value[at].any()
            assert all(not gradients[key][ray] for key in chosen.per_ray)
            continue
        expected, slopes = value_and_gradients(chosen, dense | {"cotangent": cotangent[at]})
        assert_same(value[at], expected.reshape(value[at].shape))
        for key, slope in slopes.items():
            assert_same(gradients[key][ray if key in chosen.per_ray else its], slope)


@NAMED
@given(seeds, counts)
def test_other_rays_change_nothing(name, seed, counts) -> None:
    """The batch may be cut anywhere between two rays, and empty rays put between any."""
    chosen, rng = FUNCTIONS[name], np.random.default_rng(seed)
    inputs, n = tensors(draw(rng, counts)), sum(counts)
    at = int(rng.integers(0, len(counts) + 1))
    edge = sum(counts[:at])

    def part(samples: slice, rays: slice, n_rays: int) -> Tensor:
        given = {key: inputs[key][samples] for key in chosen.per_sample}
        given |= {key: inputs[key][rays] for key in chosen.per_ray}
        indices = inputs["ray_indices"][samples] - rays.start
        return chosen.function(**given, ray_indices=indices, n_rays=n_rays)

    whole = part(slice(0, n), slice(0, len(counts)), len(counts))
    first = part(slice(0, edge), slice(0, at), at)
    second = part(slice(edge, n), slice(at, len(counts)), len(counts) - at)
    assert_same(torch.cat([first, second]), whole)

    given = {key: inputs[key] for key in chosen.per_sample}
    given |= {key: inputs[key].repeat_interleave(2) for key in chosen.per_ray}
    apart = chosen.function(
        **given, ray_indices=2 * inputs["ray_indices"] + 1, n_rays=2 * len(counts)
    )
    if chosen.a_ray:
        assert not apart[::2].any()
        apart = apart[1::2]
    assert torch.equal(apart, whole)


@NAMED
@pytest.mark.parametrize("other", ["numpy", "jax", "strict"])
@given(seeds, st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=5)
def test_libraries_agree_on_dense_samples(name, other, seed, n_rays, n_samples) -> None:
    chosen = FUNCTIONS[name]
    inputs = draw(np.random.default_rng(seed), [n_samples] * n_rays)
    inputs |= {key: inputs[key].reshape(n_rays, n_samples) for key in chosen.per_sample}
    inputs = {key: inputs[key] for key in chosen.inputs}
    expected = chosen.function(**tensors(inputs)).numpy()
    with library(other) as array:
        got = chosen.function(**{key: array(x) for key, x in inputs.items()})
        assert got.shape == expected.shape
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12, atol=1e-14)


@NAMED
@pytest.mark.parametrize("other", ["numpy", "jax"])
@pytest.mark.parametrize("counts", [[0, 3, 0, 0, 1, 2, 0], [2, 0], [0], []], ids=str)
def test_libraries_agree_on_packed_samples(name, other, counts) -> None:
    chosen = FUNCTIONS[name]
    inputs = draw(np.random.default_rng(0), counts)
    inputs = {key: inputs[key] for key in (*chosen.inputs, "ray_indices")}
    expected = chosen.function(**tensors(inputs), n_rays=len(counts)).numpy()
    with library(other) as array:
        given = {key: array(x) for key, x in inputs.items()}
        got = chosen.function(**given, n_rays=len(counts))
        assert got.shape == expected.shape
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12, atol=1e-14)
