"""Checks inside of nerfstudio's environment: python nerfstudio_checks.py CHECK ARGUMENT."""

import copy
import json
import re
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.configs.method_configs import all_methods, method_configs
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.models import splatfacto
from nerfstudio.plugins.types import MethodSpecification
from nerfstudio.utils.eval_utils import eval_setup
from torch import Tensor

from nerfreg.integrations.nerfstudio.cameras import PERSPECTIVE
from nerfreg.integrations.nerfstudio.methods import regularized
from nerfreg.integrations.nerfstudio.regularization import Regularization


def attributes(seed: int = 0) -> Any:
    config = SimpleNamespace(machine=SimpleNamespace(seed=seed))
    optimizers = SimpleNamespace(optimizers={})
    return SimpleNamespace(trainer=SimpleNamespace(config=config), optimizers=optimizers)


def gradients(config: str) -> dict[str, Any]:
    """Each term's gradient on the field of a trained run, read back from its files."""
    # Builds the pipeline from config.yml, whose classes must be found again.
    loaded, pipeline, _, step = eval_setup(Path(config), test_mode="val")
    pipeline.train()
    model = pipeline.model
    loaded.pipeline.regularizers.color_prior = (1e-3, 1e-3)
    pipeline.get_training_callbacks(attributes(loaded.machine.seed))
    regularization: Regularization = pipeline.regularization
    found: dict[str, Any] = {"step": step, "version": torch.__version__}
    for name in list(regularization.objective.terms):
        alone = Regularization(loaded.pipeline.regularizers, model, pipeline.datamanager, 0)
        alone.objective.terms = {name: alone.objective.terms[name]}
        if name != "keypoints":
            alone.keypoints = None
        value = alone(step)
        assert value is not None
        grads = torch.autograd.grad(value.total, list(model.field.parameters()), allow_unused=True)
        norm = float(sum(g.double().square().sum() for g in grads if g is not None) ** 0.5)
        found[name] = {"value": float(value.values[name]), "gradient": norm}

    # A function of seed and step: another object, another state of the global generator.
    first, again, other = (
        Regularization(loaded.pipeline.regularizers, model, pipeline.datamanager, seed)
        for seed in (0, 0, 1)
    )
    before = torch.random.get_rng_state()
    a = first(7)
    assert torch.equal(torch.random.get_rng_state(), before), "the training's draws were disturbed"
    torch.rand(5)
    first(8)
    b, c = again(7), other(7)
    assert a is not None
    assert b is not None
    assert c is not None
    assert float(a.total) == float(b.total), (a, b)
    assert float(a.total) != float(c.total), "the seed has no effect"
    assert float(a.total) != float(first(9).total)

    # The proposal networks learn from the training's rendering, as without regularizers.
    model.zero_grad()
    _, losses, metrics = pipeline.get_train_loss_dict(0)
    assert "nerfreg" in losses
    assert "nerfreg_smoothness" in metrics
    sum(losses.values()).backward()
    for network in model.proposal_networks:
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    # No prior and no counter gets into checkpoints.
    assert not any("regularization" in name or "nerfreg" in name for name in pipeline.state_dict())
    return found


def _pipeline(method: Any, data: str, **changes: Any) -> Any:
    config = copy.deepcopy(method)
    config.pipeline.datamanager.dataparser = NerfstudioDataParserConfig(data=Path(data))
    for name, value in changes.items():
        setattr(config.pipeline.regularizers, name, value)
    return config


def _fails(message: str, method: Any, world_size: int = 1, steps: int = 1) -> None:
    try:
        pipeline = method.pipeline.setup(device="cpu", test_mode="val", world_size=world_size)
        pipeline.get_training_callbacks(attributes())
        for step in range(steps):
            pipeline.get_train_loss_dict(step)
    except (ValueError, FileNotFoundError) as error:
        if message in str(error):
            return
        raise
    raise AssertionError(f"nothing failed where {message!r} was expected")


def bad_input(data: str) -> dict[str, Any]:
    """Every clear error that needs the real packages."""
    assert CameraType.PERSPECTIVE.value == PERSPECTIVE
    nerfacto, gaussian = (all_methods[f"nerfreg-{name}"] for name in ("nerfacto", "splatfacto"))
    for method in (nerfacto,):
        method.pipeline.model.implementation = "torch"
        method.pipeline.datamanager.train_num_rays_per_batch = 16
    _fails("train on one device, got 2", _pipeline(nerfacto, data), world_size=2)
    nothing = _pipeline(nerfacto, data, smoothness=(0.0, 0.0), annealing_steps=0)
    _fails("every term is switched off", nothing)
    _fails("colmap nowhere: no such folder", _pipeline(nerfacto, data, colmap=Path("nowhere")))

    reduced = _pipeline(gaussian, data)
    reduced.pipeline.model.num_downscales = 2
    _fails("--pipeline.model.num-downscales 2", reduced)
    keyed = _pipeline(gaussian, data, colmap=Path("sparse_train3/0"))
    _fails("Gaussian models render no rays", keyed)

    # A median depth alone: no gradient to regularize with.
    vanilla = _pipeline(
        regularized(method_configs["vanilla-nerf"], name="vanilla"), data, patches=1
    )
    vanilla.pipeline.datamanager.train_num_rays_per_batch = 4
    _fails("NeRFModel cannot be regularized in unseen views: its depth has no gradient", vanilla)

    fisheye = Path(data).with_name("fisheye")
    fisheye.mkdir(exist_ok=True)
    content = json.loads((Path(data) / "transforms.json").read_text())
    content["camera_model"] = "OPENCV_FISHEYE"
    (fisheye / "transforms.json").write_text(json.dumps(content))
    if not (fisheye / "images").exists():
        (fisheye / "images").symlink_to(Path(data) / "images")
    _fails("expected cameras of nerfstudio's type PERSPECTIVE", _pipeline(nerfacto, str(fisheye)))
    return {}


