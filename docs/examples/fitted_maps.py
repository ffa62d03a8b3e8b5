"""Small problems for the regularizers that the reference trainer has no input for.

A depth map of the embedded scene, one number a pixel, is fitted without and with a regularizer: to
the exact depth at 60 pixels, or to the depth of a noisy sensor at all of them.
"""

from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from nerfreg.losses import (
    Interlevel,
    NormalSmoothness,
    PatchNormalizedDepth,
    PearsonDepth,
    ScaleShiftInvariantDepth,
)
from nerfreg.rays import edges_to_intervals, normals_from_depth
from reference_impl.report import depth_pixels
from reference_impl.scenes import Scene, load_scene

ZOOM, LABEL, GAP = 3, 14, 4
VIEW, N_KNOWN, NOISE, N_STEPS = 10, 60, 0.03, 1500
Half = tuple[str, list[np.ndarray]]


def pair(*halves: Half) -> Image.Image:
    """Columns of equally large pictures, each under its title."""
    h, w = (ZOOM * side for side in halves[0][1][0].shape[:2])
    size = len(halves) * (w + GAP) - GAP, LABEL + len(halves[0][1]) * (h + GAP) - GAP
    sheet = Image.new("RGB", size, "white")
    for column, (title, pictures) in enumerate(halves):
        left = column * (w + GAP)
        ImageDraw.Draw(sheet).text((left + 2, 1), title, fill="black")
        for row, pixels in enumerate(pictures):
            large = Image.fromarray(pixels).resize((w, h), Image.Resampling.NEAREST)
            sheet.paste(large, (left, LABEL + row * (h + GAP)))
    return sheet.quantize(256)


def monocular(depth: Tensor) -> Tensor:
    """What a network might say of a depth map: blurred, in a unit and from a zero of its own."""
    blurred = F.avg_pool2d(F.pad(depth[None, None], (2, 2, 2, 2), mode="replicate"), 5, 1)[0, 0]
    return 0.3 * blurred + 0.7


Term = Callable[[Tensor], Tensor]


def fit(start: Tensor, data: Term, term: Term | None) -> Tensor:
    """Fit a map to data; a term says the rest."""
    fitted = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([fitted], lr=0.02)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        loss = data(fitted)
        (loss if term is None else loss + term(fitted)).backward()
        optimizer.step()
    return fitted.detach()


def from_few_pixels(scene: Scene, name: str, term: Term) -> Image.Image:
    """Start from noise around the mean of the known pixels: all others know nothing."""
    depth, generator = scene.depth[VIEW], torch.Generator().manual_seed(0)
    known = torch.randperm(depth.numel(), generator=generator)[:N_KNOWN]
    start = depth.flatten()[known].mean() + 0.1 * torch.randn(depth.shape, generator=generator)

    def data(fitted: Tensor) -> Tensor:
        return (fitted - depth).flatten()[known].square().mean()

    alone = fit(start, data, None), f"{N_KNOWN} pixels alone"
    return beside_the_truth(depth, alone, (fit(start, data, term), f"and {name}"))


def from_a_noisy_sensor(scene: Scene, name: str, term: Term) -> Image.Image:
    """Start from the sensor's depth, and stay near it."""
    depth, generator = scene.depth[VIEW], torch.Generator().manual_seed(0)
    sensed = depth + NOISE * torch.randn(depth.shape, generator=generator)

    def data(fitted: Tensor) -> Tensor:
        return (fitted - sensed).square().mean()

    return beside_the_truth(depth, (sensed, "sensor"), (fit(sensed, data, term), f"and {name}"))


def beside_the_truth(depth: Tensor, *found: tuple[Tensor, str]) -> Image.Image:
    """Each map under its name and mean error, then the exact one."""
    bounds = depth.min().item(), depth.max().item()
    halves: list[Half] = []
    for fitted, title in found:
        error = (fitted - depth).abs().mean().item()
        halves.append((f"{title}: error {error:.3f}", [depth_pixels(fitted, *bounds)]))
    return pair(*halves, ("exact", [depth_pixels(depth, *bounds)]))


