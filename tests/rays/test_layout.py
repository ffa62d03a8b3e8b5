"""Two layouts behind one set of verbs: what the verbs mean, and every public function in both."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from nerfreg import check_values, rays
from nerfreg.arrays import namespace
from nerfreg.rays.layout import (
    Layout,
    at_rank,
    before,
    first,
    following,
    largest,
    last,
    n_samples,
    rank,
    ray_layout,
    spread,
    through,
    total,
    total_of_first,
)
from tests.laws.calls import library
from tests.rays.functions import FUNCTIONS, SEVERAL_LAYOUTS, Function, draw
from tests.rays.test_segments import LargestResult, few_among_many

LIBRARIES = ["torch", "numpy", "jax"]
NAMED = pytest.mark.parametrize("name", FUNCTIONS)
COUNTS = [0, 3, 0, 0, 1, 2, 0]


def numbers(whole: Any, x: Any) -> Any:
    """Give whole numbers the dtype and shape of samples."""
    return namespace(x).astype(whole, x.dtype) + 0.0 * x


# Each verb, and what it says of one ray, without samples too.
VERBS: dict[str, tuple[Callable[[Layout, Any], Any], Callable[[list[float]], list[float]]]] = {
    "total": (total, lambda ray: [sum(ray)]),
    "through": (through, lambda ray: list(accumulate(ray))),
    "before": (before, lambda ray: [0.0, *accumulate(ray[:-1])] if ray else []),
    "largest": (largest, lambda ray: [max(ray, default=0.0)]),
    "following": (following, lambda ray: [*ray[1:], *ray[-1:]]),
    "first": (first, lambda ray: ray[:1] or [0.0]),
    "last": (last, lambda ray: ray[-1:] or [0.0]),
    "rank": (
        lambda layout, x: numbers(rank(layout, x), x),
        lambda ray: list(range(len(ray))),
    ),
    "n_samples": (
        lambda layout, x: numbers(spread(layout, n_samples(layout, x)), x),
        lambda ray: [len(ray)] * len(ray),
    ),
    "spread": (
        lambda layout, x: spread(layout, total(layout, x)) + 0.0 * x,
        lambda ray: [sum(ray)] * len(ray),
    ),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("library_name", LIBRARIES)
def test_verbs_on_packed_samples(verb, library_name) -> None:
    function, slow = VERBS[verb]
    rng = np.random.default_rng(0)
    by_ray = [rng.uniform(0.0, 1.0, count).tolist() for count in COUNTS]
    expected = [value for ray in by_ray for value in slow(ray)]
    with library(library_name) as array:
        x = array(np.array([value for ray in by_ray for value in ray]))
        layout = ray_layout("f", array(np.repeat(np.arange(7), COUNTS)), 7, x=x)
        assert layout.ray_shape == (7,)
        np.testing.assert_allclose(np.asarray(function(layout, x)), expected, rtol=1e-14)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("library_name", [*LIBRARIES, "strict"])
def test_verbs_on_dense_samples(verb, library_name) -> None:
    function, slow = VERBS[verb]
    values = np.array([[0.5, 2.0, 1.0], [1.0, 0.25, 0.0]])
    expected = [value for ray in values.tolist() for value in slow(ray)]
    with library(library_name) as array:
        x = array(values)
        layout = ray_layout("f", x=x)
        assert layout.ray_shape == (2,)
        got = np.asarray(function(layout, x)).ravel()
        np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("library_name", LIBRARIES)
def test_at_rank(library_name) -> None:
    values = np.array([[0.5, 2.0, 1.0], [1.0, 0.25, 0.0]])
    with library(library_name) as array:
        x = array(values)
        for dtype in (np.int32, np.int64):
            ranks = array(np.array([2, 1], dtype))
            assert np.asarray(at_rank(ray_layout("f", x=x), x, ranks)).tolist() == [1.0, 0.25]
            x6 = x.reshape(-1)
            layout = ray_layout("f", array(np.array([0, 0, 2, 2, 2, 3], dtype)), 5, x=x6)
            ranks = array(np.array([1, 0, 2, 0, 0], dtype))
            assert np.asarray(at_rank(layout, x6, ranks)).tolist() == [2.0, 0.0, 0.25, 0.0, 0.0]


@pytest.mark.parametrize("library_name", LIBRARIES)
@pytest.mark.parametrize("floor", [-10.0, -np.inf])
def test_largest_among_numbers_of_any_sign(library_name, floor) -> None:
    values = np.array([-3.0, -2.0, -5.0, 4.0, -1.0])
    with library(library_name) as array:
        x = array(values)
        layout = ray_layout("f", array(np.array([0, 0, 2, 3, 3])), 5, x=x)
        expected = [-2.0, floor, -5.0, 4.0, floor]
        assert np.asarray(largest(layout, x, floor)).tolist() == expected
        dense = array(values[:4].reshape(2, 2))
        got = largest(ray_layout("f", x=dense), dense, floor)
        assert np.asarray(got).tolist() == [-2.0, 4.0]


def test_the_last_of_a_dense_ray_may_be_infinite_before_it_nothing_is() -> None:
    x = torch.tensor([1.0, 2.0, torch.inf])
    assert before(ray_layout("f", x=x), x).tolist() == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("library_name", LIBRARIES)
def test_no_samples_and_no_rays(library_name) -> None:
    for n_rays in (0, 3):
        with library(library_name) as array:
            x, indices = array(np.zeros(0)), array(np.zeros(0, dtype=np.int64))
            layout = ray_layout("f", indices, n_rays, x=x)
            for verb in (total, largest, first, last, n_samples):
                assert np.asarray(verb(layout, x)).tolist() == [0] * n_rays
            for verb in (through, before, following, rank):
                assert np.asarray(verb(layout, x)).tolist() == []


def test_every_function_of_both_layouts_is_tested() -> None:
    assert {name.partition(",")[0] for name in FUNCTIONS} == SEVERAL_LAYOUTS


# Every public function, packed.


def call(chosen: Function, inputs: dict[str, Any], n_rays: int) -> Any:
    given = {name: inputs[name] for name in chosen.inputs}
    return chosen.function(**given, ray_indices=inputs["ray_indices"], n_rays=n_rays)


def packed_rays(counts: list[int], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    drawn = draw(np.random.default_rng(0), counts)
    tensors = {name: torch.from_numpy(x) for name, x in drawn.items()}
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}


def leaves(chosen: Function, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy the inputs, those that are differentiated as leaves of a graph."""
    return inputs | {name: inputs[name].clone().requires_grad_() for name in chosen.inputs}


