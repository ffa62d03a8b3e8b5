"""What of the nerfstudio methods needs no nerfstudio; test_nerfstudio_training.py has the rest."""

import importlib
import importlib.metadata
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tomllib
import torch
from torch import Tensor, nn

from nerfreg.integrations.nerfstudio import methods, pipeline, rendering, terms
from nerfreg.integrations.nerfstudio.annealing import ColliderAnnealing, focus_distance
from nerfreg.integrations.nerfstudio.cameras import to_nerfreg, to_patch_camera
from nerfreg.integrations.nerfstudio.installation import nerfstudio
from nerfreg.integrations.nerfstudio.keypoints import (
    KeypointRays,
    find_model,
    keypoint_rays,
    view_names,
)
from nerfreg.integrations.nerfstudio.options import RegularizersConfig
from nerfreg.integrations.nerfstudio.regularization import Regularization
from nerfreg.integrations.nerfstudio.spacing import spacing_to_t, t_to_spacing
from nerfreg.objective import ObjectiveValue
from nerfreg.supervision import SparseModel, SupervisionWarning
from nerfreg.views import (
    Cameras,
    UnseenPatchSampler,
    invert_pose,
    opencv_to_opengl,
    pinhole,
)

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 64, 48


@pytest.fixture
def cameras() -> Cameras[Tensor]:
    """Three cameras around (0, 0, 2), in nerfstudio's world."""
    c2w = []
    for x in (-0.6, 0.0, 0.7):
        position = torch.tensor([x, 0.1 * x, 0.0])
        forward = nn.functional.normalize(torch.tensor([0.0, 0.0, 2.0]) - position, dim=0)
        right = nn.functional.normalize(
            torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), forward), dim=0
        )
        down = torch.linalg.cross(forward, right)
        c2w.append(torch.stack([right, down, forward, position], -1))
    return Cameras.from_opencv(torch.stack(c2w), pinhole(50.0, WIDTH, HEIGHT), WIDTH, HEIGHT)


def as_nerfstudio(cameras: Cameras[Tensor], kind: int = 1) -> SimpleNamespace:
    """The fields of nerfstudio's Cameras that matter, in its shapes."""
    n, k = len(cameras), cameras.intrinsics
    return SimpleNamespace(
        camera_to_worlds=opencv_to_opengl(cameras.c2w),
        fx=k[:, 0, :1],
        fy=k[:, 1, 1:2],
        cx=k[:, 0, 2:],
        cy=k[:, 1, 2:],
        width=torch.full((n, 1), cameras.width),
        height=torch.full((n, 1), cameras.height),
        camera_type=torch.full((n, 1), kind),
    )


# The installation


def test_importing_the_package_imports_no_nerfstudio() -> None:
    assert importlib.import_module("nerfreg.integrations.nerfstudio").__all__ == []
    assert not any(name.partition(".")[0] == "nerfstudio" for name in sys.modules)


def test_a_missing_nerfstudio_is_named(monkeypatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match=r"pip install 'nerfreg\[nerfstudio\]'"):
        nerfstudio("cameras.rays")
    with pytest.raises(ImportError, match=r"pip install 'nerfreg\[nerfstudio\]'"):
        methods.regularized(SimpleNamespace(), name="mine")


@pytest.mark.parametrize("version", ["1.0.3", "1.2.0", "0.3.4"])
def test_another_release_is_named(monkeypatch, version) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(ImportError, match=rf"knows nerfstudio 1\.1\.x, found {version}"):
        nerfstudio("cameras.rays")


