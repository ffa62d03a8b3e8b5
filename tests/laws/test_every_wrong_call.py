"""Wrong calls: each raises, and says which argument is wrong, whatever the regularizer."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from nerfreg import check_values
from tests.laws.calls import Arrays, floats, library, pack, tensors, valid_shape
from tests.laws.catalogue import REGULARIZERS, Regularizer

pytestmark = pytest.mark.usefixtures("unhooked")

EACH = pytest.mark.parametrize("regularizer", REGULARIZERS.values(), ids=REGULARIZERS)
PACKED = {name: r for name, r in REGULARIZERS.items() if r.per_sample}
EACH_PACKED = pytest.mark.parametrize("regularizer", PACKED.values(), ids=PACKED)


def refuses(regularizer: Regularizer, error: type[Exception], message: str, inputs: Arrays) -> None:
    """Assert that a call raises, with the function's name in front."""
    options = regularizer.law_options or regularizer.options[0]
    with pytest.raises(error) as raised:
        regularizer.function(**inputs, **options)
    text = str(raised.value)
    assert text.startswith(f"{regularizer.function.__name__}: ")
    assert re.search(message, text), text


def drawn(regularizer: Regularizer, n: int = 3) -> Arrays:
    return tensors(regularizer.draw(np.random.default_rng(0), n), torch.float32)


def given(inputs: Arrays) -> list[tuple[str, Any]]:
    """Each floating-point argument with its name."""
    return [(name, inputs[name]) for name in floats(inputs)]


@EACH
def test_what_is_no_floating_point_array(regularizer) -> None:
    inputs = drawn(regularizer)
    for name, x in given(inputs):
        for wrong in (x.long(), x > 0, x.to(torch.complex64)):
            message = rf"\b{name} must be floating point, got {wrong.dtype}"
            refuses(regularizer, TypeError, message, {**inputs, name: wrong})
        message = rf"\b{name} must be an array \(torch, JAX or NumPy\), got (list|float)"
        for wrong in (x.tolist(), 1.0):
            refuses(regularizer, TypeError, message, {**inputs, name: wrong})


@EACH
def test_shapes_are_never_broadcast(regularizer) -> None:
    """The message names an argument that does not fit: the wrong one, or one beside it."""
    inputs = drawn(regularizer)
    some_name = rf"\b({'|'.join(inputs)})\b"
    for name, x in given(inputs):
        refuses(regularizer, ValueError, rf"{some_name}.* got .*\(\)", {**inputs, name: x.sum()})
        if len(inputs) == 1:  # any number of units is right
            continue
        for wrong in (x[:-1], x[:1], x[None], x[..., None]):
            refuses(regularizer, ValueError, some_name, {**inputs, name: wrong})


@EACH
def test_arguments_on_several_devices(regularizer) -> None:
    inputs = drawn(regularizer)
    valid = torch.ones(valid_shape(regularizer, inputs), dtype=torch.bool)
    inputs = {**inputs, "valid": valid}
    for name in inputs:
        message = r"must be on one device, got .*\bmeta\b"
        refuses(regularizer, ValueError, message, {**inputs, name: inputs[name].to("meta")})


@EACH
def test_arguments_of_several_libraries(regularizer) -> None:
    inputs = drawn(regularizer)
    valid = torch.ones(valid_shape(regularizer, inputs), dtype=torch.bool)
    for other in ("numpy", "jax"):
        with library(other) as array:
            for name in (*floats(inputs), "valid"):
                wrong = array({**inputs, "valid": valid}[name].numpy())
                changed = {"valid": valid, **inputs, name: wrong}
                refuses(regularizer, TypeError, "arrays of one library, got .*torch", changed)


@EACH
def test_masks_that_are_none(regularizer) -> None:
    inputs = drawn(regularizer)
    shape = valid_shape(regularizer, inputs)
    ones = torch.ones(shape, dtype=torch.bool)
    for wrong in (ones.float(), ones.int(), ones[:-1], ones[:1], ones[None], ones[..., None]):
        message = re.escape(f"valid must be boolean of shape {shape}, got ")
        refuses(regularizer, ValueError, message, {**inputs, "valid": wrong})
    message = "valid must be a boolean array, got list"
    refuses(regularizer, TypeError, message, {**inputs, "valid": ones.tolist()})


