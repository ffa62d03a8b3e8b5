"""A picture of what training will look at: cameras, sampled patches of unseen views, keypoints."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from nerfreg.views import UnseenPatchSampler, pinhole_rays
from reference_impl.run_folder import written_whole
from reference_impl.scenes import Scene

N_PATCHES = 48


def draw_preview(scene: Scene, patches: UnseenPatchSampler | None, path: Path, seed: int) -> Path:
    """Draw the scene from above and from the side.

    Args:
        scene: whose training cameras (filled), test cameras (hollow) and keypoints to draw.
        patches: where unseen patches come from; drawn with their frusta.
        path: of the PNG.
        seed: of the sampled patches.
    """
    centres = scene.cameras.c2w[:, :, 3]
    points = [
        (scene.cameras.rays(torch.full((len(k.depth),), view), k.xy.float()), k)
        for view, k in scene.keypoints.items()
        if len(k.depth)
    ]
    figure, axes = plt.subplots(1, 2, figsize=(12, 6), constrained_layout=True)
    right, up, forward = _frame(scene)
    for axis, (label, vertical) in zip(axes, (("forward", forward), ("up", up)), strict=True):

        def flat(x: Tensor, vertical: Tensor = vertical) -> tuple[Tensor, Tensor]:
            return x @ right, x @ vertical

        if points:
            xyz = torch.cat(
                [r.origins + k.depth.float()[:, None] * r.directions for r, k in points]
            )
            relative = torch.cat([k.std / k.depth for _, k in points])
            shown = axis.scatter(
                *flat(xyz), c=relative, s=4, cmap="viridis", label="keypoints", vmax=0.05, vmin=0
            )
            if axis is axes[1]:
                figure.colorbar(shown, ax=axis, label="keypoint std / depth")
        if patches is not None:
            generator = torch.Generator(patches.intrinsics.device).manual_seed(seed)
            drawn = patches.sample(N_PATCHES, generator=generator)
            poses = drawn.c2w.cpu()
            corners = drawn.xy[:, [0, 0, -1, -1], [0, -1, -1, 0]]
            rays = pinhole_rays(drawn.c2w[:, None], drawn.intrinsics[:, None], corners)
            world = (rays.origins + _middle_depth(scene) * rays.directions).cpu()
            for pose, patch in zip(poses, world, strict=True):
                outline = torch.cat([patch, patch[:1]])
                axis.plot(*flat(outline), color="tab:orange", linewidth=0.8)
                axis.plot(
                    *flat(torch.stack([pose[:, 3], patch.mean(0)])),
                    color="tab:orange",
                    linewidth=0.3,
                    alpha=0.5,
                )
            axis.scatter(*flat(poses[:, :, 3]), color="tab:orange", s=8, label="unseen poses")
        axis.scatter(
            *flat(centres[scene.test]),
            edgecolor="tab:blue",
            facecolor="none",
            s=40,
            label="test cameras",
        )
        axis.scatter(*flat(centres[scene.train]), color="tab:blue", s=60, label="training cameras")
        axis.set(
            xlabel="right", ylabel=label, aspect="equal", title=f"{scene.name}: {label} over right"
        )
    axes[0].legend(loc="best", fontsize="small")
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
    plt.close(figure)
    return path


def _frame(scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """Axes of the mean training camera: right, up, forward."""
    right, _, forward = scene.cameras.c2w[scene.train].mean(0)[:, :3].unbind(-1)
    forward = forward / forward.norm()
    right = right - (right @ forward) * forward
    right = right / right.norm()
    return right, torch.linalg.cross(right, forward), forward


def _middle_depth(scene: Scene) -> float:
    """Where patches are outlined: at the keypoints' median depth, else amid the bounds."""
    depths = [k.depth for k in scene.keypoints.values() if len(k.depth)]
    return float(torch.cat(depths).median()) if depths else (scene.near + scene.far) / 2