def gradients(value: Tensor, chosen: Function, inputs: dict[str, Tensor]) -> list[Tensor]:
    weight = torch.linspace(0.5, 1.5, value.numel())
    names = [inputs[name] for name in chosen.inputs]
    return list(torch.autograd.grad((weight * value).sum(), names, materialize_grads=True))


@NAMED
def test_memory_grows_with_samples_not_with_rays_times_the_longest(name) -> None:
    chosen = FUNCTIONS[name]
    indices, n_rays = few_among_many()
    inputs = leaves(chosen, packed_rays(torch.bincount(indices, minlength=n_rays).tolist()))
    with LargestResult() as made:
        gradients(call(chosen, inputs, n_rays), chosen, inputs)
    assert len(indices) <= made.numel <= 2 * len(indices)


@NAMED
@pytest.mark.parametrize("dense", [True, False])
def test_nothing_reads_a_number_back(name, dense) -> None:
    """Fake tensors have shapes and no numbers: whoever asks for one would wait for a device."""
    chosen = FUNCTIONS[name]
    inputs = packed_rays([3, 3])
    layout = {} if dense else {"ray_indices": inputs["ray_indices"], "n_rays": 2}
    if dense:
        inputs |= {key: inputs[key].reshape(2, 3) for key in chosen.per_sample}
    inputs = leaves(chosen, inputs)
    with FakeTensorMode(allow_non_fake_inputs=True):
        value = chosen.function(**{key: inputs[key] for key in chosen.inputs}, **layout).sum()
        if value.requires_grad:
            value.backward()
        with pytest.raises(DataDependentOutputException):  # the check can fail
            float(value.detach())


@NAMED
@pytest.mark.parametrize("transform", ["grad", "vjp"])
def test_functional_transforms_differentiate_it(name, transform) -> None:
    chosen = FUNCTIONS[name]
    inputs = packed_rays(COUNTS)
    expected = gradients(call(chosen, live := leaves(chosen, inputs), 7), chosen, live)[0]

    def scalar(x: Tensor) -> Tensor:
        value = call(chosen, inputs | {chosen.inputs[0]: x}, 7)
        return (torch.linspace(0.5, 1.5, value.numel()) * value).sum()

    x = inputs[chosen.inputs[0]]
    if transform == "grad":
        got = torch.func.grad(scalar)(x)
    else:
        value, pull = torch.func.vjp(scalar, x)
        (got,) = pull(torch.ones_like(value))
    torch.testing.assert_close(got, expected)


