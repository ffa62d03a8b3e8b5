"""What the viewer renders, and in which order, without any server."""

import math
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from nerfreg.views import Cameras, look_at, ndc_scale, pinhole
from reference_impl.evaluate import render_view
from reference_impl.mipnerf import MipNerf, MipNerfConfig, Rendering
from reference_impl.ray_space import RaySpace
from reference_impl.scenes.embedded import load_embedded
from reference_impl.viewer.free_camera import FreeCamera, Sightlines, outside
from reference_impl.viewer.layers import Colors, StdColors, layers_of
from reference_impl.viewer.progressive import Progressive, levels
from reference_impl.viewer.sight import Field, Sight, look
from reference_impl.viewer.stage import MIDDLE, Stage, middle_depth, vertical_fov
from tests.reference_impl.page import wait_for


@pytest.fixture(scope="module")
def scene():
    return load_embedded(3, width=24, per_view=16)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MipNerf(MipNerfConfig(width=8, depth=1, view_width=4, n_samples=6, max_degree=3))


def forward_facing(scene):
    """The scene's photographs as if taken side by side along −z, for NDC."""
    n = len(scene.names)
    x = torch.linspace(-0.3, 0.3, n)
    position = torch.stack([x, 0.1 * x, torch.zeros(n)], -1)
    up = torch.tensor([0.0, 1.0, 0.0])
    c2w = look_at(position, torch.tensor([0.0, 0.0, -5.0]), up)
    cameras = Cameras.from_opencv(c2w, pinhole(22.0, 24, 18), 24, 18)
    return replace(scene, cameras=cameras, ndc_near=1.0, depth=None, surface=None, keypoints={})


def through(scene, view):
    return FreeCamera(scene.cameras.c2w[view], vertical_fov(scene, view), 4 / 3)


def seen(field, camera, height, **options) -> Sight:
    *chunks, sight = look(field, camera, height, **options)
    assert all(isinstance(chunk, int) for chunk in chunks)
    return sight


@pytest.mark.parametrize("coordinates", ["metric", "ndc"])
def test_a_sight_is_the_picture_that_evaluation_renders(scene, model, coordinates):
    scene = forward_facing(scene) if coordinates == "ndc" else scene
    space = RaySpace.of(scene, coordinates)
    assert (space.ndc_near is not None) == (coordinates == "ndc")
    for view in (scene.train[0], scene.test[2]):
        truth = render_view(model, scene, space, view)
        for rays in (50, 4096):  # a chunk
            sight = seen(
                Field(model, scene, space), through(scene, view), 18, chunk=lambda rays=rays: rays
            )
            torch.testing.assert_close(sight.rgb, truth.rgb, atol=1e-5, rtol=0)
            torch.testing.assert_close(sight.depth, truth.depth, atol=1e-3, rtol=1e-4)
        columns = seen(Field(model, scene, space), through(scene, view), 18, columns=slice(5, 9))
        torch.testing.assert_close(columns.rgb, truth.rgb[:, 5:9], atol=1e-5, rtol=0)
        torch.testing.assert_close(columns.depth, truth.depth[:, 5:9], atol=1e-3, rtol=1e-4)


def test_exact_depth_is_known_from_everywhere(scene, model):
    sight = seen(Field(model, scene, RaySpace.of(scene, "metric")), through(scene, 5), 18)
    torch.testing.assert_close(sight.truth, scene.depth[5], atol=1e-4, rtol=0)


class Wall:
    """A renderer of an opaque wall, so that depth and reach can be predicted."""

    def __init__(self, t):
        self.t, self.bounds = t, []

    def __call__(self, rays, near, far, *, background=0.0):
        self.bounds.append((near, far))
        n = len(rays.origins)
        one, none = torch.ones(n), torch.zeros(n, 1)
        return [Rendering(torch.full((n, 3), 0.5), one, self.t * one, none, none, none)]


def test_ndc_depth_is_z_depth_and_rays_begin_at_a_camera_past_the_near_plane(scene):
    scene = forward_facing(scene)
    space = RaySpace.of(scene, "ndc")
    up = torch.tensor([0.0, 1.0, 0.0])
    for z, near in ((0.5, 0.0), (0.0, 0.0), (-2.0, 0.5), (-1e4, 0.99)):
        position = torch.tensor([0.0, 0.0, z])
        pose = look_at(position, position + torch.tensor([0.0, 0.0, -1.0]), up)
        wall = Wall(0.75)  # in NDC: at z = −4, four times the near plane
        sight = seen(Field(wall, scene, space), FreeCamera(pose, 0.8, 1.0), 6)
        assert wall.bounds[0] == pytest.approx((near, 1.0))
        if z > -4:
            torch.testing.assert_close(sight.depth, torch.full((6, 6), 4.0 + z), atol=1e-3, rtol=0)


