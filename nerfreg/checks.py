"""What every public function says about an argument it cannot use.

Shapes and types are always checked: that costs nothing. Checks of *values* (is every ``std``
positive?) would make the host wait for the device, so they happen only while they are switched on:
for the whole process by the environment variable ``NERFREG_CHECK_VALUES=1``, for a block of code by
:func:`check_values`.
"""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = [
    "check_values",
    "require_choice",
    "require_floating",
    "require_mask",
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


def require_floating(function: str, **tensors: Tensor | None) -> None:
    """Raise ``TypeError`` unless each argument is a floating-point tensor (``None`` passes)."""
    for name, value in tensors.items():
        if value is None:
            continue
        if not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"{function}: {name} must be a torch.Tensor, got {type(value).__name__}"
            )
        if not value.is_floating_point():
            raise TypeError(f"{function}: {name} must be floating point, got {value.dtype}")


def require_mask(function: str, shape: Sequence[int], valid: Tensor | None) -> None:
    """Raise ``ValueError`` unless ``valid`` is boolean and of this shape (``None`` passes)."""
    if valid is not None and (valid.dtype != torch.bool or tuple(valid.shape) != tuple(shape)):
        raise ValueError(
            f"{function}: valid must be boolean of shape {tuple(shape)},"
            f" got {valid.dtype} {tuple(valid.shape)}"
        )


def require_same_shape(function: str, expected: str, **tensors: Tensor | None) -> None:
    """Raise ``ValueError`` unless all given arguments have one shape and live on one device.

    Args:
        function: name of the public function, for the message.
        expected: the common shape in words, for example ``"(…, S)"``.
        **tensors: the arguments by name; ``None`` passes.
    """
    given = {name: value for name, value in tensors.items() if value is not None}
    shapes = {name: tuple(value.shape) for name, value in given.items()}
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"{function}: {', '.join(shapes)} must share one shape {expected}, got {got}"
        )
    devices = {name: value.device for name, value in given.items()}
    if len(set(devices.values())) > 1:
        got = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"{function}: arguments must be on one device, got {got}")


def require_shape(
    function: str, meaning: str, shape: Sequence[int], **tensors: Tensor | None
) -> None:
    """Raise ``ValueError`` unless each given argument has exactly this shape (``None`` passes).

    Shapes that torch would broadcast are refused too: an (R, 1) beside an (R,) is an (R, R) in
    which every ray meets every target.

    Args:
        function: name of the public function, for the message.
        meaning: what the shape is, for example ``"one a ray"``.
        shape: the shape expected.
        **tensors: the arguments by name.
    """
    for name, value in tensors.items():
        if value is not None and tuple(value.shape) != tuple(shape):
            raise ValueError(
                f"{function}: {name} must have shape {tuple(shape)}, {meaning},"
                f" got {tuple(value.shape)}"
            )


def require_values(
    function: str, name: str, value: Tensor, rule: str, holds: Callable[[Tensor], Tensor] | Tensor
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
    if not _enabled or torch.compiler.is_compiling():
        return
    bad = ~(holds if isinstance(holds, Tensor) else holds(value))
    if bool(bad.any()):
        raise ValueError(
            f"{function}: {name} must be {rule} everywhere, but {int(bad.sum())} of"
            f" {value.numel()} values are not (smallest: {float(value.min()):g})"
        )
