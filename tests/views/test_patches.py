import re

import pytest
import torch
from torch import Tensor

from nerfreg.views import (
    AroundFocusPoses,
    HemispherePoses,
    UnseenPatchSampler,
    depth_to_ndc,
    ndc_to_depth,
    patch_pixels,
    pinhole,
    pinhole_rays,
)
from tests.views.scenes import any_intrinsics, forward_facing_poses, ring_poses

K = pinhole(50.0, 12, 10)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sampler(patch_size: int = 4, **options) -> UnseenPatchSampler:
    poses = AroundFocusPoses.from_cameras(ring_poses(dtype=torch.float32))
    return UnseenPatchSampler(poses, K, patch_size, image_size=(12, 10), **options)


def test_patches_are_contiguous_and_row_major() -> None:
    patches = sampler().sample(30, generator())
    assert patches.rays.shape == (30, 4, 4)
    assert patches.c2w.shape == (30, 3, 4)
    assert patches.intrinsics.shape == (30, 3, 3)
    right = patches.xy[:, :, 1:] - patches.xy[:, :, :-1]
    down = patches.xy[:, 1:] - patches.xy[:, :-1]
    assert torch.equal(right, torch.tensor([1.0, 0.0]).expand_as(right))
    assert torch.equal(down, torch.tensor([0.0, 1.0]).expand_as(down))
    # Pixel centres inside the image.
    assert torch.equal(patches.xy % 1, torch.full_like(patches.xy, 0.5))
    assert (patches.xy > 0).all()
    assert (patches.xy < torch.tensor([12, 10])).all()


def test_the_rays_are_those_of_the_pose_at_the_pixels() -> None:
    patches = sampler().sample(5, generator())
    again = pinhole_rays(patches.c2w[:, None, None], patches.intrinsics[:, None, None], patches.xy)
    for field in ("origins", "directions", "viewdirs", "radii"):
        assert torch.equal(getattr(again, field), getattr(patches.rays, field))


def test_every_corner_is_equally_likely_the_last_ones_too() -> None:
    n = 20_000
    corner = (sampler().sample(n, generator()).xy[:, 0, 0] - 0.5).long()
    # 9 columns × 7 rows of corners keep a 4×4 patch in 12×10 pixels.
    assert corner.amin(0).tolist() == [0, 0]
    assert corner.amax(0).tolist() == [8, 6]
    counts = torch.bincount(corner[:, 0] + 9 * corner[:, 1], minlength=63)
    assert len(counts) == 63
    chi_square = ((counts - n / 63) ** 2 / (n / 63)).sum()
    # 62 degrees of freedom: mean 62, standard deviation 11.
    assert 25 < chi_square < 110


def test_each_patch_has_its_own_pose() -> None:
    c2w = sampler().sample(64, generator()).c2w
    assert len(torch.unique(c2w, dim=0)) == 64


def test_fixed_poses_are_drawn_equally_often() -> None:
    poses = ring_poses(4)
    drawn = UnseenPatchSampler(poses, K, 2, image_size=(12, 10)).sample(4000, generator()).c2w
    which = (drawn[:, None, :, 3] - poses[None, ..., 3]).norm(dim=-1).argmin(1)
    assert torch.equal(drawn, poses[which])
    assert (torch.bincount(which) / 4000 - 0.25).abs().max() < 0.03


def test_several_intrinsics_are_drawn_equally_often() -> None:
    k = any_intrinsics(3, 0)
    many = UnseenPatchSampler(ring_poses(4), k, 2, image_size=(12, 10)).sample(3000, generator())
    which = (many.intrinsics[:, None, 0, 0] - k[None, :, 0, 0]).abs().argmin(1)
    assert torch.equal(many.intrinsics, k[which])
    assert (torch.bincount(which) / 3000 - 1 / 3).abs().max() < 0.04


def test_one_seed_one_sequence() -> None:
    g = generator(7)
    first, second = sampler().sample(8, g), sampler().sample(8, g)
    again = sampler().sample(8, generator(7))
    assert torch.equal(first.xy, again.xy)
    assert torch.equal(first.rays.directions, again.rays.directions)
    assert not torch.equal(first.c2w, second.c2w)


@pytest.mark.parametrize("size", [2, 10])
def test_smallest_and_largest_patch(size: int) -> None:
    patches = sampler(size).sample(3, generator())
    assert patches.rays.shape == (3, size, size)
    if size == 10:
        assert set(patches.xy[:, 0, 0, 1].tolist()) == {0.5}


@pytest.mark.parametrize("size", [-1, 0, 1, 11])
def test_patches_that_cannot_be(size: int) -> None:
    message = f"smaller side, got {size} for an image of 12×10 pixels"
    with pytest.raises(ValueError, match=message):
        sampler(size)


