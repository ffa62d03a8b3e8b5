"""Folders as IDR defined them and NeuS, pixelNeRF and others keep them: one npz of cameras."""

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference_impl.scenes import inward, splits
from reference_impl.scenes.dtu import CALIBRATED_WIDTH, N_VIEWS, dtu_scene, is_scan
from reference_impl.scenes.images import image_size, list_images, load_images
from reference_impl.scenes.masks import load_masks, of_photographs
from reference_impl.scenes.projection import decompose
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["CAMERA_FILES", "load_idr"]

CAMERA_FILES = ("cameras_sphere.npz", "cameras.npz")
IMAGE_FOLDERS = ("image", "images", "rgb")
# DTU's scans have this many photographs; the first 49 of each are the protocol's.
DTU_COUNTS = (N_VIEWS, 64)
# Principal points lie in the middle of the image up to this share of its width: by it one sees of
# which size the photographs were that the matrices are for.
OFF_CENTRE = 0.15
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error)


def load_idr(
    folder: Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read an object's photographs with projection matrices and, often, masks.

    A folder named ``…scanN`` with 49 or 64 photographs is a scan of DTU: it gets that protocol's
    views and RegNeRF's world. Any other is centred on what its cameras look at.

    Args:
        folder: with ``cameras_sphere.npz`` or ``cameras.npz`` (``world_mat_0`` and so on,
            ``scale_mat_0`` if there is one), photographs in ``image``, in the order of their names,
            and masks, if any, in ``mask``. This is also pixelNeRF's ``rs_dtu_4/DTU/scanN``.
            Matrices may be for photographs a whole number of times as large.
        n_views: number of training views.
        width: of the photographs, in pixels; by default their own.
        keypoints: whether to keep the training views' keypoints.

    Raises:
        SceneError: a file is missing, damaged or does not fit the others; there are too few views.
    """
    source = next((folder / file for file in CAMERA_FILES if (folder / file).is_file()), None)
    if source is None:
        raise SceneError(folder, f"no cameras: expected {' or '.join(CAMERA_FILES)}")
    photographs = next((folder / f for f in IMAGE_FOLDERS if (folder / f).is_dir()), None)
    if photographs is None:
        raise SceneError(folder, f"no images; expected a folder {', '.join(IMAGE_FOLDERS)}")
    paths = list_images(photographs)
    matrices = _read_matrices(source, len(paths))
    intrinsics, c2w = decompose(source, matrices)
    masks = of_photographs(folder / "mask", len(paths))
    size = image_size(paths[0])
    dtu = is_scan(folder) and len(paths) in DTU_COUNTS
    factor = _factor(source, intrinsics[:, :2, 2].mean(0).tolist(), size, dtu)
    if dtu:
        masks = {view: path for view, path in masks.items() if view < N_VIEWS}
        intrinsics[:, :2] *= CALIBRATED_WIDTH / (factor * size[0])
        first = slice(N_VIEWS)
        return dtu_scene(
            folder, paths[first], intrinsics[first], c2w[first], masks, n_views, width, keypoints
        )
    try:
        train, test = splits.evenly_spaced(len(paths), n_views)
    except ValueError as error:
        raise SceneError(folder, str(error)) from None
    intrinsics[:, :2] /= factor
    images = load_images(paths, width)
    return inward.make_scene(
        folder,
        source,
        c2w=c2w,
        intrinsics=intrinsics,
        size=size,
        images=images,
        names=[path.name for path in paths],
        split=(train, test),
        keypoints=keypoints,
        masks=load_masks(masks, size, width),
    )


def _read_matrices(source: Path, n: int) -> NDArray[np.float64]:
    """Read (n, 3, 4) projection matrices, world to pixels."""
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            kept = [key for key in arrays.files if key.removeprefix("world_mat_").isdigit()]
            matrices = {key: arrays[key] for key in kept}
    # A lone array has no files.
    except (OSError, ValueError, EOFError, AttributeError, TypeError, *BROKEN_ZIP) as error:
        raise SceneError(source, f"damaged, or not an npz of arrays ({error})") from error
    if len(matrices) != n:
        raise SceneError(source, f"{len(matrices)} cameras (world_mat_…), but {n} photographs")
    rows: list[NDArray[np.float64]] = []
    for i in range(n):
        matrix = matrices.get(f"world_mat_{i}", np.zeros(0))
        if matrix.shape not in ((3, 4), (4, 4)) or matrix.dtype.kind not in "fiu":
            got = f"{matrix.dtype} {matrix.shape}" if matrix.size else "nothing"
            raise SceneError(source, f"world_mat_{i}: expected 3×4 or 4×4 numbers, got {got}")
        rows.append(matrix[:3].astype(np.float64))
    return np.stack(rows)


def _factor(source: Path, principal: list[float], size: tuple[int, int], dtu: bool) -> float:
    """Find how many times as large the photographs were that the matrices are for."""
    likely = [1.0, 2.0, 4.0, 8.0, *([CALIBRATED_WIDTH / size[0]] if dtu else [])]
    across, down = (2 * centre / side for centre, side in zip(principal, size, strict=True))
    for factor in sorted(likely, key=lambda f: abs(math.log(max(across, 1e-9) / f))):
        if all(abs(seen / factor - 1) < OFF_CENTRE for seen in (across, down)):
            return factor
    shape = f"{2 * principal[0]:.0f}×{2 * principal[1]:.0f}"
    raise SceneError(
        source, f"its cameras are for photographs of about {shape}, these are {size[0]}×{size[1]}"
    )
