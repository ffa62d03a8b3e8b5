"""Sums within packed rays: against loops, in every library, their derivatives, reach and cost."""

import warnings
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nerfreg.rays.segments import (
    segment_largest,
    segment_offsets,
    segment_scan,
    segment_spread,
    segment_sum,
)
from tests.golden import golden, golden_cases
from tests.laws.calls import library

LIBRARIES = pytest.mark.parametrize("name", ["torch", "numpy", "jax"])
COUNTS = pytest.mark.parametrize(
    "counts",
    [
        [3, 1, 4],
        [0, 3, 0, 0, 1, 2, 0],
        [1],
        [0, 0],
        [],
    ],
    ids=str,
)
FLAGS = pytest.mark.parametrize(("inclusive", "backwards"), list(product([True, False], repeat=2)))


def samples(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(-1.0, 1.0, sum(counts)), np.repeat(np.arange(len(counts)), counts)


def by_ray(x: np.ndarray, counts: list[int]) -> list[np.ndarray]:
    return np.split(x, np.cumsum(counts)[:-1]) if counts else []


def slow_scan(ray: np.ndarray, *, inclusive: bool, backwards: bool) -> list[float]:
    """One ray, sample by sample."""
    n = len(ray)
    own = int(inclusive)
    return [sum(ray[k + 1 - own :]) if backwards else sum(ray[: k + own]) for k in range(n)]


@LIBRARIES
@COUNTS
@FLAGS
def test_scan_agrees_with_loops(name, counts, inclusive, backwards) -> None:
    x, indices = samples(counts)
    flags = {"inclusive": inclusive, "backwards": backwards}
    expected = [value for ray in by_ray(x, counts) for value in slow_scan(ray, **flags)]
    with library(name) as array:
        indices = array(indices)
        offsets = segment_offsets(indices, len(counts))
        got = segment_scan(array(x), indices, offsets, **flags)
        np.testing.assert_allclose(np.asarray(got), np.array(expected), rtol=0, atol=1e-14)


@LIBRARIES
@COUNTS
def test_the_others_agree_with_loops(name, counts) -> None:
    x, indices = samples(counts)
    rays = by_ray(x, counts)
    sums = np.array([ray.sum() for ray in rays])
    colours = np.stack([x, -2.0 * x], axis=-1)
    with library(name) as array:
        indices = array(indices)
        offsets = segment_offsets(indices, len(counts))
        layout = indices, offsets
        assert np.asarray(offsets).tolist() == [0, *np.cumsum(counts).tolist()]
        for got, expected in [
            (segment_sum(array(x), *layout), sums),
            (segment_sum(array(colours), *layout), np.stack([sums, -2.0 * sums], axis=-1)),
            (segment_spread(array(sums), *layout), np.repeat(sums, counts)),
            (
                segment_largest(array(np.abs(x)), *layout),
                np.array([np.abs(ray).max(initial=0.0) for ray in rays]),
            ),
        ]:
            got = np.asarray(got)
            assert got.shape == expected.shape
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("case", golden_cases("nerfacc_packed"))
def test_scan_meets_nerfacc(case) -> None:
    numbers = golden("nerfacc_packed", case)
    offsets = segment_offsets(numbers["ray_indices"], int(numbers["n_rays"]))
    assert torch.equal(offsets[:-1], numbers["packed_info"][:, 0])
    assert torch.equal(offsets[1:] - offsets[:-1], numbers["packed_info"][:, 1])
    layout = numbers["ray_indices"], offsets
    for inclusive, name in [(True, "inclusive_sum"), (False, "exclusive_sum")]:
        got = segment_scan(numbers["scan_in"], *layout, inclusive=inclusive)
        torch.testing.assert_close(got, numbers[name], rtol=0, atol=1e-14)
    got = segment_scan(numbers["scan_in"].log(), *layout, inclusive=False).exp()
    torch.testing.assert_close(got, numbers["exclusive_prod"], rtol=1e-13, atol=0)


@COUNTS
@FLAGS
def test_scan_has_first_and_second_derivatives(counts, inclusive, backwards) -> None:
    x, indices = (torch.from_numpy(a) for a in samples(counts))
    offsets = segment_offsets(indices, len(counts))

    def scan(x: Tensor) -> Tensor:
        return segment_scan(x, indices, offsets, inclusive=inclusive, backwards=backwards)

    x.requires_grad_()
    assert torch.autograd.gradcheck(scan, x)
    assert torch.autograd.gradgradcheck(lambda x: scan(x) ** 2, x)


@COUNTS
def test_sum_and_spread_have_first_and_second_derivatives(counts) -> None:
    x, indices = (torch.from_numpy(a) for a in samples(counts))
    layout = indices, segment_offsets(indices, len(counts))
    per_ray = torch.rand(len(counts), dtype=torch.float64)
    for function, value in [(segment_sum, x), (segment_spread, per_ray)]:
        value.requires_grad_()
        assert torch.autograd.gradcheck(lambda v, f=function: f(v, *layout), value)
        assert torch.autograd.gradgradcheck(lambda v, f=function: f(v, *layout) ** 2, value)


@COUNTS
def test_a_gradient_that_all_rays_share_is_held_once(counts) -> None:
    x, indices = (torch.from_numpy(a) for a in samples(counts))
    offsets = segment_offsets(indices, len(counts))
    value = segment_sum(x.requires_grad_(), indices, offsets).sum() / 4.0
    (found,) = torch.autograd.grad(value, x, retain_graph=True)
    assert found.tolist() == [0.25] * len(x)
    assert found.stride() == (0,) or len(x) == 0
    (differentiable,) = torch.autograd.grad(value, x, create_graph=True)
    assert differentiable.tolist() == found.tolist()


@COUNTS
def test_largest_passes_its_gradient_to_the_largest(counts) -> None:
    x, indices = samples(counts)
    x = torch.from_numpy(np.abs(x)).requires_grad_()
    indices = torch.from_numpy(indices)
    segment_largest(x, indices, segment_offsets(indices, len(counts))).sum().backward()
    rays = by_ray(x.detach().numpy(), counts)
    expected = [float(k == ray.argmax()) for ray in rays for k in range(len(ray))]
    assert x.grad.tolist() == expected


@COUNTS
@FLAGS
def test_jax_has_torchs_derivatives_compiled_or_not(counts, inclusive, backwards) -> None:
    jax = pytest.importorskip("jax")
    x, indices = samples(counts)
    cotangent = np.random.default_rng(1).uniform(-1.0, 1.0, len(x))

    def functions(indices, offsets):
        layout, flags = (indices, offsets), {"inclusive": inclusive, "backwards": backwards}
        return [
            lambda x, c: (segment_scan(x, *layout, **flags) * c).sum(),
            lambda x, c: (segment_sum(x * c, *layout) ** 2).sum(),
            lambda x, c: (segment_largest(x**2, *layout) ** 2).sum(),
            lambda x, c: (segment_spread(segment_sum(x, *layout), *layout) * c).sum(),
        ]

    tensors = [torch.from_numpy(a) for a in (x, cotangent)]
    at = torch.from_numpy(indices)
    expected = []
    for function in functions(at, segment_offsets(at, len(counts))):
        leaf = tensors[0].clone().requires_grad_()
        expected.append(torch.autograd.grad(function(leaf, tensors[1]), leaf)[0].numpy())
    with jax.enable_x64(True):
        at = jax.numpy.asarray(indices)
        for function, torchs in zip(
            functions(at, segment_offsets(at, len(counts))), expected, strict=True
        ):
            for gradient in (jax.grad(function), jax.jit(jax.grad(function))):
                got = np.asarray(gradient(jax.numpy.asarray(x), jax.numpy.asarray(cotangent)))
                np.testing.assert_allclose(got, torchs, rtol=0, atol=1e-14)


def test_strided_indices_are_taken_without_a_warning() -> None:
    """As a column of (N, 2) pairs of ray and rank is."""
    indices = torch.tensor([[0, 0], [0, 1], [2, 0]])[:, 0]
    assert not indices.is_contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert segment_offsets(indices, 3).tolist() == [0, 2, 2, 3]


def test_indices_of_32_bits_are_enough() -> None:
    x, indices = (torch.from_numpy(a) for a in samples([2, 0, 3]))
    for at in (indices, indices.int()):
        offsets = segment_offsets(at, 3)
        x.requires_grad_()
        (segment_sum(x, at, offsets) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, 4.0 * segment_sum(x, at, offsets)[indices])


# Reach: what rays do to their neighbours.


def uneven(big: float, small: float, n_rays: int, n_samples: int) -> tuple[Tensor, Tensor]:
    """Rays by turns large and small, in float32, and their indices."""
    x = torch.rand(n_rays, n_samples)
    x[::2] *= big
    x[1::2] *= small
    return x, torch.arange(n_rays).repeat_interleave(n_samples)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("big", "small", "own"),
    # Rounding to float32 alone: 5e-8 of the ray's own sum.
    [(1.0, 1.0, 6e-8), (1.0, 1e-3, 6e-8), (1e3, 1e-3, 2e-5), (1e3, 1e-6, 2e-2)],
)
def test_a_ray_keeps_what_float64_leaves_it_beside_all_others(big, small, own, backwards) -> None:
    """2²⁰ samples. Errors are some 1e-15 of the sum of all, as the docstring says."""
    x, indices = uneven(big, small, 8192, 128)
    layout = indices, segment_offsets(indices, 8192)
    got = segment_scan(x.flatten(), *layout, inclusive=True, backwards=backwards)
    double = x.double()
    expected = double.flip(-1).cumsum(-1).flip(-1) if backwards else double.cumsum(-1)
    error = (got.view_as(x).double() - expected).abs()[1::2]
    largest = double[1::2].sum(-1).max()
    # Measured: 1.4e-15 of all, or float32's rounding.
    assert error.max() <= 3e-15 * double.sum() + 6e-8 * largest
    assert error.max() <= own * largest