def test_entry_points_do_not_break_another_release(monkeypatch) -> None:
    """It prints what is no method, and goes on; an exception would end it."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.2.0")
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for path in points["nerfstudio.method_configs"].values():
        module, _, name = path.partition(":")
        found = getattr(importlib.import_module(module), name)
        assert isinstance(found, ImportError)
        assert "found 1.2.0" in str(found)
    with pytest.raises(AttributeError, match="no attribute 'instant_ngp'"):
        _ = methods.instant_ngp


# Cameras


def test_cameras_look_the_same_way_in_both_libraries(cameras) -> None:
    found = to_nerfreg(as_nerfstudio(cameras))
    xy = torch.tensor([[0.5, 0.5], [63.5, 0.5], [20.0, 40.0]])
    rays = found.rays(torch.arange(3), xy)
    # As nerfstudio traces: y up, looking along −z, pixel centres at one half.
    x, y = (xy[:, 0] - WIDTH / 2) / 50, -(xy[:, 1] - HEIGHT / 2) / 50
    local = torch.stack([x, y, -torch.ones(3)], -1)
    theirs = (opencv_to_opengl(cameras.c2w)[:, :, :3] @ local[:, :, None])[..., 0]
    torch.testing.assert_close(rays.directions, theirs)
    torch.testing.assert_close(rays.origins, cameras.c2w[:, :, 3])


def test_images_of_other_sizes_count_as_resized(cameras) -> None:
    mixed = as_nerfstudio(cameras)
    for name in ("fx", "cx", "width", "fy", "cy", "height"):
        value = getattr(mixed, name).clone()
        value[2] *= 2 if name in ("fx", "cx", "width") else 3
        setattr(mixed, name, value)
    found = to_nerfreg(mixed)
    assert (found.width, found.height) == (WIDTH, HEIGHT)
    torch.testing.assert_close(found.intrinsics, cameras.intrinsics)


@pytest.mark.parametrize("kind", [2, 3, 8])
def test_cameras_that_are_no_pinholes_are_refused(cameras, kind) -> None:
    theirs = as_nerfstudio(cameras)
    theirs.camera_type[1] = kind
    with pytest.raises(ValueError, match=rf"expected cameras of .* PERSPECTIVE.* type {kind}; "):
        to_nerfreg(theirs)


def test_a_patch_camera_sees_the_patch(cameras) -> None:
    sampler = UnseenPatchSampler(
        cameras.c2w, cameras.intrinsics, 5, image_size=(cameras.width, cameras.height)
    )
    patches = sampler.sample(4, torch.Generator().manual_seed(0))
    made: dict[str, Any] = {}
    module = SimpleNamespace(Cameras=lambda **fields: made.update(fields))
    for i in range(4):
        to_patch_camera(module, patches, i)
        assert (made["width"], made["height"]) == (5, 5)
        k = torch.eye(3)[None].clone()
        k[0, 0, 0], k[0, 1, 1] = made["fx"], made["fy"]
        k[0, 0, 2], k[0, 1, 2] = made["cx"], made["cy"]
        small = Cameras.from_opengl(made["camera_to_worlds"], k, 5, 5).image_rays(0)
        torch.testing.assert_close(small.directions, patches.rays.directions[i], atol=1e-5, rtol=0)
        torch.testing.assert_close(small.origins, patches.rays.origins[i])


# Spacing and annealing


def test_spacing_is_nerfactos_and_turns_back() -> None:
    t = torch.tensor([0.0, 0.3, 0.999, 1.0, 1.5, 40.0, 1000.0], requires_grad=True)
    s = t_to_spacing(t)
    expected = [x / 2 if x < 1 else 1 - 1 / (2 * x) for x in t.tolist()]
    torch.testing.assert_close(s, torch.tensor(expected))
    torch.testing.assert_close(spacing_to_t(s), t, rtol=1e-3, atol=1e-6)
    (gradient,) = torch.autograd.grad(s.sum(), t)
    torch.testing.assert_close(gradient[[0, 4]], torch.tensor([0.5, 0.5 / 1.5**2]))
    assert bool(gradient.isfinite().all())


def test_annealing_begins_around_the_focus_and_gives_the_planes_back(cameras) -> None:
    collider = SimpleNamespace(near_plane=0.05, far_plane=1000.0)
    focus = focus_distance(cameras)
    assert focus == pytest.approx(np.mean([math.dist(p, (0, 0, 2)) for p in cameras.c2w[:, :, 3]]))
    annealing = ColliderAnnealing(collider, 100, 0.25, focus)
    widths = []
    for step in (0, 50, 99):
        annealing.begin(step)
        assert 0.05 < collider.near_plane < focus < collider.far_plane < 1000
        widths.append(collider.far_plane - collider.near_plane)
        annealing.end()
        assert (collider.near_plane, collider.far_plane) == (0.05, 1000.0)
    assert widths == sorted(widths)
    annealing.begin(100)
    assert (collider.near_plane, collider.far_plane) == (0.05, 1000.0)
    # A function of the step alone.
    annealing.begin(0)
    assert collider.far_plane - collider.near_plane == widths[0]


def test_annealing_says_what_it_needs(cameras) -> None:
    with pytest.raises(ValueError, match=r"near and a far plane .* got NoneType; .*_steps to 0"):
        ColliderAnnealing(None, 100, 0.5, 1.0)
    collider = SimpleNamespace(near_plane=0.05, far_plane=2.0)
    with pytest.raises(ValueError, match=r"focus, at 3, is not between \(0\.05, 2\.0\)"):
        ColliderAnnealing(collider, 100, 0.5, 3.0)
    behind = torch.tensor([-1.0, 1.0, -1.0])[None, :, None]
    turned = torch.cat([cameras.c2w[..., :3] * behind.movedim(1, 2), cameras.c2w[..., 3:]], -1)
    away = Cameras.from_opencv(turned, cameras.intrinsics, WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="look away"):
        focus_distance(away)


# Keypoints

SCALE = 0.25
NAMES = ["left/1.png", "left/2.png", "3.png"]


def rotation(axis: list[float]) -> Tensor:
    x, y, z = axis
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]).double())


@pytest.fixture
def transform() -> Tensor:
    """From the model's world into nerfstudio's, before scaling."""
    return torch.cat([rotation([0.3, -0.5, 0.2]), torch.tensor([[1.0], [2.0], [-3.0]])], -1)


@pytest.fixture
def points() -> Tensor:
    """In nerfstudio's world."""
    draw = torch.rand(12, 3, generator=torch.Generator().manual_seed(1)).double()
    return draw * torch.tensor([0.6, 0.5, 1.0]) - torch.tensor([0.3, 0.25, -1.5])


