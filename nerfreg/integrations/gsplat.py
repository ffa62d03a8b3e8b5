"""What gsplat's rasterizer takes and gives, in nerfreg's terms; one function imports gsplat."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from nerfreg.checks import require_floating, value_checks
from nerfreg.views import Cameras, PatchRays

__all__ = [
    "SplatCameras",
    "at_pixels",
    "require_rasterization",
    "rgb_depth_opacity",
    "splat_cameras",
]


class SplatCameras(TypedDict):
    """What ``gsplat.rasterization`` wants to know of n cameras; unpack it into the call.

    Attributes:
        viewmats: (n, 4, 4) world-to-camera, OpenCV axes.
        Ks: (n, 3, 3) intrinsics, pixels; (0.5, 0.5) is the centre of the top-left pixel.
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
    """

    viewmats: Float[Tensor, "n 4 4"]
    Ks: Float[Tensor, "n 3 3"]
    width: int
    height: int


def splat_cameras(views: Cameras[Tensor] | PatchRays) -> SplatCameras:
    """Describe cameras, or patches as small cameras of their own, to gsplat.

    A P×P patch is the whole picture of a camera whose principal point is shifted by the patch's
    corner, so a rasterizer renders its P² pixels and nothing else.

    Args:
        views: cameras, or the patches that :class:`~nerfreg.views.UnseenPatchSampler` drew.

    Raises:
        TypeError: ``views`` is neither.
        ValueError: while values are checked, the cameras have skew, which gsplat leaves out.

    Numerics: gsplat linearises the projection of a splat whose centre lies farther outside of the
    picture than 15 % of its size as if it lay there. A patch is a small picture, so large splats
    beside it look a little different from how they do in the whole one.

    Example:
        >>> import torch
        >>> from nerfreg import UnseenPatchSampler
        >>> from nerfreg.views import pinhole
        >>> sampler = UnseenPatchSampler(
        ...     torch.eye(3, 4)[None], pinhole(50.0, 64, 48), patch_size=8, image_size=(64, 48)
        ... )
        >>> patches = sampler.place(
        ...     torch.eye(3, 4)[None], pinhole(50.0, 64, 48)[None], torch.tensor([[10, 20]])
        ... )
        >>> cameras = splat_cameras(patches)
        >>> cameras["Ks"][0, :2, 2], cameras["width"], cameras["height"]
        (tensor([22.,  4.]), 8, 8)
    """
    if isinstance(views, PatchRays):
        Ks = views.lens()
        height, width = views.xy.shape[1:3]
    elif isinstance(views, Cameras):  # pyright: ignore[reportUnnecessaryIsInstance]
        Ks, width, height = views.intrinsics, views.width, views.height
    else:
        raise TypeError(
            f"splat_cameras: views must be Cameras or PatchRays, got {type(views).__name__}"
        )
    if value_checks() and bool((Ks[:, 0, 1] != 0).any()):
        skew = float(Ks[:, 0, 1].abs().max())
        raise ValueError(f"splat_cameras: gsplat leaves skew out, so it must be 0, got {skew}")
    rotation = views.c2w[..., :3].mT
    viewmats = torch.eye(4).to(Ks).repeat(len(Ks), 1, 1)
    viewmats[:, :3, :3] = rotation
    viewmats[:, :3, 3:] = -rotation @ views.c2w[..., 3:]
    return {"viewmats": viewmats, "Ks": Ks, "width": width, "height": height}


def rgb_depth_opacity(
    renders: Float[Tensor, "n height width 4"], alphas: Float[Tensor, "n height width 1"]
) -> tuple[
    Float[Tensor, "n height width 3"],
    Float[Tensor, "n height width"],
    Float[Tensor, "n height width"],
]:
    """Take apart what ``rasterization(…, render_mode="RGB+ED")`` gives, as losses want it.

    Args:
        renders: red, green, blue, expected z-depth.
        alphas: opacity.

    Returns:
        Colour; z-depth of the splats' centres, averaged with their blending weights (``"RGB+D"``
        would give the sum instead, small where opacity is); opacity.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: ``renders`` has no fourth channel, the depth; the shapes do not match.
    """
    require_floating("rgb_depth_opacity", renders=renders, alphas=alphas)
    if renders.ndim < 3 or renders.shape[-1] != 4:
        raise ValueError(
            "rgb_depth_opacity: renders must be (n, H, W, 4), three colours and depth, as"
            f' render_mode="RGB+ED" gives, got {tuple(renders.shape)}'
        )
    if alphas.shape != (*renders.shape[:-1], 1):
        raise ValueError(
            f"rgb_depth_opacity: alphas must be {(*renders.shape[:-1], 1)} beside renders, got"
            f" {tuple(alphas.shape)}"
        )
    return renders[..., :3], renders[..., 3], alphas[..., 0]


def at_pixels(
    image: Float[Tensor, "height width"], xy: Float[Tensor, "points 2"]
) -> Float[Tensor, " points"]:
    """Read an image between its pixels, bilinearly, where keypoints lie.

    Args:
        image: one number a pixel, for example rendered depth.
        xy: pixel coordinates; (0.5, 0.5) is the centre of the top-left pixel. Farther out than the
            outermost centres the nearest of them counts.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: a shape is wrong.

    Example:
        >>> import torch
        >>> at_pixels(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.5], [1.75, 0.5]]))
        tensor([1.0000, 2.2500])
    """
    require_floating("at_pixels", image=image, xy=xy)
    if image.ndim != 2 or xy.ndim != 2 or xy.shape[-1] != 2:
        raise ValueError(
            "at_pixels: image must be (H, W) and xy (K, 2), got"
            f" {tuple(image.shape)} and {tuple(xy.shape)}"
        )
    height, width = image.shape
    # Half precision tells no pixels apart beyond the first few hundred.
    dtype = torch.promote_types(image.dtype, torch.float32)
    place = 2 * xy.to(dtype) / xy.new_tensor([width, height], dtype=dtype) - 1
    options: dict[str, Any] = {"padding_mode": "border", "align_corners": False}
    read = grid_sample(image[None, None].to(dtype), place[None, None], **options)[0, 0, 0]
    return read.to(image.dtype)


def require_rasterization() -> Callable[..., Any]:
    """Import ``gsplat.rasterization``, of a version whose arguments and results are known.

    Raises:
        ImportError: gsplat is not installed, or its version is another than 1.5.
    """
    try:
        gsplat = import_module("gsplat")
    except ImportError as error:
        raise ImportError("rasterization needs gsplat: pip install 'nerfreg[gsplat]'") from error
    if not gsplat.__version__.startswith("1.5."):
        raise ImportError(
            f"expected gsplat 1.5.x, whose depth is z-depth, got {gsplat.__version__}:"
            " pip install 'nerfreg[gsplat]'"
        )
    return gsplat.rasterization
