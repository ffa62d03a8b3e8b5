"""What every distribution of unseen poses can do."""

from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["PoseDistribution", "moved", "require_count"]

T = TypeVar("T")


@runtime_checkable
class PoseDistribution(Protocol):
    """Where a camera may plausibly stand that took no photograph."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 3 4"]:
        """Draw n independent camera-to-world matrices, OpenCV axes."""
        ...

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "PoseDistribution":
        """Move to a device, convert to a floating dtype, or both."""
        ...


def moved(instance: T, device: torch.device | str | None, dtype: torch.dtype | None) -> T:
    """Copy a dataclass with each of its tensors moved and converted."""
    of: Any = instance
    values = {field.name: getattr(of, field.name) for field in fields(of)}
    tensors = {
        name: value.to(device=device, dtype=dtype)
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    return replace(of, **tensors)


def require_count(function: str, n: int) -> None:
    """Raise unless ``n`` poses or patches can be drawn."""
    if n < 1:
        raise ValueError(f"{function}: n must be ≥ 1, got {n}")
