"""Forward-facing scenes train in NDC: rays live there, depths that losses see are z-depth.

Which depths and rays are expected is written out here, with nothing of nerfreg.views.
"""

import json
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from nerfreg import DepthKL, DepthMSE, DepthSmoothness, FrequencyMask, SampleSpaceAnnealing
from nerfreg.recipes import RECIPES, Recipe, fewview
from reference_impl import metrics
from reference_impl.batches import Batch, BatchSampler
from reference_impl.config import Config, LogConfig, OptimizerConfig
from reference_impl.evaluate import evaluate_run, point_errors, render_view
from reference_impl.mipnerf import MipNerf, MipNerfConfig
from reference_impl.ray_space import RaySpace
from reference_impl.regularized_step import RegularizedStep
from reference_impl.run import Run
from reference_impl.scenes import load_scene
from reference_impl.train import train
from tests.reference_impl.scenes.captures import World, write_llff, write_model

pytest.importorskip("pycolmap", reason="reading COLMAP models needs pycolmap")

NEAR = 1.0
TINY = MipNerfConfig(width=16, depth=2, view_width=8, n_samples=8, max_degree=4)
# Of 4 octaves one more is whole every 2 steps: [1, 1, 0, 0] at step 2, half of the next at step 3.
MASK = FrequencyMask(n_steps=8)
OCTAVES = {2: [1.0, 1.0, 0.0, 0.0], 3: [1.0, 1.0, 0.5, 0.0], 4: [1.0, 1.0, 1.0, 0.0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A capture whose cameras are turned against each other: no z-depth is a depth of the world."""
    folder, world = tmp_path_factory.mktemp("capture") / "bow", World()
    names = write_llff(folder, world)
    write_model(folder / "sparse/0", world, names)
    write_model(folder / "sparse_train3/0", world, names, [1, 5, 9])
    return folder


@pytest.fixture(scope="module")
def scene(folder):
    scene = load_scene(folder, 3, width=24)
    assert scene.ndc_near == NEAR
    assert all(len(scene.keypoints[view]) > 20 for view in scene.train)
    return scene


@pytest.fixture
def masked(monkeypatch):
    """The recipe fewview, with a mask of positions half closed in a run of a few steps."""

    def recipe(**setting):
        return replace(fewview(**setting), frequency_mask=MASK, mask_directions=False)

    monkeypatch.setitem(RECIPES, "fewview", recipe)


def make_recipe(**changes):
    values = {
        "keypoint_terms": {"known": (DepthKL(), 1.0)},
        "patch_terms": {"smooth": (DepthSmoothness(), 1.0)},
        "coarse_weights": {"known": 1.0, "smooth": 1.0},
        "keypoint_share": 0.25,
        "unseen_share": 1.0,
    }
    return Recipe("recipe", "this test", **{**values, **changes})


@dataclass
class Step:
    """What one step drew, rendered and handed to the losses; of both levels, the coarse first."""

    batch: Batch
    bounds: tuple
    levels: list
    heard: dict

    @property
    def keypoints(self):
        return slice(len(self.batch.color), len(self.batch.color) + len(self.batch.depth))

    @property
    def patches(self):
        return slice(self.keypoints.stop, None)


def take_step(scene, recipe):
    space = RaySpace.of(scene, recipe.coordinates)
    sampler = BatchSampler(scene, recipe, space, 128, torch.device("cpu"))
    model = MipNerf(replace(TINY, ray_shape="cylinder"))
    step = RegularizedStep(model, recipe, space, sampler, scene.background)
    passes, heard = [], {}
    model.register_forward_hook(lambda _, given, levels: passes.append((*given, levels)))
    for name, (loss, _) in {**recipe.keypoint_terms, **recipe.patch_terms}.items():
        heard[name] = calls = []
        loss.register_forward_pre_hook(
            lambda _, __, inputs, calls=calls: calls.append(inputs), with_kwargs=True
        )
    step(0, torch.Generator().manual_seed(0))
    ((rays, *bounds, levels),) = passes
    batch = sampler.draw(torch.Generator().manual_seed(0))
    assert torch.equal(batch.rays.directions, rays.directions)
    assert batch.n_patches == 2
    return Step(batch, tuple(bounds), levels, heard)


def ndc_scale(scene):
    cameras = scene.cameras
    focal = cameras.intrinsics[0].diagonal()[:2].double()
    return 2 * focal / torch.tensor([cameras.width, cameras.height])


def z_depth(scene, rays, t, index):
    """(R, S): points (R, S) of NDC rays, brought back into the world, along their cameras' axes."""
    x, y, z = (
        rays.origins.double()[:, None] + t.double()[..., None] * rays.directions.double()[:, None]
    ).unbind(-1)
    z = -2 * NEAR / (1 - z)
    sx, sy = ndc_scale(scene)
    points = torch.stack([x * -z / sx, y * -z / sy, z], -1)
    pose = scene.cameras.c2w[index].double()[:, None]
    return ((points - pose[..., 3]) * pose[..., 2]).sum(-1)


def assert_seen_through(scene, rays, c2w, intrinsics, xy):
    """NDC rays pass through the images, in NDC, of what those pixels see at two depths."""
    c2w, k, xy = c2w.double(), intrinsics.double(), xy.double()
    local = (xy - k[:, :2, 2]) / k.diagonal(dim1=1, dim2=2)[:, :2]
    local = torch.cat([local, torch.ones_like(local[:, :1])], -1)
    directions = (c2w[:, :, :3] @ local[..., None])[..., 0]
    assert (directions[:, 2] < -0.1).all()
    for depth in (2.0, 9.0):
        point = c2w[:, :, 3] + depth * directions
        x, y, z = point.unbind(-1)
        sx, sy = ndc_scale(scene)
        expected = torch.stack([sx * x / -z, sy * y / -z, 1 + 2 * NEAR / z], -1)
        t = 1 - NEAR / -z
        on_ray = rays.origins.double() + t[:, None] * rays.directions.double()
        torch.testing.assert_close(on_ray, expected, atol=1e-5, rtol=1e-5)


def test_intervals_of_a_keypoints_ray_are_z_depth(scene):
    """As its depth and standard deviation are, in the units of the scene."""
    step = take_step(scene, make_recipe())
    batch, rays = step.batch, step.batch.rays[step.keypoints]
    for level, heard in zip(step.levels, step.heard["known"], strict=True):
        t = level.edges[step.keypoints]
        assert t.min() >= 0
        assert t.max() < 1
        edges = z_depth(scene, rays, t, batch.keypoint_index)
        assert (edges[:, -1] > 2 * edges[:, 0]).all()
        torch.testing.assert_close(heard["starts"].double(), edges[:, :-1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(heard["ends"].double(), edges[:, 1:], rtol=1e-4, atol=1e-5)
        assert torch.equal(heard["weights"], level.weights[step.keypoints])
        assert torch.equal(heard["depth"], batch.depth)
        assert torch.equal(heard["std"], batch.std)


def test_rendered_depth_of_a_keypoints_ray_is_z_depth(scene):
    recipe = make_recipe(keypoint_terms={"known": (DepthMSE(), 1.0)})
    step = take_step(scene, recipe)
    batch, rays = step.batch, step.batch.rays[step.keypoints]
    for level, heard in zip(step.levels, step.heard["known"], strict=True):
        t = level.depth[step.keypoints, None]
        expected = z_depth(scene, rays, t, batch.keypoint_index)[:, 0]
        assert expected.min() > 1
        torch.testing.assert_close(heard["rendered"].double(), expected, rtol=1e-4, atol=0)
        assert torch.equal(heard["depth"], batch.depth)


@pytest.mark.parametrize("weighted", [True, False])
def test_opacity_weighs_patches_if_the_recipe_says_so(scene, weighted):
    step = take_step(scene, make_recipe(opacity_weighting=weighted))
    for level, heard in zip(step.levels, step.heard["smooth"], strict=True):
        assert torch.equal(heard["depth"], level.depth[step.patches].reshape(2, 8, 8))
        if weighted:
            assert torch.equal(heard["opacity"], level.opacity[step.patches].reshape(2, 8, 8))
        else:
            assert heard["opacity"] is None


def test_every_ray_of_a_batch_lives_in_ndc(scene, monkeypatch):
    """Unseen patches too, in the very space of the photographs' rays."""
    recipe, drawn = make_recipe(), []
    space = RaySpace.of(scene, recipe.coordinates)
    sampler = BatchSampler(scene, recipe, space, 128, torch.device("cpu"))
    sample = sampler.patches.sample

    def noted(*arguments, **options):
        drawn.append(sample(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(sampler.patches, "sample", noted)
    batch = sampler.draw(torch.Generator().manual_seed(0))
    ones = torch.ones(len(batch.rays))
    assert len(ones) == 128 + 2 * 64
    torch.testing.assert_close(batch.rays.origins[:, 2], -ones)
    torch.testing.assert_close(batch.rays.directions[:, 2], 2 * ones)
    (patches,) = drawn
    c2w, k = (x.repeat_interleave(64, 0) for x in (patches.c2w, patches.intrinsics))
    assert_seen_through(scene, batch.rays[128:], c2w, k, patches.xy.reshape(-1, 2))
    n_color, index, cameras = len(batch.color), batch.keypoint_index, scene.cameras
    of_keypoints = cameras.c2w[index], cameras.intrinsics[index], batch.keypoint_xy
    assert_seen_through(scene, batch.rays[n_color:128], *of_keypoints)


def test_annealing_shuts_no_keypoint_out(scene):
    """In NDC it begins at infinity, where no keypoint is."""
    step = take_step(scene, make_recipe(annealing=SampleSpaceAnnealing.llff()))
    near, far = step.bounds
    exempt = torch.zeros(len(step.batch.rays), dtype=torch.bool)
    exempt[step.keypoints] = True
    assert (near[exempt] == 0).all()
    assert (near[~exempt] > 0.99).all()
    assert (far == 1).all()
    for level, heard in zip(step.levels, step.heard["known"], strict=True):
        assert (level.edges[~exempt] > 0.99).all()
        assert (heard["starts"][:, 0] < step.batch.depth).all()
        assert (step.batch.depth < heard["ends"][:, -1]).all()


def config(folder, out="", **changes):
    values = {
        "scene": str(folder),
        "width": 24,
        "rays": 128,
        "steps": 4,
        "device": "cpu",
        "precision": "32-true",
        "out": str(out),
        "model": TINY,
        "optimizer": OptimizerConfig(warmup_steps=0),
        "log": LogConfig(every=2, checkpoint_every=2, evaluate_every=2, frames=0),
    }
    return Config(**{**values, **changes})


def measure(run, model, octaves=None):
    """Each test view's metrics, of the model as it is or through a mask."""
    renderer = model if octaves is None else partial(model, octaves=torch.tensor(octaves))
    scene, space, found = run.scene, run.space(), {}
    assert space.ndc_near == NEAR
    for view in scene.test:
        rgb, truth = render_view(renderer, scene, space, view).rgb, scene.images[view] / 255
        errors = point_errors(renderer, scene, space, view)
        found[scene.names[view]] = {
            "psnr": metrics.psnr(rgb, truth),
            "ssim": metrics.ssim(rgb, truth),
            "ssim_released": metrics.ssim_released(rgb, truth),
            "depth_error": metrics.median(errors),
            "points": len(errors),
        }
    return found


def mean_psnr(found):
    return sum(values["psnr"] for values in found.values()) / len(found)


@pytest.mark.usefixtures("masked")
def test_half_way_a_run_is_measured_through_the_mask(folder, tmp_path, monkeypatch):
    run, renderers = Run.of(config(folder, log=LogConfig(frames=1))), []
    model = run.model()
    monkeypatch.setattr(
        "reference_impl.evaluate.report.write_flight", lambda _, m, *rest: renderers.append(m)
    )
    result = evaluate_run(tmp_path, model, run, run.space(), step=3)
    expected, plain = measure(run, model, OCTAVES[3]), measure(run, model)
    assert len(expected) == 2
    for name, values in expected.items():
        assert result["images"][name] == pytest.approx(values, rel=1e-6)
        for metric in ("psnr", "ssim", "depth_error"):
            assert plain[name][metric] != pytest.approx(values[metric], rel=1e-4)
    (flown,) = renderers
    masked = partial(model, octaves=torch.tensor(OCTAVES[3]))
    seen, through = (
        render_view(m, run.scene, run.space(), run.scene.test[0]).rgb for m in (flown, masked)
    )
    assert torch.equal(seen, through)


@pytest.mark.usefixtures("masked")
def test_on_the_way_a_run_is_measured_through_the_mask_of_that_step(folder, tmp_path):
    out = train(config(folder, tmp_path / "run"))
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    (on_the_way,) = (line["test_psnr"] for line in lines if "test_psnr" in line)
    at_the_end = json.loads((out / "metrics.json").read_text())["mean"]["psnr"]
    run = Run.open(out)
    model = run.model()
    for psnr, step in ((on_the_way, 2), (at_the_end, 4)):
        path = out / "checkpoints" / f"step_{step:07d}" / "model.safetensors"
        model.load_state_dict(load_file(path))
        assert psnr == pytest.approx(mean_psnr(measure(run, model, OCTAVES[step])), rel=1e-6)
        assert psnr != pytest.approx(mean_psnr(measure(run, model)), rel=1e-4)
