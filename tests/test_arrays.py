"""The dispatcher: which library an array belongs to, and what the array API does not have."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from nerfreg import arrays
from tests.laws.calls import library

ROOT = Path(__file__).parent.parent
NAMES = ["torch", "numpy", "jax", "strict"]
EVERY = pytest.mark.parametrize("name", NAMES)


@EVERY
def test_an_array_belongs_to_its_library_and_none_passes(name) -> None:
    modules = {
        "torch": "array_api_compat.torch",
        "numpy": "array_api_compat.numpy",
        "jax": "jax.numpy",
        "strict": "array_api_strict",
    }
    with library(name) as array:
        x = array(np.ones(2))
        assert arrays.is_array(x)
        assert arrays.is_jax(x) is (name == "jax")
        assert arrays.namespace(x, None).__name__ == modules[name]


def test_only_one_library_at_a_time() -> None:
    with pytest.raises(TypeError):
        arrays.namespace(torch.ones(2), np.ones(2))
    with pytest.raises(TypeError):
        arrays.namespace(np.ones(2), [1.0])


@pytest.mark.parametrize("x", [[1.0], (1.0,), 1.0, None, "1"], ids=repr)
def test_nothing_else_is_an_array(x) -> None:
    assert not arrays.is_array(x)
    assert not arrays.is_jax(x)


@EVERY
def test_floating_is_neither_whole_nor_boolean(name) -> None:
    with library(name) as array:
        for dtype in (np.float32, np.float64):
            assert arrays.is_floating(array(np.ones(2, dtype)))
            assert not arrays.is_float16(array(np.ones(2, dtype)))
        for dtype in (np.int32, np.int64, np.bool_):
            assert not arrays.is_floating(array(np.ones(2, dtype)))


@pytest.mark.parametrize("name", ["torch", "numpy", "jax"])
def test_half_precision_is_lifted_to_float32_and_nothing_else_changes(name) -> None:
    with library(name) as array:
        xp = arrays.namespace(array(np.ones(2)))
        halves = [xp.float16] if name == "numpy" else [xp.float16, xp.bfloat16]
        for dtype in halves:
            x = xp.astype(array(np.array([1.0, 0.5])), dtype)
            assert arrays.is_floating(x)
            assert arrays.is_float16(x) is (dtype == xp.float16)
            (lifted,) = arrays.at_least_float32(x)
            assert lifted.dtype == xp.float32
            assert lifted.tolist() == [1.0, 0.5]
        for dtype in (xp.float32, xp.float64):
            x = xp.astype(array(np.ones(2)), dtype)
            assert arrays.at_least_float32(x)[0] is x


@EVERY
def test_within_bounds_that_are_not_meant_to_be_met(name) -> None:
    with library(name) as array:
        x = array(np.array([-np.inf, -1.0, 0.0, 3.0, np.inf]))
        assert np.asarray(arrays.within(x, -2.0, 2.0)).tolist() == [-2.0, -1.0, 0.0, 2.0, 2.0]
        assert np.asarray(arrays.within(x, 0.0))[2:].tolist() == [0.0, 3.0, np.inf]


def test_beyond_its_bounds_the_gradient_is_0() -> None:
    x = torch.tensor([-3.0, -1.0, 1.0, 3.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(arrays.within(x, -2.0, 2.0).sum(), x)
    assert gradient.tolist() == [0.0, 1.0, 1.0, 0.0]


@EVERY
def test_detach_keeps_the_numbers(name) -> None:
    with library(name) as array:
        assert np.asarray(arrays.detach(array(np.array([1.0, 2.0])))).tolist() == [1.0, 2.0]


def test_detach_stops_gradients() -> None:
    def function(x: Any) -> Any:
        return (arrays.detach(x) * x).sum()

    x = torch.tensor([2.0, 3.0], requires_grad=True)
    assert torch.autograd.grad(function(x), x)[0].tolist() == [2.0, 3.0]
    jax = pytest.importorskip("jax")
    assert jax.jit(jax.grad(function))(jax.numpy.asarray([2.0, 3.0])).tolist() == [2.0, 3.0]


@EVERY
def test_arrays_are_made_to_go_with_another(name) -> None:
    with library(name) as array:
        x = array(np.ones(2, np.float32))
        xp = arrays.namespace(x)
        assert xp.zeros(3, **arrays.like(x)).dtype == xp.float32
        double = arrays.in_double(x)
        assert double.dtype == xp.float64
        assert arrays.as_like(double, x).dtype == xp.float32


@EVERY
def test_entries_are_taken_at_indices(name) -> None:
    with library(name) as array:
        x = array(np.arange(6.0).reshape(2, 3))
        index = array(np.array([1, 0, 1]))
        assert np.asarray(arrays.take(x, index)).tolist() == [[3, 4, 5], [0, 1, 2], [3, 4, 5]]
        index = array(np.array([[2], [0]]))
        assert np.asarray(arrays.take_along(x, index)).tolist() == [[2], [3]]


def test_jax_has_no_double_unless_asked_to() -> None:
    jax = pytest.importorskip("jax")
    assert arrays.in_double(jax.numpy.ones(2)).dtype == jax.numpy.float32


def test_an_array_of_jit_is_traced_and_others_are_not() -> None:
    jax = pytest.importorskip("jax")
    seen = []
    jax.jit(lambda x: seen.append((arrays.is_jax(x), arrays.is_traced(x))))(jax.numpy.ones(2))
    assert seen == [(True, True)]
    for x in (jax.numpy.ones(2), np.ones(2), torch.ones(2)):
        assert not arrays.is_traced(x)


# erfc and log Φ, against fifty digits.

FAR = [-1e15, -1e6, -3e3, -300.0, -37.6, -20.0, -12.001, -12.0, -11.999, -8.0, -5.0]
NEAR = [-1.0, -0.5, -1e-3, -1e-10, 0.0, 1e-10, 1e-3, 0.3, 1.0, 2.0, 5.0]
POINTS = np.array([*FAR, *NEAR, 8.0, 9.0, 12.0, 13.5, 26.0, 1e10])
PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def exact_erfc(x):
    return mpmath.erfc(x), -2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-(x**2))


def exact_log_ndtr(x):
    if x < -1e6:  # far enough for the first terms of the series, in fifty digits
        value = -(x**2) / 2 - mpmath.log(-x * mpmath.sqrt(2 * mpmath.pi))
        return value, -x
    below, above = (mpmath.erfc(side * x / mpmath.sqrt(2)) / 2 for side in (-1, 1))
    return mpmath.log1p(-above) if x > 0 else mpmath.log(below), mpmath.npdf(x) / below


FUNCTIONS = pytest.mark.parametrize(
    ("function", "exact"),
    [(arrays.erfc, exact_erfc), (arrays.log_ndtr, exact_log_ndtr)],
    ids=["erfc", "log_ndtr"],
)


def assert_precise(got: Any, points: np.ndarray, exact: Any, which: int) -> None:
    """Compare: 20 roundings, and as many as the exponent x²/2 of a small number has itself."""
    got = np.asarray(got)
    epsilon, tiny = np.finfo(points.dtype).eps, np.finfo(points.dtype).tiny
    for x, value in zip(points, got, strict=True):
        with mpmath.workdps(50):
            expected = exact(mpmath.mpf(float(x)))[which]
            # Where the number itself is far below 1, its exponent's rounding is what is left.
            exponent = max(1.0, float(x) ** 2) if abs(expected) < 1e-2 else 1.0
            bound = 20 * epsilon * exponent * abs(expected) + 2 * tiny
            assert abs(mpmath.mpf(float(value)) - expected) <= bound, (x, value, expected)


@EVERY
@PRECISIONS
@FUNCTIONS
def test_precise_in_both_tails(name, dtype, function, exact) -> None:
    points = POINTS.astype(dtype)
    with library(name) as array:
        x = array(points)
        got = function(x)
        assert got.dtype == x.dtype
        assert_precise(got, points, exact, 0)


@pytest.mark.parametrize("name", ["torch", "jax"])
@PRECISIONS
@FUNCTIONS
def test_so_is_their_derivative(name, dtype, function, exact) -> None:
    """In float32 the log_ndtr of torch has a derivative of 65,000 at −10⁴, and 0.4 at −10⁵."""
    points = POINTS.astype(dtype)
    if name == "torch":
        x = torch.from_numpy(points).requires_grad_()
        (got,) = torch.autograd.grad(function(x).sum(), x)
        assert_precise(got, points, exact, 1)
        return
    with library(name) as array:
        jax = sys.modules["jax"]
        gradient = jax.jit(jax.grad(lambda x: function(x).sum()))
        assert_precise(gradient(array(points)), points, exact, 1)


@FUNCTIONS
def test_shapes_stay_also_without_numbers(function, exact) -> None:
    for shape in ((), (0,), (2, 3)):
        for name in NAMES:
            with library(name) as array:
                assert tuple(function(array(np.ones(shape))).shape) == shape


def test_using_torch_and_numpy_does_not_import_jax() -> None:
    code = """
import json, sys
import numpy as np, torch
from nerfreg import arrays, check_values, depth_kl, rays
for one in (torch.ones, np.ones):
    x, layout = one(3), {"ray_indices": torch.arange(3), "n_rays": 3}
    if one is np.ones:
        layout["ray_indices"] = np.arange(3)
    arrays.erfc(x), arrays.log_ndtr(x), arrays.detach(x), arrays.is_jax(x), arrays.is_traced(x)
    with check_values():
        weights = rays.weights_from_density(x, 0 * x, x, **layout)
        depth_kl(weights, 0 * x, x, x, x, **layout)
        rays.median_depth(weights, 0 * x, x)
print(json.dumps("jax" in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) is False
