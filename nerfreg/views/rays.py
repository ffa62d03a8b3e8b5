"""Rays: where a pixel looks, and how wide it is."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from types import EllipsisType
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.vectors import away_from_zero

__all__ = ["Rays", "plane_parameter", "shift_origins"]


@dataclass(frozen=True, eq=False)
class Rays:
    """A batch of rays x(t) = origins + t · directions.

    Attributes:
        origins: (…, 3), where t = 0.
        directions: (…, 3), not normalised: with the directions that :class:`~nerfreg.views.Cameras`
            gives (camera z = 1), t is z-depth; multiply t by ‖directions‖ for distance.
        viewdirs: (…, 3), unit vectors from the camera; what a view-dependent colour is conditioned
            on. They stay those of the world when origins and directions go to NDC.
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

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("Rays: one ray without a batch axis has no length")
        return self.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Rays":
        """Apply ``function`` to each tensor, for example ``lambda x: x.flatten(0, -2)``."""
        return Rays(*(function(getattr(self, field.name)) for field in fields(self)))

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Rays":
        """Move to a device, convert to a floating dtype, or both."""
        return self.map(lambda x: x.to(device=device, dtype=dtype))

    def flatten(self) -> "Rays":
        """Merge all batch axes into one."""
        return self.map(lambda x: x.reshape(-1, x.shape[-1]))

    def at(self, t: Float[Tensor, "..."]) -> Tensor:
        """Return the points x(t): (…, 3) for t of the batch shape (…), (…, S, 3) for t (…, S)."""
        if t.shape == self.shape:
            return self.origins + t[..., None] * self.directions
        if t.ndim == len(self.shape) + 1 and t.shape[:-1] == self.shape:
            return self.origins[..., None, :] + t[..., None] * self.directions[..., None, :]
        expected = f"{tuple(self.shape)} or (*{tuple(self.shape)}, S)"
        raise ValueError(f"Rays.at: t must be {expected}, got {tuple(t.shape)}")

    def __getitem__(self, index: object) -> "Rays":
        """Index the batch axes; the axis of x, y, z is out of reach, also of ``...``."""
        key = cast("tuple[object, ...]", index if isinstance(index, tuple) else (index,))
        if any(isinstance(part, EllipsisType) for part in key):
            key = (*key, slice(None))
        return self.map(lambda x: x[key])  # pyright: ignore[reportArgumentType]

    @staticmethod
    def cat(parts: "list[Rays]") -> "Rays":
        """Join batches along the first axis."""
        return Rays(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Rays)))


def plane_parameter(rays: Rays, plane_z: float) -> Float[Tensor, " *batch"]:
    """Return the ray parameter at which each ray meets the world's plane z = ``plane_z``.

        t = (plane_z − o_z) / d_z

    Args:
        rays: in the world.
        plane_z: height of the plane, world units.

    Returns:
        t; negative where the plane lies behind the origin. Rays parallel to the plane (d_z below
        the dtype's eps) meet it at a large finite t.

    Example:
        >>> import torch
        >>> down = torch.tensor([0.0, 0.0, -2.0])
        >>> rays = Rays(torch.tensor([0.0, 0.0, 3.0]), down, down / 2, torch.ones(1))
        >>> plane_parameter(rays, 1.0)
        tensor(1.)
    """
    return (plane_z - rays.origins[..., 2]) / away_from_zero(rays.directions[..., 2])


def shift_origins(rays: Rays, plane_z: float) -> Rays:
    """Move the origins along their rays to the world's plane z = ``plane_z``.

        o' = o + t₀·d,  t₀ = (plane_z − o_z) / d_z

    The directions stay, so each ray is the same line with another zero: the point that was at t is
    now at t − t₀, with t₀ from :func:`plane_parameter`. t' is therefore no longer z-depth.

    Args:
        rays: in the world.
        plane_z: height of the plane, world units.

    Source:
        RegNeRF's code for DTU (``near_origin``): near 0.5 and far 3.5 count from the plane z = 0 of
        a world whose cameras look along +z.

    Example:
        >>> import torch
        >>> down = torch.tensor([0.0, 0.0, -2.0])
        >>> rays = Rays(torch.tensor([0.0, 0.0, 3.0]), down, down / 2, torch.ones(1))
        >>> shift_origins(rays, 1.0).origins
        tensor([0., 0., 1.])
    """
    t = plane_parameter(rays, plane_z)
    return replace(rays, origins=rays.origins + t[..., None] * rays.directions)
