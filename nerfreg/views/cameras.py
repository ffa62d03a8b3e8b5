"""Pinhole cameras of one image size."""

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Generic, SupportsIndex, cast

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from nerfreg.arrays import Array, as_like, is_traced, like, namespace
from nerfreg.checks import check_values, require_arrays, require_floating, value_checks
from nerfreg.views.axes import colmap_to_opencv, opengl_to_opencv
from nerfreg.views.matrices import require_intrinsics, require_poses
from nerfreg.views.ndc import ndc_rays, ndc_scale
from nerfreg.views.pinhole import pinhole_rays, pixel_grid, project_points
from nerfreg.views.rays import Rays

__all__ = ["Cameras"]


@dataclass(frozen=True, eq=False)
class Cameras(Generic[Array]):
    """n pinhole cameras without distortion, all with images of one size.

    Build them with :meth:`from_opencv`, :meth:`from_opengl` or :meth:`from_colmap`, which check the
    values of what they are given. The constructor checks shapes alone, unless value checks are on.

    Attributes:
        c2w: (n, 3, 4) camera-to-world; columns right, down, forward (OpenCV) and position.
        intrinsics: (n, 3, 3) [[fx, s, cx], [0, fy, cy], [0, 0, 1]] in pixels; (0.5, 0.5) is the
            centre of the top-left pixel, so the middle of the image is (width/2, height/2).
        width: of the images, in pixels.
        height: of the images, in pixels.

    Example:
        >>> import torch
        >>> from nerfreg.views import Cameras, pinhole
        >>> cameras = Cameras.from_opencv(torch.eye(4)[None], pinhole(50.0, 64, 48), 64, 48)
        >>> cameras.rays(torch.tensor(0), torch.tensor([32.0, 24.0])).directions
        tensor([0., 0., 1.])
    """

    c2w: Float[Array, "n 3 4"]
    intrinsics: Float[Array, "n 3 3"]
    width: int
    height: int

    def __post_init__(self) -> None:
        require_arrays("Cameras", c2w=self.c2w, intrinsics=self.intrinsics)
        require_poses("Cameras", "c2w", self.c2w)
        require_intrinsics("Cameras", self.intrinsics)
        if len(self) != self.intrinsics.shape[0]:
            counts = f"{len(self)} poses and {self.intrinsics.shape[0]} intrinsics"
            raise ValueError(f"Cameras: every pose needs one intrinsics matrix, got {counts}")
        if like(self.c2w) != like(self.intrinsics):
            raise ValueError(
                "Cameras: c2w and intrinsics must share device and dtype, got"
                f" {_kind(self.c2w)} and {_kind(self.intrinsics)}"
            )
        _require_size("Cameras", self.width, self.height)

    @classmethod
    def from_opencv(
        cls,
        c2w: Float[Any, "n rows 4"],
        intrinsics: Float[Any, "*n 3 3"],
        width: int,
        height: int,
    ) -> "Cameras[Any]":
        """Take camera-to-world matrices with OpenCV axes: x right, y down, z forward.

        Args:
            c2w: (n, 3, 4) or (n, 4, 4).
            intrinsics: (n, 3, 3), or (3, 3) for all.
            width: of the images, in pixels.
            height: of the images, in pixels.

        Raises:
            ValueError: a shape is wrong; an entry is NaN or infinite; a matrix is not rigid within
                1e-3; a focal length is not positive.
        """
        c2w = _without_last_row("Cameras.from_opencv", c2w)
        require_floating("Cameras.from_opencv", c2w=c2w, intrinsics=intrinsics)
        if len(intrinsics.shape) == 2:
            each = (c2w.shape[0], *intrinsics.shape)
            intrinsics = namespace(intrinsics).broadcast_to(intrinsics, each)
        # Scenes come through this door once, so its value checks may wait for the device.
        with check_values():
            return cls(c2w, as_like(intrinsics, c2w), width, height)

    @classmethod
    def from_opengl(
        cls,
        c2w: Float[Any, "n rows 4"],
        intrinsics: Float[Any, "*n 3 3"],
        width: int,
        height: int,
    ) -> "Cameras[Any]":
        """Take camera-to-world matrices with OpenGL axes: x right, y up, z backward.

        These are the axes of Blender, of nerfstudio's and instant-ngp's ``transforms.json`` and of
        LLFF's matrices once their columns are reordered. Arguments and errors are those of
        :meth:`from_opencv`.
        """
        c2w = _without_last_row("Cameras.from_opengl", c2w)
        return cls.from_opencv(opengl_to_opencv(c2w), intrinsics, width, height)

    @classmethod
    def from_colmap(
        cls,
        qvec: Float[Any, "n 4"],
        tvec: Float[Any, "n 3"],
        intrinsics: Float[Any, "*n 3 3"],
        width: int,
        height: int,
    ) -> "Cameras[Any]":
        """Take COLMAP's world-to-camera poses, as in ``images.txt``.

        Args:
            qvec: quaternions (w, x, y, z).
            tvec: translations.
            intrinsics: (n, 3, 3), or (3, 3) for all, of pinholes (undistorted images).
            width: of the images, in pixels.
            height: of the images, in pixels.
        """
        require_floating("Cameras.from_colmap", qvec=qvec, tvec=tvec)
        for name, value, size in (("qvec", qvec, 4), ("tvec", tvec, 3)):
            if len(value.shape) != 2 or value.shape[1] != size:
                got = tuple(value.shape)
                raise ValueError(f"Cameras.from_colmap: {name} must be (n, {size}), got {got}")
        if qvec.shape[0] != tvec.shape[0]:
            counts = f"{qvec.shape[0]} qvec and {tvec.shape[0]} tvec"
            raise ValueError(f"Cameras.from_colmap: every pose needs both, got {counts}")
        return cls.from_opencv(colmap_to_opencv(qvec, tvec), intrinsics, width, height)

    def __len__(self) -> int:
        return self.c2w.shape[0]

    def __getitem__(
        self, index: SupportsIndex | slice | list[int] | Shaped[Array, "..."]
    ) -> "Cameras[Array]":
        """Select cameras; one integer gives one camera, still with its axis n."""
        key = self._key(index)
        return replace(self, c2w=self.c2w[key, ...], intrinsics=self.intrinsics[key, ...])

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Cameras[Array]":
        """Move torch tensors to a device, convert them to a floating dtype, or both."""
        return replace(
            self,
            c2w=self.c2w.to(device=device, dtype=dtype),
            intrinsics=self.intrinsics.to(device=device, dtype=dtype),
        )

    def resized(self, width: int, height: int) -> "Cameras[Array]":
        """Return the cameras of the same photographs at another size.

        Pixel coordinates scale about the image's corner (0, 0), so a point at x goes to
        x·width/self.width.
        """
        _require_size("Cameras.resized", width, height)
        k = self.intrinsics
        x, y = k[:, :1, :] * (width / self.width), k[:, 1:2, :] * (height / self.height)
        scaled = namespace(k).concat([x, y, k[:, 2:, :]], axis=1)
        return replace(self, intrinsics=scaled, width=width, height=height)

    def rays(self, index: Int[Array, " *#batch"], xy: Float[Array, "*#batch 2"]) -> Rays[Array]:
        """Trace a ray through each pixel coordinate.

        Args:
            index: the camera of each ray; broadcasts against ``xy``.
            xy: continuous pixel coordinates; the pixel in column i and row j has its centre at
                (i + 0.5, j + 0.5).

        Returns:
            Rays whose directions have camera z = 1, so that t is z-depth, in the cameras' dtype.
        """
        c2w, intrinsics = self._pick("Cameras.rays", index, xy=xy)
        return pinhole_rays(c2w, intrinsics, xy)

    def ndc_rays(
        self,
        index: Int[Array, " *#batch"],
        xy: Float[Array, "*#batch 2"],
        near: float = 1.0,
        scale: Float[Array, "2"] | None = None,
    ) -> Rays[Array]:
        """Trace a ray through each pixel coordinate and give it in NDC.

        See :func:`~nerfreg.views.ndc_rays`.

        Args:
            index: the camera of each ray; broadcasts against ``xy``.
            xy: continuous pixel coordinates.
            near: distance of the near plane; the world's cameras look along −z.
            scale: of the NDC space, see :func:`~nerfreg.views.ndc_scale`; by default that of camera
                0. Cameras with different focal lengths need one ``scale`` for all, also for subsets
                of them; with value checks on, leaving it out is then a ``ValueError``.
        """
        c2w, intrinsics = self._pick("Cameras.ndc_rays", index, xy=xy, scale=scale)
        if scale is None:
            scales = ndc_scale(self.intrinsics, self.width, self.height)
            scale = scales[0, :]
            if value_checks() and not is_traced(scales) and not _nearly_equal(scales, scale):
                raise ValueError(
                    "Cameras.ndc_rays: the cameras have different focal lengths, so scale must be"
                    " given: one for all rays that meet in a field"
                )
        return ndc_rays(c2w, intrinsics, xy, (self.width, self.height), scale, near)

    def image_rays(self, index: int) -> Rays[Array]:
        """Trace the rays through all pixel centres of one camera, (H, W)."""
        c2w, intrinsics = self.c2w[index, ...], self.intrinsics[index, ...]
        xy = pixel_grid(namespace(c2w), self.width, self.height, **like(c2w))
        return pinhole_rays(c2w, intrinsics, xy)

    def project(
        self, points: Float[Array, "*#batch 3"], index: Int[Array, " *#batch"]
    ) -> tuple[Any, Any]:
        """Project world points into cameras; the inverse of :meth:`rays`.

        Args:
            points: in the world.
            index: the camera of each point; broadcasts against ``points``.

        Returns:
            Pixel coordinates (…, 2), and z-depth (…). Where z-depth ≤ 0 the point is behind the
            camera and its coordinates mean nothing.
        """
        c2w, intrinsics = self._pick("Cameras.project", index, points=points)
        points = namespace(points).astype(points, c2w.dtype, copy=False)
        return project_points(c2w, intrinsics, points)

    def _key(self, index: Any) -> Any:
        """Turn an index into one that keeps the axis n in every library."""
        if isinstance(index, slice):
            return cast("slice", index)
        if isinstance(index, list):
            return np.asarray(cast("list[int]", index))
        if hasattr(index, "shape") and not isinstance(index, Integral):  # NumPy's integers are both
            require_arrays("Cameras", c2w=self.c2w, index=index)
            return index if len(index.shape) else index[None]
        position = index.__index__()
        if not -len(self) <= position < len(self):
            raise IndexError(f"camera {position} does not exist: there are {len(self)}")
        return slice(position % len(self), position % len(self) + 1)

    def _pick(self, function: str, index: Any, **others: Any) -> tuple[Any, Any]:
        require_arrays(function, c2w=self.c2w, index=index, **others)
        if not namespace(index).isdtype(index.dtype, "integral"):
            raise TypeError(f"{function}: index must be an integer tensor, got {index.dtype}")
        index = index.long() if isinstance(index, Tensor) else index
        return self.c2w[index], self.intrinsics[index]


def _without_last_row(function: str, c2w: Any) -> Any:
    require_floating(function, c2w=c2w)
    if len(c2w.shape) != 3 or tuple(c2w.shape[1:]) not in ((3, 4), (4, 4)):
        got = tuple(c2w.shape)
        raise ValueError(f"{function}: c2w must be (n, 3, 4) or (n, 4, 4), got {got}")
    return c2w[:, :3, :]


def _kind(x: Any) -> str:
    """Name an array's dtype, and the device of a tensor."""
    return " ".join(str(value) for value in like(x).values())


def _nearly_equal(scales: Any, scale: Any) -> bool:
    xp = namespace(scales)
    return bool(xp.all(xp.abs(scales - scale) <= 1e-4 * xp.abs(scale)))


def _require_size(function: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"{function}: width and height must be ≥ 1, got {width} and {height}")
