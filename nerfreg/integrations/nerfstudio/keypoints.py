"""Keypoints of the training views as rays with a known distance, in nerfstudio's world."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerfreg.rays import z_depth_to_distance
from nerfreg.supervision import SparseModel
from nerfreg.vectors import length
from nerfreg.views import Cameras, Rays

__all__ = ["KeypointRays", "find_model", "keypoint_rays", "view_names"]

# Cameras of the model and of the data set may differ by this share of their distance from one
# another, and their optical axes by 2.5 degrees: rounding and refinement, no other reconstruction.
MAX_SHIFT, MIN_COSINE = 0.02, 0.999


@dataclass(frozen=True)
class KeypointRays:
    """K rays through keypoints.

    Attributes:
        rays: (K,) with unit directions, so that t is the distance from the camera.
        view: (K,) the training view of each.
        distance: (K,) of the point from the camera, nerfstudio's world units.
        std: (K,) standard deviation of ``distance``.
    """

    rays: Rays[Tensor]
    view: Int64[Tensor, " k"]
    distance: Float[Tensor, " k"]
    std: Float[Tensor, " k"]

    def __len__(self) -> int:
        return len(self.distance)

    def draw(self, n: int, generator: torch.Generator) -> "KeypointRays":
        """Draw n of them, with replacement."""
        device = self.distance.device
        chosen = torch.randint(len(self), (n,), generator=generator, device=device)
        return KeypointRays(
            self.rays.map(lambda x: x[chosen]),
            self.view[chosen],
            self.distance[chosen],
            self.std[chosen],
        )

    def to(self, device: torch.device | str) -> "KeypointRays":
        """Move to a device."""
        moved = (x.to(device) for x in (self.view, self.distance, self.std))
        return KeypointRays(self.rays.to(device), *moved)


def keypoint_rays(
    model: SparseModel,
    names: list[str],
    cameras: Cameras[Tensor],
    transform: Float[Tensor, "3 4"],
    scale: float,
) -> KeypointRays:
    """Bring a structure-from-motion model's keypoints into nerfstudio's world.

    Args:
        model: in the coordinates that the data set was made from.
        names: of the training views.
        cameras: of the training views, in nerfstudio's world.
        transform: nerfstudio's ``dataparser_transform``, from the model's world.
        scale: nerfstudio's ``dataparser_scale``, applied after it.

    Raises:
        ValueError: the model knows none of the views, has no keypoint in any, or its cameras stand
            elsewhere than the data set's.

    Warns:
        SupervisionWarning: the model contains other views, or a view has no keypoints.
    """
    found = model.keypoints(names)
    known = {i: found[name] for i, name in enumerate(names) if found[name].image_id >= 0}
    # Before cameras are compared: one view is no distance apart from another.
    if not any(map(len, known.values())):
        raise ValueError(
            f"{model.source}: no training view has a keypoint, as points count that at least two"
            f" of them see; it knows {len(known)} of {len(names)}"
        )
    rows = [int(np.flatnonzero(model.image_ids == k.image_id)[0]) for k in known.values()]
    _require_same_cameras(model, rows, cameras, list(known), transform.double(), scale)
    rays, views, distances, stds = list[Rays[Tensor]](), *(list[Tensor]() for _ in range(3))
    for row, (view, keypoints) in zip(rows, known.items(), strict=True):
        width, height = model.sizes[row].tolist()
        placed = keypoints.scaled(scale).resized(cameras.width / width, cameras.height / height)
        of_view = torch.full((len(placed),), view)
        traced = cameras.rays(of_view, placed.xy)
        rays.append(traced)
        views.append(of_view)
        distances.append(z_depth_to_distance(placed.depth, traced.directions))
        stds.append(z_depth_to_distance(placed.std, traced.directions))
    every = Rays(
        torch.cat([x.origins for x in rays]),
        torch.cat([x.viewdirs for x in rays]),
        torch.cat([x.viewdirs for x in rays]),
        # Of the cone at distance 1, no longer at z-depth 1.
        torch.cat([x.radii / length(x.directions, keepdim=True) for x in rays]),
    )
    return KeypointRays(every, torch.cat(views), torch.cat(distances), torch.cat(stds))


def find_model(path: Path, data: Path) -> Path:
    """Find the model's folder, as given or below the data's.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    folder = data if data.suffix != ".json" else data.parent
    for candidate in (folder / path, path):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"--pipeline.regularizers.colmap {path}: no such folder, neither in {folder} nor here;"
        " expected a COLMAP model"
    )


def view_names(paths: list[Path], data: Path) -> list[str]:
    """Name photographs as COLMAP does: by their path below the folder of images.

    Example:
        >>> view_names([Path("fern/images_4/left/1.png"), Path("else/2.png")], Path("fern"))
        ['left/1.png', '2.png']
    """
    folder = data if data.suffix != ".json" else data.parent
    names = list[str]()
    for path in paths:
        below = path.relative_to(folder).parts[1:] if folder in path.parents else ()
        names.append("/".join(below) or path.name)
    return names


def _require_same_cameras(
    model: SparseModel,
    rows: list[int],
    cameras: Cameras[Tensor],
    views: list[int],
    transform: Tensor,
    scale: float,
) -> None:
    """Refuse a model whose cameras, brought into nerfstudio's world, are not the data set's."""
    theirs = torch.tensor(model.centres[rows]) @ transform[:, :3].T + transform[:, 3]
    axes = torch.tensor(model.world_to_camera[rows][:, 2, :3]) @ transform[:, :3].T
    ours = cameras.c2w[views].double().cpu()
    shift = torch.max(length(scale * theirs - ours[:, :, 3]))
    spread = torch.cdist(ours[:, :, 3], ours[:, :, 3]).max()
    cosine = (axes * ours[:, :, 2]).sum(-1).min()
    if not (shift <= MAX_SHIFT * spread and cosine >= MIN_COSINE):
        raise ValueError(
            f"{model.source}: not the reconstruction that the data set's poses come from: brought"
            f" into nerfstudio's world its cameras are off by up to {float(shift):.3g}, where they"
            f" are {float(spread):.3g} apart, and look up to"
            f" {float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))):.1f} degrees elsewhere"
        )
