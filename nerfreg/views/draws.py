"""Random numbers on the device of whoever uses them."""

import torch
from torch import Tensor

__all__ = ["require_generator", "uniform_integers", "uniform_numbers"]


def require_generator(
    function: str, generator: torch.Generator | None, device: torch.device
) -> None:
    """Raise ``ValueError`` if ``generator`` draws on another kind of device."""
    if generator is not None and generator.device.type != device.type:
        raise ValueError(
            f"{function}: generator must draw on {device}, where the poses are, but it draws on"
            f" {generator.device}"
        )


def uniform_numbers(like: Tensor, *shape: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw from [0, 1) on the device and with the dtype of ``like``."""
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)


def uniform_integers(
    high: int, n: int, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Draw n integers from 0 … high − 1."""
    return torch.randint(high, (n,), generator=generator, device=device)