@pytest.mark.usefixtures("unhooked")
@NAMED
@pytest.mark.parametrize("dense", [True, False])
def test_compiles_as_one_graph_with_the_eager_value_and_gradient(name, dense) -> None:
    chosen = FUNCTIONS[name]
    counts = [4, 4] if dense else COUNTS
    inputs = packed_rays(counts)
    if dense:
        inputs |= {key: inputs[key].reshape(2, 4) for key in chosen.per_sample}

    def function(arguments: dict[str, Tensor]) -> Tensor:
        if not dense:
            return call(chosen, arguments, len(counts))
        return chosen.function(**{key: arguments[key] for key in chosen.inputs})

    torch.compiler.reset()
    compiled: Any = torch.compile(function, fullgraph=True, backend="aot_eager")
    found = []
    for f in (function, compiled):
        value = f(live := leaves(chosen, inputs))
        flat = gradients(value.flatten(), chosen, live)
        found.append((value.detach(), flat))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("dynamic", [None, True])
@NAMED
def test_another_number_of_samples_is_no_other_graph(name, dynamic) -> None:
    """A step of training has other samples each time, an occupancy grid's."""
    chosen = FUNCTIONS[name]
    torch.compiler.reset()
    compiled: Any = torch.compile(
        lambda arguments: call(chosen, arguments, 3),
        fullgraph=True,
        backend="aot_eager",
        dynamic=dynamic,
    )
    for step, counts in enumerate([[2, 0, 4], [3, 1, 5], [0, 2, 2], [6, 7, 8]]):
        # The first change of a size makes it a variable, if it is not one already.
        with torch._dynamo.config.patch(error_on_recompile=step > 1 or bool(step and dynamic)):
            inputs = packed_rays(counts)
            torch.testing.assert_close(compiled(inputs), call(chosen, inputs, 3))


@NAMED
@pytest.mark.parametrize("dense", [True, False])
def test_jax_compiles_value_and_gradient(name, dense) -> None:
    jax = pytest.importorskip("jax")
    chosen = FUNCTIONS[name]
    counts = [3, 3] if dense else COUNTS
    drawn = draw(np.random.default_rng(0), counts)
    indices = drawn["ray_indices"]
    if dense:
        drawn |= {key: drawn[key].reshape(2, 3) for key in chosen.per_sample}
    inputs = {key: drawn[key] for key in chosen.inputs}

    def scalar(xp: Any, at: Any, arguments: dict[str, Any]) -> Any:
        layout = {} if dense else {"ray_indices": at, "n_rays": len(counts)}
        value = chosen.function(**arguments, **layout).reshape(-1)
        return (xp.linspace(0.5, 1.5, value.shape[0], dtype=value.dtype) * value).sum()

    tensors = {key: torch.from_numpy(x).requires_grad_() for key, x in inputs.items()}
    value = scalar(torch, torch.from_numpy(indices), tensors)
    expected = torch.autograd.grad(value, list(tensors.values()), materialize_grads=True)
    with jax.enable_x64(True):
        function = jax.jit(
            jax.value_and_grad(
                lambda at, arguments: scalar(jax.numpy, at, arguments), argnums=1, allow_int=True
            )
        )
        got, slopes = function(jax.numpy.asarray(indices), jax.tree.map(jax.numpy.asarray, inputs))
        np.testing.assert_allclose(float(got), value.item(), rtol=1e-12)
        for key, slope in zip(inputs, expected, strict=True):
            np.testing.assert_allclose(np.asarray(slopes[key]), slope.numpy(), atol=1e-9)


@NAMED
def test_a_step_of_half_precision_is_computed_in_float32(name) -> None:
    chosen = FUNCTIONS[name]
    for dtype in (torch.float16, torch.bfloat16):
        inputs = leaves(chosen, packed_rays(COUNTS, dtype))
        value = call(chosen, inputs, 7)
        assert value.dtype == torch.float32
        found = gradients(value, chosen, inputs)
        assert all(x.isfinite().all() and x.dtype == dtype for x in found)


# Wrong calls.

