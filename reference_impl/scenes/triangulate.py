"""Keypoints by triangulation between the training views alone, whose poses are known.

A model of all photographs has placed its points with the help of the test views. This one cannot:
SIFT features of the training views, matched exhaustively, triangulated with the cameras held fixed.
"""

import hashlib
import importlib
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nerfreg.supervision import Keypoints, read_colmap
from nerfreg.views import invert_pose, rotation_to_quaternion
from reference_impl.scenes import sfm
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["cache_folder", "import_pycolmap", "triangulate"]

# COLMAP's number for the lens PINHOLE: fx, fy, cx, cy.
PINHOLE = 1
# Of the method, in the names of what is kept: a change of it makes a new one.
VERSION = b"1"


def cache_folder() -> Path:
    """Find where models are kept unless told otherwise: in the user's cache, never in a capture."""
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerfreg" / "keypoints"
    )


def triangulate(scene: Scene, cache: Path | None = None) -> dict[int, Keypoints]:
    """Triangulate keypoints of a scene's training views.

    Args:
        scene: its training photographs and cameras alone are looked at. The larger the photographs,
            the more keypoints.
        cache: folder for the models, by what they were made from; by default :func:`cache_folder`.

    Returns:
        Keypoints by view, in the scene's pixels and unit.

    Raises:
        SceneError: there is one training view alone; nothing could be triangulated.
        ImportError: pycolmap is not installed.

    Warns:
        SupervisionWarning: a view got no keypoints.
    """
    if len(scene.train) < 2:
        raise SceneError(scene.name, "--keypoints triangulate needs at least 2 training views")
    kept = (cache or cache_folder()) / _fingerprint(scene)
    if not (kept / "images.bin").is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".partial-") as folder:
            model = _triangulate(scene, Path(folder))
            # Whoever comes second finds the same model there.
            if not kept.exists():
                model.rename(kept)
    model = read_colmap(kept).renamed({_photograph(v): scene.names[v] for v in scene.train})
    if not len(model.points):
        raise SceneError(
            scene.name, "--keypoints triangulate: the training views have no point in common"
        )
    return sfm.keypoints_of(model, scene.cameras, scene.names, scene.train)


def _fingerprint(scene: Scene) -> str:
    """Name what a model is made from."""
    cameras = scene.cameras[scene.train]
    digest = hashlib.sha256(VERSION + import_pycolmap().__version__.encode())
    for values in (scene.images[scene.train], cameras.c2w, cameras.intrinsics):
        digest.update(str(tuple(values.shape)).encode())
        digest.update(values.contiguous().numpy().tobytes())
    digest.update(str(scene.train).encode())
    return f"{scene.name}-{len(scene.train)}v-{digest.hexdigest()[:16]}"


def _triangulate(scene: Scene, folder: Path) -> Path:
    pycolmap = import_pycolmap()
    photographs, database, known = folder / "images", folder / "database.db", folder / "known"
    photographs.mkdir()
    for view in scene.train:
        Image.fromarray(scene.images[view].numpy()).save(photographs / _photograph(view))
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = 2  # errors
    try:
        pycolmap.set_random_seed(0)
        pycolmap.extract_features(database, photographs, camera_mode=pycolmap.CameraMode.PER_IMAGE)
        _write_known(scene, database, known)
        pycolmap.match_exhaustive(database)
        found = folder / "model"
        found.mkdir()
        options = pycolmap.IncrementalPipelineOptions()
        # Few views are few chances to be seen three times.
        options.triangulation.ignore_two_view_tracks = False
        pycolmap.triangulate_points(
            pycolmap.Reconstruction(str(known)), database, photographs, found, options=options
        )
    finally:
        pycolmap.logging.minloglevel = level
    return found


def _write_known(scene: Scene, database: Path, known: Path) -> None:
    """Tell the database our lenses, and write a model of cameras alone with the database's ids."""
    known.mkdir()
    views = {_photograph(view): view for view in scene.train}
    width, height = scene.cameras.width, scene.cameras.height
    cameras, images = [], []
    with closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute("SELECT image_id, camera_id, name FROM images").fetchall()
        for image_id, camera_id, name in rows:
            view = views[name]
            k = scene.cameras.intrinsics[view].double()
            lens = np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]], dtype="<f8")
            connection.execute(
                "UPDATE cameras SET model = ?, params = ?, prior_focal_length = 1"
                " WHERE camera_id = ?",
                (PINHOLE, lens.tobytes(), camera_id),
            )
            numbers = " ".join(repr(float(x)) for x in lens)
            cameras.append(f"{camera_id} PINHOLE {width} {height} {numbers}")
            w2c = invert_pose(scene.cameras.c2w[view].double())
            pose = torch.cat([rotation_to_quaternion(w2c[:, :3]), w2c[:, 3]])
            numbers = " ".join(repr(x) for x in pose.tolist())
            images += [f"{image_id} {numbers} {camera_id} {name}", ""]
    for file, lines in (("cameras", cameras), ("images", images), ("points3D", [])):
        (known / f"{file}.txt").write_text("\n".join([*lines, ""]))


def _photograph(view: int) -> str:
    """Name the copy of a view's photograph, whatever characters its own name has."""
    return f"{view:06d}.png"


def import_pycolmap() -> Any:
    """Import the package.

    Raises:
        ImportError: it is not installed.
    """
    importlib.import_module("zlib")  # first: see nerfreg.supervision.colmap
    try:
        return importlib.import_module("pycolmap")
    except ImportError as error:
        raise ImportError(
            '--keypoints triangulate needs pycolmap: pip install "nerfreg[colmap]"'
        ) from error
