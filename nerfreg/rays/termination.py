"""The discrete distribution of where rays stop, in either layout."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic

from jaxtyping import Float, Integer

from nerfreg.arrays import Array
from nerfreg.checks import require_floating
from nerfreg.rays.depth import expected_depth, median_depth
from nerfreg.rays.layout import ray_layout
from nerfreg.rays.weights import opacity, weights_from_alpha, weights_from_density

__all__ = ["RayTermination"]


@dataclass(frozen=True, eq=False)
class RayTermination(Generic[Array]):
    """Hold where rays stop: the probability of each interval, and how samples lie in memory.

    It unpacks into the arguments that losses on ray terminations take, so that a trainer has one
    object whatever its renderer gives: ``depth_kl(**rays, depth=depth, std=std)``. Losses that look
    at weights alone take ``rays.weights, **rays.layout``. They all take plain arrays as well.

    Attributes:
        weights: dense (…, S) or packed (N,): probability that the ray stops in each interval.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. Intervals are disjoint, in order along each ray, and may have gaps.
        ray_indices: (N,) ray of each packed sample, sorted; ``None`` means dense.
        n_rays: number of rays of packed samples, the empty ones too.

    Raises:
        TypeError: an array is not floating point, ``ray_indices`` not int32 or int64, ``n_rays`` no
            int; arrays come from several libraries.
        ValueError: shapes or devices differ; a dense ray has no sample; only one of ``ray_indices``
            and ``n_rays`` is given; while values are checked (:func:`nerfreg.check_values`),
            ``ray_indices`` is unsorted or outside of [0, n_rays), which is not noticed otherwise.

    Example:
        >>> import torch
        >>> density, starts = torch.tensor([0.0, 9e9, 9e9]), torch.tensor([1.0, 2.0, 5.0])
        >>> rays = RayTermination.from_density(
        ...     density, starts, starts + 1, ray_indices=torch.tensor([0, 0, 2]), n_rays=3
        ... )
        >>> rays.opacity().tolist(), rays.expected_depth().tolist()
        ([1.0, 0.0, 1.0], [2.5, 0.0, 5.5])
        >>> from nerfreg import depth_kl
        >>> depth_kl(**rays, depth=torch.full((3,), 2.5), std=torch.ones(3)).shape
        torch.Size([])
    """

    weights: Float[Array, "*rays samples"]
    starts: Float[Array, "*rays samples"]
    ends: Float[Array, "*rays samples"]
    ray_indices: Integer[Array, " samples"] | None = None
    n_rays: int | None = None

    def __post_init__(self) -> None:
        samples = {"weights": self.weights, "starts": self.starts, "ends": self.ends}
        require_floating("RayTermination", **samples)
        ray_layout("RayTermination", self.ray_indices, self.n_rays, **samples)

    @classmethod
    def from_density(
        cls,
        density: Any,
        starts: Any,
        ends: Any,
        direction_norm: Any = None,
        *,
        ray_indices: Any = None,
        n_rays: int | None = None,
    ) -> "RayTermination[Any]":
        """Build from densities per unit of distance: :func:`weights_from_density`."""
        layout: dict[str, Any] = {"ray_indices": ray_indices, "n_rays": n_rays}
        weights = weights_from_density(density, starts, ends, direction_norm, **layout)
        return cls(weights, starts, ends, **layout)

    @classmethod
    def from_alpha(
        cls,
        alpha: Any,
        starts: Any,
        ends: Any,
        *,
        ray_indices: Any = None,
        n_rays: int | None = None,
    ) -> "RayTermination[Any]":
        """Build from opacities in [0, 1]: :func:`weights_from_alpha`."""
        layout: dict[str, Any] = {"ray_indices": ray_indices, "n_rays": n_rays}
        return cls(weights_from_alpha(alpha, **layout), starts, ends, **layout)

    @property
    def layout(self) -> dict[str, Any]:
        """What tells losses how the samples lie: nothing if they are dense."""
        if self.ray_indices is None:
            return {}
        return {"ray_indices": self.ray_indices, "n_rays": self.n_rays}

    def keys(self) -> Iterator[str]:
        """Name what ``**`` unpacks into."""
        return iter(("weights", "starts", "ends", *self.layout))

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def opacity(self) -> Any:
        """Sum the weights of each ray: :func:`opacity`."""
        return opacity(self.weights, **self.layout)

    def expected_depth(self, *, normalize: bool = True) -> Any:
        """Average the mid-points of each ray's intervals: :func:`expected_depth`."""
        rays = self.weights, self.starts, self.ends
        return expected_depth(*rays, **self.layout, normalize=normalize)

    def median_depth(self) -> Any:
        """Find where half of each ray that stops has stopped: :func:`median_depth`."""
        return median_depth(self.weights, self.starts, self.ends, **self.layout)
