"""Opacity dropout (DropGaussian): render a random part of the splats at each step."""

from dataclasses import dataclass
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.checks import require_number
from nerfreg.schedules.progress import progress, require_count

__all__ = ["OpacityDropout"]


@dataclass(frozen=True)
class OpacityDropout:
    r"""Drop splats at random, more and more of them, and strengthen those that stay.

    .. math:: \tilde o_i = \begin{cases} 0 & \text{with probability } p\\
        o_i / (1-p) & \text{else}\end{cases},\qquad
        p(\mathrm{step}) = \mathrm{rate}\cdot\mathrm{clip}(\mathrm{step}/N,\ 0,\ 1)

    With few views a splat in front hides from all photos what lies behind it, which then never
    learns. Where splats vanish at random, those behind are seen, get gradients, and no splat can be
    fitted to one photo alone. Only in training: evaluate with the opacities themselves.

    Args:
        n_steps: N, steps of the training, over which p grows; 0 counts as 1.
        rate: p at step N and after, in [0, 1).
        clamp: keep opacities ≤ 1. The paper does not: o/(1−p) may exceed 1, which rasterizers that
            cut α at 0.99 or so, as those of 3DGS and gsplat do, take. Others give transmittances
            below 0, and need it; strong opacities then lose the compensation, and their gradient.

    Raises:
        ValueError: ``n_steps`` is negative or not whole; ``rate`` is outside of [0, 1).

    Source: Park et al. 2025 (DropGaussian): rate = 0.2, N = the steps of the training, 10,000 in
    its code. *Differs from upstream in:* p stays at ``rate`` after N; the code's goes on growing.

    Example:
        >>> drop = OpacityDropout(n_steps=10_000)
        >>> drop.probability(0), drop.probability(5_000), drop.probability(10_000)
        (0.0, 0.1, 0.2)
        >>> drop(10_000, torch.full((6,), 0.4), generator=torch.Generator().manual_seed(0))
        tensor([0.5000, 0.5000, 0.0000, 0.0000, 0.5000, 0.5000])
    """

    n_steps: int
    rate: float = 0.2
    clamp: bool = False

    def __post_init__(self) -> None:
        require_count("OpacityDropout", "n_steps", self.n_steps)
        require_number("OpacityDropout", "rate", self.rate, "in [0, 1)", lambda p: 0.0 <= p < 1.0)

    @overload
    def probability(self, step: int) -> float: ...
    @overload
    def probability(self, step: Tensor) -> Tensor: ...
    @overload
    def probability(self, step: int | Tensor) -> float | Tensor: ...
    def probability(self, step: int | Tensor) -> float | Tensor:
        """Probability that a splat is dropped at a step, from 0 to ``rate``."""
        return self.rate * progress("OpacityDropout", step, self.n_steps)

    def __call__(
        self,
        step: int | Tensor,
        opacity: Float[Tensor, "*splats"],
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*splats"]:
        """Drop splats at random.

        Args:
            step: the optimiser's step, from 0; an int, or a 0-d tensor, which is not waited for.
            opacity: of each splat, (N,) or (N, 1), after its activation, in [0, 1].
            generator: of the draws, on the device of ``opacity``.

        Returns:
            The opacities to render with, of ``opacity``'s dtype; their mean over draws is
            ``opacity``, unless clamped. One number is drawn a splat, whatever p is.

        Raises:
            TypeError: ``opacity`` is no floating-point torch tensor.
            ValueError: ``generator`` draws on another kind of device.
        """
        if not isinstance(opacity, Tensor) or not opacity.is_floating_point():  # pyright: ignore[reportUnnecessaryIsInstance]
            got = opacity.dtype if isinstance(opacity, Tensor) else type(opacity).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"OpacityDropout: opacity must be a floating-point torch tensor, got {got}"
            )
        if generator is not None and generator.device.type != opacity.device.type:
            raise ValueError(
                f"OpacityDropout: generator must draw on {opacity.device}, where opacity is, but it"
                f" draws on {generator.device}"
            )
        p = self.probability(step)
        draws = torch.rand(opacity.shape, generator=generator, device=opacity.device)
        kept = torch.where(draws < p, 0.0, 1.0 / (1.0 - p)).to(opacity.dtype) * opacity
        return kept.clamp(max=1.0) if self.clamp else kept
