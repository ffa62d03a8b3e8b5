"""How steps are sized: the learning rate's course and the clipping of gradients."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["clip_gradients_", "learning_rate"]

# Published code adds the constant of float32 in every precision.
EPS = torch.finfo(torch.float32).eps


def learning_rate(
    step: int,
    *,
    lr_init: float,
    lr_final: float,
    max_steps: int,
    lr_delay_steps: int = 0,
    lr_delay_mult: float = 1.0,
) -> float:
    """Interpolate the learning rate log-linearly, after a warm-up.

    lr(i) = init^(1−a) · final^a · (m + (1−m)·sin(π/2 · min(i/n_delay, 1))), a = min(i/max_steps, 1)

    Args:
        step: i; the published trainers count their first step as 1.
        lr_init: rate at step 0, but for the warm-up; > 0.
        lr_final: rate at ``max_steps`` and after; > 0.
        max_steps: length of the course.
        lr_delay_steps: length of the warm-up; 0 for none.
        lr_delay_mult: m, the share of the rate at which the warm-up starts.

    Source: Barron et al., "Mip-NeRF" (2021), section 4; the warm-up is its released code's.
    """
    progress = min(max(step / max_steps, 0.0), 1.0)
    rate = math.exp((1 - progress) * math.log(lr_init) + progress * math.log(lr_final))
    if lr_delay_steps > 0:
        warmth = math.sin(math.pi / 2 * min(max(step / lr_delay_steps, 0.0), 1.0))
        rate *= lr_delay_mult + (1 - lr_delay_mult) * warmth
    return rate


def clip_gradients_(
    parameters: Iterable[nn.Parameter],
    *,
    max_value: float | None = None,
    max_norm: float | None = None,
) -> Tensor:
    """Clip each entry of the gradients, then scale all so that their common norm is bounded.

    In place, and without waiting for the device. A NaN stays a NaN and, through the norm, reaches
    every gradient: a broken step is to be seen, not to be trained on in part.

    Args:
        parameters: those without a gradient are skipped.
        max_value: bound on each entry's magnitude; ``None`` for no bound.
        max_norm: bound on the norm over all gradients; ``None`` for no bound.

    Returns:
        The norm between the two clippings, a 0-d tensor.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    if max_value is not None:
        for gradient in gradients:
            gradient.clamp_(-max_value, max_value)
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    if max_norm is not None:
        scale = (max_norm / (norm + EPS)).clamp_max(1)
        for gradient in gradients:
            gradient.mul_(scale)
    return norm
