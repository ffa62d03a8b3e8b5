"""Mathematics of poses, distributions and patches against RegNeRF's code, to 1e-9 in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg.views import (
    AroundFocusPoses,
    ForwardFacingPoses,
    HemispherePoses,
    InterpolatedPoses,
    UnseenPatchSampler,
    average_pose,
    focus_depth,
    focus_point,
    look_at,
    opencv_to_opengl,
    opengl_to_opencv,
    orbit_path,
    patch_pixels,
    pinhole,
    recenter_poses,
    spiral_path,
    to_unit_hemisphere,
    view_matrix,
)
from tests.golden import golden, golden_cases

poses_cases = pytest.mark.parametrize("case", golden_cases("poses"))
random_cases = pytest.mark.parametrize("case", golden_cases("random_poses"))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


@poses_cases
@pytest.mark.parametrize("cameras", ["ff", "ob", "og"])
def test_average_recentred_and_focus(case: int, cameras: str) -> None:
    g = golden("poses", case)
    poses = g[cameras]
    close(average_pose(poses), g[f"{cameras}_avg"])
    close(recenter_poses(poses), g[f"{cameras}_recentered"])
    close(focus_point(poses), g[f"{cameras}_focus"])
    close(focus_point(recenter_poses(poses)), g[f"{cameras}_recentered_focus"])


@poses_cases
@pytest.mark.parametrize("cameras", ["ff", "og"])
def test_pose_mathematics_is_neutral_to_axes(case: int, cameras: str) -> None:
    opengl = golden("poses", case)[cameras]
    opencv = opengl_to_opencv(opengl)
    close(opencv_to_opengl(average_pose(opencv)), average_pose(opengl))
    close(focus_point(opencv), focus_point(opengl))


@poses_cases
def test_view_matrix(case: int) -> None:
    g = golden("poses", case)
    lookdir, up, position = g["vm_lookdir"], g["vm_up"], g["vm_position"]
    close(view_matrix(lookdir, up, position), g["vm"])
    close(view_matrix(lookdir - position, up, position), g["vm_subtract"])
    close(look_at(position, lookdir, -up), g["vm_subtract"])


@poses_cases
def test_llff_normalisation(case: int) -> None:
    g = golden("poses", case)
    scale = 1 / (0.75 * g["bounds"].min())
    close(scale, g["llff_scale"])
    scaled = torch.cat([g["ff"][..., :3], g["ff"][..., 3:] * scale], -1)
    close(recenter_poses(scaled), g["llff_scaled_recentered"])
    close(g["bounds"] * scale, g["llff_scaled_bounds"])


@poses_cases
def test_dtu_normalisation(case: int) -> None:
    g = golden("poses", case)
    poses = recenter_poses(g["ob"])
    scale = poses[..., 3].abs().max()
    close(scale, g["dtu_rescale"])
    scaled = torch.cat([poses[..., :3], poses[..., 3:] / scale], -1)
    close(scaled, g["dtu_recentered_rescaled"])


@poses_cases
def test_hemisphere_normalisation(case: int) -> None:
    g = golden("poses", case)
    poses, scale = to_unit_hemisphere(g["og"])
    close(poses, g["hemi_poses"])
    close(g["bounds"] * scale, g["hemi_bounds"])


@poses_cases
def test_llff_spiral(case: int) -> None:
    g = golden("poses", case)
    cameras = opengl_to_opencv(g["llff_scaled_recentered"])
    near, far = (float(x) for x in g["llff_scaled_bounds"].aminmax())
    n_frames = len(g["spiral"])
    path = spiral_path(cameras, focus_depth(near, far), n_frames=n_frames)
    close(opencv_to_opengl(path), g["spiral"])


@poses_cases
def test_dtu_spiral(case: int) -> None:
    g = golden("poses", case)
    n_frames = len(g["dtu_spiral"])
    path = spiral_path(
        g["dtu_recentered_rescaled"], n_frames=n_frames, n_rotations=-2.0, quantile=0.6
    )
    close(path, g["dtu_spiral"])


@poses_cases
def test_hemisphere_orbit(case: int) -> None:
    g = golden("poses", case)
    up = torch.tensor([0.0, 0.0, 1.0])
    path = orbit_path(
        opengl_to_opencv(g["hemi_poses"]),
        centre=torch.zeros(3),
        up=up,
        n_frames=len(g["hemi_orbit"]),
    )
    close(opencv_to_opengl(path), g["hemi_orbit"])


def llff_distribution(g: dict[str, Tensor]) -> ForwardFacingPoses:
    near, far = (float(x) for x in g["llff_bounds"].aminmax())
    return ForwardFacingPoses.from_cameras(opengl_to_opencv(g["llff_poses"]), near, far)


@random_cases
def test_forward_facing_poses(case: int) -> None:
    g = golden("random_poses", case)
    distribution = llff_distribution(g)
    close(distribution.radii, g["llff_radii"])
    close((distribution.target - distribution.pose[:, 3]).norm(), g["llff_focal"])
    # Upstream draws along right, up, backward.
    places = (2 * g["llff_uniform_draws"] - 1) * torch.tensor([1.0, -1.0, -1.0])
    poses = opencv_to_opengl(distribution.place(places))
    close(poses, g["llff_intended"])
    close(poses[-1:], g["llff_shipped"])


@random_cases
def test_the_bug_of_one_single_pose_is_not_reproduced(case: int) -> None:
    g = golden("random_poses", case)
    assert len(g["llff_shipped"]) == 1
    poses = llff_distribution(g).sample(100, torch.Generator().manual_seed(0))
    assert len(torch.unique(poses, dim=0)) == 100


@random_cases
@pytest.mark.parametrize("radius", [1.0, 0.5])
@pytest.mark.parametrize("jitter", [1, 0])
def test_around_focus_poses(case: int, radius: float, jitter: int) -> None:
    g = golden("random_poses", case)
    distribution = AroundFocusPoses.from_cameras(
        g["dtu_poses"], radius=radius, jitter=0.125 * jitter
    )
    close(distribution.pose, g["dtu_avg"])
    close(distribution.focus, g["dtu_focus"])
    close(distribution.radii, radius * g["dtu_radii"])
    close(-distribution.up, g["dtu_up"])
    draws = g["dtu_uniform_draws" if jitter else "dtu_uniform_draws_nojitter"]
    # This file's poses are scaled as upstream scales them, so the jitter is 0.125 of a world unit.
    poses = distribution.place(2 * draws - 1, g["dtu_normal_draws"])
    close(poses, g[f"dtu_jitter{jitter}_radius{radius}"])


@random_cases
def test_around_focus_statistics(case: int) -> None:
    g = golden("random_poses", case)
    distribution = AroundFocusPoses.from_cameras(g["dtu_poses"])
    poses = distribution.sample(20_000, torch.Generator().manual_seed(7))
    local = (poses[..., 3] - distribution.pose[:, 3]) @ distribution.pose[:, :3]
    # 20 000 draws on either side: each mean is off by about 0.58 r/141, an extreme by r/10 000.
    r = distribution.radii
    for actual, name, spread in [
        (local.amin(0), "dtu_stat_local_min", 1e-3),
        (local.amax(0), "dtu_stat_local_max", 1e-3),
        (local.mean(0), "dtu_stat_local_mean", 0.025),
        (local.std(0, correction=0), "dtu_stat_local_std", 0.015),
    ]:
        assert ((actual - g[name]).abs() < spread * r).all(), name
    assert (poses[..., 2].mean(0) - g["dtu_stat_zaxis_mean"]).abs().max() < 0.02


@random_cases
def test_released_linear_combination(case: int) -> None:
    g = golden("random_poses", case)
    cameras, expected = g["dtu_poses"], g["dtu_linearcomb"]
    # Upstream's list begins with the cameras themselves; its draws are repeated here from its seed.
    close(cameras, expected[: len(cameras)])
    legacy = np.random.RandomState(int(g["seed"]))
    draws = [
        (*legacy.choice(len(cameras), size=2, replace=False), legacy.rand())
        for _ in range(len(expected) - len(cameras))
    ]
    first, second, weight = (
        torch.from_numpy(np.array(column)) for column in zip(*draws, strict=True)
    )
    released = InterpolatedPoses.from_cameras(cameras, form="released")
    close(released.place(first, second, weight), expected[len(cameras) :])

    proper = InterpolatedPoses.from_cameras(cameras).place(first, second, weight)
    close(proper[..., 3], expected[len(cameras) :, :, 3])
    close(proper[..., :3].mT @ proper[..., :3], torch.eye(3).double().expand(len(proper), 3, 3))
    gram = expected[len(cameras) :, :, :3].mT @ expected[len(cameras) :, :, :3]
    assert (gram - torch.eye(3)).abs().max() > 1e-2


@random_cases
def test_blender_poses(case: int) -> None:
    g = golden("random_poses", case)
    poses = HemispherePoses.blender(dtype=torch.float64).place(g["blender_normal_draws"])
    # Upstream computes these rotations in float32.
    torch.testing.assert_close(opencv_to_opengl(poses), g["blender_random"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", golden_cases("patches"))
@pytest.mark.parametrize(
    ("name", "size"),
    [("p8_b256_all_images", 8), ("p4_b64_all_images", 4), ("p4_b64_single_image", 4)],
)
def test_patches(case: int, name: str, size: int) -> None:
    g = golden("patches", case)
    corners = torch.stack([g[f"{name}_x0"], g[f"{name}_y0"]], -1).reshape(-1, 2)
    column, row = patch_pixels(corners, size).long().unbind(-1)
    patches = g["images"][g[f"{name}_idx"][..., None], row, column]
    close(patches.reshape(-1, 3), g[name])

    _, height, width, _ = g["images"].shape
    sampler = UnseenPatchSampler(
        torch.eye(3, 4)[None], pinhole(9.0, width, height), size, image_size=(width, height)
    )
    n = len(corners)
    placed = sampler.place(
        torch.eye(3, 4).expand(n, 3, 4), sampler.intrinsics.expand(n, 3, 3), corners
    )
    assert torch.equal(placed.xy.long(), torch.stack([column, row], -1))