def test_ndc_has_nothing_to_show_behind(scene):
    scene = replace(forward_facing(scene), background=1.0)
    space = RaySpace.of(scene, "ndc")
    up = torch.tensor([0.0, 1.0, 0.0])
    back = FreeCamera(look_at(torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), up), 0.8, 1.0)
    sight = seen(Field(Wall(0.5), scene, space), back, 6)
    assert (sight.opacity == 0).all()
    assert (sight.rgb == 1).all()
    assert sight.depth.isfinite().all()
    aside = FreeCamera(look_at(torch.zeros(3), torch.tensor([1.0, 0.0, 0.0]), up), 1.0, 1.0)
    half = seen(Field(Wall(0.5), scene, space), aside, 8)
    assert (half.opacity[:, :4] == 1).all(), "the left half looks ahead"
    assert (half.opacity[:, 4:] == 0).all()


def test_all_rays_of_a_field_share_the_ndc_scale(scene):
    """A wider browser must not bend the field's space."""
    scene = forward_facing(scene)
    space = RaySpace.of(scene, "ndc")
    narrow, wide = (
        Sightlines.of(FreeCamera(scene.cameras.c2w[0], 0.8, aspect), 9, space)
        for aspect in (1.0, 3.0)
    )
    torch.testing.assert_close(narrow.rays.origins[4, 4], wide.rays.origins[4, 13])
    expected = ndc_scale(scene.cameras.intrinsics[0], 24, 18)
    torch.testing.assert_close(space.ndc_scale, expected)


def test_a_camera_that_steps_back_sees_as_far_as_before(scene):
    cameras = scene.cameras.c2w[:, :, 3]
    assert outside(cameras[4], cameras) == 0
    assert outside((cameras[4] + cameras[5]) / 2, cameras) == 0
    back = FreeCamera(scene.cameras.c2w[4].clone(), 0.8, 1.0)
    back.c2w[:, 3] -= 3 * back.c2w[:, 2]
    wall = Wall(1.0)
    seen(Field(wall, scene, RaySpace.of(scene, "metric")), back, 4)
    assert scene.far + 2 < wall.bounds[0][1] <= scene.far + 3
    assert outside(torch.ones(3), torch.zeros(1, 3)) == pytest.approx(math.sqrt(3))


def test_layers_show_what_they_name(scene):
    depth, truth = torch.full((1, 4), 2.0), torch.tensor([[2.0, 2.1, 9.0, torch.inf]])
    opacity = torch.tensor([[0.0, 0.5, 1.0, 1.0]])
    sight = Sight(torch.full((1, 4, 3), 0.2), depth, opacity, truth)
    colors = Colors(1.0, 5.0)
    error = colors.pixels(sight, "depth error")
    assert error[0, 0].max() < 10
    assert error[0, 0].sum() < error[0, 1].sum() < error[0, 2].sum()
    assert (error[0, 3] == 89).all(), "grey where there is no surface"
    assert colors.pixels(sight, "opacity")[0, :, 0].tolist() == [0, 128, 255, 255]
    assert (colors.pixels(sight, "colour") == 51).all()
    near = replace(sight, depth=torch.full((1, 4), 1.0))
    assert colors.pixels(near, "depth").sum() > colors.pixels(sight, "depth").sum()
    assert colors.legend("colour") is None
    for layer in ("depth", "opacity", "depth error"):
        assert len({tuple(pixel) for pixel in colors.legend(layer).reshape(-1, 3)}) > 50
    assert layers_of(scene)[-1] == "depth error"
    assert layers_of(replace(scene, surface=None))[-1] == "opacity"


def test_keypoints_are_coloured_by_std_and_all_alike_is_no_trouble():
    std = torch.tensor([0.01, 0.1, 1.0])
    colors = StdColors.of(std).pixels(std).astype(int).sum(-1)
    assert colors[0] < colors[1] < colors[2]
    alike = torch.full((5,), 0.3)
    assert StdColors.of(alike).pixels(alike).shape == (5, 3)
    assert StdColors.of(alike).legend().ndim == 3


