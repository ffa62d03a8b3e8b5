"""The COLMAP models beside a scene, in the scene's own pixels and units."""

import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nerfreg.supervision import Keypoints, SparseModel, SupervisionWarning, read_colmap
from nerfreg.views import Cameras

__all__ = [
    "FULL_MODELS",
    "full_model",
    "full_model_names",
    "held_out_points",
    "keypoints_of",
    "training_keypoints",
    "training_model",
]

Rename = Callable[[SparseModel], SparseModel]

# Folders where tools leave a model of all images.
FULL_MODELS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse")
# A point of one view, carried into another by the scene's cameras, lands within this share of the
# image's width of where it was seen; a swapped image, a wrong scale or another reconstruction is
# tens of times further off.
MAX_TRANSFER = 0.01


def training_keypoints(
    folder: Path,
    cameras: Cameras,
    names: list[str],
    train: list[int],
    rename: Rename = lambda model: model,
) -> dict[int, Keypoints]:
    """Read what structure-from-motion between the training views alone knows of their depth.

    Looks for ``sparse_train{number of views}/0`` first, a model triangulated from these views. A
    model of all images serves as well, with a warning: its points were placed with the help of test
    views.

    Args:
        folder: of the scene.
        cameras: of all views, in the scene's world and pixels.
        names: of all views.
        train: indices of the training views.
        rename: gives the model's images the names that the scene uses.

    Returns:
        Keypoints by view; none where there is no model, or (with a warning) no fitting one.
    """
    path = training_model(folder, len(train))
    if path is None or len(train) < 2:
        return {}
    return keypoints_of(rename(read_colmap(path)), cameras, names, train)


def training_model(folder: Path, n_views: int) -> Path | None:
    """Find the model that keypoints of this many training views are read from, if there is one."""
    own = f"sparse_train{n_views}"
    return _find(folder, (f"{own}/0", own, *FULL_MODELS))


def keypoints_of(
    model: SparseModel, cameras: Cameras, names: list[str], train: list[int]
) -> dict[int, Keypoints]:
    """Bring the points that at least two training views see into the scene."""
    found = model.keypoints([names[i] for i in train])
    return _into_scene(model, {i: found[names[i]] for i in train}, cameras)


def held_out_points(
    folder: Path,
    cameras: Cameras,
    names: list[str],
    train: list[int],
    rename: Rename = lambda model: model,
) -> dict[int, Keypoints]:
    """Read the points that the full model sees in views that do not train: for evaluation alone.

    Points seen in two views alone are left out: too many of them are wrong matches.
    """
    path = full_model(folder)
    if path is None:
        return {}
    model = rename(read_colmap(path))
    with warnings.catch_warnings():
        # Here it is no fault that images of the model are not views, or that some view sees
        # nothing.
        warnings.simplefilter("ignore", SupervisionWarning)
        found = model.keypoints(names, min_views=3)
    points = _into_scene(model, {i: found[name] for i, name in enumerate(names)}, cameras)
    return {i: points[i] for i in points if i not in train and len(points[i])}


def full_model(folder: Path) -> Path | None:
    """Find the model of all images beside a scene, if there is one."""
    return _find(folder, FULL_MODELS)


def full_model_names(folder: Path) -> list[str]:
    """List the image names of the full model beside a scene; empty where there is none."""
    path = full_model(folder)
    return [] if path is None else read_colmap(path).names


def _find(folder: Path, candidates: tuple[str, ...]) -> Path | None:
    """Find the first candidate that holds a model, even a damaged one: the reader reports that."""
    for candidate in candidates:
        path = folder / candidate
        if any((path / f"images{ending}").is_file() for ending in (".bin", ".txt")):
            return path
    return None


def _into_scene(
    model: SparseModel, keypoints: dict[int, Keypoints], cameras: Cameras
) -> dict[int, Keypoints]:
    """Bring keypoints to the scene's pixels and unit of length; none if the two disagree."""
    known = {i: k for i, k in keypoints.items() if k.image_id >= 0}
    rows = [int(np.flatnonzero(model.image_ids == k.image_id)[0]) for k in known.values()]
    scale = _relative_scale(model.world_to_camera[rows], cameras.c2w[list(known)].double().numpy())
    if scale is None:
        return _refuse(model, "its cameras do not tell its scale")
    scaled: dict[int, Keypoints] = {}
    for (i, view), row in zip(known.items(), rows, strict=True):
        width, height = model.sizes[row].tolist()
        placed = view.scaled(scale).resized(cameras.width / width, cameras.height / height)
        size = torch.tensor([cameras.width, cameras.height])
        scaled[i] = placed.where(((placed.xy >= 0) & (placed.xy <= size)).all(-1))
    transfer = _transfer_error(scaled, cameras)
    if transfer is not None and not transfer < MAX_TRANSFER * cameras.width:
        return _refuse(
            model,
            f"between the scene's cameras its points move by {transfer:.1f} pixels (of"
            f" {cameras.width}): it is another reconstruction, or its images are in another order",
        )
    empty = {i: k for i, k in keypoints.items() if i not in scaled}
    return dict(sorted({**scaled, **empty}.items()))


def _refuse(model: SparseModel, reason: str) -> dict[int, Keypoints]:
    warnings.warn(f"{model.source}: not used: {reason}", SupervisionWarning, stacklevel=4)
    return {}


def _relative_scale(world_to_camera: NDArray[np.float64], c2w: NDArray[np.float64]) -> float | None:
    """Length in the scene of one unit of the model, from cameras known in both.

    The worlds may differ by any similarity. The mean of the cameras' relative rotations turns one
    into the other, also where the centres lie on a line and could not; then the centres give the
    scale.
    """
    if len(c2w) < 2:
        return None
    rotations = world_to_camera[:, :, :3]
    u, _, vt = np.linalg.svd((c2w[:, :, :3] @ rotations).sum(0))
    turn = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    theirs = -np.einsum("vji,vj->vi", rotations, world_to_camera[:, :, 3]) @ turn.T
    ours = c2w[:, :, 3]
    theirs, ours = theirs - theirs.mean(0), ours - ours.mean(0)
    spread = (theirs**2).sum()
    scale = float((theirs * ours).sum() / spread) if spread > 0 else 0.0
    return scale if scale > 0 else None


def _transfer_error(keypoints: dict[int, Keypoints], cameras: Cameras) -> float | None:
    """Carry points from view to view: the median distance, in pixels, from where they were seen."""
    distances: list[torch.Tensor] = []
    for (a, first), (b, second) in pairwise(keypoints.items()):
        same = first.point_ids[:, None] == second.point_ids
        row, column = same.nonzero(as_tuple=True)
        rays = cameras.rays(torch.tensor(a), first.xy[row].to(cameras.c2w.dtype))
        points = rays.origins + first.depth[row, None] * rays.directions
        xy, _ = cameras.project(points, torch.tensor(b))
        distances.append(torch.linalg.norm(xy - second.xy[column], dim=-1))
    together = torch.cat(distances) if distances else torch.zeros(0)
    return float(together.median()) if len(together) else None
