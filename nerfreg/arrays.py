"""How arrays enter nerfreg: in which precision the mathematics inside a function is done.

This is the one door through which array libraries come in. Today it lets torch tensors in.
"""

import torch
from torch import Tensor

__all__ = ["at_least_float32"]


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Convert half-precision tensors to float32; leave float32 and float64 alone.

    Squares of depths and logarithms of small weights leave the range of float16, so losses compute,
    and answer, in float32 or better even under autocast.

    Example:
        >>> import torch
        >>> [x.dtype for x in at_least_float32(torch.ones(1).half(), torch.ones(1).double())]
        [torch.float32, torch.float64]
    """
    low = (torch.float16, torch.bfloat16)
    return tuple(x.float() if x.dtype in low else x for x in tensors)
