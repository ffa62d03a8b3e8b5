"""Schedules at a step of torch, JAX and NumPy: the values of an int, in kind, traced or not."""

from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from nerfreg.schedules import (
    Cosine,
    FrequencyMask,
    Linear,
    LogLinear,
    OpacityDropout,
    PrefilterAnnealing,
    SampleSpaceAnnealing,
)

STEPS = (0, 1, 4, 7, 10, 13, 100)
LIBRARIES = {
    "torch": (torch.asarray, torch.Tensor),
    "JAX": (jnp.asarray, jax.Array),
    "NumPy": (np.asarray, np.ndarray | np.generic),
    "a NumPy scalar": (np.int64, np.ndarray | np.generic),
    "the standard": (array_api_strict.asarray, type(array_api_strict.zeros(1))),
}
NEAR, FAR = np.array([0.5, 2.0], np.float32), np.array([3.5, 6.0], np.float32)
# Dynamo cannot construct what the shape checks have wrapped.
MASK, NO_MASK = FrequencyMask(10), FrequencyMask(0)
SCHEDULES = {
    "linear": Linear(2.0, 1.0, 10),
    "log-linear": LogLinear(2.0, 1.0, 10, begin=3),
    "cosine": Cosine(2.0, 1.0, 10, begin=3),
    "a jump": Linear(2.0, 1.0, 0),
    "annealing": SampleSpaceAnnealing(10, 0.5).eta,
    "annealing, released": SampleSpaceAnnealing(10, 0.5, form="released").eta,
    "pre-filter": PrefilterAnnealing(10, 0.5),
    "pre-filter, released": PrefilterAnnealing(10, 0.5, form="released"),
    "no pre-filter": PrefilterAnnealing(0, 0.5),
    "mask": lambda step: MASK(step, 4),
    "no mask": lambda step: NO_MASK(step, 4),
    **{
        f"mask, {layout}": lambda step, layout=layout: MASK.columns(
            step, 4, layout, position="first"
        )
        for layout in ("interleaved", "grouped", "interleaved_by_axis", "released")
    },
}


def bounds(step: Any, near: Any, far: Any) -> Any:
    return SampleSpaceAnnealing(10, 0.5, 0.25)(step, near, far)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_step_of_any_library_is_answered_in_kind(name, library) -> None:
    make, kind = LIBRARIES[library]
    for step in STEPS:
        got = SCHEDULES[name](make(step))
        assert isinstance(got, kind)
        # Shares of float32 numbers; a mask multiplies them by its 9 groups.
        np.testing.assert_allclose(
            np.asarray(got), np.asarray(SCHEDULES[name](step)), rtol=1e-6, atol=2e-6
        )


@pytest.mark.parametrize("library", LIBRARIES)
def test_bounds_of_any_library_are_answered_in_kind(library) -> None:
    make, kind = LIBRARIES[library]
    asarray = np.asarray if make is np.int64 else make
    near, far = asarray(NEAR), asarray(FAR)
    for step in STEPS:
        expected = np.stack(bounds(step, NEAR.astype(np.float64), FAR.astype(np.float64)))
        for given in (step, make(step)):
            got = bounds(given, near, far)
            assert all(isinstance(bound, kind) for bound in got)
            np.testing.assert_allclose(np.stack([np.asarray(b) for b in got]), expected, rtol=1e-6)


def test_numpy_computes_in_float64() -> None:
    """It is the readable reference of the others."""
    step = np.asarray(3)
    assert Linear(2.0, 1.0, 10)(step) == Linear(2.0, 1.0, 10)(3)
    assert FrequencyMask(7)(step, 4).dtype == np.float64


@pytest.mark.parametrize("name", SCHEDULES)
def test_jax_traces_a_step_once(name) -> None:
    traced = []

    @jax.jit
    def schedule(step: Any) -> Any:
        traced.append(step)
        return SCHEDULES[name](step)

    for step in STEPS:
        np.testing.assert_allclose(
            np.asarray(schedule(step)), np.asarray(SCHEDULES[name](step)), rtol=1e-6, atol=2e-6
        )
    assert len(traced) == 1


def test_jax_traces_bounds_and_differentiates_them() -> None:
    schedule = jax.jit(jax.grad(lambda near, step: bounds(step, near, FAR)[0].sum()))
    # d near / d near = η + (1 − η)(1 − mid), with η = 0.5 at step 0 and 1 at step 10.
    np.testing.assert_allclose(schedule(NEAR, 0), [0.875, 0.875], rtol=1e-6)
    np.testing.assert_allclose(schedule(NEAR, 10), [1.0, 1.0], rtol=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("name", SCHEDULES)
def test_torch_compiles_a_tensor_step_once(name) -> None:
    torch.compiler.reset()
    compiled: Any = torch.compile(SCHEDULES[name], fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in STEPS:
            expected = torch.as_tensor(SCHEDULES[name](step), dtype=torch.float32)
            torch.testing.assert_close(compiled(torch.tensor(step)), expected)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("name", SCHEDULES)
def test_torch_compiles_with_an_int_step_without_a_warning(name) -> None:
    """Such a step is compiled again now and then; it must not look for other libraries inside."""
    torch.compiler.reset()
    compiled: Any = torch.compile(
        lambda step, x: SCHEDULES[name](step) * x, fullgraph=True, backend="aot_eager", dynamic=True
    )
    for step in (3, 4, 13):
        expected = SCHEDULES[name](step) * torch.ones(1)
        torch.testing.assert_close(compiled(step, torch.ones(1)), expected)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("schedule", "owner"),
    [
        (Linear(2.0, 1.0, 10), "Linear"),
        (LogLinear(2.0, 1.0, 10, begin=3), "LogLinear"),
        (Cosine(2.0, 1.0, 10), "Cosine"),
        (SampleSpaceAnnealing(10, 0.5).eta, "SampleSpaceAnnealing"),
        (PrefilterAnnealing(10, 0.5), "PrefilterAnnealing"),
        (PrefilterAnnealing(10, 0.5, form="released"), "PrefilterAnnealing"),
        (lambda step: MASK(step, 4), "FrequencyMask"),
        (lambda step: NO_MASK(step, 4), "FrequencyMask"),
        (OpacityDropout(10).probability, "OpacityDropout"),
    ],
)
def test_says_what_a_step_must_be(schedule, owner) -> None:
    for make in (torch.tensor, jnp.asarray, np.asarray):
        with pytest.raises(ValueError, match=rf"^{owner}: step must be an int or .* \(2,\)$"):
            schedule(make([1, 2]))
    for bad in ([1], None, "1"):
        with pytest.raises(TypeError, match=rf"^{owner}: step .* got {type(bad).__name__}$"):
            schedule(bad)
