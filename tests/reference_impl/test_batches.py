"""The rays of a step belong to the colours and depths that they are compared with."""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from nerfreg.recipes import RECIPES
from nerfreg.views import Cameras, depth_to_ndc, pinhole
from reference_impl.batches import BatchSampler
from reference_impl.evaluate import point_errors
from reference_impl.mipnerf import MipNerf, MipNerfConfig, Rendering
from reference_impl.ray_space import RaySpace
from reference_impl.regularized_step import RegularizedStep
from reference_impl.scenes.embedded import load_embedded

TINY = MipNerfConfig(width=8, depth=1, view_width=4, n_samples=4, max_degree=2)


@pytest.fixture(scope="module")
def scene():
    return load_embedded(3, width=24, per_view=40)


def recipe(name):
    return RECIPES[name](forward_facing=False, n_views=3, n_steps=100)


class Drawn(NamedTuple):
    batch: object
    sampler: BatchSampler
    step: RegularizedStep


def draw(scene, name, n_rays=256, **changes):
    space, chosen = RaySpace.of(scene, "metric"), replace(recipe(name), **changes)
    sampler = BatchSampler(scene, chosen, space, n_rays, torch.device("cpu"))
    step = RegularizedStep(MipNerf(TINY), chosen, space, sampler, scene.background)
    return Drawn(sampler.draw(torch.Generator().manual_seed(0)), sampler, step)


def test_a_colour_ray_hits_the_pixel_whose_colour_it_carries(scene):
    batch = draw(scene, "fewview").batch
    rays = batch.rays[: len(batch.color)]
    distances = torch.cdist(rays.origins, scene.cameras.c2w[:, :, 3])
    index = distances.argmin(1)
    assert set(index.tolist()) == set(scene.train)
    assert float(distances.min(1).values.max()) < 1e-5
    xy, _ = scene.cameras.project(rays.origins + 2 * rays.directions, index)
    pixel = xy - 0.5
    torch.testing.assert_close(pixel, pixel.round(), atol=1e-3, rtol=0)
    x, y = pixel.round().long().unbind(-1)
    torch.testing.assert_close(scene.images[index, y, x].float() / 255, batch.color)


def test_a_keypoint_ray_hits_its_keypoint(scene):
    batch = draw(scene, "fewview").batch
    n_color, n_keypoints = len(batch.color), len(batch.depth)
    assert (n_color, n_keypoints) == (192, 64)
    rays = batch.rays[n_color : n_color + n_keypoints]
    points = rays.origins + batch.depth[:, None] * rays.directions
    xy, z = scene.cameras.project(points, batch.keypoint_index)
    torch.testing.assert_close(xy, batch.keypoint_xy, atol=1e-3, rtol=0)
    torch.testing.assert_close(z, batch.depth)
    for view, at, depth, std in zip(
        batch.keypoint_index.tolist(), batch.keypoint_xy, batch.depth, batch.std, strict=True
    ):
        known = scene.keypoints[view]
        row = (known.xy == at).all(-1)
        assert (known.depth[row] == depth).any()
        assert (known.std[row] == std).any()


def test_pairs_lie_near_each_other_and_carry_their_given_depth(scene):
    maps = {
        view: torch.rand(18, 24, generator=torch.Generator().manual_seed(view))
        for view in (scene.train)
    }
    known = replace(scene, depth_maps=maps)
    space, chosen = RaySpace.of(known, "metric"), recipe("sparsenerf")
    sampler = BatchSampler(known, chosen, space, 256, torch.device("cpu"))
    batch = sampler.draw(torch.Generator().manual_seed(0))
    assert batch.pair_depth.shape == (64, 2)  # half of the colour rays
    assert len(batch.color) == 256
    rays = batch.rays[:128]
    index = torch.cdist(rays.origins, scene.cameras.c2w[:, :, 3]).argmin(1)
    xy, _ = scene.cameras.project(rays.origins + 2 * rays.directions, index)
    pixel = (xy - 0.5).round().long()
    first, second = pixel.reshape(64, 2, 2).unbind(1)
    assert torch.equal(index[::2], index[1::2]), "both of one photograph"
    apart = (first - second).abs().amax(-1)
    assert 0 < apart.max() <= chosen.pair_reach
    assert (first - second).float().mean(0).abs().max() < 2, "to every side alike"
    expected = torch.stack([maps[v][y, x] for v, (x, y) in zip(index.tolist(), pixel, strict=True)])
    assert torch.equal(batch.pair_depth.flatten(), expected)
    colors = scene.images[index, pixel[:, 1], pixel[:, 0]].float() / 255
    torch.testing.assert_close(batch.color[:128], colors)


def test_patches_follow_row_by_row(scene):
    batch, sampler, _ = draw(scene, "regnerf")
    assert batch.n_patches == 2  # half as many rays as have a colour, 64 a patch
    assert len(batch.rays) == 256 + 2 * 64
    side = sampler.recipe.patch_size
    patches = batch.rays[256:].origins.reshape(2, side * side, 3)
    assert torch.equal(patches, patches[:, :1].expand_as(patches))  # one pose a patch


