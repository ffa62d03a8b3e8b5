"""Sparse depth of one view: where its triangulated keypoints lie and how far to trust them."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["Keypoints"]


@dataclass(frozen=True)
class Keypoints:
    """The K keypoints of one view that have a known depth.

    Attributes:
        name: the view's image name.
        image_id: the view's id in the model that the keypoints come from.
        xy: (K, 2) pinhole pixel coordinates, distortion removed; (0.5, 0.5) is the centre of the
            top-left pixel.
        depth: (K,) z-depth, along the optical axis; world units.
        std: (K,) standard deviation of ``depth``, in its unit; see
            :func:`~nerfreg.supervision.depth_std`.
        error: (K,) reprojection error of this observation, pixels.
        point_error: (K,) mean reprojection error of the point over the used views, pixels.
        track_length: (K,) number of used views that observe the point.
        point_ids: (K,) id of the point in the model.
        mean_error: mean of ``point_error`` over all used points of the model, pixels; the ē of
            :func:`~nerfreg.supervision.reprojection_weight`.
    """

    name: str
    image_id: int
    xy: Float[Tensor, "k 2"]
    depth: Float[Tensor, " k"]
    std: Float[Tensor, " k"]
    error: Float[Tensor, " k"]
    point_error: Float[Tensor, " k"]
    track_length: Int64[Tensor, " k"]
    point_ids: Int64[Tensor, " k"]
    mean_error: float

    def __len__(self) -> int:
        return len(self.depth)

    def where(self, chosen: Bool[Tensor, " k"]) -> "Keypoints":
        """Return only the keypoints at which ``chosen`` is true."""
        tensors = ("xy", "depth", "std", "error", "point_error", "track_length", "point_ids")
        return dataclasses.replace(self, **{name: getattr(self, name)[chosen] for name in tensors})

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Keypoints":
        """Return the keypoints on another device, their floating-point values in another dtype."""
        floats = ("xy", "depth", "std", "error", "point_error")
        moved = {name: getattr(self, name).to(device=device, dtype=dtype) for name in floats}
        moved |= {name: getattr(self, name).to(device) for name in ("track_length", "point_ids")}
        return dataclasses.replace(self, **moved)

    def scaled(self, scale: float) -> "Keypoints":
        """Return the keypoints of a world ``scale`` times as large.

        Example:
            >>> import torch
            >>> x, n = torch.ones(1), torch.ones(1, dtype=torch.int64)
            >>> one = Keypoints("a.jpg", 1, xy=torch.ones(1, 2), depth=2 * x, std=0.1 * x, error=x,
            ...                 point_error=x, track_length=n, point_ids=n, mean_error=1.0)
            >>> one.scaled(10.0).depth, one.scaled(10.0).std
            (tensor([20.]), tensor([1.]))
        """
        if not scale > 0:
            raise ValueError(f"Keypoints.scaled: scale must be > 0, got {scale}")
        return dataclasses.replace(self, depth=self.depth * scale, std=self.std * scale)

    def resized(self, sx: float, sy: float) -> "Keypoints":
        """Return the keypoints of an image ``sx`` times as wide and ``sy`` times as high.

        Pixel errors follow the geometric mean of the two factors; depths stay, and so do their
        standard deviations, which depend on angles alone.

        Example:
            >>> import torch
            >>> x, n = torch.ones(1), torch.ones(1, dtype=torch.int64)
            >>> one = Keypoints("a.jpg", 1, xy=torch.tensor([[4.0, 6.0]]), depth=x, std=x, error=x,
            ...                 point_error=x, track_length=n, point_ids=n, mean_error=1.0)
            >>> one.resized(0.5, 0.5).xy
            tensor([[2., 3.]])
        """
        if not (sx > 0 and sy > 0):
            raise ValueError(f"Keypoints.resized: factors must be > 0, got sx {sx}, sy {sy}")
        pixels = (sx * sy) ** 0.5
        return dataclasses.replace(
            self,
            xy=self.xy * self.xy.new_tensor([sx, sy]),
            error=self.error * pixels,
            point_error=self.point_error * pixels,
            mean_error=self.mean_error * pixels,
        )
