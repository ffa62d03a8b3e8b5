"""How the laws call a regularizer: in each array library, with gradients, with packed samples."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.laws.catalogue import Regularizer

Arrays = dict[str, Any]


def is_float(x: Any) -> bool:
    return "float" in str(getattr(x, "dtype", ""))


def floats(inputs: Arrays) -> list[str]:
    """Name the arguments that hold floating-point numbers."""
    return [name for name, x in inputs.items() if is_float(x)]


def convert(inputs: Arrays, array: Callable[[Any], Any]) -> Arrays:
    """Convert arrays, and leave ``n_rays`` as it is."""
    return {name: array(x) if isinstance(x, np.ndarray) else x for name, x in inputs.items()}


def tensors(inputs: Arrays, dtype: torch.dtype = torch.float64) -> Arrays:
    """Convert to torch; ``dtype`` is for what is floating point."""
    return {
        name: x.to(dtype) if is_float(x) else x
        for name, x in convert(inputs, lambda x: torch.from_numpy(np.array(x))).items()
    }


@contextmanager
def library(name: str) -> Iterator[Callable[[Any], Any]]:
    """Give the function that makes a library's array of NumPy's, 64 bits wide."""
    if name == "torch":
        yield lambda x: torch.from_numpy(np.array(x))
    elif name == "numpy":
        yield np.asarray
    elif name == "strict":
        yield pytest.importorskip("array_api_strict").asarray
    else:
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            yield jax.numpy.asarray


def valid_shape(regularizer: Regularizer, inputs: Arrays) -> tuple[int, ...]:
    """Find the shape of ``valid``: one a unit, or one a pixel."""
    if regularizer.valid_like is None:
        return tuple(next(iter(inputs.values())).shape[:1])
    return tuple(inputs[regularizer.valid_like].shape[: regularizer.valid_axes])


def some_valid(rng: np.random.Generator, regularizer: Regularizer, inputs: Arrays) -> np.ndarray:
    """Draw a mask; where it has pixels, some of its units are invalid as a whole."""
    valid = rng.random(valid_shape(regularizer, inputs)) < 0.8
    valid[rng.random(len(valid)) < 0.3] = False
    return valid


def along(mask: Any, x: Any) -> Any:
    """Shape a mask of units or pixels so that it broadcasts along what each of them holds."""
    return mask.reshape(*mask.shape, *[1] * (len(x.shape) - len(mask.shape)))


def value_and_gradients(
    regularizer: Regularizer,
    inputs: Arrays,
    options: Mapping[str, Any],
    *,
    reduction: str = "none",
    function: Callable[..., Any] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Call, and differentiate a sum in which each unit has a weight of its own.

    Args:
        regularizer: what to call.
        inputs: tensors.
        options: of the function.
        reduction: of the function.
        function: to call instead of the regularizer's, if it was compiled.
    """
    leaves = {
        name: inputs[name].clone().requires_grad_()
        for name in floats(inputs)
        if name not in regularizer.detached
    }
    call = function or regularizer.function
    value = call(**{**inputs, **leaves}, **options, reduction=reduction)
    weight = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    found = torch.autograd.grad(
        (weight * value).sum(), list(leaves.values()), materialize_grads=True
    )
    return value.detach(), dict(zip(leaves, found, strict=True))


def n_samples(regularizer: Regularizer, inputs: Arrays) -> int:
    """Count the samples of a dense ray."""
    return inputs[regularizer.per_sample[0]].shape[1]


def some_samples(
    rng: np.random.Generator, regularizer: Regularizer, inputs: Arrays
) -> dict[str, np.ndarray]:
    """Choose the samples to keep, by the name of their ``ray_indices``.

    Rays are left without any, also the first and the last, and with one.
    """
    sets = {"ray_indices": regularizer.per_sample, **regularizer.packed_beside}
    if len(sets) > 1 and rng.random() < 0.6:  # either may be dense beside the other
        del sets[list(sets)[rng.integers(2)]]
    found = {}
    for indices, (name, *_) in sets.items():
        keep = rng.random(inputs[name].shape[:2]) < 0.6
        kinds = rng.integers(0, 4, len(keep))
        keep[kinds == 0] = False
        for ray in np.flatnonzero(kinds == 1):
            keep[ray] = np.arange(keep.shape[1]) == rng.integers(keep.shape[1])
        keep[[0, -1]] &= rng.random((2, 1)) < 0.5
        found[indices] = keep
    return found


def set_of(regularizer: Regularizer, name: str) -> str | None:
    """Name the ``ray_indices`` of an argument that has a value a sample."""
    if name in regularizer.per_sample:
        return "ray_indices"
    return next((at for at, names in regularizer.packed_beside.items() if name in names), None)


def pack(regularizer: Regularizer, inputs: Arrays, keep: dict[str, np.ndarray]) -> Arrays:
    """Lay the samples that are kept one after the other."""
    packed: Arrays = {"n_rays": len(keep["ray_indices"])} if "ray_indices" in keep else {}
    packed |= {indices: np.nonzero(kept)[0] for indices, kept in keep.items()}
    for name, x in inputs.items():
        indices = set_of(regularizer, name)
        packed[name] = x[keep[indices]] if indices in keep else x
    return packed


def one_ray(
    regularizer: Regularizer, inputs: Arrays, ray: int, keep: dict[str, np.ndarray]
) -> Arrays:
    """Take one dense ray with the samples that are kept, or with one that is nothing."""
    found = {}
    for name, x in inputs.items():
        x, indices = x[ray : ray + 1], set_of(regularizer, name)
        if indices in keep:
            kept = keep[indices][ray]
            x = x[:, kept] if kept.any() else np.zeros_like(x[:, :1])
        found[name] = x
    return found


def padded(regularizer: Regularizer, inputs: Arrays, at: int) -> Arrays:
    """Insert an interval without width and weight into each ray."""
    found = dict(inputs)
    for name in regularizer.per_sample:
        new: Any = 0.0
        if name.endswith(("starts", "ends")):
            whose = name.removesuffix("starts").removesuffix("ends")
            starts, ends = inputs[f"{whose}starts"], inputs[f"{whose}ends"]
            new = np.concatenate([starts, ends[:, -1:]], axis=1)[:, at]
        found[name] = np.insert(inputs[name], at, new, axis=1)
    return found
