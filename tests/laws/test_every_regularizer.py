"""The laws that all regularizers obey, over all of them at once."""

import inspect
from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from nerfreg import losses
from tests.laws.calls import (
    Arrays,
    along,
    convert,
    floats,
    library,
    n_samples,
    one_ray,
    pack,
    padded,
    set_of,
    some_samples,
    some_valid,
    tensors,
    valid_shape,
    value_and_gradients,
)
from tests.laws.catalogue import REGULARIZERS, Regularizer

REDUCTIONS = ("mean", "sum", "none")


def over(regularizers: Mapping[str, Regularizer], *, law: bool = False) -> pytest.MarkDecorator:
    """Run with each combination of options, or with the one of which the laws of units hold."""
    found = [
        pytest.param(r, options, id=f"{name}-{','.join(f'{k}={v}' for k, v in options.items())}")
        for name, r in regularizers.items()
        for options in ([r.law_options] if law else r.options)
    ]
    return pytest.mark.parametrize(("regularizer", "options"), found)


EVERY = over(REGULARIZERS)
LAW = over(REGULARIZERS, law=True)
PACKED = over({name: r for name, r in REGULARIZERS.items() if r.per_sample})
EACH = pytest.mark.parametrize("regularizer", REGULARIZERS.values(), ids=REGULARIZERS)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=5)
some = settings(max_examples=12)


def drawn(regularizer: Regularizer, seed: int, n: int) -> tuple[np.random.Generator, Arrays]:
    rng = np.random.default_rng(seed)
    return rng, regularizer.draw(rng, n)


def layouts(regularizer: Regularizer, seed: int) -> list[Arrays]:
    """Four units with a mask; and, where that may be, some of their samples, packed."""
    rng, inputs = drawn(regularizer, seed, 4)
    valid = some_valid(rng, regularizer, inputs)
    found = [{**inputs, "valid": valid}]
    if regularizer.per_sample:
        packed = pack(regularizer, inputs, some_samples(rng, regularizer, inputs))
        found.append({**packed, "valid": valid})
    return found