@pytest.mark.parametrize("name", ["regnerf", "fewview"])
def test_bounds_are_annealed_but_for_keypoints(scene, name):
    batch, _, step = draw(scene, name, annealing=recipe("regnerf").annealing)
    n_color, n_keypoints = len(batch.color), len(batch.depth)
    assert (n_keypoints > 0) == (name == "fewview")
    keypoints = torch.zeros(len(batch.rays), dtype=torch.bool)
    keypoints[n_color : n_color + n_keypoints] = True
    for now in (0, 20):
        near, far = step.bounds(now, batch)
        assert near.shape == far.shape == (len(batch.rays),)
        expected = step.recipe.annealing(now, scene.near, scene.far)
        for bound, whole, annealed in zip(
            (near, far), (scene.near, scene.far), expected, strict=True
        ):
            assert annealed != whole
            torch.testing.assert_close(bound, torch.where(keypoints, float(whole), float(annealed)))
    near, far = step.bounds(100, batch)
    torch.testing.assert_close(near, torch.full_like(near, scene.near))
    torch.testing.assert_close(far, torch.full_like(far, scene.far))


def test_without_annealing_bounds_are_the_spaces(scene):
    batch, _, step = draw(scene, "mipnerf")
    assert step.bounds(0, batch) == (scene.near, scene.far)


def facing_forward():
    """Three cameras side by side that look along −z, each a little turned."""
    c2w = torch.eye(4)[:3].repeat(3, 1, 1)
    for i, angle in enumerate(torch.tensor([-0.1, 0.0, 0.1])):
        c, s = torch.cos(angle), torch.sin(angle)
        # Columns right, down, forward: OpenCV's axes turned about the world's y.
        columns = [torch.stack([c, 0 * c, s]), torch.tensor([0.0, -1, 0])]
        columns.append(torch.linalg.cross(*columns))
        c2w[i] = torch.stack([*columns, torch.tensor([0.3 * (i - 1), 0.0, 0.05 * i])], -1)
    assert (c2w[:, 2, 2] < -0.9).all()
    return Cameras.from_opencv(c2w, pinhole(20.0, 24, 18).expand(3, 3, 3), 24, 18)


def test_z_depth_in_ndc_inverts_the_conversion():
    cameras = facing_forward()
    space = RaySpace(cameras, 0.0, 1.0, 1.0)
    index, xy = space.image_grid(2)
    world = cameras.rays(index, xy)
    depth = 1.5 + 5 * torch.rand(index.shape, generator=torch.Generator().manual_seed(0))
    t = depth_to_ndc(depth, world, near=1.0)
    torch.testing.assert_close(space.z_depth(t, index, xy), depth, rtol=1e-4, atol=0)
    samples = torch.stack([t, 0.5 * t], -1)
    both = space.z_depth(samples, index, xy)
    assert both.shape == (*index.shape, 2)
    torch.testing.assert_close(both[..., 0], depth, rtol=1e-4, atol=0)
    # Where t says, the ray in NDC is where the point at that depth projects to.
    points = world.origins + depth[..., None] * world.directions
    rays = space.rays(index, xy)
    scale = torch.tensor([2 * 20 / 24, 2 * 20 / 18])
    expected = scale * points[..., :2] / -points[..., 2:]
    torch.testing.assert_close(
        (rays.origins + t[..., None] * rays.directions)[..., :2], expected, rtol=1e-4, atol=1e-5
    )


def test_z_depth_in_metric_space_is_t(scene):
    space = RaySpace.of(scene, "ndc")  # the scene does not allow NDC
    t = torch.rand(3)
    assert space.ndc_near is None
    assert space.z_depth(t, torch.zeros(3, dtype=torch.int64), torch.ones(3, 2)) is t


class Knows(torch.nn.Module):
    """Renders the depths that it was given, whatever the rays."""

    def __init__(self, t):
        super().__init__()
        self.t = t

    def forward(self, rays, near, far, *, background):
        n = len(rays)
        assert self.t.shape == (n,)
        ones, none = torch.ones(n), torch.zeros(n, 0)
        return (Rendering(ones[:, None].expand(n, 3), ones, self.t, none, none, none),)


@pytest.mark.parametrize("coordinates", ["metric", "ndc"])
def test_point_errors_are_zero_where_the_depth_is_true(scene, coordinates):
    view = scene.train[0]
    seen = scene.keypoints[view]
    if coordinates == "metric":
        space, t = RaySpace.of(scene, "metric"), seen.depth
    else:
        space, view = RaySpace(facing_forward(), 0.0, 1.0, 1.0), 1
        rays = space.cameras.rays(torch.full((len(seen.depth),), view), seen.xy)
        t = depth_to_ndc(seen.depth, rays, near=1.0)
    # Held-out points are of the same kind as keypoints.
    known = replace(scene, points={view: seen})
    errors = point_errors(Knows(t), known, space, view)
    assert errors.shape == seen.depth.shape
    torch.testing.assert_close(errors, torch.zeros_like(errors), atol=1e-4, rtol=0)
    if coordinates == "metric":
        errors = point_errors(Knows(1.1 * t), known, space, view)
        torch.testing.assert_close(errors, torch.full_like(errors, 0.1))
