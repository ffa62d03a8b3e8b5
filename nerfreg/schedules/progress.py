"""How far along a schedule is, from 0 to 1."""

from numbers import Integral
from typing import overload

from torch import Tensor

__all__ = ["progress", "require_count"]


@overload
def progress(step: int, n_steps: int) -> float: ...
@overload
def progress(step: Tensor, n_steps: int) -> Tensor: ...
@overload
def progress(step: int | Tensor, n_steps: int) -> float | Tensor: ...
def progress(step: int | Tensor, n_steps: int) -> float | Tensor:
    """Compute step / n_steps, kept within [0, 1]; 0 steps count as 1.

    Raises:
        ValueError: ``step`` is a tensor of several numbers.

    Example:
        >>> progress(5, 10), progress(20, 10), progress(-1, 10)
        (0.5, 1.0, 0.0)
    """
    share = step / max(n_steps, 1)
    if isinstance(share, Tensor):
        if share.ndim:
            raise ValueError(
                f"step must be an int or a 0-d tensor, got a tensor of shape {tuple(share.shape)}"
            )
        return share.clamp(0.0, 1.0)
    return min(max(share, 0.0), 1.0)


def require_count(owner: str, name: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number ≥ 0."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ValueError(f"{owner}: {name} must be a whole number >= 0, got {value!r}")