def pearson_depth() -> Image.Image:
    """With a monocular depth map, one scale and shift."""
    scene = load_scene("embedded", 3)
    given, term = monocular(scene.depth[VIEW]), PearsonDepth()
    return from_few_pixels(scene, "pearson_depth", lambda depth: 0.05 * term(depth, given))


def patch_normalized_depth() -> Image.Image:
    """With a monocular depth map, a scale and shift for each patch."""
    scene = load_scene("embedded", 3)
    given = monocular(scene.depth[VIEW])
    local, whole = PatchNormalizedDepth(std="local"), PatchNormalizedDepth(std="global")
    generator = torch.Generator().manual_seed(0)

    def elsewhere(depth: Tensor) -> Tensor:
        """Cut the patches from another corner each time: across their borders nothing is said."""
        row, column = torch.randint(local.patch_size, (2,), generator=generator).tolist()
        maps = depth[row:, column:], given[row:, column:]
        return 0.1 * local(*maps) + whole(*maps)

    return from_few_pixels(scene, "patch_normalized_depth", elsewhere)


def scale_shift_invariant_depth() -> Image.Image:
    """With a monocular depth map, in MonoSDF's unit."""
    scene = load_scene("embedded", 3)
    given, term = monocular(scene.depth[VIEW]), ScaleShiftInvariantDepth()
    given = 50 * (given - given.min()) / (given.max() - given.min()) + 0.5  # MonoSDF's range
    return from_few_pixels(
        scene, "scale_shift_invariant_depth", lambda depth: 0.1 * term(depth, given)
    )


def normal_smoothness() -> Image.Image:
    """On the normals of a noisy sensor's depth."""
    scene = load_scene("embedded", 3)
    directions, term = scene.cameras.image_rays(VIEW).directions, NormalSmoothness(norm="l1")

    def of_map(depth: Tensor) -> Tensor:
        return 0.03 * term(normals_from_depth(depth, directions, kind="z_depth"))

    return from_a_noisy_sensor(scene, "normal_smoothness", of_map)


def interlevel() -> Image.Image:
    """A proposal on 16 intervals, before and after it was raised over final weights on 64."""
    coarse, fine = torch.linspace(0, 1, 17), torch.linspace(0, 1, 65)
    centres = (fine[1:] + fine[:-1]) / 2
    final = torch.exp(-((centres - 0.35) ** 2) / 0.001) + 0.4 * torch.exp(
        -((centres - 0.75) ** 2) / 0.004
    )
    final = final / final.sum()
    logits = torch.zeros(16, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    given = final, *edges_to_intervals(fine)
    drawn = [logits.softmax(-1).detach()]
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        Interlevel()(*given, logits.softmax(-1), *edges_to_intervals(coarse)).backward()
        optimizer.step()
    drawn.append(logits.softmax(-1).detach())
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.4), sharey=True, constrained_layout=True)
    for axis, title, proposal in zip(axes, ("without", "with interlevel"), drawn, strict=True):
        axis.stairs(proposal, coarse, fill=True, alpha=0.3, label="proposal")
        axis.stairs(final, fine, color="black", label="final")
        axis.set(title=title, xlabel="t")
    axes[0].set_ylabel("weight of the interval")
    axes[0].legend()
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    plt.close(figure)
    return image.quantize(256)


FEW = (
    f"A depth map of the embedded scene, fitted from noise to the exact depth at {N_KNOWN} pixels"
    f" without and with the term, {N_STEPS} steps, seed 0; mean error in scene units; the given"
    " depth is the exact one, blurred, times 0.3 and plus 0.7"
)
SENSOR = (
    f"A depth map of the embedded scene with noise of {NOISE} scene units, and fitted to it with"
    f" the term, {N_STEPS} steps, seed 0; mean error in scene units"
)
FITTED: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "pearson_depth": (pearson_depth, FEW),
    "patch_normalized_depth": (patch_normalized_depth, FEW),
    "scale_shift_invariant_depth": (scale_shift_invariant_depth, FEW),
    "normal_smoothness": (normal_smoothness, SENSOR),
    "interlevel": (
        interlevel,
        f"A proposal of 16 intervals before and after {N_STEPS} steps towards final weights on 64",
    ),
}
