"""Patches of neighbouring pixels in views that nobody took."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfreg.arrays import is_array
from nerfreg.views.distribution import PoseDistribution, require_count
from nerfreg.views.draws import require_generator, require_tensor, uniform_integers
from nerfreg.views.matrices import require_intrinsics, require_poses
from nerfreg.views.ndc import ndc_rays, ndc_scale
from nerfreg.views.pinhole import pinhole_rays, pixel_centres
from nerfreg.views.rays import Rays

__all__ = ["PatchRays", "UnseenPatchSampler", "patch_pixels"]


def patch_pixels(
    corners: Int[Tensor, "n 2"], patch_size: int, *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "n p p 2"]:
    """Return the pixel centres of patches, row by row.

    Args:
        corners: column and row of each patch's top-left pixel.
        patch_size: P, pixels along a side.
        dtype: of the result.

    Example:
        >>> import torch
        >>> patch_pixels(torch.tensor([[3, 5]]), 2)[0, 0]
        tensor([[3.5000, 5.5000],
                [4.5000, 5.5000]])
    """
    grid = pixel_centres(patch_size, patch_size, dtype=dtype, device=corners.device)
    return corners[:, None, None].to(dtype) + grid


@dataclass(frozen=True, eq=False)
class PatchRays:
    """Rays of n patches, and where they come from.

    Attributes:
        rays: (n, P, P) row-major: axis 1 runs down the image, axis 2 to the right.
        c2w: (n, 3, 4) the pose of each patch.
        intrinsics: (n, 3, 3) the intrinsics of each patch.
        xy: (n, P, P, 2) pixel coordinates. The rays in the world, whatever space ``rays`` are in,
            are ``pinhole_rays(c2w[:, None, None], intrinsics[:, None, None], xy)``.
    """

    rays: Rays[Tensor]
    c2w: Float[Tensor, "n 3 4"]
    intrinsics: Float[Tensor, "n 3 3"]
    xy: Float[Tensor, "n p p 2"]

    def lens(self) -> Float[Tensor, "n 3 3"]:
        """Return the intrinsics of cameras that see the patches and nothing else, pixels.

        A patch is a small picture of the same camera: the focal lengths and the skew stay, the
        principal point is counted from the patch's corner.

        Example:
            >>> import torch
            >>> from nerfreg.views import UnseenPatchSampler, pinhole
            >>> pose, intrinsics = torch.eye(3, 4)[None], pinhole(50.0, 64, 48)
            >>> sampler = UnseenPatchSampler(pose, intrinsics, image_size=(64, 48))
            >>> sampler.place(pose, intrinsics[None], torch.tensor([[30, 20]])).lens()
            tensor([[[50.,  0.,  2.],
                     [ 0., 50.,  4.],
                     [ 0.,  0.,  1.]]])
        """
        lens = self.intrinsics.clone()
        lens[:, :2, 2] -= self.xy[:, 0, 0] - 0.5
        return lens


class UnseenPatchSampler:
    """Draw small patches of rays from poses that took no photograph.

    Each patch has its own pose, drawn from ``poses``, and its own corner, uniform over all corners
    that keep the patch inside the image; the last row and column are reached as often as the first.
    Nothing is computed in advance: memory and time are those of the n·P² rays that are asked for.

    Args:
        poses: a distribution, or (k, 3, 4) fixed OpenCV poses of which each patch takes one at
            random.
        intrinsics: (3, 3), or (k, 3, 3): each patch then takes that of one real camera at random,
            whatever its pose.
        patch_size: P, pixels along a side.
        image_size: (width, height) of the imagined photographs, pixels.
        ndc_near: ``None`` for rays in the world; a near plane for rays in NDC, in a world whose
            cameras look along −z.
        ndc_scale: the scale of that NDC, see :func:`~nerfreg.views.ndc_scale`; by default that of
            the first intrinsics. It must be the one that the training rays use.

    Raises:
        TypeError: ``intrinsics`` or ``poses`` is no tensor of floating point.
        ValueError: a shape is wrong; the patch is smaller than 2×2 or larger than the image.

    Source:
        Niemeyer et al., RegNeRF, CVPR 2022, section 4.1: 8×8 patches, 64 a step. *Differs from
        upstream in* that poses are drawn anew for each patch (there: 10 000 poses once, all their
        rays kept in memory) and that DTU's intrinsics are those of one camera (there: their mean
        inverse).

    Example:
        >>> import torch
        >>> from nerfreg.views import HemispherePoses, UnseenPatchSampler, pinhole
        >>> poses, intrinsics = HemispherePoses.blender(), pinhole(60.0, 64, 48)
        >>> sampler = UnseenPatchSampler(poses, intrinsics, image_size=(64, 48))
        >>> sampler.sample(4, torch.Generator().manual_seed(0)).rays.origins.shape
        torch.Size([4, 8, 8, 3])
    """

    def __init__(
        self,
        poses: PoseDistribution | Tensor,
        intrinsics: Float[Tensor, "*k 3 3"],
        patch_size: int = 8,
        *,
        image_size: tuple[int, int],
        ndc_near: float | None = None,
        ndc_scale: Float[Tensor, "2"] | None = None,
    ) -> None:
        if is_array(poses):
            require_tensor("UnseenPatchSampler", "poses", poses)
            require_poses("UnseenPatchSampler", "poses", poses)
        require_tensor("UnseenPatchSampler", "intrinsics", intrinsics)
        if intrinsics.ndim == 2:
            intrinsics = intrinsics[None]
        require_intrinsics("UnseenPatchSampler", intrinsics)
        width, height = image_size
        if not 2 <= patch_size <= min(width, height):
            raise ValueError(
                "UnseenPatchSampler: patch_size must be at least 2 and at most the image's smaller"
                f" side, got {patch_size} for an image of {width}×{height} pixels"
            )
        if ndc_near is not None and not ndc_near > 0:
            raise ValueError(f"UnseenPatchSampler: ndc_near must be None or > 0, got {ndc_near}")
        self.poses = poses
        self.intrinsics = intrinsics
        self.patch_size = patch_size
        self.image_size = image_size
        self.ndc_near = ndc_near
        self.ndc_scale = _scale_of(intrinsics, image_size) if ndc_scale is None else ndc_scale

    def sample(self, n: int, generator: torch.Generator | None = None) -> PatchRays:
        """Draw n independent patches.

        Args:
            n: number of patches.
            generator: on the device of the poses; one seed gives one sequence.

        Returns:
            The patches' rays, in the dtype and on the device of the poses.
        """
        require_count("UnseenPatchSampler.sample", n)
        device = self.intrinsics.device
        require_generator("UnseenPatchSampler.sample", generator, device)
        if isinstance(self.poses, Tensor):
            c2w = self.poses[uniform_integers(len(self.poses), n, self.poses.device, generator)]
        else:
            c2w = self.poses.sample(n, generator)
        if c2w.device != device:
            raise ValueError(
                "UnseenPatchSampler: poses and intrinsics must be on one device, got poses on"
                f" {c2w.device} and intrinsics on {device}"
            )
        chosen = uniform_integers(len(self.intrinsics), n, device, generator)
        width, height = self.image_size
        columns = uniform_integers(width - self.patch_size + 1, n, device, generator)
        rows = uniform_integers(height - self.patch_size + 1, n, device, generator)
        corners = torch.stack([columns, rows], -1)
        return self.place(c2w, self.intrinsics[chosen].to(c2w.dtype), corners)

    def place(
        self,
        c2w: Float[Tensor, "n 3 4"],
        intrinsics: Float[Tensor, "n 3 3"],
        corners: Int[Tensor, "n 2"],
    ) -> PatchRays:
        """Return the patches of given poses, intrinsics and corners (column, row)."""
        xy = patch_pixels(corners, self.patch_size, dtype=c2w.dtype)
        pose, k = c2w[:, None, None], intrinsics[:, None, None]
        if self.ndc_near is None:
            rays = pinhole_rays(pose, k, xy)
        else:
            scale = self.ndc_scale.to(c2w.dtype)
            rays = ndc_rays(pose, k, xy, self.image_size, scale, self.ndc_near)
        return PatchRays(rays, c2w, intrinsics, xy)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "UnseenPatchSampler":
        """Move to a device, convert to a floating dtype, or both."""
        poses = self.poses
        return UnseenPatchSampler(
            poses.to(device=device, dtype=dtype),
            self.intrinsics.to(device=device, dtype=dtype),
            self.patch_size,
            image_size=self.image_size,
            ndc_near=self.ndc_near,
            ndc_scale=self.ndc_scale.to(device=device, dtype=dtype),
        )


def _scale_of(intrinsics: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The NDC scale of the first camera (named apart from the argument that overrides it)."""
    return ndc_scale(intrinsics[0], *image_size)
