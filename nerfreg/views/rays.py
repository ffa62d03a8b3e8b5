"""Rays: where a pixel looks, and how wide it is."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, cast

import torch
from jaxtyping import Float

from nerfreg.arrays import Array, namespace
from nerfreg.checks import require_arrays
from nerfreg.vectors import away_from_zero

__all__ = ["Rays", "plane_parameter", "shift_origins"]


@dataclass(frozen=True, eq=False)
class Rays(Generic[Array]):
    """A batch of rays x(t) = origins + t · directions.

    Attributes:
        origins: (…, 3), where t = 0.
        directions: (…, 3), not normalised: with the directions that :class:`~nerfreg.views.Cameras`
            gives (camera z = 1), t is z-depth; multiply t by ‖directions‖ for distance.
        viewdirs: (…, 3), unit vectors from the camera; what a view-dependent colour is conditioned
            on. They stay those of the world when origins and directions go to NDC.
        radii: (…, 1), radius of the pixel's cone at t = 1 (mip-NeRF's ṙ: 2/√12 of a pixel).

    All of one library. JAX takes rays into and out of ``jax.jit`` after
    ``jax.tree_util.register_dataclass(Rays)``.
    """

    origins: Float[Array, "*batch 3"]
    directions: Float[Array, "*batch 3"]
    viewdirs: Float[Array, "*batch 3"]
    radii: Float[Array, "*batch 1"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch shape (…)."""
        return self.origins.shape[:-1]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("Rays: one ray without a batch axis has no length")
        return self.shape[0]

    def map(self, function: Callable[[Array], Any]) -> "Rays[Any]":
        """Apply ``function`` to each array, for example ``lambda x: x[..., None, :]``."""
        return Rays(*(function(getattr(self, field.name)) for field in fields(self)))

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Rays[Array]":
        """Move torch tensors to a device, convert them to a floating dtype, or both."""
        return self.map(lambda x: x.to(device=device, dtype=dtype))

    def flatten(self) -> "Rays[Array]":
        """Merge all batch axes into one."""
        xp = namespace(self.origins)
        return self.map(lambda x: xp.reshape(x, (-1, x.shape[-1])))

    def at(self, t: Float[Array, "..."]) -> Any:
        """Return the points x(t): (…, 3) for t of the batch shape (…), (…, S, 3) for t (…, S)."""
        require_arrays("Rays.at", origins=self.origins, directions=self.directions, t=t)
        if t.shape == self.shape:
            return self.origins + t[..., None] * self.directions
        if t.shape[:-1] == self.shape and len(t.shape) == len(self.shape) + 1:
            return self.origins[..., None, :] + t[..., None] * self.directions[..., None, :]
        expected = f"{tuple(self.shape)} or (*{tuple(self.shape)}, S)"
        raise ValueError(f"Rays.at: t must be {expected}, got {tuple(t.shape)}")

    def __getitem__(self, index: object) -> "Rays[Array]":
        """Index the batch axes; the axis of x, y, z is out of reach, also of ``...``."""
        key = cast("tuple[object, ...]", index if isinstance(index, tuple) else (index,))
        return self.map(lambda x: x[(*key, slice(None))])

    @staticmethod
    def cat(parts: "list[Rays[Array]]") -> "Rays[Array]":
        """Join batches along the first axis."""
        require_arrays("Rays.cat", **{f"part {i}": part.origins for i, part in enumerate(parts)})
        xp = namespace(*(part.origins for part in parts))
        names = [field.name for field in fields(parts[0])]
        return Rays(*(xp.concat([getattr(part, name) for part in parts]) for name in names))


def plane_parameter(rays: Rays[Array], plane_z: float) -> Float[Array, " *batch"]:
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
    require_arrays("plane_parameter", origins=rays.origins, directions=rays.directions)
    return (plane_z - rays.origins[..., 2]) / away_from_zero(rays.directions[..., 2])


def shift_origins(rays: Rays[Array], plane_z: float) -> Rays[Array]:
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