def test_the_stage_is_of_one_size_whatever_the_scenes_unit(scene):
    stage = Stage.of(scene)
    assert middle_depth(scene) * stage.scale == pytest.approx(MIDDLE)
    camera = stage.entrance
    back = stage.camera(
        torch.tensor([1.0, 0, 0, 0]).double().numpy(),
        stage.place(camera.c2w[:, 3]).astype(float),
        camera.fov,
        1.0,
    )
    torch.testing.assert_close(back.c2w[:, 3], camera.c2w[:, 3])
    torch.testing.assert_close(back.c2w[:, :3], torch.eye(3))
    bare = replace(scene, keypoints={}, near=1.0, far=3.0)
    assert middle_depth(bare) == pytest.approx(1.5)


@pytest.mark.parametrize("height", [8, 60, 241, 720])
@pytest.mark.parametrize("rays", [0.0, 300.0, 1e9])
def test_levels_end_with_the_whole_and_begin_within_budget(height, rays):
    heights = levels(height, 1.5, rays)
    assert heights[-1] == height
    assert all(b in (2 * a, 2 * a + 1) for a, b in pairwise(heights))
    assert heights[0] ** 2 * 1.5 <= rays or heights[0] < 16
    if rays == 1e9:
        assert heights == [height]


class Studio:
    """A painter who can be stopped in the middle, and who writes down what is shown."""

    def __init__(self):
        self.shown, self.begun, self.errors = [], [], []
        self.go, self.painting = threading.Event(), threading.Event()
        self.pictures = Progressive(self.draw, self.show, self.errors.append)

    def draw(self, wish, height, chunk):
        self.begun.append((wish, height))
        if wish == "broken":
            raise RuntimeError("no paint")
        for _ in range(3):
            if wish == "slow" and height > 8:
                self.painting.set()
                self.go.wait(20)
            yield 64
        yield f"{wish} {height}"

    def show(self, watcher, picture, height, whole):
        self.shown.append((watcher, picture))


@pytest.fixture
def studio():
    studio = Studio()
    yield studio
    studio.go.set()
    studio.pictures.close()


def test_pictures_get_finer_while_nothing_new_is_asked(studio):
    studio.pictures.rays_per_second = 1.0
    studio.pictures.ask(7, "view", 64, 1.0)
    wait_for(lambda: (7, "view 64") in studio.shown)
    assert studio.shown == [(7, f"view {h}") for h in (8, 16, 32, 64)]


def test_a_move_interrupts_a_picture_that_is_being_drawn(studio):
    studio.pictures.rays_per_second = 1.0
    studio.pictures.ask(7, "slow", 64, 1.0)
    assert studio.painting.wait(20)
    studio.pictures.rays_per_second = 1.0
    studio.pictures.ask(7, "next", 16, 1.0)
    studio.go.set()
    wait_for(lambda: (7, "next 16") in studio.shown)
    assert [p for _, p in studio.shown] == ["slow 8", "next 8", "next 16"]
    assert ("slow", 16) in studio.begun


def test_the_coarsest_picture_still_owed_comes_first(studio):
    studio.pictures.rays_per_second = 1.0
    studio.pictures.ask(1, "slow", 32, 1.0)
    assert studio.painting.wait(20)
    studio.pictures.rays_per_second = 1.0
    studio.pictures.ask(2, "other", 32, 1.0)
    studio.go.set()
    wait_for(lambda: len(studio.shown) == 6)
    assert studio.shown[:2] == [(1, "slow 8"), (2, "other 8")]
    assert {studio.shown[-1], studio.shown[-2]} == {(1, "slow 32"), (2, "other 32")}


def test_a_watcher_who_leaves_is_drawn_for_no_more(studio):
    studio.pictures.rays_per_second = 1.0
    studio.pictures.ask(1, "slow", 64, 1.0)
    assert studio.painting.wait(20)
    studio.pictures.forget(1)
    studio.go.set()
    studio.pictures.ask(2, "other", 8, 1.0)
    wait_for(lambda: (2, "other 8") in studio.shown)
    assert [w for w, _ in studio.shown] == [1, 2]


def test_a_picture_that_fails_does_not_end_the_others(studio):
    studio.pictures.ask(1, "broken", 8, 1.0)
    wait_for(lambda: studio.errors)
    assert "no paint" in str(studio.errors[0])
    studio.pictures.ask(1, "fine", 8, 1.0)
    wait_for(lambda: (1, "fine 8") in studio.shown)