@dataclass
class DenseSplatter:
    """gsplat's rasterization, for a few isotropic Gaussians and no GPU: every pixel sees each."""

    sizes: list[tuple[int, int]] = field(default_factory=list)

    def __call__(
        self, *, means: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, **view: Any
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        width, height, k = view["width"], view["height"], view["Ks"][0]
        self.sizes.append((height, width))
        world_to_camera = view["viewmats"][0]
        local = means @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
        z = local[:, 2]
        seen = z > 0.01
        order = z.where(seen, torch.full_like(z, torch.inf)).argsort()[: int(seen.sum())]
        local, z = local[order], z[order]
        means2d = (local[:, :2] / z[:, None]) * torch.stack([k[0, 0], k[1, 1]]) + k[:2, 2]
        means2d = means2d[None].clone()
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        pixels = torch.stack([x, y], -1).reshape(-1, 1, 2)
        radius = scales[order].mean(-1) * k[0, 0] / z + 0.3
        falloff = torch.exp(-0.5 * ((pixels - means2d) / radius[:, None]).square().sum(-1))
        alpha = (opacities[order] * falloff).clamp(max=0.99)
        left = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha], -1), -1)
        weights = alpha * left[:, :-1]
        opacity = weights.sum(-1, keepdim=True)
        rgb = weights @ (colors[order, 0] * 0.28 + 0.5)
        depth = (weights @ z[:, None]) / opacity.clamp(min=1e-10)
        image = torch.cat([rgb, depth], -1) if view["render_mode"] == "RGB+ED" else rgb
        info = {"means2d": means2d}
        return image.reshape(1, height, width, -1), opacity.reshape(1, height, width, 1), info


def gaussians(data: str) -> dict[str, Any]:
    """nerfreg-splatfacto's step with splatfacto's own code, but for the rasterizer."""
    splatter = DenseSplatter()
    splatfacto.rasterization = splatter
    torch.Tensor.cuda = lambda self: self  # splatfacto asks for it
    torch.manual_seed(0)
    method = _pipeline(all_methods["nerfreg-splatfacto"], data, patches=2, patch_size=16)
    assert method.pipeline.model.output_depth_during_training
    method.pipeline.model.num_random, method.pipeline.model.random_scale = 300, 2.0
    pipeline = method.pipeline.setup(device="cpu", test_mode="val")
    pipeline.train()
    pipeline.get_training_callbacks(attributes())
    model = pipeline.model
    model.optimizers = {}
    _, losses, metrics = pipeline.get_train_loss_dict(0)
    # Unseen patches come first; what densification reads is the training view's.
    assert splatter.sizes == [(16, 16), (16, 16), (72, 96)], splatter.sizes
    assert tuple(model.last_size) == (72, 96)
    assert model.training
    assert float(metrics["nerfreg_smoothness"]) > 0
    (on_means,) = torch.autograd.grad(losses["nerfreg"], [model.means], retain_graph=True)
    assert bool(on_means.isfinite().all())
    assert float(on_means.abs().sum()) > 0
    sum(losses.values()).backward()
    assert model.info["means2d"].grad is not None

    # And without a training view after it, nothing is left behind.
    info, size = model.info, model.last_size
    pipeline.regularization(1)
    assert model.info is info
    assert model.last_size is size
    return {"smoothness": float(metrics["nerfreg_smoothness"])}


def examples(page: str) -> dict[str, Any]:
    """Run the page's example, and register what it makes."""
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```$", Path(page).read_text(), re.M | re.S):
        exec(compile(code, page, "exec"), names)
    made = names["few_view_ngp"]
    assert isinstance(made, MethodSpecification)
    assert made.config.method_name == "few-view-ngp"
    assert made.config.pipeline.regularizers.patches == 32
    # A pipeline of another class than nerfacto's, with options of its own.
    original = method_configs["instant-ngp"].pipeline
    assert made.config.pipeline.target_num_samples == original.target_num_samples
    assert issubclass(made.config.pipeline._target, original._target)
    again = yaml.load(yaml.dump(made.config), Loader=yaml.Loader)
    assert again.pipeline == made.config.pipeline
    assert type(again.pipeline) is type(made.config.pipeline)
    return {}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    checks = (gradients, bad_input, gaussians, examples)
    chosen = {check.__name__: check for check in checks}[sys.argv[1]]
    print("CHECKED " + json.dumps(chosen(sys.argv[2])))