@pytest.mark.parametrize(
    ("poses", "intrinsics", "message"),
    [
        (ring_poses()[0], K, "poses must be (n, 3, 4), n ≥ 1, got (3, 4)"),
        (ring_poses()[:0], K, "poses must be (n, 3, 4), n ≥ 1, got (0, 3, 4)"),
        (ring_poses(), K[0], "intrinsics must be (n, 3, 3), n ≥ 1, got (3,)"),
        (ring_poses(), K[None, None], "intrinsics must be (n, 3, 3), n ≥ 1, got (1, 1, 3, 3)"),
    ],
)
def test_wrong_shapes(unhooked: None, poses: Tensor, intrinsics: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        UnseenPatchSampler(poses, intrinsics, image_size=(12, 10))


def test_wrong_dtypes(unhooked: None) -> None:
    with pytest.raises(TypeError, match="intrinsics must be floating point"):
        UnseenPatchSampler(ring_poses(), K.long(), image_size=(12, 10))
    with pytest.raises(TypeError, match="poses must be floating point"):
        UnseenPatchSampler(ring_poses().long(), K, image_size=(12, 10))


@pytest.mark.parametrize("n", [0, -3])
def test_no_patches(n: int) -> None:
    with pytest.raises(ValueError, match=rf"UnseenPatchSampler\.sample: n must be ≥ 1, got {n}"):
        sampler().sample(n)


@pytest.mark.parametrize("near", [0.0, -1.0])
def test_wrong_near_plane(near: float) -> None:
    with pytest.raises(ValueError, match="ndc_near must be None or > 0"):
        sampler(ndc_near=near)


def test_devices_must_agree() -> None:
    with pytest.raises(ValueError, match="poses on meta and intrinsics on cpu"):
        UnseenPatchSampler(
            HemispherePoses.blender(device="meta"), K, 4, image_size=(12, 10)
        ).sample(2)
    with pytest.raises(ValueError, match="poses on cpu and intrinsics on meta"):
        UnseenPatchSampler(ring_poses(), K.to("meta"), 4, image_size=(12, 10)).sample(2)
    with pytest.raises(ValueError, match="generator must draw on meta"):
        sampler().to("meta").sample(2, generator())


def test_moving_and_converting() -> None:
    moved = sampler().to("meta").sample(2)
    assert moved.rays.origins.device.type == "meta"
    wide = sampler(ndc_near=1.5).to(dtype=torch.float64)
    assert wide.ndc_near == 1.5
    assert wide.sample(2, generator()).rays.radii.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_follows_the_poses(dtype: torch.dtype) -> None:
    for near in (None, 1.0):
        patches = UnseenPatchSampler(
            forward_facing_poses(dtype=dtype), K, 4, image_size=(12, 10), ndc_near=near
        ).sample(2, generator())
        assert {x.dtype for x in vars(patches.rays).values()} == {dtype}
        assert patches.xy.dtype == patches.intrinsics.dtype == dtype


def test_ndc_patches_are_the_world_patches_seen_otherwise() -> None:
    poses, k = forward_facing_poses(), K.double()
    options = {"image_size": (12, 10)}
    world = UnseenPatchSampler(poses, k, 4, **options).sample(6, generator())
    ndc = UnseenPatchSampler(poses, k, 4, **options, ndc_near=1.3).sample(6, generator())
    assert torch.equal(world.xy, ndc.xy)
    assert torch.equal(world.rays.viewdirs, ndc.rays.viewdirs)
    t = torch.rand(6, 4, 4, 5).double()
    depth = ndc_to_depth(t, world.rays, near=1.3)
    torch.testing.assert_close(depth_to_ndc(depth, world.rays, near=1.3), t)
    points = world.rays.at(depth)
    disparity = 1 / -points[..., 2:]
    scale = torch.tensor([2 * 50 / 12, 2 * 50 / 10]).double()
    expected = torch.cat([scale * points[..., :2] * disparity, 1 - 2 * 1.3 * disparity], -1)
    torch.testing.assert_close(ndc.rays.at(t), expected)


def test_the_ndc_scale_can_be_that_of_the_training_rays() -> None:
    poses, k = forward_facing_poses(), any_intrinsics(3, 0)
    scale = torch.tensor([2.0, 3.0]).double()
    patches = UnseenPatchSampler(
        poses, k, 4, image_size=(64, 48), ndc_near=1.0, ndc_scale=scale
    ).sample(5, generator())
    world = pinhole_rays(patches.c2w[:, None, None], patches.intrinsics[:, None, None], patches.xy)
    end = patches.rays.origins + patches.rays.directions
    infinity = -scale * world.directions[..., :2] / world.directions[..., 2:]
    torch.testing.assert_close(end[..., :2], infinity)


def test_memory_is_that_of_the_patches_not_of_the_image() -> None:
    size = 10_000_000  # all rays of one such image would take petabytes
    huge = UnseenPatchSampler(ring_poses(), pinhole(1e7, size, size), image_size=(size, size))
    assert huge.sample(4, generator()).rays.shape == (4, 8, 8)


def test_the_lens_of_a_patch_sees_its_rays() -> None:
    intrinsics, poses = any_intrinsics(3, 0), ring_poses(3)
    drawn = UnseenPatchSampler(poses, intrinsics, 4, image_size=(12, 10))
    patches = drawn.place(poses, intrinsics, torch.tensor([[0, 0], [5, 2], [8, 6]]))
    before = patches.intrinsics.clone()
    lens = patches.lens()
    small = patch_pixels(torch.zeros(3, 2, dtype=torch.long), 4, dtype=lens.dtype)
    rays = pinhole_rays(patches.c2w[:, None, None], lens[:, None, None], small)
    torch.testing.assert_close(rays.directions, patches.rays.directions)
    assert torch.equal(patches.intrinsics, before)
    moved = (before - lens)[:, :2, 2]
    torch.testing.assert_close(moved, torch.tensor([[0, 0], [5, 2], [8, 6]]).to(moved))


def test_corners_and_size() -> None:
    xy = patch_pixels(torch.tensor([[3, 5], [0, 1]]), 3, dtype=torch.float64)
    assert xy.shape == (2, 3, 3, 2)
    assert xy.dtype == torch.float64
    assert xy[0, 2, 1].tolist() == [4.5, 7.5]
