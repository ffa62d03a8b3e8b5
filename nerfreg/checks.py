"""What every public function says about an argument it cannot use.

Shapes and types are always checked: that costs nothing. Checks of *values* (is every ``std``
positive?) would make the host wait for the device, so they happen only while they are switched on:
for the whole process by the environment variable ``NERFREG_CHECK_VALUES=1``, for a block of code by
:func:`check_values`.
"""

import math
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

from torch import Tensor

from nerfreg.arrays import is_array, is_floating, is_traced, namespace

__all__ = [
    "check_values",
    "require_arrays",
    "require_choice",
    "require_finite",
    "require_floating",
    "require_mask",
    "require_number",
    "require_one_device",
    "require_same_shape",
    "require_shape",
    "require_values",
    "value_checks",
]

_enabled = os.environ.get("NERFREG_CHECK_VALUES", "0") not in ("", "0")


def value_checks() -> bool:
    """Tell whether checks that read a tensor's values are switched on."""
    return _enabled


@contextmanager
def check_values(enabled: bool = True) -> Generator[None, None, None]:
    """Switch checks that read a tensor's values on (or off) for a block of code.

    Example:
        >>> import torch, nerfreg
        >>> with nerfreg.check_values():
        ...     nerfreg.depth_mse(torch.ones(1), torch.ones(1), std=-torch.ones(1))
        Traceback (most recent call last):
        ValueError: depth_mse: std must be > 0 everywhere, but 1 of 1 values are not (smallest: -1)
    """
    global _enabled
    before, _enabled = _enabled, enabled
    try:
        yield
    finally:
        _enabled = before