@pytest.mark.parametrize("backwards", [False, True])
def test_jax_keeps_what_lies_in_front_of_a_large_sample(backwards) -> None:
    jax = pytest.importorskip("jax")
    x = np.array([0.1, 0.2, 128.0, 0.2, 0.1], np.float32)
    at, offsets = jax.numpy.zeros(5, int), jax.numpy.asarray([0, 5])
    scan = segment_scan(jax.numpy.asarray(x), at, offsets, inclusive=False, backwards=backwards)
    assert scan[2] == pytest.approx(0.3, rel=2e-7)


@pytest.mark.parametrize("big", [1e3, 1e30])
def test_jax_keeps_rays_apart_whatever_their_size(big) -> None:
    """It has no float64 by default, and sums each ray by itself."""
    jax = pytest.importorskip("jax")
    x, indices = uneven(big, 1e-6, 8, 16)

    @jax.jit
    def scan(x, at):
        return segment_scan(x, at, segment_offsets(at, 8), inclusive=True)

    got = scan(jax.numpy.asarray(x.numpy()).ravel(), jax.numpy.asarray(indices.numpy()))
    expected = x.double().cumsum(-1).numpy()
    np.testing.assert_allclose(np.asarray(got).reshape(8, 16), expected, rtol=1e-6)


