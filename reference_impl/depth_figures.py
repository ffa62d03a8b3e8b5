"""Figures of what a trained model knows of depth: rays through keypoints, and whole test views."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nerfreg import RayTermination, depth_kl
from nerfreg.plots import plot_depth_agreement, plot_termination
from nerfreg.rays import edges_to_intervals
from reference_impl.mipnerf import Renderer
from reference_impl.ray_space import RaySpace
from reference_impl.run_folder import written_whole
from reference_impl.scenes import Scene

if TYPE_CHECKING:
    from reference_impl.evaluate import Picture

__all__ = [
    "DEPTH_AGREEMENT",
    "KEYPOINT_RAYS",
    "KeypointRays",
    "keypoint_rays",
    "write_depth_figures",
]

KEYPOINT_RAYS, DEPTH_AGREEMENT = "keypoint_rays.png", "depth_agreement.png"
# Of a scene's keypoints and pixels, so many are looked at.
MOST_KEYPOINTS, MOST_PIXELS = 1024, 100_000


@dataclass(frozen=True)
class KeypointRays:
    """Rays through keypoints of the training views, in z-depth.

    Attributes:
        names: of each ray: its view and pixel.
        rays: where they stop.
        depth: (R,) z-depth of the keypoints.
        std: (R,) of that depth.
        kl: (R,) nats.
    """

    names: list[str]
    rays: RayTermination[Tensor]
    depth: Tensor
    std: Tensor
    kl: Tensor

    def at(self, quantile: float) -> int:
        """The ray whose KL is at a quantile of all."""
        return int(self.kl.argsort()[round(quantile * (len(self.kl) - 1))])


@torch.no_grad()
def keypoint_rays(model: Renderer, scene: Scene, space: RaySpace) -> KeypointRays | None:
    """Render rays through keypoints; ``None`` where the scene has none within its bounds."""
    index, xy, depth, std = [], [], [], []
    for view, known in scene.keypoints.items():
        inside = known.where((known.depth > scene.near) & (known.depth < scene.far))
        index.append(torch.full((len(inside),), view))
        xy.append(inside.xy.float())
        depth.append(inside.depth.float())
        std.append(inside.std.float())
    if not sum(map(len, index)):
        return None
    stride = -(-sum(map(len, index)) // MOST_KEYPOINTS)
    device = space.cameras.c2w.device
    index, xy, depth, std = (
        torch.cat(parts)[::stride].to(device) for parts in (index, xy, depth, std)
    )
    rendered = model(space.rays(index, xy), space.near, space.far, background=scene.background)[-1]
    starts, ends = edges_to_intervals(space.z_depth(rendered.edges, index, xy))
    rays = RayTermination(rendered.weights, starts, ends)
    kl = depth_kl(**rays, depth=depth, std=std, reduction="none")
    names = [
        f"{scene.names[view]} at ({x:.0f}, {y:.0f})"
        for view, (x, y) in zip(index.tolist(), xy.tolist(), strict=True)
    ]
    return KeypointRays(names, rays, depth, std, kl)


def write_depth_figures(
    folder: Path,
    model: Renderer,
    scene: Scene,
    space: RaySpace,
    pictures: Mapping[int, "Picture"],
) -> None:
    """Write keypoint_rays.png and depth_agreement.png, as far as keypoints and depth are known."""
    for name in (KEYPOINT_RAYS, DEPTH_AGREEMENT):
        (folder / name).unlink(missing_ok=True)  # of an evaluation that knew more
    found = keypoint_rays(model, scene, space)
    if found is not None:
        save_figure(draw_keypoint_rays(found), folder / KEYPOINT_RAYS)
    if scene.depth is not None and pictures:
        save_figure(draw_depth_agreement(scene, pictures), folder / DEPTH_AGREEMENT)


def draw_keypoint_rays(found: KeypointRays) -> Any:
    """Four rays: keypoints that the model agrees with, and such that it does not."""
    from matplotlib.figure import Figure

    # Placed by hand, as all is known beforehand: matplotlib's own layout takes as long as the rest.
    figure = Figure(figsize=(11, 6.4))
    figure.subplots_adjust(0.06, 0.08, 0.99, 0.95, wspace=0.14, hspace=0.32)
    quantiles = {"well met": 0.1, "median": 0.5, "badly met": 0.9, "worst": 1.0}
    for axes, (words, quantile) in zip(figure.subplots(2, 2).flat, quantiles.items(), strict=True):
        ray = found.at(quantile)
        plot_termination(
            **found.rays,
            depth=found.depth,
            std=found.std,
            ray=ray,
            kind="z-depth (scene units)",
            title=f"{words}, {found.names[ray]}",
            ax=axes,
        )
    return figure


def draw_depth_agreement(scene: Scene, pictures: Mapping[int, "Picture"]) -> Any:
    """Rendered against exact z-depth, over the pixels of all views given."""
    assert scene.depth is not None
    rendered, truth, directions = [], [], []
    for view, picture in pictures.items():
        index, xy = RaySpace.of(scene, "metric").image_grid(view)
        rendered.append(picture.depth.reshape(-1))
        truth.append(scene.depth[view].reshape(-1).float())
        directions.append(scene.cameras.rays(index, xy).directions.reshape(-1, 3))
    stride = -(-sum(map(len, truth)) // MOST_PIXELS)
    parts = (torch.cat(part)[::stride] for part in (rendered, truth, directions))
    return plot_depth_agreement(*parts, unit="scene units")


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG whole or not at all."""
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=90)