@pytest.fixture
def model(cameras, transform, points) -> SparseModel:
    """A model of photographs twice as large, in a world turned, moved and four times as large."""
    turn, move = transform[:, :3], transform[:, 3]
    ours = cameras.c2w.double()
    centres = (ours[:, :, 3] / SCALE - move) @ turn
    theirs = torch.cat([turn.T @ ours[:, :, :3], centres[..., None]], -1)
    n = len(points)
    projected = [
        cameras.project(points, torch.full((n,), view))[0].double() * 2 for view in range(3)
    ]
    noise = torch.rand(3 * n, 2, generator=torch.Generator().manual_seed(2)).double() - 0.5
    return SparseModel(
        source="model",
        names=[f"{Path(name).with_suffix('.jpg')}" for name in NAMES],
        image_ids=np.array([4, 7, 9]),
        world_to_camera=invert_pose(theirs).numpy(),
        intrinsics=(cameras.intrinsics.double() * torch.tensor([2.0, 2.0, 1.0])[:, None]).numpy(),
        sizes=np.array([[2 * WIDTH, 2 * HEIGHT]] * 3),
        point_ids=np.arange(n),
        points=((points / SCALE - move) @ turn).numpy(),
        view=np.repeat(np.arange(3), n),
        point=np.tile(np.arange(n), 3),
        xy=(torch.cat(projected) + noise).numpy(),
        error=noise.norm(dim=-1).numpy(),
    )