# Cost: nothing waits for the device, nothing is padded.


class LargestResult(TorchDispatchMode):
    """Remember how many numbers the largest tensor holds that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, Tensor):
                self.numel = max(self.numel, x.numel())
        return result


def few_among_many() -> tuple[Tensor, int]:
    """2¹⁶ samples on three rays among 10,000: padded they would be 4·10⁸."""
    n_samples = torch.tensor([2**15, 1, 2**15 - 1])
    return torch.tensor([5, 77, 9000]).repeat_interleave(n_samples), 10_000


def everything(x: Tensor, indices: Tensor, n_rays: int) -> Tensor:
    layout = indices, segment_offsets(indices, n_rays)
    flags = [{"inclusive": i, "backwards": b} for i, b in product([True, False], repeat=2)]
    scans = sum((segment_scan(x, *layout, **chosen) for chosen in flags), start=x)
    per_ray = segment_sum(scans, *layout) + segment_largest(x, *layout)
    return segment_spread(per_ray, *layout)


def test_memory_grows_with_samples_not_with_rays_times_the_longest() -> None:
    indices, n_rays = few_among_many()
    x = torch.rand(len(indices), requires_grad=True)
    with LargestResult() as made:
        everything(x, indices, n_rays).sum().backward()
        assert len(x) <= made.numel <= 2 * len(x)
        torch.zeros(3 * len(x))  # the check can fail
        assert made.numel > 2 * len(x)


def test_nothing_reads_a_number_back() -> None:
    indices, n_rays = few_among_many()
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.rand(len(indices), requires_grad=True)
        everything(x, indices, n_rays).sum().backward()
        assert x.grad.shape == x.shape
        with pytest.raises(DataDependentOutputException):  # the check can fail
            float(x.detach().sum())
