"""COLMAP workspaces: photographs and a sparse model, and nothing else."""

import importlib
from pathlib import Path
from typing import Any

import torch

from nerfreg.supervision import SparseModel, read_colmap
from nerfreg.views import invert_pose
from reference_impl.scenes import inward, sfm, splits
from reference_impl.scenes.images import image_size, load_images
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["load_colmap"]

PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE")


def load_colmap(
    folder: Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read a workspace as ``colmap image_undistorter`` leaves it.

    Args:
        folder: with ``images`` and a model of them in ``sparse/0``, ``sparse``, ``colmap/sparse/0``
            or ``colmap/sparse``, and for keypoints perhaps ``sparse_train{n_views}/0``. Images
            without a pose are left out. Photographs may be reduced, all by the same factor.
        n_views: number of training views.
        width: of the photographs, in pixels; by default their own.
        keypoints: whether to keep the training views' keypoints.

    Raises:
        SceneError: a photograph is missing or does not fit its camera; lenses are distorted;
            cameras differ in size; there are too few views.
    """
    path = sfm.full_model(folder)
    if path is None:
        raise SceneError(folder, "no COLMAP model; expected sparse/0")
    model = read_colmap(path)
    _require_pinholes(path)
    _require_one_size(model)
    order = sorted(range(len(model.names)), key=lambda row: model.names[row])
    names = [model.names[row] for row in order]
    try:
        train, test = splits.evenly_spaced(len(names), n_views)
    except ValueError as error:
        raise SceneError(folder, str(error)) from None
    paths = [folder / "images" / name for name in names]
    size, theirs = image_size(paths[0]), model.sizes[0].tolist()
    if abs(size[0] * theirs[1] / (size[1] * theirs[0]) - 1) > 0.01:
        shapes = f"{size[0]}×{size[1]} pixels, its camera has {theirs[0]}×{theirs[1]}"
        raise SceneError(paths[0], f"{shapes}: not the same shape")
    images = load_images(paths, width)
    c2w = invert_pose(torch.from_numpy(model.world_to_camera[order]))
    return inward.make_scene(
        folder,
        path,
        c2w=c2w,
        intrinsics=torch.from_numpy(model.intrinsics[order]),
        size=theirs,
        images=images,
        names=names,
        split=(train, test),
        keypoints=keypoints,
    )


def _require_pinholes(path: Path) -> None:
    # read_colmap has imported it by now, in the one order that is safe.
    pycolmap: Any = importlib.import_module("pycolmap")
    cameras = pycolmap.Reconstruction(str(path)).cameras.values()
    bent = sorted({camera.model.name for camera in cameras} - {*PINHOLES})
    if bent:
        raise SceneError(
            path,
            f"lenses are {', '.join(bent)}, expected {' or '.join(PINHOLES)}: undistort the"
            " photographs first (colmap image_undistorter)",
        )


def _require_one_size(model: SparseModel) -> None:
    if not len(model.names):
        raise SceneError(model.source, "no image has a pose")
    sizes = sorted({(int(width), int(height)) for width, height in model.sizes})
    if len(sizes) > 1:
        raise SceneError(model.source, f"images of different sizes are not supported: {sizes}")