def test_keypoints_know_their_distance_in_nerfstudios_world(
    model, cameras, transform, points
) -> None:
    found = keypoint_rays(model, NAMES, cameras, transform.float(), SCALE)
    assert len(found) == 36
    assert found.view.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    torch.testing.assert_close(found.rays.directions.norm(dim=-1), torch.ones(36))
    ends = found.rays.at(found.distance)
    # Within the pixel that the keypoints are off by.
    assert float((ends - points.float().repeat(3, 1)).norm(dim=-1).max()) < 3 / 50 / 2
    # z-depths are the points' own, whatever the pixel.
    z = ((ends - found.rays.origins) * cameras.c2w[found.view, :, 2]).sum(-1)
    expected = (points.float().repeat(3, 1) - found.rays.origins) * cameras.c2w[found.view, :, 2]
    torch.testing.assert_close(z, expected.sum(-1), rtol=1e-4, atol=0)
    # The standard deviation is in the unit of the distance: relative, nothing changed.
    theirs = model.keypoints(NAMES)
    relative = torch.cat([theirs[name].std / theirs[name].depth for name in NAMES])
    torch.testing.assert_close(found.std / found.distance, relative, rtol=1e-4, atol=0)


def test_another_reconstruction_is_refused(model, cameras, transform) -> None:
    for wrong, scale in (
        (torch.eye(4)[:3], SCALE),
        (transform.float(), 2 * SCALE),
        (transform.float() + torch.tensor([0.0, 0, 0, 1.0]), SCALE),
    ):
        with pytest.raises(ValueError, match="model: not the reconstruction that the data set"):
            keypoint_rays(model, NAMES, cameras, wrong, scale)
    # Cameras in place that look elsewhere: images in another order would do that.
    turned = cameras.c2w.clone()
    turned[:, :, :3] = turned[:, :, :3] @ rotation([0.0, 0.1, 0.0]).float()
    other = Cameras.from_opencv(turned, cameras.intrinsics, WIDTH, HEIGHT)
    with pytest.raises(ValueError, match=r"look up to \d+\.\d degrees elsewhere"):
        keypoint_rays(model, NAMES, other, transform.float(), SCALE)
    with pytest.raises(ValueError, match="a model of other images"):
        keypoint_rays(model, ["a.png", "b.png", "c.png"], cameras, transform.float(), SCALE)


@pytest.mark.parametrize("names", [NAMES[:1], [NAMES[0], "b.png", "c.png"]])
def test_a_single_view_is_not_said_to_stand_elsewhere(model, cameras, transform, names) -> None:
    """Two views make a point, so the one that the model knows has no keypoint."""
    message = f"model: no training view has a keypoint, .* it knows 1 of {len(names)}"
    with pytest.warns(SupervisionWarning), pytest.raises(ValueError, match=message):
        keypoint_rays(model, names, cameras[: len(names)], 1.01 * transform.float(), SCALE)


def test_draws_come_from_the_generator(model, cameras, transform) -> None:
    found = keypoint_rays(model, NAMES, cameras, transform.float(), SCALE)
    a, b, c = (found.draw(5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a.distance, b.distance)
    assert not torch.equal(a.distance, c.distance)
    for drawn in (a, c):
        for i in range(5):
            row = int((found.distance == drawn.distance[i]).nonzero()[0])
            assert torch.equal(found.rays.directions[row], drawn.rays.directions[i])
            assert (found.std[row], found.view[row]) == (drawn.std[i], drawn.view[i])


def test_photographs_are_named_as_colmap_names_them() -> None:
    data = Path("scenes/fern")
    paths = [data / "images_4/left/1.png", data / "images/2.jpg", Path("/else/3.png")]
    assert view_names(paths, data) == ["left/1.png", "2.jpg", "3.png"]
    assert view_names(paths, data / "transforms.json") == ["left/1.png", "2.jpg", "3.png"]


def test_the_model_is_looked_for_below_the_data_and_here(tmp_path, monkeypatch) -> None:
    (tmp_path / "data/sparse/0").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model(Path("sparse/0"), Path("data")) == Path("data/sparse/0")
    assert find_model(Path("sparse/0"), Path("data/transforms.json")) == Path("data/sparse/0")
    assert find_model(Path("mine"), Path("data")) == Path("mine")
    with pytest.raises(FileNotFoundError, match=r"colmap other: no such folder, neither in data"):
        find_model(Path("other"), Path("data"))


# Rendering


class Wall(nn.Module):
    """A model of nerfstudio's kind: a wall at z = 3, seen along the rays that come in."""

    def __init__(self, **outputs: Any) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.tensor(3.0))
        self.dropout = nn.Dropout(0.9)
        self.frozen = nn.Dropout(0.9).eval()
        self.collider = nn.Module()
        self.more = outputs

    def forward(self, bundle: Any) -> dict[str, Any]:
        assert not self.training
        assert not self.dropout.training
        assert self.collider.training
        self.bundle = bundle
        z = bundle.directions[:, 2:]
        distance = (self.height - bundle.origins[:, 2:]) / z
        return {
            "rgb": self.dropout(bundle.directions * self.height),
            "depth": distance.detach(),
            "expected_depth": distance,
            "accumulation": torch.full_like(z, 0.5) * self.height / 3,
        } | self.more


