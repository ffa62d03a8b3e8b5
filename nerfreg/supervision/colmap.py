"""COLMAP's sparse models, binary or text, through pycolmap."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nerfreg.supervision.colmap_files import check_model_files
from nerfreg.supervision.keypoints import Keypoints
from nerfreg.supervision.model import SparseModel

__all__ = ["keypoints_from_colmap", "read_colmap"]


def keypoints_from_colmap(
    path: str | Path,
    views: Iterable[str] | None = None,
    *,
    names: Mapping[str, str] | None = None,
    min_views: int = 2,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Keypoints]:
    """Read the keypoints of the given views from a COLMAP model, with depth and standard deviation.

    Args:
        path: folder with cameras, images and points3D, all ``.bin`` or all ``.txt``.
        views: names of the training views; ``None`` stands for all views of the model. See
            :meth:`SparseModel.keypoints` for how names match and what of a larger model is left
            out.
        names: new names of the model's images where they differ from the views':
            ``{name in the model: name of the view}``.
        min_views: how many of the views must observe a point.
        dtype: of the returned tensors.

    Returns:
        Keypoints by view name: depths are z-depths from the view's own pose in the model, world
        units of the model; pixels are those of the model's images, distortion removed.

    Raises:
        ImportError: pycolmap is not installed.
        FileNotFoundError: there is no model at ``path``.
        ValueError: a file is damaged, or the model and ``views`` have no name in common.

    Warns:
        SupervisionWarning: the model contains other views than ``views``, or a view has no
            keypoints.
    """
    model = read_colmap(path)
    if names is not None:
        model = model.renamed(names)
    return model.keypoints(views, min_views=min_views, dtype=dtype)


def read_colmap(path: str | Path) -> SparseModel:
    """Read a COLMAP model, binary or text, with or without rigs and frames.

    Args:
        path: folder with cameras, images and points3D, all ``.bin`` or all ``.txt``.

    Returns:
        The posed images, sorted by id, the points and every observation of a point. Keypoints are
        tied to images and points by id throughout: ids may have gaps and files any order.

    Raises:
        ImportError: pycolmap is not installed.
        FileNotFoundError: a folder or file is missing; the message names it.
        ValueError: a file is truncated, foreign or inconsistent; the message names it.
    """
    folder = Path(path)
    check_model_files(folder)
    pycolmap = _pycolmap()
    try:
        return _arrays(str(folder), pycolmap.Reconstruction(str(folder)))
    except (ValueError, IndexError, KeyError, RuntimeError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"{folder}: not a consistent COLMAP model: {problem}") from error


def _pycolmap() -> Any:
    # pycolmap 4.2.1, imported into a process that has not loaded zlib yet, makes the next use of
    # zlib (a PNG, np.savez_compressed) abort or hang. Loaded first, Python's own zlib wins.
    importlib.import_module("zlib")
    try:
        return importlib.import_module("pycolmap")
    except ImportError as error:
        raise ImportError(
            'reading COLMAP models needs pycolmap: pip install "nerfreg[colmap]"'
        ) from error


def _arrays(source: str, reconstruction: Any) -> SparseModel:
    """Turn pycolmap's objects into arrays.

    pycolmap's API moves between releases (a property became a method, arguments changed from
    normalised to camera coordinates), so what is asked here is what an object can do, never which
    version it is from.
    """
    posed = sorted(
        (image for image in reconstruction.images.values() if _has_pose(image)),
        key=lambda image: image.image_id,
    )
    ids_in_order = sorted(reconstruction.points3D)
    point_ids = _ids("points3D", ids_in_order)
    points = _table([reconstruction.points3D[i].xyz for i in ids_in_order], -1, 3)
    world_to_camera = [_table(_value(image.cam_from_world).matrix(), 3, 4) for image in posed]
    cameras = [reconstruction.cameras[image.camera_id] for image in posed]
    intrinsics = [_table(_value(camera.calibration_matrix), 3, 3) for camera in cameras]
    views: list[NDArray[np.int64]] = []
    rows: list[NDArray[np.int64]] = []
    pixels: list[NDArray[np.float64]] = []
    errors: list[NDArray[np.float64]] = []
    for i, (image, camera) in enumerate(zip(posed, cameras, strict=True)):
        seen = [point2d for point2d in image.points2D if _value(point2d.has_point3D)]
        observed = _table([point2d.xy for point2d in seen], -1, 2)
        ids = _ids(f"image {image.name}", [point2d.point3D_id for point2d in seen])
        row = np.searchsorted(point_ids, ids)
        if len(ids) and (len(point_ids) == 0 or (point_ids.take(row, mode="clip") != ids).any()):
            raise ValueError(f"image {image.name} observes a point that does not exist")
        pose, matrix = world_to_camera[i], intrinsics[i]
        in_camera = points[row] @ pose[:, :3].T + pose[:, 3]
        rays = _table(camera.cam_from_img(observed), -1, 2)
        views.append(np.full(len(seen), i, dtype=np.int64))
        rows.append(row)
        pixels.append(rays @ matrix[:2, :2].T + matrix[:2, 2])
        errors.append(np.linalg.norm(_project(camera.img_from_cam, in_camera) - observed, axis=-1))
    tracked = sum(reconstruction.points3D[i].track.length() for i in ids_in_order)
    if len(posed) == len(reconstruction.images) and tracked != sum(map(len, rows)):
        raise ValueError(f"{sum(map(len, rows))} observations, but tracks of {tracked}")
    return SparseModel(
        source=source,
        names=[str(image.name) for image in posed],
        image_ids=np.array([image.image_id for image in posed], dtype=np.int64),
        world_to_camera=_table(world_to_camera, -1, 3, 4),
        intrinsics=_table(intrinsics, -1, 3, 3),
        sizes=_table([(c.width, c.height) for c in cameras], -1, 2).astype(np.int64),
        point_ids=point_ids,
        points=points,
        view=np.concatenate([np.zeros(0, dtype=np.int64), *views]),
        point=np.concatenate([np.zeros(0, dtype=np.int64), *rows]),
        xy=np.concatenate([np.zeros((0, 2)), *pixels]),
        error=np.concatenate([np.zeros(0), *errors]),
    )


def _project(
    img_from_cam: Callable[[NDArray[np.float64]], Any], in_camera: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Project points in camera coordinates, with distortion; NaN behind the camera."""
    in_front = in_camera[:, 2] > 0
    projected = np.full((len(in_camera), 2), np.nan)
    visible = in_camera[in_front]
    if len(visible):
        try:
            projected[in_front] = img_from_cam(visible)
        except TypeError:  # releases before 3.12 took normalised coordinates
            projected[in_front] = img_from_cam(visible[:, :2] / visible[:, 2:])
    return projected


def _table(rows: Any, *shape: int) -> Any:
    """Make an array of ``shape``, also of no rows."""
    return np.reshape(np.array(rows, dtype=np.float64), shape)


def _ids(owner: str, ids: list[int]) -> NDArray[np.int64]:
    """Make an array of point ids; COLMAP's have a 64th bit, which only damage sets."""
    try:
        return np.array(ids, dtype=np.int64)
    except OverflowError:
        raise ValueError(f"{owner} has a point id of {max(ids)}, beyond 2⁶³ − 1") from None


def _has_pose(image: Any) -> bool:
    return bool(_value(getattr(image, "has_pose", True)))


def _value(attribute: Any) -> Any:
    """Read what is a property in some releases and a method in others."""
    return attribute() if callable(attribute) else attribute
