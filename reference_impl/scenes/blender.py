"""NeRF's synthetic scenes, rendered by Blender: a transforms file for training, one for testing."""

import math
import re
from pathlib import Path

import torch

from nerfreg.views import Cameras, HemispherePoses, pinhole
from reference_impl.scenes import splits
from reference_impl.scenes.images import load_images
from reference_impl.scenes.scene import Scene, SceneError
from reference_impl.scenes.transforms_json import Frame, read_frames

__all__ = ["load_blender"]

# Of all these scenes, as in NeRF's code.
NEAR, FAR = 2.0, 6.0
WHITE = 1.0


def load_blender(
    folder: Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read a synthetic scene, on white.

    Args:
        folder: with ``transforms_train.json``, ``transforms_test.json`` and the RGBA images they
            list.
        n_views: number of training views; 8 is the published list, see :func:`splits.blender`.
        width: of the images, in pixels; by default their own.
        keypoints: accepted as for other formats; these scenes have none.

    Raises:
        SceneError: a file is missing, damaged or does not fit the others; there are too few views.
    """
    at_hand = {part: _numbered(folder / f"transforms_{part}.json") for part in ("train", "test")}
    try:
        train, test, rule = splits.blender(list(at_hand["train"]), list(at_hand["test"]), n_views)
    except ValueError as error:
        raise SceneError(folder / "transforms_train.json", str(error)) from None
    # Of the training frames that do not train some stay at hand, to choose settings on.
    left = sorted(at_hand["train"].keys() - train)
    rest = [at_hand["train"][number] for number in left]
    frames = [at_hand["train"][i] for i in train] + [at_hand["test"][i] for i in test]
    n_used = len(frames)
    frames += [rest[i] for i in splits.validation(len(rest), [])]
    half_angles = [_half_angle(frame) for frame in frames]
    images = load_images([frame.path for frame in frames], width, background=WHITE)
    height, width = images.shape[1:3]
    focal = [0.5 * width / math.tan(half_angle) for half_angle in half_angles]
    intrinsics = torch.stack([pinhole(f, width, height) for f in focal])
    try:
        cameras = Cameras.from_opengl(
            torch.stack([frame.pose for frame in frames]), intrinsics, width, height
        )
    except ValueError as error:
        raise SceneError(folder / "transforms_train.json", str(error)) from error
    return Scene(
        name=folder.name,
        images=images,
        cameras=cameras.to(dtype=torch.float32),
        names=[frame.name for frame in frames],
        train=list(range(len(train))),
        test=list(range(len(train), n_used)),
        near=NEAR,
        far=FAR,
        unseen=HemispherePoses.blender(),
        split=f"Blender: {rule}",
        background=WHITE,
    )


def _half_angle(frame: Frame) -> float:
    half_angle = frame.half_angle()
    if half_angle is None:
        raise SceneError(frame.source, f"frame {frame.name}: no camera_angle_x")
    return half_angle


def _numbered(source: Path) -> dict[int, Frame]:
    """Read frames by the number that their file name ends in."""
    frames: dict[int, Frame] = {}
    for frame in read_frames(source):
        number = re.search(r"(\d+)(\.\w+)?$", frame.name)
        if number is None or int(number[1]) in frames:
            raise SceneError(
                source, f"frame {frame.name}: expected a name ending in a unique number"
            )
        frames[int(number[1])] = frame
    return frames