@pytest.fixture
def patches(cameras):
    sampler = UnseenPatchSampler(
        cameras.c2w, cameras.intrinsics, 4, image_size=(cameras.width, cameras.height)
    )
    return sampler.sample(3, torch.Generator().manual_seed(0))


@pytest.fixture
def bundles(monkeypatch) -> None:
    """RayBundle, where there is no nerfstudio."""
    module = SimpleNamespace(RayBundle=lambda **fields: SimpleNamespace(**fields))
    monkeypatch.setattr(rendering, "nerfstudio", lambda _: module)


@pytest.mark.usefixtures("bundles")
def test_patches_give_z_depth_row_by_row(patches) -> None:
    wall = Wall().train()
    wall.frozen.eval()
    rendered = rendering.render_patches(wall, patches)
    points = patches.rays.at(rendered["depth"])  # t is z-depth along these directions
    torch.testing.assert_close(points[..., 2], torch.full((3, 4, 4), 3.0))
    torch.testing.assert_close(rendered["opacity"], torch.full((3, 4, 4), 0.5))
    torch.testing.assert_close(rendered["rgb"], 3 * patches.rays.viewdirs)
    (gradient,) = torch.autograd.grad(rendered["depth"].sum(), wall.height)
    assert gradient != 0


@pytest.mark.usefixtures("bundles")
def test_bundles_are_what_nerfstudio_expects(patches) -> None:
    wall = Wall()
    rendering.render_patches(wall, patches)
    bundle = wall.bundle
    torch.testing.assert_close(bundle.directions.norm(dim=-1), torch.ones(48))
    assert bundle.camera_indices.shape == bundle.pixel_area.shape == (48, 1)
    # A pixel of a camera with focal length 50, at distance 1.
    z = bundle.metadata["directions_norm"]
    torch.testing.assert_close(bundle.pixel_area, (1 / 50 / z) ** 2)


@pytest.mark.usefixtures("bundles")
def test_every_module_returns_to_its_own_mode(patches) -> None:
    wall = Wall().train()
    wall.frozen.eval()
    before = [module.training for module in wall.modules()]
    rendering.render_patches(wall, patches)
    assert [module.training for module in wall.modules()] == before
    with pytest.raises(RuntimeError, match="inside"), rendering.evaluation_mode(wall):
        raise RuntimeError("inside")
    assert [module.training for module in wall.modules()] == before


@pytest.mark.usefixtures("bundles")
@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ({"expected_depth": None}, "its depth has no gradient"),  # a median is left
        ({"expected_depth": None, "depth": None}, "it renders no depth"),
        ({"accumulation": None}, "it renders no opacity"),
        ({"rgb": torch.zeros(48, 3)}, "its color has no gradient"),
    ],
)
def test_a_model_without_depth_is_refused(patches, outputs, problem) -> None:
    with pytest.raises(ValueError, match=rf"Wall cannot be regularized .*: {problem}; expected"):
        rendering.render_patches(Wall(**outputs), patches)


@pytest.mark.usefixtures("bundles")
def test_keypoints_need_the_samples_of_rays(model, cameras, transform) -> None:
    found = keypoint_rays(model, NAMES, cameras, transform.float(), SCALE)

    def packed(bundle: Any) -> dict[str, Tensor]:
        return {"rgb": bundle.directions}

    with pytest.raises(ValueError, match="gives no weights_list, ray_samples_list while training"):
        rendering.render_keypoints(packed, found)


