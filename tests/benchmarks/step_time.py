"""Time one training step of the reference mip-NeRF, and what the regularizers add to it.

$ python tests/benchmarks/step_time.py [--preset small] [--rays 256] [--repeats 5] [--threads 2]

A step is forward, backward, clipping and Adam. All kinds of step take turns within one process, so
that a busy machine slows all of them: believe the ratios first, then the fastest times. A step with
a regularizer renders as many rays as one without: half of its rays serve the regularizer.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from nerfreg.losses import depth_kl, depth_smoothness
from nerfreg.views import Rays
from reference_impl.mipnerf import MipNerf, MipNerfConfig, Rendering, clip_gradients_, data_loss

PRESETS = {
    "paper": (256, MipNerfConfig()),
    "small": (512, MipNerfConfig(width=128, depth=4, view_width=64, n_samples=64, max_degree=10)),
}
NEAR, FAR, PATCH = 2.0, 6.0, 8

Loss = Callable[[Rendering], Tensor]


def make_losses(n: int) -> dict[str, Loss]:
    """Give the losses of one level by name; regularizers take the second half of the rays."""
    target = torch.rand(n, 3)
    half = n // 2 // PATCH**2 * PATCH**2
    depth, std = torch.empty(half).uniform_(NEAR, FAR), torch.full((half,), 0.05)

    def color(level: Rendering) -> Tensor:
        return data_loss(level.rgb, target)

    def keypoints(level: Rendering) -> Tensor:
        starts, ends = level.edges[-half:, :-1], level.edges[-half:, 1:]
        return depth_kl(level.weights[-half:], starts, ends, depth, std)

    def patches(level: Rendering) -> Tensor:
        shape = (-1, PATCH, PATCH)
        return depth_smoothness(level.depth[-half:].view(shape), level.opacity[-half:].view(shape))

    def beside_color(loss: Loss) -> Loss:
        def both(level: Rendering) -> Tensor:
            return data_loss(level.rgb[:-half], target[:-half]) + 0.1 * loss(level)

        return both

    return {
        "color": color,
        "with depth_kl": beside_color(keypoints),
        "with depth_smoothness": beside_color(patches),
        "depth_kl alone": keypoints,
        "depth_smoothness alone": patches,
    }


def make_step(config: MipNerfConfig, rays: Rays, loss: Loss, bf16: bool) -> Callable[[], None]:
    """Give a function that makes one whole training step."""
    torch.manual_seed(0)
    model, generator = MipNerf(config), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            coarse, fine = model(rays, NEAR, FAR, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        (loss(fine) + 0.1 * loss(coarse)).backward()
        clip_gradients_(model.parameters(), max_value=0.1, max_norm=0.1)
        optimizer.step()

    return step


def make_loss_alone(level: Rendering, loss: Loss) -> Callable[[], None]:
    """Give a function that evaluates a loss on both levels, forward and backward."""

    def alone() -> None:
        for _ in range(2):
            loss(level).backward()

    return alone


def make_products(config: MipNerfConfig, n_rays: int, dtype: torch.dtype) -> Callable[[], None]:
    """Give a function that makes only the matrix products of a step: no sum, no activation.

    The products of mip-NeRF's layers as they are usually written: with the bottleneck and the view
    layer apart, and the direction repeated for each sample.
    """
    field = MipNerf(config).field
    n = n_rays * config.n_samples
    layers = [*field.trunk, field.density, field.bottleneck, field.view, field.rgb]
    shapes = [tuple(layer.weight.shape) for layer in layers]
    inputs = {k: torch.randn(n, k).to(dtype) for k in {shape[1] for shape in shapes}}
    gradients = {k: torch.randn(n, k).to(dtype) for k in {shape[0] for shape in shapes}}
    weights = [torch.randn(shape).to(dtype) for shape in shapes]

    def products() -> None:
        for _ in range(2):
            for i, (out, into) in enumerate(shapes):
                inputs[into] @ weights[i].T
                gradients[out].T @ inputs[into]
                if i > 0:
                    gradients[out] @ weights[i]

    return products


def make_level(n: int, samples: int) -> Rendering:
    """Give a rendering to evaluate losses on."""
    edges = torch.linspace(NEAR, FAR, samples + 1).expand(n, -1)
    weights = (torch.randn(n, samples).softmax(-1) * 0.9).requires_grad_()
    depth = torch.empty(n).uniform_(NEAR, FAR).requires_grad_()
    return Rendering(torch.rand(n, 3), torch.rand(n), depth, weights, edges, weights)


def import_seconds(repeats: int) -> float:
    """Measure what ``import nerfreg`` costs a process that already has torch."""
    code = "from time import time; import torch; t = time(); import nerfreg; print(time() - t)"
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    runs = [
        subprocess.run(command, cwd=root, capture_output=True, check=True) for _ in range(repeats)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=PRESETS, default="paper")
    parser.add_argument("--rays", type=int, help="rays a step, in total")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    n_rays, config = PRESETS[args.preset]
    n_rays = args.rays or n_rays
    if n_rays < 2 * PATCH**2:
        parser.error(f"--rays must be at least {2 * PATCH**2}: half of them make up whole patches")

    torch.manual_seed(0)
    directions = torch.cat((0.3 * torch.randn(n_rays, 2), torch.ones(n_rays, 1)), -1)
    viewdirs = torch.nn.functional.normalize(directions, dim=-1)
    rays = Rays(0.1 * torch.randn(n_rays, 3), directions, viewdirs, torch.full((n_rays, 1), 1e-3))
    losses, level = make_losses(n_rays), make_level(n_rays, config.n_samples)

    def step(loss: str, bf16: bool = False) -> Callable[[], None]:
        return make_step(config, rays, losses[loss], bf16)

    kinds = {"step, float32": step("color")}
    kinds["step, float32"]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    kinds |= {
        "step, float32, with depth_kl": step("with depth_kl"),
        "step, float32, with depth_smoothness": step("with depth_smoothness"),
        "step, bfloat16 autocast": step("color", bf16=True),
        "matrix products alone, float32": make_products(config, n_rays, torch.float32),
        "matrix products alone, bfloat16": make_products(config, n_rays, torch.bfloat16),
        "depth_kl alone": make_loss_alone(level, losses["depth_kl alone"]),
        "depth_smoothness alone": make_loss_alone(level, losses["depth_smoothness alone"]),
    }
    wall: dict[str, list[float]] = {name: [] for name in kinds}
    busy: dict[str, list[float]] = {name: [] for name in kinds}
    for i in range(args.repeats + 1):
        for name, run in kinds.items():
            t, c = time.perf_counter(), time.process_time()
            run()
            if i > 0:  # the first round warms up
                wall[name].append(time.perf_counter() - t)
                busy[name].append(time.process_time() - c)

    print(f"{args.preset}: {n_rays} rays, {args.threads} threads, torch {torch.__version__}")
    print(f"{'':38}{'median':>10}{'fastest':>10}{'CPU time':>10}   seconds")
    for name in kinds:
        times = statistics.median(wall[name]), min(wall[name]), min(busy[name])
        print(f"{name:38}" + "".join(f"{x:10.4f}" for x in times))
    for name in ("depth_kl", "depth_smoothness"):
        pairs = zip(busy[f"step, float32, with {name}"], busy["step, float32"], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        share = min(busy[f"{name} alone"]) / min(busy["step, float32"])
        print(
            f"{name}: {100 * share:.2f} % of a step by itself; step with it / without: {ratio:.3f}"
        )
    print(f"peak memory after a float32 step: {peak:.2f} GiB")
    print(f"import nerfreg beyond torch: {import_seconds(3):.3f} s")


if __name__ == "__main__":
    main()