@EACH
def test_reductions_that_are_none(regularizer) -> None:
    for wrong in ("max", None, 0):
        message = rf'reduction must be "mean", "sum" or "none", got {wrong!r}'
        refuses(regularizer, ValueError, message, {**drawn(regularizer), "reduction": wrong})


@EACH
def test_a_target_that_is_not_finite(regularizer) -> None:
    """Raises while values are checked, unless it is masked."""
    inputs = drawn(regularizer)
    assert set(regularizer.targets) <= inputs.keys()
    for name in regularizer.targets:
        for filling in (torch.nan, torch.inf):
            wrong = inputs[name].clone()
            wrong[1].view(-1)[-1] = filling
            changed = {**inputs, name: wrong}
            with check_values():
                refuses(
                    regularizer, ValueError, rf"\b{name} must be finite \(or not valid\)", changed
                )
                valid = torch.ones(valid_shape(regularizer, inputs), dtype=torch.bool)
                valid[1] = False
                options = regularizer.law_options or regularizer.options[0]
                value = regularizer.function(**changed, **options, valid=valid)
                assert value.isfinite()


# Packed samples


def packed(regularizer: Regularizer) -> Arrays:
    """Three rays, the second without samples."""
    inputs = regularizer.draw(np.random.default_rng(0), 3)
    keep = np.ones(inputs[regularizer.per_sample[0]].shape[:2], bool)
    keep[1] = False
    return tensors(pack(regularizer, inputs, {"ray_indices": keep}), torch.float32)


@EACH_PACKED
def test_packed_samples_that_do_not_fit(regularizer) -> None:
    inputs = packed(regularizer)
    indices = inputs["ray_indices"]
    for wrong in (indices.float(), indices.tolist()):
        message = "ray_indices must be .*, got "
        refuses(regularizer, TypeError, message, {**inputs, "ray_indices": wrong})
    for wrong in (indices[:-1], indices[None]):
        refuses(
            regularizer, ValueError, r"packed .* as ray_indices", {**inputs, "ray_indices": wrong}
        )
    refuses(regularizer, ValueError, "one device", {**inputs, "ray_indices": indices.to("meta")})
    refuses(regularizer, ValueError, "ray_indices without n_rays", {**inputs, "n_rays": None})
    refuses(
        regularizer, ValueError, "n_rays=3 without ray_indices", {**inputs, "ray_indices": None}
    )
    refuses(regularizer, ValueError, "n_rays must be >= 0", {**inputs, "n_rays": -1})
    for wrong in (3.0, True, torch.tensor(3)):
        refuses(regularizer, TypeError, "n_rays must be an int", {**inputs, "n_rays": wrong})
    for name in regularizer.per_sample:
        changed = {**inputs, name: inputs[name][:-1]}
        message = r"packed \w+ must be \(N,\) as ray_indices|one colour a sample"
        refuses(regularizer, ValueError, message, changed)
    for name in inputs.keys() - {*regularizer.per_sample, "ray_indices", "n_rays"}:
        changed = {**inputs, name: inputs[name][:-1]}
        refuses(regularizer, ValueError, rf"\b{name} must have shape \(3", changed)


@EACH_PACKED
def test_ray_indices_that_lead_nowhere(regularizer) -> None:
    """Found while values are checked, as looking at them waits for the device."""
    inputs = packed(regularizer)
    indices = inputs["ray_indices"]
    arrays = {k: x for k, x in inputs.items() if k not in ("ray_indices", "n_rays")}
    with check_values():
        options = regularizer.law_options or regularizer.options[0]
        assert regularizer.function(**inputs, **options).isfinite()
        for wrong, message in [
            (indices.flip(0), "ray_indices must be sorted"),
            (indices - 1, r"ray_indices must be in \[0, n_rays\)"),
            (indices + 1, r"ray_indices must be in \[0, n_rays\) = \[0, 3\)"),
        ]:
            refuses(regularizer, ValueError, message, {**inputs, "ray_indices": wrong})
        few = {k: x[:2] if k not in regularizer.per_sample else x for k, x in arrays.items()}
        message = r"ray_indices must be in \[0, n_rays\) = \[0, 2\)"
        refuses(regularizer, ValueError, message, {**few, "ray_indices": indices, "n_rays": 2})