def require_choice(function: str, name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ``ValueError`` unless an option is one of its choices."""
    if value not in choices:
        allowed = ", ".join(f'"{choice}"' for choice in choices[:-1]) + f' or "{choices[-1]}"'
        raise ValueError(f"{function}: {name} must be {allowed}, got {value!r}")


def require_number(
    function: str,
    name: str,
    value: object,
    rule: str,
    holds: Callable[[float], bool],
) -> None:
    """Raise ``ValueError`` unless an option is a finite number for which the rule holds.

    Args:
        function: name of the public function, for the message.
        name: the option's name.
        value: what was given; an array is refused.
        rule: what must hold, for example ``"> 0"``.
        holds: the rule as a function.
    """
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    # Not math.isfinite, which cannot be compiled where options are symbols (dynamic=True).
    if not -math.inf < number < math.inf or not holds(number):
        raise ValueError(f"{function}: {name} must be a number {rule}, got {value!r}")


def require_arrays(function: str, **arrays: Any) -> None:
    """Raise ``TypeError`` unless all are arrays of one library (``None`` passes)."""
    given = {name: value for name, value in arrays.items() if value is not None}
    if all(isinstance(x, Tensor) for x in given.values()):
        return
    for name, value in given.items():
        if not is_array(value):
            way = "; for one number everywhere, fill one" if isinstance(value, Real) else ""
            raise TypeError(
                f"{function}: {name} must be an array (torch, JAX or NumPy),"
                f" got {type(value).__name__}{way}"
            )
    libraries = {
        name: namespace(x).__name__.removeprefix("array_api_compat.") for name, x in given.items()
    }
    if len(set(libraries.values())) > 1:
        got = ", ".join(f"{name} {library}" for name, library in libraries.items())
        raise TypeError(f"{function}: arguments must be arrays of one library, got {got}")


def require_floating(function: str, **arrays: Any) -> None:
    """Raise ``TypeError`` unless all are floating-point arrays of one library (``None`` passes)."""
    require_arrays(function, **arrays)
    for name, value in arrays.items():
        if value is not None and not is_floating(value):
            raise TypeError(f"{function}: {name} must be floating point, got {value.dtype}")


def require_mask(function: str, shape: Sequence[int], valid: Any, beside: Any = None) -> None:
    """Raise ``ValueError`` unless ``valid`` is boolean and of this shape (``None`` passes).

    Args:
        function: name of the public function, for the message.
        shape: the shape expected.
        valid: the mask.
        beside: an array of the same call, whose library and device ``valid`` must share.

    Raises:
        TypeError: ``valid`` is no array, or one of another library.
    """
    if valid is None:
        return
    if not is_array(valid):
        raise TypeError(f"{function}: valid must be a boolean array, got {type(valid).__name__}")
    if beside is not None:
        require_arrays(function, valid=valid, values=beside)
        require_one_device(function, valid=valid, values=beside)
    if valid.dtype != namespace(valid).bool or tuple(valid.shape) != tuple(shape):
        raise ValueError(
            f"{function}: valid must be boolean of shape {tuple(shape)},"
            f" got {valid.dtype} {tuple(valid.shape)}"
        )


def require_same_shape(function: str, expected: str, **arrays: Any) -> None:
    """Raise ``ValueError`` unless all given arguments have one shape and live on one device.

    Args:
        function: name of the public function, for the message.
        expected: the common shape in words, for example ``"(…, S)"``.
        **arrays: the arguments by name; ``None`` passes.
    """
    given = {name: value for name, value in arrays.items() if value is not None}
    shapes = {name: tuple(value.shape) for name, value in given.items()}
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"{function}: {', '.join(shapes)} must share one shape {expected}, got {got}"
        )
    require_one_device(function, **given)


def require_one_device(function: str, **arrays: Any) -> None:
    """Raise ``ValueError`` unless all given arguments live on one device (``None`` passes).

    JAX moves its arrays itself, so they are not looked at.
    """
    devices = {
        name: x.device for name, x in arrays.items() if x is not None and isinstance(x, Tensor)
    }
    if len(set(devices.values())) > 1:
        got = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"{function}: arguments must be on one device, got {got}")


def require_shape(function: str, meaning: str, shape: Sequence[int], **arrays: Any) -> None:
    """Raise ``ValueError`` unless each given argument has exactly this shape (``None`` passes).

    Shapes that torch would broadcast are refused too: an (R, 1) beside an (R,) is an (R, R) in
    which every ray meets every target.

    Args:
        function: name of the public function, for the message.
        meaning: what the shape is, for example ``"one a ray"``.
        shape: the shape expected.
        **arrays: the arguments by name.
    """
    for name, value in arrays.items():
        if value is not None and tuple(value.shape) != tuple(shape):
            raise ValueError(
                f"{function}: {name} must have shape {tuple(shape)}, {meaning},"
                f" got {tuple(value.shape)}"
            )


def require_finite(function: str, valid: Any = None, **arrays: Any) -> None:
    """Raise ``ValueError`` where what counts is NaN or infinite, if value checks are on.

    Args:
        function: name of the public function, for the message.
        valid: which rays, pixels or patches count; ``None`` means all.
        **arrays: given values by name, of ``valid``'s shape or with more axes behind (``None``
            passes).
    """
    if not _enabled:
        return
    for name, value in arrays.items():
        if value is None or is_traced(value):
            continue
        holds = namespace(value).isfinite(value)
        if valid is not None:
            holds = holds | ~valid[(..., *[None] * (len(value.shape) - len(valid.shape)))]
        require_values(function, name, value, "finite (or not valid)", holds)


def require_values(
    function: str, name: str, value: Any, rule: str, holds: Callable[[Any], Any] | Any
) -> None:
    """Raise ``ValueError`` where ``holds`` is false, if value checks are on; else do nothing.

    Args:
        function: name of the public function, for the message.
        name: the argument's name.
        value: the argument.
        rule: what must hold, for example ``"> 0"``.
        holds: the rule as a function of ``value``, evaluated only while checks are on; or its
            result.
    """
    if not _enabled or is_traced(value):
        return
    xp = namespace(value)
    bad = xp.logical_not(holds(value) if callable(holds) else holds)
    if bool(xp.any(bad)):
        n_bad = int(xp.sum(xp.astype(bad, xp.int32)))
        smallest = float(xp.min(value))
        shown = "" if math.isnan(smallest) else f" (smallest: {smallest:g})"
        raise ValueError(
            f"{function}: {name} must be {rule} everywhere, but {n_bad} of"
            f" {math.prod(value.shape)} values are not{shown}"
        )
