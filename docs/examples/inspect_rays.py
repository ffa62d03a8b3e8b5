"""Draw the figures of docs/inspecting.md from two runs on the embedded scene.

$ python docs/examples/inspect_rays.py runs/mipnerf runs/fewview --out docs/images
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # reference_impl is not installed

import torch
from matplotlib.figure import Figure

from nerfreg.plots import plot_depth_agreement, plot_gradient_shares, plot_termination
from nerfreg.rays import check_depth_agreement, z_depth_to_distance
from reference_impl.batches import BatchSampler
from reference_impl.depth_figures import keypoint_rays
from reference_impl.evaluate import render_view
from reference_impl.regularized_step import RegularizedStep
from reference_impl.run import Run


def shapes() -> Figure:
    """What a ray through a keypoint looks like where all is well, and three ways it is not."""
    t = torch.linspace(0.5, 4.5, 81)
    starts, ends = t[:-1], t[1:]
    middle = (starts + ends) / 2

    def hill(centre: float, width: float) -> torch.Tensor:
        mass = torch.exp(-0.5 * ((middle - centre) / width) ** 2)
        return mass / mass.sum()

    rays = {
        "a surface": hill(2.52, 0.08),
        "fog: low and long": 0.85 * hill(1.8, 1.3),
        "a floater: a peak too near": 0.45 * hill(1.0, 0.08) + 0.55 * hill(2.5, 0.08),
        "elsewhere: one peak, beside the target": hill(2.9, 0.08),
    }
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    for axes, (title, weights) in zip(figure.subplots(2, 2).flat, rays.items(), strict=True):
        plot_termination(weights, starts, ends, 2.5, 0.1, kind="z-depth", title=title, ax=axes)
        axes.set_xlim(0.5, 4.5)
    return figure


def before_and_after(baseline: Path, regularized: Path) -> Figure:
    """The same keypoint ray in both runs: one that the baseline meets badly."""
    found = []
    for folder in (baseline, regularized):
        run = Run.open(folder)
        model = run.at_step(run.trained_model(folder), run.config.steps)
        rays = keypoint_rays(model, run.scene, run.space())
        assert rays is not None, "the embedded scene has keypoints"
        found.append(rays)
    before, after = found
    ray = before.at(0.9)
    assert before.names == after.names
    return plot_termination(
        **after.rays,
        depth=after.depth,
        std=after.std,
        ray=ray,
        before=before.rays,
        kind="z-depth (scene units)",
        title=f"{baseline.name} → {regularized.name}, {after.names[ray]}",
    )


def depths(folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rendered z-depth, exact z-depth and directions of all pixels of the test views."""
    run = Run.open(folder)
    space, scene = run.space(), run.scene
    assert scene.depth is not None, "the embedded scene knows its depth"
    model = run.at_step(run.trained_model(folder), run.config.steps)
    rendered, truth, directions = [], [], []
    for view in scene.test:
        rendered.append(render_view(model, scene, space, view).depth)
        truth.append(scene.depth[view].float())
        directions.append(scene.cameras.rays(*space.image_grid(view)).directions)
    return torch.stack(rendered), torch.stack(truth), torch.stack(directions)


def shares(folder: Path) -> Figure:
    """Each term's share of the gradient, from the run's log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "gradient_shares" in line]
    steps = [line["step"] for line in lines]
    return plot_gradient_shares(steps, [line["gradient_shares"] for line in lines])


def cost_of_shares(folder: Path, n: int = 5) -> float:
    """Processor time of measuring the gradient's shares, in steps without the optimiser's part."""
    run = Run.open(folder)
    space, model = run.space(), run.model()
    sampler = BatchSampler(run.scene, run.recipe, space, run.config.rays, torch.device("cpu"))
    step = RegularizedStep(model, run.recipe, space, sampler, run.scene.background)
    generator = torch.Generator().manual_seed(0)

    def train() -> None:
        step(0, generator)[0].backward()

    def measure() -> None:
        step.gradient_shares(0, generator, model)

    seconds: list[float] = []
    for work in (train, measure):
        work()
        began = time.process_time()
        for _ in range(n):
            work()
        seconds.append(time.process_time() - began)
    return seconds[1] / seconds[0]


def main() -> None:
    """Draw, and say what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline", type=Path)
    parser.add_argument("regularized", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    rendered, truth, directions = depths(asked.regularized)
    distance = z_depth_to_distance(truth, directions)
    figures: dict[str, Any] = {
        "termination_shapes": shapes(),
        "termination": before_and_after(asked.baseline, asked.regularized),
        "depth_agreement": plot_depth_agreement(rendered, truth, directions),
        "depth_wrong_kind": plot_depth_agreement(rendered, distance, directions),
        "gradient_shares": shares(asked.regularized),
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(asked.out / f"{name}.png", dpi=80)
    for true in (truth, distance):
        print(check_depth_agreement(rendered, true, directions))
    print(f"a measurement of shares takes {cost_of_shares(asked.regularized):.1f} steps")


if __name__ == "__main__":
    main()
