"""Rays: where a pixel looks, and how wide it is."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Rays"]


@dataclass(frozen=True)
class Rays:
    """A batch of rays x(t) = origins + t · directions.

    Attributes:
        origins: (…, 3), where t = 0.
        directions: (…, 3), not normalised: with the directions that :class:`~nerfreg.views.Cameras` gives
            (camera z = 1), t is z-depth; multiply t by ‖directions‖ for distance.
        viewdirs: (…, 3), unit vectors from the camera; what a view-dependent colour is conditioned on. They
            stay those of the world when origins and directions go to NDC.
        radii: (…, 1), radius of the pixel's cone at t = 1 (mip-NeRF's ṙ: 2/√12 of a pixel).
    """

    origins: Float[Tensor, "*batch 3"]
    directions: Float[Tensor, "*batch 3"]
    viewdirs: Float[Tensor, "*batch 3"]
    radii: Float[Tensor, "*batch 1"]

    @property
    def shape(self) -> torch.Size:
        """Batch shape (…)."""
        return self.origins.shape[:-1]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Rays":
        """Apply ``function`` to each tensor, for example ``lambda x: x.flatten(0, -2)``."""
        return Rays(*(function(getattr(self, field.name)) for field in fields(self)))

    def flatten(self) -> "Rays":
        """Merge all batch axes into one."""
        return self.map(lambda x: x.reshape(-1, x.shape[-1]))

    def __getitem__(self, index: object) -> "Rays":
        return self.map(lambda x: x[index])  # pyright: ignore[reportArgumentType]

    @staticmethod
    def cat(parts: "list[Rays]") -> "Rays":
        """Join flat batches along the first axis."""
        return Rays(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Rays)))