@pytest.mark.usefixtures("bundles")
def test_keypoints_see_the_finest_samples(model, cameras, transform) -> None:
    found: KeypointRays = keypoint_rays(model, NAMES, cameras, transform.float(), SCALE)
    fine, coarse = torch.rand(36, 5, 1).half(), torch.rand(36, 9, 1).half()

    def model_of(bundle: Any) -> dict[str, Any]:
        assert bundle.camera_indices[:, 0].tolist() == found.view.tolist()
        torch.testing.assert_close(bundle.directions, found.rays.directions)
        samples = [
            SimpleNamespace(frustums=SimpleNamespace(starts=x, ends=x + 1)) for x in (coarse, fine)
        ]
        return {"weights_list": [coarse, fine], "ray_samples_list": samples}

    got = rendering.render_keypoints(model_of, found)
    assert {name: x.dtype for name, x in got.items()} == dict.fromkeys(
        ("weights", "starts", "ends"), torch.float32
    )
    assert torch.equal(got["weights"], fine[..., 0].float())
    assert torch.equal(got["ends"], (fine + 1)[..., 0].float())


# Options


def test_terms_are_those_whose_weights_are_not_0() -> None:
    assert list(terms.make_objective(RegularizersConfig()).terms) == ["smoothness"]
    every = RegularizersConfig(color_prior=(1e-3, 0.0), colmap=Path("sparse"), fade_steps=10)
    objective = terms.make_objective(every)
    assert list(objective.terms) == ["smoothness", "color_prior", "keypoints"]
    assert [objective.weight("smoothness", step) for step in (0, 10, 99)] == [10.0, 0.1, 0.1]
    assert [objective.weight("color_prior", step) for step in (0, 5, 10)] == [1e-3, 5e-4, 0.0]
    assert not terms.make_objective(RegularizersConfig(smoothness=(0.0, 0.0))).terms


def test_impossible_options_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"regularizers\.smoothness \(-1\.0, 0\.0\): weights must be ≥ 0"
    ):
        terms.make_objective(RegularizersConfig(smoothness=(-1.0, 0.0)))
    with pytest.raises(ValueError, match=r"regularizers\.color-prior \(0\.0, -1\.0\): weights"):
        terms.make_objective(RegularizersConfig(color_prior=(0.0, -1.0)))
    with pytest.raises(ValueError, match=r"patch-size 4: the color prior needs patches of at"):
        terms.make_objective(RegularizersConfig(color_prior=(1.0, 1.0), patch_size=4))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("fade_steps", -1, "fade-steps -1: must be at least 0"),
        ("patches", 0, "patches 0: must be at least 1"),
        ("patch_size", 1, "patch-size 1: must be at least 2"),
        ("keypoint_rays", 1, "keypoint-rays 1: must be at least 2"),
    ],
)
def test_numbers_that_cannot_be_are_named(option, value, message) -> None:
    with pytest.raises(ValueError, match=f"--pipeline.regularizers.{message}"):
        terms.make_objective(RegularizersConfig(**{option: value}))


# Draws


@pytest.fixture
def regularization(monkeypatch, cameras) -> Callable[..., Regularization]:
    """Of the wall, by seed."""

    class Gaussians:
        """No model here is one."""

    module = SimpleNamespace(
        SplatfactoModel=Gaussians, RayBundle=lambda **fields: SimpleNamespace(**fields)
    )
    monkeypatch.setattr(rendering, "nerfstudio", lambda _: module)
    data = SimpleNamespace(train_dataset=SimpleNamespace(cameras=as_nerfstudio(cameras)))

    def of_seed(seed: int, **options: Any) -> Regularization:
        wall = Wall()
        wall.device = torch.device("cpu")
        return Regularization(RegularizersConfig(**{"patches": 2, **options}), wall, data, seed)

    return of_seed