N6 = torch.tensor([0, 0, 2, 2, 2, 3])
ONES = torch.ones(6)
WRONG_LAYOUTS = [
    ({"ray_indices": N6}, ValueError, "ray_indices without n_rays; the last rays may be empty"),
    ({"n_rays": 5}, ValueError, "n_rays=5 without ray_indices; packed samples need both"),
    (
        {"ray_indices": N6.tolist(), "n_rays": 5},
        TypeError,
        r"ray_indices must be an array \(torch, JAX or NumPy\), got list",
    ),
    (
        {"ray_indices": N6.numpy(), "n_rays": 5},
        TypeError,
        r"arguments must be arrays of one library, got \w+ torch, .*ray_indices numpy",
    ),
    *[
        (
            {"ray_indices": N6.to(dtype), "n_rays": 5},
            TypeError,
            f"ray_indices must be int32 or int64, got {dtype}",
        )
        for dtype in (torch.bool, torch.float32, torch.uint8, torch.int16)
    ],
    (
        {"ray_indices": N6.to("meta"), "n_rays": 5},
        ValueError,
        "arguments must be on one device, got .* on cpu, .*ray_indices on meta",
    ),
    (
        {"ray_indices": N6[:5], "n_rays": 5},
        ValueError,
        r"packed \w+ must be \(N,\) as ray_indices, got \(6,\) and ray_indices \(5,\)",
    ),
    *[
        ({"ray_indices": N6, "n_rays": wrong}, TypeError, f"n_rays must be an int, got {kind}")
        for wrong, kind in [(5.0, "float"), (True, "bool"), (torch.tensor(5), "Tensor")]
    ],
    ({"ray_indices": N6, "n_rays": -1}, ValueError, "n_rays must be >= 0, got -1"),
]
WRONG_INDICES = [
    (N6.flip(0), 5, "ray_indices must be sorted everywhere, but 2 of 5 values are not"),
    (N6, 3, r"ray_indices must be in \[0, n_rays\) = \[0, 3\) everywhere, but 1 of 6 values"),
    (N6 - 1, 5, r"ray_indices must be in \[0, n_rays\) .* but 2 of 6 .* \(smallest: -1\)"),
    (N6, 0, r"ray_indices must be in \[0, n_rays\) = \[0, 0\) everywhere, but 6 of 6 values"),
]
PLAIN = pytest.mark.parametrize("name", sorted(SEVERAL_LAYOUTS))


def samples_of(name: str, x: Any = ONES) -> dict[str, Any]:
    return dict.fromkeys(FUNCTIONS[name].per_sample, x)


@pytest.mark.usefixtures("unhooked")
@PLAIN
@pytest.mark.parametrize(("layout", "error", "message"), WRONG_LAYOUTS)
def test_says_what_is_wrong_with_a_layout(name, layout, error, message) -> None:
    with pytest.raises(error, match=f"^{name}: {message}"):
        getattr(rays, name)(**samples_of(name), **layout)


@pytest.mark.usefixtures("unhooked")
@PLAIN
def test_says_what_is_wrong_with_samples(name) -> None:
    function, layout = getattr(rays, name), {"ray_indices": N6, "n_rays": 5}
    with pytest.raises(ValueError, match=rf"^{name}: packed \w+ must be \(N,\) as ray_indices"):
        function(**samples_of(name, ONES[None]), **layout)
    for wrong, got in [([1.0] * 6, "list"), (1.0, "float")]:
        message = rf"^{name}: \w+ must be an array \(torch, JAX or NumPy\), got {got}"
        with pytest.raises(TypeError, match=message):
            function(**samples_of(name, wrong))
    with pytest.raises(TypeError, match=rf"^{name}: \w+ must be floating point, got torch.int64"):
        function(**samples_of(name, N6), **layout)
    with pytest.raises(ValueError, match=rf"^{name}: \w+ must be \(…, S\) with S >= 1, got \(\)"):
        function(**samples_of(name, torch.tensor(1.0)))


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("name", ["weights_from_density", "expected_depth", "median_depth"])
@pytest.mark.parametrize("layout", [{}, {"ray_indices": N6, "n_rays": 5}], ids=["dense", "packed"])
def test_says_that_samples_do_not_belong_together(name, layout) -> None:
    function, samples = getattr(rays, name), samples_of(name)
    first_name = next(iter(samples))
    message = rf"^{name}: arguments must be on one device, got {first_name} on cpu, .*ends on meta"
    with pytest.raises(ValueError, match=message):
        function(**samples | {"ends": ONES.to("meta")}, **layout)
    message = f"^{name}: arguments must be arrays of one library, got {first_name} torch, .* numpy"
    with pytest.raises(TypeError, match=message):
        function(**samples | {"ends": ONES.numpy()}, **layout)


