"""Everything a run can be told, one dataclass a subject, and the presets that fill it in."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch

from reference_impl.mipnerf import MipNerfConfig
from reference_impl.run_folder import written_whole

C = TypeVar("C")


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, its learning rate and its gradient clipping (RegNeRF's values)."""

    lr_start: float = 2e-3
    """Learning rate after the warm-up."""
    lr_end: float = 2e-5
    """Learning rate at the last step; log-linear between."""
    warmup_steps: int = 512
    """Steps over which the rate rises from warmup_factor times its value."""
    warmup_factor: float = 0.01
    """Where the warm-up starts."""
    clip_value: float = 0.1
    """Each gradient entry is clipped to this; 0: off."""
    clip_norm: float = 0.1
    """Then the norm of all gradients is clipped to this; 0: off."""


@dataclass(frozen=True)
class LogConfig:
    """What is written while training."""

    every: int = 50
    """Steps between lines of log.jsonl, the only moments at which the host waits for the device."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoints_kept: int = 2
    """Newest checkpoints that stay on disk; 0: all, to look back through them."""
    evaluate_every: int = 0
    """Steps between evaluations, for PSNR against steps; 0: at the end only."""
    gradient_shares_every: int = 0
    """Steps between measurements of what each loss term contributes to the gradient; 0: never. One
    costs a forward pass and a backward pass for each term, and does not change the training."""
    tensorboard: bool = False
    """Also write TensorBoard events (extra: tensorboard)."""
    frames: int = 40
    """Frames of the closing flight through the scene, a GIF; 0: none."""


@dataclass(frozen=True)
class Config:
    """Train a mip-NeRF from a few photographs, regularized by a recipe of nerfreg."""

    scene: str = "embedded"
    """Folder of a scene (LLFF, transforms.json, Blender, DTU, IDR, COLMAP, Redwood), or embedded: a
    small room that needs no download."""
    views: int = 3
    """Number of training views."""
    recipe: str = "fewview"
    """mipnerf, nerf, regnerf, dsnerf, freenerf, infonerf, dietnerf, sparsenerf or fewview; for
    comparison regnerf-released, regnerf-metric and dsnerf-published."""
    without: str = ""
    """What of the recipe to leave out, to see what each part does: NAME or NAME,NAME, of its terms,
    annealing and frequency_mask."""
    preset: Literal["small", "paper"] = "small"
    """small: minutes on a CPU. paper: RegNeRF's network, batch and number of steps, for a GPU."""
    steps: int = 0
    """Optimisation steps; 0: the preset's."""
    width: int = 0
    """Width that photographs are reduced to, in pixels; 0: the preset's."""
    evaluate_on: Literal["test", "validation"] = "test"
    """Views to measure on. validation: up to 8 of those that neither train nor test; choose
    settings on them, or the test views are no test."""
    keypoints: Literal["model", "triangulate", "none"] = "model"
    """Sparse depth of the training views. model: what lies beside the scene; triangulate: between
    the training views alone, kept in the user's cache; none: no keypoints."""
    keypoints_width: int = 0
    """Width of the photographs to triangulate from, in pixels: the larger, the more keypoints; 0:
    as the scene's format gives them."""
    keypoints_cache: str = ""
    """Folder to keep triangulated models in, instead of the user's cache."""
    lpips: str = ""
    """LPIPS networks to measure with: vgg, alex, squeeze, comma-separated; by default those that
    lpips-weights holds, without it none."""
    lpips_weights: str = ""
    """File of LPIPS weights (convert_lpips.py); without it those of --lpips are downloaded."""
    depth_maps: str = ""
    """Folder with a depth map for each training photograph, for recipe sparsenerf."""
    depth_maps_kind: Literal["depth", "disparity"] = "disparity"
    """disparity: larger is nearer, as monocular networks answer; depth: larger is farther."""
    embedder: str = ""
    """What recipe dietnerf compares images by: an open_clip model, MODEL or MODEL:CHECKPOINT
    (extra: clip); or random: features of an untrained network, to try the recipe out."""
    rays: int = 4096
    """Colour and keypoint rays a step, together; patches from unseen poses come on top."""
    seed: int = 0
    """Of the weights and of every random draw."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    devices: int = 1
    """Devices (processes) of this machine, each with its own share of the rays; torchrun's own
    number under torchrun."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """bf16-mixed runs the network's matrix products in bfloat16, everything else in float32; auto:
    so where the processor multiplies bfloat16 itself."""
    compile: bool = False
    """torch.compile the model: slower to start, faster to run."""
    out: str = ""
    """Folder of the run; by default runs/SCENE-RECIPE-VIEWSv-sSEED."""
    resume: str = ""
    """Folder of a run to continue from its last checkpoint; its own configuration is used."""
    dry_run: bool = False
    """Show views, bounds, keypoints a view and a picture of cameras, patches and keypoints; do not
    train."""
    model: MipNerfConfig = field(default_factory=MipNerfConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    log: LogConfig = field(default_factory=LogConfig)


def paper(**overrides: Any) -> Config:
    """RegNeRF's released setting: 8x256 network, 128 + 128 samples, 4096 rays, 500 pixel-epochs."""
    return Config(preset="paper", **overrides)