def draws(regularization: Regularization, step: int) -> tuple[Tensor, Tensor]:
    """A step's rays, and what the model itself drew."""
    found: dict[str, Tensor] = {}
    hook = regularization.model.register_forward_hook(lambda *_: found.update(own=torch.rand(4)))
    regularization(step)
    hook.remove()
    return regularization.model.bundle.directions, found["own"]


def test_a_patch_larger_than_the_photographs_names_the_option(regularization) -> None:
    assert regularization(0, patch_size=HEIGHT).patches.patch_size == HEIGHT
    with pytest.raises(ValueError, match=r"regularizers.patch-size 49: does not fit .* 64×48"):
        regularization(0, patch_size=HEIGHT + 1)


def test_draws_are_a_function_of_seed_and_step(regularization) -> None:
    first = draws(regularization(0), 7)
    other = regularization(0)
    torch.rand(5)
    draws(other, 6)
    for a, b in zip(first, draws(other, 7), strict=True):
        assert torch.equal(a, b)
    # Of two seeds no two steps are alike either, as they would be if the two were added.
    for seed, step in ((1, 7), (2**32, 7), (0, 8), (1, 6), (8, 0)):
        for a, b in zip(first, draws(regularization(seed), step), strict=True):
            assert not torch.equal(a, b), (seed, step)


def test_draws_leave_the_trainings_own_alone(regularization) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    draws(regularization(0), 7)
    assert torch.equal(torch.rand(4), expected)


# The pipeline


class Inner:
    """A pipeline class, as nerfstudio's are called."""

    def __init__(
        self, config: Any, device: str, test_mode: str, world_size: int, rank: int, scaler: Any
    ) -> None:
        self.config, self.events = config, list[str]()

    def get_train_loss_dict(self, step: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        self.events.append("training rays")
        return "outputs", {"rgb_loss": torch.tensor(1.0)}, {"psnr": torch.tensor(20.0)}


@dataclass
class InnerConfig:
    _target: type = field(default_factory=lambda: Inner)
    rays: int = 7


@pytest.mark.parametrize("gaussian", [False, True])
def test_a_step_gains_one_loss_and_every_terms_value(gaussian) -> None:
    wrapped: Any = pipeline.around(Inner)(SimpleNamespace(), "cpu")

    def regularization(step: int) -> ObjectiveValue:
        wrapped.events.append(f"unseen rays of {step}")
        total = torch.tensor(0.5)
        value = {"smoothness": torch.tensor(5.0)}
        return ObjectiveValue(total, value, {"smoothness": 0.1}, {"smoothness": total})

    regularization.gaussian = gaussian
    wrapped.regularization = regularization
    outputs, losses, metrics = wrapped.get_train_loss_dict(3)
    assert outputs == "outputs"
    assert losses == {"rgb_loss": torch.tensor(1.0), "nerfreg": torch.tensor(0.5)}
    assert metrics == {
        "psnr": torch.tensor(20.0),
        "nerfreg_smoothness": torch.tensor(5.0),
        "nerfreg_smoothness_weight": 0.1,
    }
    order = ["training rays", "unseen rays of 3"]
    assert wrapped.events == (order[::-1] if gaussian else order)


def test_several_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="train on one device, got 4"):
        pipeline.around(Inner)(SimpleNamespace(), "cuda", "val", 4)


@pytest.mark.parametrize(
    ("wrapped", "make"), [(Inner, pipeline.around), (InnerConfig, pipeline.config_around)]
)
def test_a_runs_config_finds_the_classes_again(wrapped, make) -> None:
    """config.yml names classes by module and name, and is read in a process of its own."""
    made = make(wrapped)
    assert issubclass(made, wrapped)
    pipeline.around.cache_clear()
    pipeline.config_around.cache_clear()
    again = getattr(importlib.import_module(made.__module__), made.__name__)
    assert again is not made
    assert again.__mro__[-2] is wrapped
    for name in ("__wrapped__", "no__such__Thing"):
        with pytest.raises(AttributeError, match=name):
            getattr(pipeline, name)


def test_a_wrapped_config_keeps_its_fields() -> None:
    config = pipeline.config_around(InnerConfig)(rays=9)
    assert config.rays == 9
    assert config.regularizers == RegularizersConfig()
