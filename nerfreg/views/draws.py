"""Random numbers on the device of whoever uses them, from torch's generators."""

import torch
from torch import Tensor

__all__ = ["require_generator", "require_tensor", "uniform_integers", "uniform_numbers"]


def require_generator(
    function: str, generator: torch.Generator | None, device: torch.device
) -> None:
    """Raise ``ValueError`` if ``generator`` draws on another kind of device."""
    if generator is not None and generator.device.type != device.type:
        raise ValueError(
            f"{function}: generator must draw on {device}, where the poses are, but it draws on"
            f" {generator.device}"
        )


def require_tensor(function: str, name: str, value: object) -> None:
    """Raise ``TypeError`` for arrays of other libraries: what is drawn comes from torch alone."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{function}: {name} must be a torch.Tensor, got {type(value).__name__}")


def uniform_numbers(like: Tensor, *shape: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw from [0, 1) on the device and with the dtype of ``like``."""
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)


def uniform_integers(
    high: int, n: int, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Draw n integers from 0 … high − 1."""
    return torch.randint(high, (n,), generator=generator, device=device)
