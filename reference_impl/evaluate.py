"""Recompute a run's metrics and pictures from its last checkpoint.

$ python reference_impl/evaluate.py RUN
"""

import json
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from reference_impl import metrics, perceptual, report
from reference_impl.command_line import exit_code
from reference_impl.config import resolve_device
from reference_impl.depth_figures import write_depth_figures
from reference_impl.mipnerf import MipNerf, Renderer, Rendering, render_image
from reference_impl.ray_space import RaySpace
from reference_impl.report_page import write_report_page
from reference_impl.run import Run
from reference_impl.run_folder import written_whole
from reference_impl.scenes import Scene


@dataclass(frozen=True)
class Picture:
    """A rendered view: colour (H, W, 3) and z-depth (H, W)."""

    rgb: Tensor
    depth: Tensor


@torch.no_grad()
def render_view(model: Renderer, scene: Scene, space: RaySpace, view: int) -> Picture:
    """Render one of the scene's cameras without randomness."""
    index, xy = space.image_grid(view)
    rendered = _render(model, scene, space, index, xy)
    depth = space.z_depth(rendered.depth, index, xy)
    return Picture(rendered.rgb.clamp(0, 1).cpu(), depth.cpu())


def _render(model: Renderer, scene: Scene, space: RaySpace, index: Tensor, xy: Tensor) -> Rendering:
    return render_image(
        model, space.rays(index, xy), space.near, space.far, background=scene.background
    )


@torch.no_grad()
def point_errors(model: Renderer, scene: Scene, space: RaySpace, view: int) -> Tensor:
    """Relative error of the rendered z-depth at structure-from-motion points of a held-out view."""
    points = scene.points[view]
    device = space.cameras.c2w.device
    xy = points.xy.float().to(device)
    index = torch.full((len(xy),), view, device=device)
    rendered = _render(model, scene, space, index, xy)
    depth = space.z_depth(rendered.depth, index, xy).cpu()
    return metrics.relative_depth_errors(depth, points.depth.float())


def mean_psnr(model: Renderer, scene: Scene, space: RaySpace) -> float:
    """Mean PSNR over the views that are measured."""
    values = [
        metrics.psnr(render_view(model, scene, space, view).rgb, scene.images[view].float() / 255)
        for view in scene.test
    ]
    return sum(values) / len(values)


