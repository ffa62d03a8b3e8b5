"""Scenes: photos with known cameras, split into training and test views."""

from collections.abc import Sequence
from pathlib import Path

from reference_impl.scenes.blender import load_blender
from reference_impl.scenes.colmap import load_colmap
from reference_impl.scenes.dtu import load_dtu_rectified
from reference_impl.scenes.embedded import load_embedded
from reference_impl.scenes.idr import CAMERA_FILES, load_idr
from reference_impl.scenes.llff import load_llff
from reference_impl.scenes.redwood import load_redwood
from reference_impl.scenes.scene import Scene, SceneError
from reference_impl.scenes.sfm import FULL_MODELS
from reference_impl.scenes.transforms_json import load_transforms_json

__all__ = ["Scene", "SceneError", "is_scene", "load_scene"]

# What a folder of each format contains, in the order in which they are looked for: other formats
# may have a COLMAP model beside them, so that alone comes last.
FORMATS = (
    (("poses_bounds.npy",), load_llff),
    (("transforms_train.json",), load_blender),
    (("transforms.json",), load_transforms_json),
    *(((file,), load_idr) for file in CAMERA_FILES),
    (("rect_*_r5000.png",), load_dtu_rectified),
    (("*.log", "depth/*.png"), load_redwood),
    *(((f"{model}/images.*",), load_colmap) for model in FULL_MODELS),
)


def load_scene(
    path: str | Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read a scene, in the format that its folder shows.

    Args:
        path: folder of a scene in one of the :data:`FORMATS`, or ``"embedded"`` for the scene that
            needs no files.
        n_views: number of training views; which ones is the format's published rule.
        width: of the photos, in pixels; they are reduced by area. By default as they come.
        keypoints: whether to read sparse depth for the training views, where there is any.

    Raises:
        SceneError: the folder or one of its files is missing, damaged or does not fit the others,
            or the scene has fewer than ``n_views`` training views.
        ValueError: a COLMAP model beside the scene is damaged, or is of another scene.
        ImportError: there is a COLMAP model, but no pycolmap.

    Warns:
        SupervisionWarning: keypoints leak test views, some view has none, or none could be used.
    """
    if str(path) == "embedded":
        return load_embedded(n_views, width=width)
    folder = Path(path)
    if not folder.is_dir():
        raise SceneError(folder, "no such folder; expected a scene's folder, or «embedded»")
    for patterns, load in FORMATS:
        if _shows(folder, patterns):
            # Resolved, so that «.» has a name.
            return load(folder.resolve(), n_views, width=width, keypoints=keypoints)
    known = ", ".join(" with ".join(patterns) for patterns, _ in FORMATS)
    raise SceneError(folder, f"no scene here: expected one of {known}")


def is_scene(folder: Path) -> bool:
    """Whether a folder shows one of the :data:`FORMATS`."""
    return any(_shows(folder, patterns) for patterns, _ in FORMATS)


def _shows(folder: Path, patterns: Sequence[str]) -> bool:
    return all(any(folder.glob(pattern)) for pattern in patterns)
