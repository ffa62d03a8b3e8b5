"""Captures around something: where their world has its origin, its unit and its bounds."""

from pathlib import Path

import torch
from torch import Tensor

from nerfreg.supervision import Keypoints
from nerfreg.views import (
    AroundFocusPoses,
    Cameras,
    ForwardFacingPoses,
    PoseDistribution,
    focus_point,
)
from reference_impl.scenes import sfm, splits
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["bounds", "centred", "make_scene", "unseen"]

# Cameras stand at this mean distance from what they look at, as around the Blender scenes, for
# which the frequencies of the positional encoding were chosen.
CAMERA_DISTANCE = 4.0
# Cameras that look in parallel have no common focus; a capture's baseline is then assumed to be a
# quarter of the distance.
DISTANCE_PER_SPREAD = 4.0
# Bounds beyond the 0.1 and 99.9 % quantiles of the keypoints' depths (LLFF's quantiles), as what
# has no texture has no keypoints; and, without keypoints, as shares of the cameras' distance.
QUANTILES = (0.001, 0.999)
KEYPOINT_MARGINS = (0.8, 1.2)
DISTANCE_MARGINS = (0.25, 2.5)
# Wilder keypoints say nothing about the bounds.
MAX_RELATIVE_STD = 0.1


def centred(source: Path, poses: Tensor) -> tuple[Tensor, float]:
    """Put the cameras' focus at the origin, and the cameras at the usual distance from it.

    Args:
        source: of the poses, for the error.
        poses: (N, 3, 4) camera-to-world, OpenCV axes.

    Returns:
        The poses in the new world, and its length of one unit of the old one.

    Raises:
        SceneError: all cameras stand in one place.
    """
    positions, forward = poses[..., 3], poses[..., 2]
    try:
        focus = focus_point(poses)
        distance = float(((focus - positions) * forward).sum(-1).mean())
    except ValueError:
        focus, distance = positions.mean(0), 0.0
    if not distance > 0:
        spread = float((positions - positions.mean(0)).square().sum(-1).mean().sqrt())
        distance = DISTANCE_PER_SPREAD * spread
        focus = positions.mean(0) + distance * torch.nn.functional.normalize(forward.mean(0), dim=0)
    if not distance > 0:
        raise SceneError(source, "all cameras stand in one place: they tell no depth")
    scale = CAMERA_DISTANCE / distance
    scaled = (positions - focus) * scale
    return torch.cat([poses[..., :3], scaled[..., None]], -1), scale


def bounds(keypoints: dict[int, Keypoints]) -> tuple[float, float]:
    """Find near and far of a centred capture from its training views' keypoints, if any."""
    trusted = [k.depth[k.std < MAX_RELATIVE_STD * k.depth] for k in keypoints.values()]
    depths = torch.cat(trusted) if trusted else torch.zeros(0)
    if not len(depths):
        near, far = (margin * CAMERA_DISTANCE for margin in DISTANCE_MARGINS)
        return near, far
    inner, outer = torch.quantile(depths, torch.tensor(QUANTILES)).tolist()
    return KEYPOINT_MARGINS[0] * inner, KEYPOINT_MARGINS[1] * outer


def unseen(train: Cameras, near: float, far: float) -> PoseDistribution:
    """Around what the training cameras look at, or beside them where they look in parallel."""
    try:
        return AroundFocusPoses.from_cameras(train)
    except ValueError:
        return ForwardFacingPoses.from_cameras(train, near, far)


def make_scene(
    folder: Path,
    source: Path,
    *,
    c2w: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    images: Tensor,
    names: list[str],
    split: tuple[list[int], list[int]],
    keypoints: bool,
    masks: dict[int, Tensor] | None = None,
    rule: str = splits.EVENLY_SPACED,
) -> Scene:
    """Make a scene of a capture around something, with what its COLMAP models know.

    Args:
        folder: of the capture.
        source: of the cameras, for errors.
        c2w: (N, 3, 4) camera-to-world, OpenCV axes, in the capture's world.
        intrinsics: (N, 3, 3) for photographs of ``size``.
        size: (width, height) that the intrinsics are of; the images may be smaller.
        images: (N, H, W, 3) uint8.
        names: of the photographs.
        split: training and test views.
        keypoints: give the scene its training views' keypoints; the bounds rest on them anyhow.
        masks: of the object.
        rule: of the split, in words, with places for the numbers of all and of training views.

    Raises:
        SceneError: the cameras cannot be used.
    """
    placed, _ = centred(source, c2w)
    try:
        cameras = Cameras.from_opencv(placed, intrinsics, *size)
    except ValueError as error:
        raise SceneError(source, str(error)) from error
    cameras = cameras.resized(images.shape[2], images.shape[1]).to(dtype=torch.float32)
    train, test = split
    known = sfm.training_keypoints(folder, cameras, names, train)
    near, far = bounds(known)
    return Scene(
        name=folder.name,
        images=images,
        cameras=cameras,
        names=names,
        train=train,
        test=test,
        near=near,
        far=far,
        unseen=unseen(cameras[train], near, far),
        split=rule.format(len(names), len(train)),
        keypoints=known if keypoints else {},
        points=sfm.held_out_points(folder, cameras, names, train),
        masks=masks or {},
    )