def evaluate_run(
    folder: Path,
    model: MipNerf,
    run: Run,
    space: RaySpace,
    *,
    step: int,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Render the views to measure on, measure, write metrics.json, pictures and report.

    Args:
        folder: of the run.
        model: trained, on the device of ``space``.
        run: whose scene and configuration these are.
        space: in which the model lives.
        step: of the checkpoint that is measured.
        seconds: that training took, for the record.

    Returns:
        What metrics.json holds.
    """
    scene, renderer = run.scene, run.at_step(model, step)
    size = (scene.cameras.width, scene.cameras.height)
    lpips, missing = perceptual.load_networks(run.config.lpips, run.config.lpips_weights, size)
    images: dict[str, dict[str, float]] = {}
    pictures: dict[int, Picture] = {}
    errors: list[Tensor] = []
    for view in tqdm(scene.test, "measuring", unit="view", disable=None, leave=False):
        picture = pictures[view] = render_view(renderer, scene, space, view)
        truth = scene.images[view].float() / 255
        mask = scene.masks.get(view)
        values = metrics.measure(picture.rgb, truth, mask=mask, lpips=lpips)
        if scene.depth is not None:
            values["depth_mae"] = metrics.depth_mae(picture.depth, scene.depth[view])
        if view in scene.points and len(scene.points[view].depth):
            errors.append(point_errors(renderer, scene, space, view))
            values["depth_error"] = metrics.median(errors[-1])
            values["points"] = float(len(errors[-1]))
        images[scene.names[view]] = values
    # The number of points is no measure, and the median error is over all points together.
    names = dict.fromkeys(name for values in images.values() for name in values)
    mean = {
        name: statistics.fmean(values[name] for values in images.values() if name in values)
        for name in names
        if name not in ("points", "depth_error")
    }
    if errors:
        mean["depth_error"] = metrics.median(torch.cat(errors))
    result: dict[str, Any] = {
        "flavours": metrics.FLAVOURS,
        "not_computed": {**metrics.too_small(*size), **missing},
        "scene": scene.name,
        "recipe": run.recipe.name,
        "seed": run.config.seed,
        "views": len(scene.train),
        "steps": run.config.steps,
        "evaluated_on": run.config.evaluate_on,
        "size": list(size),
        "split": scene.split,
        "train": [scene.names[i] for i in scene.train],
        "step": step,
        "mean": mean,
        "images": images,
    }
    previous = folder / "metrics.json"
    if seconds is None:
        seconds = _train_seconds(previous)
    if seconds is not None:
        result["train_seconds"] = round(seconds, 1)
    report.write_pictures(folder / "test", scene, pictures)
    report.write_sheet(folder / "sheet.png", scene, pictures, images)
    # Whoever finds it takes the run for finished; the flight, which takes long, may be cut short.
    with written_whole(previous) as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n")
    if run.config.log.frames:
        report.write_flight(folder / "flight.gif", renderer, scene, space, run.config.log.frames)
    write_depth_figures(folder, renderer, scene, space, pictures)
    write_report_page(folder)
    return result


def _train_seconds(path: Path) -> float | None:
    """What an earlier metrics.json says; nothing where it is missing or damaged."""
    try:
        seconds = json.loads(path.read_text())["train_seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds if isinstance(seconds, int | float) else None


def summary(result: dict[str, Any]) -> str:
    """One line of the mean metrics, and one for what is missing."""
    units = {
        "psnr": "PSNR {:.2f} dB",
        "ssim": "SSIM {:.3f}",
        "lpips_vgg": "LPIPS-VGG {:.3f}",
        "lpips_alex": "LPIPS-Alex {:.3f}",
        "lpips_squeeze": "LPIPS-Squeeze {:.3f}",
        "average": "average {:.3f}",
        "psnr_masked": "object PSNR {:.2f} dB",
        "ssim_masked": "object SSIM {:.3f}",
        "lpips_vgg_masked": "object LPIPS-VGG {:.3f}",
        "depth_mae": "depth MAE {:.3f}",
        "depth_error": "depth error at held-out points {:.1%}",
    }
    mean = result["mean"]
    line = ", ".join(text.format(mean[name]) for name, text in units.items() if name in mean)
    missing = [f"{what} not computed: {why}" for what, why in result["not_computed"].items()]
    return "\n".join([line, *missing])


def evaluate(
    run: Path,
    /,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    lpips: str = "",
    lpips_weights: str = "",
) -> None:
    """Recompute metrics.json, test pictures, sheet, flight and report of a run.

    Args:
        run: folder of the run.
        device: that renders; auto: CUDA where there is one.
        lpips: networks to measure with, instead of those that the run was told.
        lpips_weights: file of their weights, instead of the one that the run was told.
    """
    from reference_impl import checkpoints

    device_name = resolve_device(device)
    perceptual.check_networks(lpips, lpips_weights)
    opened = Run.open(run)
    if lpips or lpips_weights:
        # Options of one call belong together: networks of the run need not be in another file.
        told = replace(opened.config, lpips=lpips, lpips_weights=lpips_weights)
        opened = replace(opened, config=told)
    model = opened.trained_model(run, device_name)
    step = checkpoints.latest(run).step
    started = time.perf_counter()
    result = evaluate_run(run, model, opened, opened.space(device_name), step=step)
    print(f"{run}, step {step} ({time.perf_counter() - started:.0f} s): {summary(result)}")


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    return exit_code(lambda: tyro.cli(evaluate, description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
