"""DTU's multi-view scans: the «Rectified» release, and what every copy of them shares."""

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerfreg.views import Cameras, recenter_poses
from reference_impl.protocols import DTU
from reference_impl.scenes import inward, sfm, splits
from reference_impl.scenes.images import image_size, load_images
from reference_impl.scenes.masks import load_masks
from reference_impl.scenes.projection import decompose
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["CALIBRATED_WIDTH", "N_VIEWS", "dtu_scene", "is_scan", "load_dtu_rectified"]

# The calibration is of photographs of this size; every copy of them keeps its shape.
CALIBRATED_WIDTH, CALIBRATED_HEIGHT = 1600, 1200
# Later scans have 64 views; their first 49 are those of the others.
N_VIEWS = dict(DTU.n_images)[""]
# The light that the few-view papers take, of 0…6.
LIGHT = 3
# In RegNeRF's world, see dtu_scene. There they count from the plane of the average camera, here as
# everywhere from each camera itself: scan24's points lie at 0.95 to 2.2 (99.9 %).
NEAR, FAR = 0.5, 3.5


def load_dtu_rectified(
    folder: Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read a scan of the «Rectified» release, as RegNeRF does.

    Args:
        folder: ``Rectified/scanN``, with ``rect_001_3_r5000.png`` and so on for 49 views. The
            cameras are looked for in ``Calibration/cal18`` or ``cal18`` in the folder, beside it
            and above; the masks in ``mask`` in the folder, or in ``idrmasks/scanN/mask`` or
            ``idrmasks/scanN`` beside or above: ``000.png`` and so on. A scan without masks is
            measured on whole images alone.
        n_views: number of training views, 1 to 18; see :func:`splits.dtu`.
        width: of the photographs, in pixels; by default the protocol's, 400, of their own 1600.
        keypoints: whether to read keypoints for the training views.

    Raises:
        SceneError: a file is missing, damaged or does not fit the others.
    """
    paths = [folder / f"rect_{i + 1:03d}_{LIGHT}_r5000.png" for i in range(N_VIEWS)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SceneError(folder, f"{len(missing)} of {N_VIEWS} photographs missing: {missing[0]} …")
    calibration = calibration_folder(folder)
    if calibration is None:
        raise SceneError(
            folder, "no cameras: expected Calibration/cal18 or cal18 here, beside or above"
        )
    cameras = [calibration / f"pos_{i + 1:03d}.txt" for i in range(N_VIEWS)]
    matrices = np.stack([_read_matrix(path) for path in cameras])
    intrinsics, c2w = decompose(calibration, matrices)
    found = mask_folder(folder)
    masks = {i: found / f"{i:03d}.png" for i in range(N_VIEWS)} if found else {}
    masks = {i: path for i, path in masks.items() if path.is_file()}
    lacking = sorted(set(DTU.test) - masks.keys())
    if found and lacking:
        raise SceneError(found, f"no mask {lacking[0]:03d}.png, of a view that the protocol tests")
    if width is None:
        width = min(DTU.size[0], image_size(paths[0])[0])
    return dtu_scene(folder, paths, intrinsics, c2w, masks, n_views, width, keypoints)


def dtu_scene(
    folder: Path,
    paths: list[Path],
    intrinsics: Tensor,
    c2w: Tensor,
    masks: dict[int, Path],
    n_views: int,
    width: int | None,
    keypoints: bool,
) -> Scene:
    """Put a scan into RegNeRF's world, with pixelNeRF's views.

    The world is recentred on the average of all 49 cameras and scaled so that their largest
    coordinate is 1.

    Args:
        folder: of the scan.
        paths: of its 49 photographs, by view.
        intrinsics: (49, 3, 3) for photographs 1600 pixels wide.
        c2w: (49, 3, 4) camera-to-world, OpenCV axes, in any unit.
        masks: paths by view; may lack views.
        n_views: number of training views.
        width: that photographs are reduced to.
        keypoints: whether to keep the training views' keypoints.

    Raises:
        SceneError: a file is damaged or does not fit the others; the number of views is not 1…18.
    """
    try:
        train, test, rule = splits.dtu(n_views)
    except ValueError as error:
        raise SceneError(folder, str(error)) from None
    size = image_size(paths[0])
    if size[0] * CALIBRATED_HEIGHT != size[1] * CALIBRATED_WIDTH:
        shape = f"{CALIBRATED_WIDTH}×{CALIBRATED_HEIGHT}"
        raise SceneError(
            paths[0], f"{size[0]}×{size[1]} pixels, not of the shape {shape} that was calibrated"
        )
    images = load_images(paths, width)
    recentred = recenter_poses(c2w)
    unit = recentred[..., 3].abs().max()
    placed = torch.cat([recentred[..., :3], recentred[..., 3:] / unit], -1)
    try:
        cameras = Cameras.from_opencv(placed, intrinsics, CALIBRATED_WIDTH, CALIBRATED_HEIGHT)
    except ValueError as error:
        raise SceneError(folder, str(error)) from error
    cameras = cameras.resized(images.shape[2], images.shape[1]).to(dtype=torch.float32)
    names = [path.name for path in paths]
    return Scene(
        name=_scan(folder) or folder.name,
        images=images,
        cameras=cameras,
        names=names,
        train=train,
        test=test,
        near=NEAR,
        far=FAR,
        unseen=inward.unseen(cameras[train], NEAR, FAR),
        split=f"DTU: {rule}",
        keypoints=sfm.training_keypoints(folder, cameras, names, train) if keypoints else {},
        points=sfm.held_out_points(folder, cameras, names, train),
        masks=load_masks(masks, size, width),
    )


def is_scan(folder: Path) -> bool:
    """Whether a folder is named as one of DTU's scans are: scan24, dtu_scan24."""
    return bool(_scan(folder))


def _scan(folder: Path) -> str:
    named = re.search(r"scan\d+$", folder.name)
    return named[0] if named else ""


def calibration_folder(folder: Path) -> Path | None:
    """Find the cameras of a scan of the release."""
    return _find(folder, ("Calibration/cal18", "cal18"))


def mask_folder(folder: Path) -> Path | None:
    """Find the masks of a scan of the release."""
    return _find(folder, ("mask", f"idrmasks/{folder.name}/mask", f"idrmasks/{folder.name}"))


def _find(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Find a folder of one of these names in a scan's folder or up to three levels above it."""
    places = [folder, *list(folder.parents)[:3]]
    return next((p / name for p in places for name in names if (p / name).is_dir()), None)


def _read_matrix(path: Path) -> np.ndarray:
    try:
        matrix = np.array([line.split() for line in path.read_text().split("\n") if line.strip()])
        matrix = matrix.astype(np.float64)
    except FileNotFoundError:
        raise SceneError(path, "no such camera file") from None
    except (OSError, ValueError) as error:
        raise SceneError(path, f"damaged, or not a matrix ({error})") from error
    if matrix.shape != (3, 4):
        raise SceneError(path, f"expected a 3×4 projection matrix, got {matrix.shape}")
    return matrix