def assert_same(got: Any, expected: Any, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """Compare two arrays, of any library."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def assert_same_gradients(got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare gradients, up to rounding beside the largest of each argument."""
    assert got.keys() == expected.keys()
    for name, x in expected.items():
        largest = float(np.abs(np.asarray(x)).max(initial=0.0))
        assert_same(got[name], x, rtol=1e-9, atol=1e-12 + 1e-10 * largest)


def assert_same_both(got: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    """Compare values and gradients."""
    assert_same(got[0], expected[0])
    assert_same_gradients(got[1], expected[1])


# The catalogue


def test_every_public_regularizer_is_in_the_catalogue() -> None:
    public = {getattr(losses, name) for name in losses.__all__} - {losses.Reduction, losses.reduce}
    functions = {regularizer.function for regularizer in REGULARIZERS.values()}
    modules = {regularizer.module for regularizer in REGULARIZERS.values()}
    assert functions | modules == public
    assert len(functions) == len(modules)


@pytest.mark.parametrize("function", sorted({r.function.__name__ for r in REGULARIZERS.values()}))
def test_the_catalogue_has_every_input_and_option(function) -> None:
    entries = [r for r in REGULARIZERS.values() if r.function.__name__ == function]
    options = inspect.signature(entries[0].module).parameters
    inputs = inspect.signature(entries[0].module.forward).parameters.keys() - {"self", "valid"}
    drawn = {name for r in entries for name in r.draw(np.random.default_rng(0), 2)}
    layout = {name for r in entries for name in r.packed_beside}
    if entries[0].per_sample:
        layout |= {"ray_indices", "n_rays"}
    assert drawn | layout == inputs
    chosen = [chosen for r in entries for chosen in (*r.options, r.law_options)]
    varied = {k for some in chosen for k, value in some.items() if value != options[k].default}
    assert varied | {"reduction"} == options.keys()
    required = {name for name, option in options.items() if option.default is option.empty}
    assert any(some.keys() == required for some in chosen)


# Values and gradients


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_answers_one_number_or_one_a_unit(regularizer, options, dtype) -> None:
    _, inputs = drawn(regularizer, 0, 4)
    parameters = inspect.signature(regularizer.function).parameters
    optional = [name for name in inputs if parameters[name].default is None]
    for without in ([], *([name] for name in optional), optional):
        if "distance" in options and without:  # needs what is otherwise optional
            continue
        some = {name: x for name, x in tensors(inputs, dtype).items() if name not in without}
        for reduction in REDUCTIONS:
            value = regularizer.function(**some, **options, reduction=reduction)
            assert value.shape == ((4,) if reduction == "none" else ())
            assert value.dtype == dtype
            assert value.isfinite().all()


@EVERY
def test_libraries_agree(regularizer, options) -> None:
    for inputs in layouts(regularizer, 1):
        unmasked = {name: x for name, x in inputs.items() if name != "valid"}
        for name in set(regularizer.libraries) - {"torch", "jax"}:
            if name == "strict" and any(key.endswith("ray_indices") for key in inputs):
                continue
            with library(name) as array:
                for some in (inputs, unmasked):
                    for reduction in REDUCTIONS:
                        given = {**options, "reduction": reduction}
                        value = regularizer.function(**convert(some, array), **given)
                        assert type(value) is type(array(np.ones(1))) or name == "numpy"
                        assert "float64" in str(value.dtype)
                        assert_same(value, regularizer.function(**tensors(some), **given))


@EVERY
def test_jax_agrees_when_compiled_and_differentiated(regularizer, options) -> None:
    if "jax" not in regularizer.libraries:
        pytest.skip("torch only")
    jax = pytest.importorskip("jax")
    for inputs in layouts(regularizer, 2):
        with library("jax") as array:
            fixed = convert(inputs, array)
            names = [name for name in floats(inputs) if name not in regularizer.detached]
            leaves = {name: fixed.pop(name) for name in names}

            def weighed(leaves: Arrays, fixed: Arrays = fixed) -> Any:
                value = regularizer.function(**leaves, **fixed, **options, reduction="none")
                return (value * np.linspace(0.5, 1.5, value.size)).sum(), value

            (_, value), gradients = jax.jit(jax.value_and_grad(weighed, has_aux=True))(leaves)
        expected = value_and_gradients(regularizer, tensors(inputs), options)
        assert_same_both((value, gradients), expected)


@EACH
def test_jax_computes_in_32_bits_by_default(regularizer) -> None:
    if "jax" not in regularizer.libraries:
        pytest.skip("torch only")
    jax = pytest.importorskip("jax")
    _, inputs = drawn(regularizer, 3, 4)
    arrays = convert(inputs, lambda x: jax.numpy.asarray(x.astype(np.float32)))
    value = regularizer.function(**arrays, **regularizer.options[0])
    assert isinstance(value, jax.Array)
    assert value.dtype == jax.numpy.float32
    expected = regularizer.function(**tensors(inputs), **regularizer.options[0])
    assert_same(value, expected, rtol=1e-3)


@EACH
@pytest.mark.usefixtures("unhooked")
def test_compiles_as_one_graph(regularizer) -> None:
    """Dense with the first options, packed with the last; the tracer finds breaks and warnings."""
    torch.compiler.reset()
    options = regularizer.options[0], regularizer.options[-1]
    runs = zip(layouts(regularizer, 4), options, strict=False)
    if len(regularizer.options) > 1 and not regularizer.per_sample:
        _, unmasked = drawn(regularizer, 4, 4)
        runs = [*runs, (unmasked, options[-1])]
    compiled = torch.compile(regularizer.function, fullgraph=True, backend="aot_eager")
    for inputs, chosen in runs:
        inputs = tensors(inputs)
        got = value_and_gradients(regularizer, inputs, chosen, function=compiled)
        assert_same_both(got, value_and_gradients(regularizer, inputs, chosen))


@EVERY
def test_gradients_are_those_of_finite_differences(regularizer, options) -> None:
    _, inputs = drawn(regularizer, 5, 2)
    fixed = tensors(inputs)
    names = [name for name in floats(inputs) if name not in regularizer.detached]
    leaves = [fixed.pop(name).requires_grad_() for name in names]

    def function(*leaves: torch.Tensor) -> torch.Tensor:
        some = dict(zip(names, leaves, strict=True))
        return regularizer.function(**some, **fixed, **options, reduction="none")

    assert torch.autograd.gradcheck(function, leaves)


@EVERY
def test_gradients_reach_all_but_what_is_detached(regularizer, options) -> None:
    _, inputs = drawn(regularizer, 6, 3)
    inputs = tensors(inputs)
    leaves = {name: inputs[name].requires_grad_() for name in floats(inputs)}
    regularizer.function(**inputs, **options).backward()
    reached = {name for name, x in leaves.items() if x.grad is not None and x.grad.any()}
    assert reached == leaves.keys() - set(regularizer.detached)


# Masks and reductions


@EVERY
def test_a_mask_of_ones_is_no_mask(regularizer, options) -> None:
    _, inputs = drawn(regularizer, 7, 4)
    inputs = tensors(inputs)
    masked = {**inputs, "valid": torch.ones(valid_shape(regularizer, inputs), dtype=torch.bool)}
    for reduction in REDUCTIONS:
        got = value_and_gradients(regularizer, masked, options, reduction=reduction)
        expected = value_and_gradients(regularizer, inputs, options, reduction=reduction)
        assert_same_both(got, expected)


@EVERY
def test_an_empty_mask_gives_a_differentiable_zero(regularizer, options) -> None:
    for inputs in layouts(regularizer, 8):
        inputs["valid"] = np.zeros_like(inputs["valid"])
        for filling in (1.0, np.nan):
            some = tensors(
                {k: x * filling if k in floats(inputs) else x for k, x in inputs.items()}
            )
            for reduction in REDUCTIONS:
                value, gradients = value_and_gradients(
                    regularizer, some, options, reduction=reduction
                )
                assert not value.any()
                assert not any(x.any() for x in gradients.values())


@EVERY
@few
@given(seed=seeds)
def test_what_is_invalid_may_hold_anything(regularizer, options, seed) -> None:
    for inputs in layouts(regularizer, seed):
        valid, spoiled = inputs["valid"], dict(inputs)
        filling = np.random.default_rng(seed).choice([np.nan, np.inf, -1e30])
        for name in floats(inputs):
            x, indices = inputs[name], set_of(regularizer, name)
            mask = valid[inputs[indices]] if indices in inputs else valid
            if x.shape[: mask.ndim] == mask.shape:
                spoiled[name] = np.where(along(mask, x), x, filling)
        got = value_and_gradients(regularizer, tensors(spoiled), options)
        assert_same_both(got, value_and_gradients(regularizer, tensors(inputs), options))


@EVERY
@some
@given(seed=seeds, n=st.integers(2, 5))
def test_units_are_independent(regularizer, options, seed, n) -> None:
    """Permuted, split and joined, each unit keeps its value; reductions sum and average them."""
    rng, inputs = drawn(regularizer, seed, n)
    valid = inputs["valid"] = some_valid(rng, regularizer, inputs)

    def values(units: Any, reduction: str = "none") -> Any:
        some = tensors({name: x[units] for name, x in inputs.items()})
        return regularizer.function(**some, **options, reduction=reduction)

    everything = slice(None)
    whole, total, mean = (values(everything, reduction) for reduction in ("none", "sum", "mean"))
    order = rng.permutation(n)
    assert_same(values(order), whole[torch.from_numpy(order)])
    cut = int(rng.integers(1, n))
    assert_same(torch.cat([values(slice(cut)), values(slice(cut, None))]), whole)
    assert_same(total, whole.sum())

    # The mean is over units that count: those with a value do, those that are invalid do not.
    counting = np.flatnonzero(valid.reshape(n, -1).any(1))
    assert_same(values(counting, "mean"), mean)
    assert_same(values(counting, "sum"), total)
    if total == 0.0:
        assert mean == 0.0
    else:
        count = (total / mean).item()
        assert count == pytest.approx(round(count), rel=1e-9)
        assert (whole != 0.0).sum() <= round(count) <= len(counting)


# Packed samples


@PACKED
@few
@given(seed=seeds, n=st.integers(1, 5))
def test_packed_equals_dense(regularizer, options, seed, n) -> None:
    """Ray by ray, whatever samples it has; a ray without any has one sample that is nothing."""
    rng, inputs = drawn(regularizer, seed, n)
    keep = some_samples(rng, regularizer, inputs)
    packed = tensors(pack(regularizer, inputs, keep))
    values, gradients = value_and_gradients(regularizer, packed, options)
    weights = np.linspace(0.5, 1.5, n) / 0.5  # of the rays in what was differentiated
    for ray in range(n):
        dense = tensors(one_ray(regularizer, inputs, ray, keep))
        value, expected = value_and_gradients(regularizer, dense, options)
        assert_same(values[ray : ray + 1], value)
        for name, x in gradients.items():
            indices, mine, alone = set_of(regularizer, name), x[ray : ray + 1], expected[name]
            if indices in keep:
                mine = x[packed[indices] == ray]
                alone = alone[0, : len(mine)]  # without the sample that is nothing
            assert_same_gradients({name: mine}, {name: weights[ray] * alone})
    for reduction, expected in (("sum", values.sum()), ("mean", values.mean())):
        assert_same(regularizer.function(**packed, **options, reduction=reduction), expected)


@PACKED
@some
@given(seed=seeds, data=st.data())
def test_an_interval_without_width_and_weight_is_neutral(regularizer, options, seed, data) -> None:
    _, inputs = drawn(regularizer, seed, 3)
    places = regularizer.padding(options, n_samples(regularizer, inputs))
    if not places:
        return
    at = data.draw(st.sampled_from(places))
    value, gradients = value_and_gradients(
        regularizer, tensors(padded(regularizer, inputs, at)), options
    )
    expected = value_and_gradients(regularizer, tensors(inputs), options)
    assert_same(value, expected[0])
    # What is inserted between two bounds may take over a part of their gradient.
    for name in gradients.keys() & set(regularizer.per_sample) - {"starts", "ends"}:
        others = np.delete(gradients[name].numpy(), at, axis=1)
        assert_same_gradients({name: others}, {name: expected[1][name]})


# The scene's unit and origin


@LAW
@some
@given(seed=seeds, factor=st.floats(0.1, 10.0))
def test_scales_as_its_unit(regularizer, options, seed, factor) -> None:
    if regularizer.scaling is None:
        return
    names, power = regularizer.scaling
    _, inputs = drawn(regularizer, seed, 3)
    scaled = {name: factor * x if name in names else x for name, x in inputs.items()}
    got = regularizer.function(**tensors(scaled), **options, reduction="none")
    value = regularizer.function(**tensors(inputs), **options, reduction="none")
    assert_same(got, factor**power * value, rtol=1e-8, atol=1e-10)


@LAW
@some
@given(seed=seeds, shift=st.floats(-10.0, 10.0))
def test_shifting_changes_nothing(regularizer, options, seed, shift) -> None:
    if regularizer.shifting is None:
        return
    _, inputs = drawn(regularizer, seed, 3)
    moved = {name: x + shift if name in regularizer.shifting else x for name, x in inputs.items()}
    got = regularizer.function(**tensors(moved), **options, reduction="none")
    value = regularizer.function(**tensors(inputs), **options, reduction="none")
    assert_same(got, value, rtol=1e-7, atol=1e-9)


@LAW
@some
@given(seed=seeds)
def test_has_a_lower_bound(regularizer, options, seed) -> None:
    _, inputs = drawn(regularizer, seed, 4)
    value = regularizer.function(**tensors(inputs), **options, reduction="none")
    assert regularizer.least is None or (value >= regularizer.least - 1e-12).all()


@EACH
def test_reaches_its_lower_bound(regularizer) -> None:
    if regularizer.zero is None:
        assert regularizer.least is None
        return
    value = regularizer.function(**tensors(dict(regularizer.zero)), **regularizer.law_options)
    assert value.item() == pytest.approx(regularizer.least, abs=1e-6)


# The module


@EVERY
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_module_is_the_function(regularizer, options, reduction) -> None:
    module = regularizer.module(**options, reduction=reduction)
    for inputs in layouts(regularizer, 9):
        inputs = tensors(inputs)
        expected = regularizer.function(**inputs, **options, reduction=reduction)
        assert torch.equal(module(**inputs), expected)


@EVERY
def test_the_module_shows_its_options(regularizer, options) -> None:
    parameters = inspect.signature(regularizer.module).parameters
    chosen = {name: options.get(name, p.default) for name, p in parameters.items()}
    shown = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    assert repr(regularizer.module(**options)) == f"{regularizer.module.__name__}({shown})"


# Numbers of every size


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_loses_its_input_only(regularizer, options, dtype) -> None:
    _, inputs = drawn(regularizer, 10, 16)
    low = regularizer.function(**tensors(inputs, dtype), **options)
    assert low.dtype == torch.float32
    bound = regularizer.half[str(dtype).removeprefix("torch.")]
    expected = regularizer.function(**tensors(inputs), **options)
    assert low.item() == pytest.approx(expected.item(), rel=bound)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
def test_finite_numbers_give_finite_numbers(regularizer, options, dtype) -> None:
    """One argument holds 0, or a magnitude from the smallest to the largest, a unit each."""
    finfo = torch.finfo(dtype)
    sizes = np.geomspace(finfo.smallest_normal, finfo.max, 24)
    for argument in floats(regularizer.draw(np.random.default_rng(0), 1)):
        low, high = regularizer.bounds(argument, str(dtype).removeprefix("torch."))
        inside = np.unique(np.clip([0.0, *sizes], low, min(high, finfo.max)))
        for everywhere in (True, False):
            rng, inputs = drawn(regularizer, 11, len(inside))
            rows = inputs[argument].reshape(len(inside), -1)
            at = slice(None) if everywhere else rng.integers(rows.shape[1], size=1)
            rows[:, at] = inside[:, None]
            inputs[argument] = rows.reshape(inputs[argument].shape)
            some = tensors(inputs, dtype)
            value = regularizer.function(**some, **options, reduction="none").detach()
            where = f"of {argument} {'everywhere' if everywhere else 'once'}"
            assert inside[~value.isfinite().numpy()].tolist() == [], f"value {where}"
            _, gradients = value_and_gradients(regularizer, some, options, reduction="mean")
            for name, gradient in gradients.items():
                bad = ~gradient.isfinite().reshape(len(inside), -1).all(1).numpy()
                assert inside[bad].tolist() == [], f"gradient to {name} {where}"
