"""nerfacto's spacing along a ray: the near half even in distance, the far half in disparity."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["spacing_to_t", "t_to_spacing"]


def t_to_spacing(t: Float[Tensor, "*rays"]) -> Float[Tensor, "*rays"]:
    """Squeeze [0, ∞) into [0, 1): t/2 up to t = 1, beyond 1 − 1/(2t).

    Args:
        t: depth or distance, ≥ 0, in nerfstudio's world, whose cameras lie in [−1, 1]³.

    Example:
        >>> import torch
        >>> t_to_spacing(torch.tensor([0.0, 1.0, 2.0, 1000.0]))
        tensor([0.0000, 0.5000, 0.7500, 0.9995])
    """
    # The clamp keeps the other branch's gradient finite at 0.
    return (t / 2).where(t < 1, 1 - 0.5 / t.clamp(min=1))


def spacing_to_t(s: Float[Tensor, "*rays"]) -> Float[Tensor, "*rays"]:
    """Undo :func:`t_to_spacing`.

    Args:
        s: in [0, 1).

    Example:
        >>> import torch
        >>> spacing_to_t(torch.tensor([0.0, 0.5, 0.75]))
        tensor([0., 1., 2.])
    """
    return (2 * s).where(s < 0.5, 0.5 / (1 - s.clamp(min=0.5)))
