"""One object for either layout: what it is built from, what it unpacks into, what it refuses."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nerfreg import check_values, depth_kl
from nerfreg.rays import (
    RayTermination,
    expected_depth,
    median_depth,
    opacity,
    weights_from_alpha,
    weights_from_density,
)
from tests.laws.calls import library

ROOT = Path(__file__).parent.parent.parent
LIBRARIES = pytest.mark.parametrize("name", ["torch", "numpy", "jax"])
LAYOUTS = pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
INDICES = np.array([0, 0, 2, 2, 2, 3])


def some_rays(array: Any, packed: bool) -> tuple[Any, Any, Any, dict[str, Any]]:
    """A number in [0, 1] for each interval, their bounds, and the layout: 2 or 5 rays."""
    values = np.random.default_rng(0).uniform(0.1, 0.9, 6)
    starts = np.array([1.0, 2.0, 0.5, 2.0, 4.0, 1.0])
    if not packed:
        starts = np.array([1.0, 2.0, 3.0, 0.5, 2.0, 4.0])
    samples = [values, starts, starts + 0.5]
    if not packed:
        return (*(array(x.reshape(2, 3)) for x in samples), {})
    return (*map(array, samples), {"ray_indices": array(INDICES), "n_rays": 5})


def assert_equal(got: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


@LIBRARIES
@LAYOUTS
def test_its_methods_are_the_functions(name, packed) -> None:
    with library(name) as array:
        weights, starts, ends, layout = some_rays(array, packed)
        rays = RayTermination(weights, starts, ends, **layout)
        assert_equal(rays.opacity(), opacity(weights, **layout))
        for normalize in (True, False):
            expected = expected_depth(weights, starts, ends, normalize=normalize, **layout)
            assert_equal(rays.expected_depth(normalize=normalize), expected)
        assert_equal(rays.median_depth(), median_depth(weights, starts, ends, **layout))


@LIBRARIES
@LAYOUTS
def test_is_built_from_density_or_alpha(name, packed) -> None:
    with library(name) as array:
        values, starts, ends, layout = some_rays(array, packed)
        norm = array(np.linspace(1.0, 2.0, 5 if packed else 2))
        for arguments in [(), (norm,)]:
            rays = RayTermination.from_density(values, starts, ends, *arguments, **layout)
            expected = weights_from_density(values, starts, ends, *arguments, **layout)
            assert_equal(rays.weights, expected)
        rays = RayTermination.from_alpha(values, starts, ends, **layout)
        assert_equal(rays.weights, weights_from_alpha(values, **layout))
        assert rays.starts is starts
        assert rays.ends is ends


@LIBRARIES
@LAYOUTS
def test_unpacks_into_the_arguments_of_losses(name, packed) -> None:
    with library(name) as array:
        weights, starts, ends, layout = some_rays(array, packed)
        rays = RayTermination(weights, starts, ends, **layout)
        assert dict(rays) == {"weights": weights, "starts": starts, "ends": ends, **layout}
        assert rays.layout == layout
        ones = array(np.ones(5 if packed else 2))
        expected = depth_kl(weights, starts, ends, ones, ones, **layout)
        assert_equal(depth_kl(**rays, depth=ones, std=ones), expected)
        assert_equal(opacity(rays.weights, **rays.layout), opacity(weights, **layout))


def test_is_not_changed_afterwards() -> None:
    rays = RayTermination(*(torch.ones(1, 2) for _ in range(3)))
    with pytest.raises(FrozenInstanceError):
        rays.weights = torch.zeros(1, 2)  # pyright: ignore


def test_gradients_pass_through_it() -> None:
    density, starts, ends, layout = some_rays(torch.from_numpy, True)
    density.requires_grad_()
    RayTermination.from_density(density, starts, ends, **layout).expected_depth().sum().backward()
    weights = weights_from_density(density, starts, ends, **layout)
    (expected,) = torch.autograd.grad(
        expected_depth(weights, starts, ends, **layout).sum(), density
    )
    assert torch.equal(density.grad, expected)


def test_a_graph_may_build_and_use_it() -> None:
    """In a process of its own: the tests' hook on a dataclass's constructor cannot be compiled."""
    code = """
import torch
from nerfreg import depth_kl
from nerfreg.rays import RayTermination
from tests.rays.test_termination import some_rays

for packed in (False, True):
    density, starts, ends, layout = some_rays(torch.from_numpy, packed)

    def function(density):
        rays = RayTermination.from_density(density, starts, ends, **layout)
        ones = torch.ones_like(rays.opacity())
        loss = depth_kl(**rays, depth=ones, std=ones)
        return loss + (rays.expected_depth() + rays.median_depth()).sum()

    found = []
    for f in (function, torch.compile(function, fullgraph=True, backend="aot_eager")):
        leaf = density.clone().requires_grad_()
        value = f(leaf)
        found.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    torch.testing.assert_close(found[1], found[0])
    print("compared")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["compared"] * 2


@LAYOUTS
def test_jit_may_build_and_use_it(packed) -> None:
    jax = pytest.importorskip("jax")
    values, starts, ends, layout = some_rays(lambda x: x, packed)

    def loss(density: Any, indices: Any) -> Any:
        chosen = {"ray_indices": indices, "n_rays": 5} if packed else {}
        rays = RayTermination.from_density(
            density, *map(jax.numpy.asarray, (starts, ends)), **chosen
        )
        return rays.expected_depth().sum() + rays.opacity().sum()

    arguments = jax.numpy.asarray(values), jax.numpy.asarray(layout.get("ray_indices", INDICES))
    eager, compiled = (f(*arguments) for f in (jax.grad(loss), jax.jit(jax.grad(loss))))
    np.testing.assert_allclose(compiled, eager, rtol=1e-5)


X = torch.ones(6)
N6 = torch.from_numpy(INDICES)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weights": [1.0]}, TypeError, r"weights must be an array \(.*\), got list"),
        ({"ends": X.long()}, TypeError, "ends must be floating point, got torch.int64"),
        ({"ends": X.numpy()}, TypeError, "arguments must be arrays of one library, got weights t"),
        ({"starts": X[:5]}, ValueError, r"weights, starts, ends must share one shape \(…, S\)"),
        ({"starts": X.to("meta")}, ValueError, "arguments must be on one device, got weights on c"),
        ({"ray_indices": N6}, ValueError, "ray_indices without n_rays"),
        ({"n_rays": 3}, ValueError, "n_rays=3 without ray_indices"),
        (
            {"starts": X[:5], "ray_indices": N6, "n_rays": 5},
            ValueError,
            r"packed starts must be \(N,\) as ray_indices, got \(5,\) and ray_indices \(6,\)",
        ),
        (
            {"ray_indices": N6.float(), "n_rays": 5},
            TypeError,
            "ray_indices must be int32 or int64, got torch.float32",
        ),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    with pytest.raises(error, match="^RayTermination: " + message):
        RayTermination(**{"weights": X, "starts": X, "ends": X, **changes})


def test_finds_wrong_indices_while_values_are_checked() -> None:
    with check_values():
        RayTermination(X, X, X, N6, 5)
        with pytest.raises(ValueError, match=r"^RayTermination: ray_indices must be sorted"):
            RayTermination(X, X, X, N6.flip(0), 5)
        with pytest.raises(ValueError, match=r"^RayTermination: ray_indices must be in \[0, n_ray"):
            RayTermination(X, X, X, N6, 2)
