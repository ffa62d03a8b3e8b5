"""Rays against those of RegNeRF's data loaders, to 1e-9 in float64.

For LLFF and Blender upstream rounds the directions in a camera to float32 before it rotates them.
Where rays are compared with those, they start from pixel coordinates that carry the same rounding
(:func:`rounded_centres`), and 1e-9 holds; a radius is a difference of two rounded rays, which the
coordinates of one cannot carry: there the error is up to 2.3e-8.
"""

import pytest
import torch
from torch import Tensor

from nerfreg.views import (
    Cameras,
    Rays,
    UnseenPatchSampler,
    ndc_rays,
    ndc_scale,
    opengl_to_opencv,
    pinhole,
    pinhole_rays,
    pixel_centres,
    shift_origins,
    to_ndc,
)
from tests.golden import golden, golden_cases

cases = pytest.mark.parametrize("case", golden_cases("rays"))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def close_after_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=3e-8)


def rounded_centres(width: int, height: int, focal: float) -> Tensor:
    """Pixel centres as upstream's float32 leaves them."""
    half = torch.tensor([width, height]).double() / 2
    centres = pixel_centres(width, height, dtype=torch.float64)
    return ((centres - half).float() / focal).double() * focal + half


def all_rays(cameras: Cameras, xy: Tensor | None = None, *, ndc: bool = False) -> Rays:
    index = torch.arange(len(cameras))[:, None, None]
    if xy is None:
        xy = pixel_centres(cameras.width, cameras.height, dtype=cameras.c2w.dtype)
    return cameras.ndc_rays(index, xy) if ndc else cameras.rays(index, xy)


def opengl_cameras(poses: Tensor, focal: float, width: int, height: int) -> Cameras:
    intrinsics = pinhole(focal, width, height, dtype=torch.float64)
    return Cameras.from_opengl(poses, intrinsics, width, height)


@cases
def test_llff_rays_in_ndc(case: int) -> None:
    g = golden("rays", case)
    width, height = int(g["width"]), int(g["height"])
    cameras = opengl_cameras(g["poses_ff"], float(g["focal"]), width, height)
    rays = all_rays(cameras, rounded_centres(width, height, float(g["focal"])), ndc=True)
    for split in ("train", "random"):
        close(rays.origins, g[f"llff_{split}_origins"])
        close(rays.directions, g[f"llff_{split}_directions"])
        close_after_rounding(all_rays(cameras, ndc=True).radii, g[f"llff_{split}_radii"])
    close(rays.viewdirs, g["llff_random_viewdirs"])
    # The one deliberate difference: upstream leaves the view directions of training rays as long
    # as they come.
    long = g["llff_train_viewdirs"]
    assert (long.norm(dim=-1) - 1).abs().max() > 1e-3
    close(rays.viewdirs, long / long.norm(dim=-1, keepdim=True))


@cases
def test_llff_rays_of_half_the_size(case: int) -> None:
    g = golden("rays", case)
    width, height = int(g["width"]) // 2, int(g["height"]) // 2
    cameras = opengl_cameras(g["poses_ff"], float(g["focal"]) / 2, width, height)
    rays = all_rays(cameras, rounded_centres(width, height, float(g["focal"]) / 2), ndc=True)
    for field in ("origins", "directions", "viewdirs"):
        close(getattr(rays, field), g[f"llff_random_scale2_{field}"])
    close_after_rounding(all_rays(cameras, ndc=True).radii, g["llff_random_scale2_radii"])


@cases
def test_blender_rays(case: int) -> None:
    g = golden("rays", case)
    width, height = int(g["width"]), int(g["height"])
    cameras = opengl_cameras(g["poses_blender"], float(g["focal"]), width, height)
    rays = all_rays(cameras, rounded_centres(width, height, float(g["focal"])))
    for field in ("origins", "directions", "viewdirs"):
        close(getattr(rays, field), g[f"blender_train_{field}"])
    close_after_rounding(rays.radii, g["blender_train_radii"])
    rays = all_rays(cameras)
    for i in range(len(cameras)):
        close(cameras.image_rays(i).directions, rays.directions[i])


@cases
def test_dtu_rays_start_from_the_plane(case: int) -> None:
    g = golden("rays", case)
    width, height = int(g["width"]), int(g["height"])
    cameras = Cameras.from_opencv(g["poses_dtu"], g["dtu_intrinsics"], width, height)
    rays = shift_origins(all_rays(cameras), 0.0)
    for field in ("origins", "directions", "radii", "viewdirs"):
        close(getattr(rays, field), g[f"dtu_train_shift0_{field}"])


@cases
def test_dtu_rays_of_the_mean_camera(case: int) -> None:
    g = golden("rays", case)
    xy = pixel_centres(int(g["width"]), int(g["height"]), dtype=torch.float64)
    mean = g["dtu_intrinsics"].inverse().mean(0).inverse()
    rays = shift_origins(pinhole_rays(g["poses_dtu"][:, None, None], mean, xy), 0.0)
    for field in ("origins", "directions", "radii", "viewdirs"):
        close(getattr(rays, field), g[f"dtu_random_shift0_{field}"])


@cases
@pytest.mark.parametrize(
    ("name", "near", "fy"), [("", 1.0, 1.0), ("near2_", 2.0, 1.0), ("fy_", 1.0, 1.1)]
)
def test_conversion_to_ndc(case: int, name: str, near: float, fy: float) -> None:
    g = golden("rays", case)
    width, height, focal = int(g["width"]), int(g["height"]), float(g["focal"])
    intrinsics = pinhole((focal, focal * fy), width, height, dtype=torch.float64)
    origins, directions = to_ndc(g["o"], g["d"], ndc_scale(intrinsics, width, height), near)
    close(origins, g[f"ndc_{name}o"])
    close(directions, g[f"ndc_{name}d"])


@cases
def test_shifted_origins(case: int) -> None:
    g = golden("rays", case)
    rays = Rays(g["o"], g["d"], g["d"], torch.ones_like(g["o"][..., :1]))
    close(shift_origins(rays, float(g["shift_near"])).origins, g["shift_o"])


@cases
@pytest.mark.parametrize("near", [None, 1.0])
def test_patches_hold_the_rays_of_the_image(case: int, near: float | None) -> None:
    g = golden("rays", case)
    width, height = int(g["width"]), int(g["height"])
    c2w = opengl_to_opencv(g["poses_ff"])
    intrinsics = pinhole(float(g["focal"]), width, height, dtype=torch.float64)
    sampler = UnseenPatchSampler(c2w, intrinsics, 4, image_size=(width, height), ndc_near=near)
    patches = sampler.sample(20, torch.Generator().manual_seed(case))
    xy = pixel_centres(width, height, dtype=torch.float64)
    scale = ndc_scale(intrinsics, width, height)
    for i in range(20):
        if near is None:
            image = pinhole_rays(patches.c2w[i], intrinsics, xy)
        else:
            image = ndc_rays(patches.c2w[i], intrinsics, xy, (width, height), scale)
        column, row = (int(v) for v in patches.xy[i, 0, 0])
        window = image[row : row + 4, column : column + 4]
        for field in ("origins", "directions", "radii", "viewdirs"):
            close(getattr(patches.rays, field)[i], getattr(window, field))
