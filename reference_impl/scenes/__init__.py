"""Scenes: photos with known cameras, split into training and test views."""

from pathlib import Path

from reference_impl.scenes.blender import load_blender
from reference_impl.scenes.embedded import load_embedded
from reference_impl.scenes.llff import load_llff
from reference_impl.scenes.scene import Scene, SceneError
from reference_impl.scenes.transforms_json import load_transforms_json

__all__ = ["Scene", "SceneError", "load_scene"]

# What a folder of each format contains, in the order in which they are looked for.
FORMATS = {
    "poses_bounds.npy": load_llff,
    "transforms_train.json": load_blender,
    "transforms.json": load_transforms_json,
}


def load_scene(
    path: str | Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read a scene, in the format that its folder shows.

    Args:
        path: folder of an LLFF, Blender or transforms.json scene, or ``"embedded"`` for the scene
            that needs no files.
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
    for file, load in FORMATS.items():
        if (folder / file).is_file():
            # Resolved, so that «.» has a name.
            return load(folder.resolve(), n_views, width=width, keypoints=keypoints)
    raise SceneError(folder, f"no scene here: expected one of {', '.join(FORMATS)}")
