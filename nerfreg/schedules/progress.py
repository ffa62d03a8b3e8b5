"""How far along a schedule is, from 0 to 1."""

from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor

from nerfreg.arrays import clip, is_array, namespace

__all__ = ["is_number", "progress", "require_count"]


def progress(owner: str, step: Any, n_steps: int, begin: int = 0) -> Any:
    """Compute (step − begin) / n_steps, kept within [0, 1]; 0 steps count as 1.

    Args:
        owner: name of the schedule, for the messages.
        step: a number, or a 0-d array of any library; the answer is of its kind.
        n_steps: steps in which it goes from 0 to 1.
        begin: step at which it leaves 0.

    Raises:
        TypeError: ``step`` is neither a number nor an array.
        ValueError: ``step`` is an array of several numbers.

    Example:
        >>> [progress("Linear", step, 10, begin=5) for step in (0, 5, 10, 100)]
        [0.0, 0.0, 0.5, 1.0]
    """
    if is_number(step):
        return min(max((step - begin) / max(n_steps, 1), 0.0), 1.0)
    if not is_array(step):
        raise TypeError(f"{owner}: step must be an int or a 0-d array, got {type(step).__name__}")
    if len(step.shape):
        raise ValueError(
            f"{owner}: step must be an int or a 0-d array, got one of shape {tuple(step.shape)}"
        )
    xp = namespace(step)
    if not isinstance(step, Tensor) and xp.isdtype(step.dtype, "integral"):
        # torch divides integers; the standard does not.
        step = xp.astype(step, xp.__array_namespace_info__().default_dtypes()["real floating"])
    return clip((step - begin) / max(n_steps, 1), 0.0, 1.0)


def is_number(x: object) -> bool:
    """Tell a Python number from NumPy's and from arrays, in compiled steps too."""
    return isinstance(x, int | float) and not isinstance(x, np.floating)


def require_count(owner: str, name: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number ≥ 0."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ValueError(f"{owner}: {name} must be a whole number >= 0, got {value!r}")
