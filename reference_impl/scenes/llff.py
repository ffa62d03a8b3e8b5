"""LLFF's forward-facing captures: ``poses_bounds.npy`` and photos at a fraction of their size."""

from pathlib import Path, PurePath

import numpy as np
import torch
from torch import Tensor

from nerfreg.supervision import SparseModel
from nerfreg.views import Cameras, ForwardFacingPoses, opengl_to_opencv, pinhole, recenter_poses
from reference_impl.scenes import sfm, splits
from reference_impl.scenes.images import image_size, list_images, load_images
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["load_llff"]

# Few-view papers use an eighth of the photographs' size; larger copies serve larger requests.
IMAGE_FOLDERS = ("images_8", "images_4", "images_2", "images")
# LLFF's and NeRF's convention: the world is scaled so that the nearest point of all views is at
# 1/0.75, safely beyond the near plane of NDC at 1.
NEAREST = 0.75
NEAR_MARGIN = 0.9


def load_llff(
    folder: Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read a scene in LLFF's format.

    The world is recentred on the average camera, which looks along −z, and scaled as NeRF's loader
    scales it, so that NDC with a near plane at 1 holds the scene.

    Args:
        folder: with ``poses_bounds.npy``, ``images_8`` (or _4, _2, or ``images``) and, for
            keypoints, ``sparse_train{n_views}/0`` or ``sparse/0``.
        n_views: number of training views.
        width: of the photos, in pixels; by default that of the first image folder.
        keypoints: whether to read keypoints for the training views.

    Raises:
        SceneError: a file is missing, damaged or does not fit the others; there are too few views.
    """
    rows, bounds = _read_poses(folder / "poses_bounds.npy")
    paths = list_images(_image_folder(folder, width))
    if len(paths) != len(rows):
        counts = f"{len(paths)} images, but poses_bounds.npy has {len(rows)} poses"
        raise SceneError(paths[0].parent, counts)
    try:
        train, test = splits.evenly_spaced(len(rows), n_views)
    except ValueError as error:
        raise SceneError(folder, str(error)) from None
    images = load_images(paths, width)
    scale = float(1 / (NEAREST * bounds.min()))
    cameras = _cameras(folder / "poses_bounds.npy", rows, scale)
    cameras = cameras.resized(images.shape[2], images.shape[1]).to(dtype=torch.float32)
    near = float(NEAR_MARGIN * scale * bounds[train, 0].min())
    far = float(scale * bounds[train, 1].max())
    names = [path.name for path in paths]

    def rename(model: SparseModel) -> SparseModel:
        return _named_as_rows(model, names, train, folder)

    known = sfm.training_keypoints(folder, cameras, names, train, rename) if keypoints else {}
    return Scene(
        name=folder.name,
        images=images,
        cameras=cameras,
        names=names,
        train=train,
        test=test,
        near=near,
        far=far,
        unseen=ForwardFacingPoses.from_cameras(cameras[train], near, far),
        split=f"LLFF as RegNeRF: {splits.EVENLY_SPACED.format(len(rows), n_views)}",
        ndc_near=1.0,
        keypoints=known,
        points=sfm.held_out_points(folder, cameras, names, train, rename),
    )


def _read_poses(path: Path) -> tuple[Tensor, Tensor]:
    """Read (N, 3, 5) matrices [R | t | height, width, focal] and (N, 2) depth bounds, float64."""
    try:
        table = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise SceneError(path, "no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise SceneError(path, f"damaged, or not a NumPy array of numbers ({error})") from error
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] != 17:
        got = getattr(table, "shape", type(table).__name__)
        raise SceneError(path, f"expected an array of shape (views, 17), got {got}")
    if table.dtype.kind != "f":
        raise SceneError(path, f"expected floating-point numbers, got {table.dtype}")
    bad = np.flatnonzero(~np.isfinite(table).all(1))
    if len(bad):
        raise SceneError(path, f"NaN or infinity in the pose of view(s) {bad.tolist()}")
    bounds = table[:, 15:]
    if not ((bounds[:, 0] > 0) & (bounds[:, 0] < bounds[:, 1])).all():
        raise SceneError(path, "depth bounds must satisfy 0 < near < far in every row")
    table = torch.from_numpy(table).double()
    return table[:, :15].reshape(-1, 3, 5), table[:, 15:]


def _cameras(path: Path, rows: Tensor, scale: float) -> Cameras:
    """Cameras for the original photographs, recentred and scaled."""
    sizes = {(int(width), int(height)) for height, width in rows[:, :2, 4].tolist()}
    if len(sizes) > 1:
        raise SceneError(path, f"photographs of different sizes are not supported: {sorted(sizes)}")
    ((width, height),) = sizes
    # Columns come as down, right, backward; OpenGL's are right, up, backward.
    opengl = torch.stack([rows[..., 1], -rows[..., 0], rows[..., 2], scale * rows[..., 3]], -1)
    intrinsics = torch.stack([pinhole(float(f), width, height) for f in rows[:, 2, 4]])
    try:
        c2w = opengl_to_opencv(recenter_poses(opengl))
        return Cameras.from_opencv(c2w, intrinsics.double(), width, height)
    except ValueError as error:
        raise SceneError(path, str(error)) from error


def _image_folder(folder: Path, width: int | None) -> Path:
    """Choose the smallest photos that are at least ``width`` pixels wide, else the largest."""
    present = [folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()]
    if not present:
        raise SceneError(folder, f"no images; expected a folder {', '.join(IMAGE_FOLDERS)}")
    for candidate in present:
        if width is None or image_size(list_images(candidate)[0])[0] >= width:
            return candidate
    return present[-1]


def _named_as_rows(
    model: SparseModel, names: list[str], train: list[int], folder: Path
) -> SparseModel:
    """Call the model's images as the photos of the rows are called.

    Reduced copies often carry other names than the photographs that COLMAP saw. Both, sorted by
    name, are in the order of the rows. A model of the training views alone has too few names to
    count; those of the full model beside it tell their rows. Where that one does not know them, the
    model is of other photographs: it keeps its names, and the reader reports that none fits.
    """
    if {PurePath(name).stem for name in names} & {PurePath(name).stem for name in model.names}:
        return model
    photographs = sorted(model.names)
    if len(photographs) == len(names):
        return model.renamed(dict(zip(photographs, names, strict=True)))
    full = sfm.full_model_names(folder)
    if len(full) == len(names) and set(photographs) <= set(full):
        return model.renamed(dict(zip(sorted(full), names, strict=True)))
    if not full and len(photographs) == len(train):
        return model.renamed(dict(zip(photographs, (names[i] for i in sorted(train)), strict=True)))
    return model