@PLAIN
@pytest.mark.parametrize("library_name", LIBRARIES)
@pytest.mark.parametrize(("indices", "n_rays", "message"), WRONG_INDICES)
def test_wrong_indices_are_found_while_values_are_checked(
    name, library_name, indices, n_rays, message
) -> None:
    with library(library_name) as array:
        samples = samples_of(name, array(np.ones(6)))
        layout = {"ray_indices": array(indices.numpy()), "n_rays": n_rays}
        with check_values(), pytest.raises(ValueError, match=f"^{name}: {message}"):
            getattr(rays, name)(**samples, **layout)


@PLAIN
def test_right_indices_pass_while_values_are_checked(name) -> None:
    with check_values():
        getattr(rays, name)(**samples_of(name), ray_indices=N6, n_rays=4)
        nothing = {"ray_indices": N6[:0], "n_rays": 0}
        getattr(rays, name)(**samples_of(name, ONES[:0]), **nothing)


@PLAIN
def test_values_that_are_only_traced_are_not_checked(name) -> None:
    jax = pytest.importorskip("jax")
    ones, wrong = jax.numpy.ones(6), jax.numpy.asarray(N6.flip(0).numpy().astype(np.int32))
    function = getattr(rays, name)

    @jax.jit
    def compiled(ones, indices):
        return function(**samples_of(name, ones), ray_indices=indices, n_rays=5)

    with check_values():
        compiled(ones, wrong)
        with pytest.raises(ValueError, match="sorted"):  # the same, not traced
            function(**samples_of(name, ones), ray_indices=wrong, n_rays=5)


@pytest.mark.usefixtures("unhooked")
@PLAIN
def test_values_are_not_checked_while_torch_compiles(name) -> None:
    torch.compiler.reset()
    function = getattr(rays, name)
    compiled: Any = torch.compile(
        lambda ones, at: function(**samples_of(name, ones), ray_indices=at, n_rays=5),
        fullgraph=True,
        backend="aot_eager",
    )
    with check_values():
        compiled(ONES, N6)


@pytest.mark.usefixtures("unhooked")
def test_the_norm_of_directions_is_one_number_a_ray_on_their_device() -> None:
    x, layout = torch.ones(6), {"ray_indices": N6, "n_rays": 5}
    weights = rays.weights_from_density
    for norm, error, message in [
        (torch.ones(6), ValueError, r"must have shape \(5,\), one a ray, got \(6,\)"),
        (torch.ones(5).int(), TypeError, "must be floating point, got torch.int32"),
    ]:
        with pytest.raises(error, match="^weights_from_density: direction_norm " + message):
            weights(x, 0 * x, x, norm, **layout)
    with pytest.raises(ValueError, match="got density on cpu, direction_norm on meta"):
        weights(x, 0 * x, x, torch.ones(5, device="meta"), **layout)
    with pytest.raises(TypeError, match=r"one library, got .*, direction_norm numpy"):
        weights(x, 0 * x, x, np.ones(5, np.float32), **layout)


@pytest.mark.parametrize("layout", [{}, {"ray_indices": torch.zeros(2).long(), "n_rays": 1}])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ends": torch.tensor([0.5, 2.0])}, r"f: ends must be >= starts everywhere, but 1 of 2"),
        (
            {"weights": torch.tensor([0.5, -1.0])},
            r"f: weights must be >= 0 everywhere.*smallest: -1",
        ),
    ],
)
def test_impossible_samples_are_found_while_values_are_checked(layout, changes, message):
    starts = torch.tensor([1.0, 2.0])
    samples = {"weights": torch.full((2,), 0.5), "starts": starts, "ends": starts + 1}
    ray_layout("f", **layout, **{**samples, **changes})
    with check_values():
        ray_layout("f", **layout, **samples)
        ray_layout("f", **layout, **{name: x * torch.nan for name, x in samples.items()})
        with pytest.raises(ValueError, match=message):
            ray_layout("f", **layout, **{**samples, **changes})


@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_sums_of_each_rays_first_samples(n):
    """Few of many samples are gathered, many are ranked; both sum alike, as dense rays do."""
    counts = [3, 0, 1, 7, 0]
    index = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
    x = torch.rand(11, dtype=torch.float64, requires_grad=True)
    layout = ray_layout("f", index, 5, x=x)
    expected = torch.stack([part[:n].sum() for part in x.split(counts)])
    found = total_of_first(layout, x, n)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected.square().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], wanted)
    dense = torch.rand(2, 3, 7)
    assert torch.equal(total_of_first(ray_layout("f", x=dense), dense, n), dense[..., :n].sum(-1))
