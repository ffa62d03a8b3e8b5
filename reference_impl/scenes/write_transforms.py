"""Any scene as a nerfstudio data set: ``transforms.json``, photographs, keypoints."""

import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from nerfreg.views import opencv_to_opengl
from reference_impl.report import picture_stem
from reference_impl.scenes.colmap_text import write_colmap
from reference_impl.scenes.scene import Scene, SceneError
from reference_impl.scenes.splits import validation

__all__ = ["write_transforms"]


def write_transforms(scene: Scene, folder: Path) -> Path | None:
    """Write a scene so that nerfstudio trains and tests on the very same photographs.

    The file lists which photographs train and which test, so that no fraction or interval is left
    to a tool's default. Validation views are such as do neither, or where none is left the test
    views. The keypoints become a COLMAP model of the training views alone, in the scene's world, in
    ``sparse_train{number of views}/0``, where our own loader looks for it.

    Args:
        scene: in its own world and unit of length.
        folder: to write in; it must exist.

    Returns:
        The folder of the COLMAP model; ``None`` where the scene has no keypoints.

    Raises:
        SceneError: two views would have one file name, or the pixels are skewed.
    """
    cameras = scene.cameras
    files = [f"{picture_stem(name)}.png" for name in scene.names]
    if len(set(files)) < len(files):
        raise SceneError(scene.name, "two views have one name but for their ending")
    if cameras.intrinsics[:, 0, 1].any():
        raise SceneError(scene.name, "the cameras' pixels are skewed: no transforms.json says that")
    (folder / "images").mkdir()
    for image, file in zip(scene.images, files, strict=True):
        Image.fromarray(image.numpy()).save(folder / "images" / file)
    paths = [f"images/{file}" for file in files]
    frames = [
        {"file_path": path, "transform_matrix": _matrix(pose), **_lens(intrinsics)}
        for path, pose, intrinsics in zip(
            paths, opencv_to_opengl(cameras.c2w), cameras.intrinsics, strict=True
        )
    ]
    others = validation(len(files), [*scene.train, *scene.test]) or scene.test
    content = {
        "camera_model": "PINHOLE",
        "w": cameras.width,
        "h": cameras.height,
        # The COLMAP model is in the world of these matrices.
        "applied_transform": torch.eye(4)[:3].tolist(),
        "train_filenames": [paths[i] for i in scene.train],
        "val_filenames": [paths[i] for i in others],
        "test_filenames": [paths[i] for i in scene.test],
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(content, indent=1) + "\n")
    if not any(map(len, scene.keypoints.values())):
        return None
    model = folder / f"sparse_train{len(scene.train)}" / "0"
    write_colmap(model, cameras, files, scene.keypoints)
    return model


def _matrix(pose: Tensor) -> list[list[float]]:
    return [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]


def _lens(intrinsics: Tensor) -> dict[str, float]:
    k = intrinsics.tolist()
    return {"fl_x": k[0][0], "fl_y": k[1][1], "cx": k[0][2], "cy": k[1][2]}