def small(**overrides: Any) -> Config:
    """A few minutes on two CPU cores."""
    values: dict[str, Any] = {
        "preset": "small",
        "rays": 384,
        "model": MipNerfConfig(width=64, depth=4, view_width=64, n_samples=32, max_degree=10),
        # A small network in few steps wants a higher rate than RegNeRF's, to the end.
        "optimizer": OptimizerConfig(lr_start=5e-3, lr_end=5e-4, warmup_steps=100),
    }
    return Config(**{**values, **overrides})


PRESETS = {"small": small, "paper": paper}


def resolve_steps(config: Config, width: int, height: int) -> int:
    """Number of steps: as asked, or the preset's.

    The paper preset follows the rule that reproduces all six of RegNeRF's published step counts:
    500 epochs over the training pixels in batches of 4096 rays. The small one trains photographs
    for longer than the embedded scene: the detail that a few of them cannot agree on takes its time
    to show.
    """
    if config.steps:
        return config.steps
    if config.preset == "paper":
        return round(500 * config.views * height * width / 4096)
    return 2000 if config.scene == "embedded" else 5000


def check(config: Config) -> None:
    """Refuse values that no training could use, before anything is loaded or written.

    Raises:
        ValueError: an option is below its smallest value; the message names it.
    """
    smallest = {
        "views": 1,
        "steps": 0,
        "width": 0,
        "keypoints-width": 0,
        "rays": 2 * max(config.devices, 1),
        "devices": 1,
        "model.width": 1,
        "model.depth": 1,
        "model.view-width": 1,
        "model.n-samples": 2,
        "model.skip": 0,
        "model.view-degree": 0,
        "model.max-degree": config.model.min_degree + 1,
        "model.rgb-padding": 0,
        "model.resample-padding": 0,
        "model.density-noise": 0,
        "optimizer.lr-start": 1e-12,
        "optimizer.lr-end": 1e-12,
        "optimizer.warmup-steps": 0,
        "optimizer.warmup-factor": 0,
        "optimizer.clip-value": 0,
        "optimizer.clip-norm": 0,
        "log.every": 1,
        "log.checkpoint-every": 1,
        "log.checkpoints-kept": 0,
        "log.evaluate-every": 0,
        "log.gradient-shares-every": 0,
        "log.frames": 0,
    }
    for name, least in smallest.items():
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part.replace("-", "_"))
        if not value >= least:
            raise ValueError(f"--{name} must be at least {least}, got {value}")


def resolve_device(name: str) -> str:
    """``"cuda"`` or ``"cpu"``, as asked or, for ``"auto"``, as there is.

    Raises:
        ValueError: CUDA is asked for and not there.
    """
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise ValueError("--device cuda: there is no CUDA device here; use --device cpu")
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device {name}: expected auto, cpu or cuda")
    return ("cuda" if cuda else "cpu") if name == "auto" else name


def resolve_precision(config: Config) -> Literal["32-true", "bf16-mixed"]:
    """Precision: as asked, or bfloat16 where the hardware has instructions for it."""
    if config.precision != "auto":
        return config.precision
    if resolve_device(config.device) == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.is_file() else set[str]()
    return "bf16-mixed" if flags & {"avx512_bf16", "amx_bf16"} else "32-true"


def resolve_width(config: Config) -> int | None:
    """Width to load photographs at: as asked, or the preset's (``None``: as they are)."""
    if config.width:
        return config.width
    return None if config.preset == "paper" or config.scene == "embedded" else 100


def save_config(config: Any, path: Path) -> None:
    """Write a configuration, a dataclass, as JSON."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n")


def load_config(path: Path, kind: type[C] = Config) -> C:
    """Read a configuration that :func:`save_config` wrote.

    Args:
        path: the file.
        kind: the dataclass that was written; those inside of it are its fields' default factories.

    Raises:
        ValueError: the file is not JSON, or has keys that this version does not know.
    """
    try:
        values = json.loads(path.read_text())
        subject: Any
        for option in dataclasses.fields(cast(Any, kind)):
            subject, name = option.default_factory, option.name
            if dataclasses.is_dataclass(subject) and isinstance(subject, type):
                values[name] = subject(**values[name])
            elif isinstance(option.default, tuple):
                values[name] = tuple(values[name])
        config = kind(**values)
        _require_types(config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a configuration of this version of nerfreg: {error}"
        ) from error
    return config


def _require_types(config: Any) -> None:
    """Raise ``TypeError`` where a value is of another type than its default."""
    for option in dataclasses.fields(config):
        value = getattr(config, option.name)
        if dataclasses.is_dataclass(value):
            _require_types(value)
            continue
        kind = type(option.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError(f"{option.name} must be {kind.__name__}, got {value!r}")
