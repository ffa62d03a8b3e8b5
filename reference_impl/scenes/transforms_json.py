"""Captures with a ``transforms.json``, as nerfstudio and instant-ngp write and read it."""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerfreg.views import opengl_to_opencv
from reference_impl.scenes import inward, splits
from reference_impl.scenes.images import ENDINGS, Distortion, image_size, load_images
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["Frame", "load_transforms_json", "read_frames"]

# For printing: number of images, number of training views.
LISTED = "of {} views, the file lists which test; {} evenly spaced of its training views train"
UNSUPPORTED = ("k3", "k4", "k5", "k6")


@dataclass(frozen=True)
class Frame:
    """One photo of a ``transforms.json``: file, (3, 4) pose with OpenGL axes, lens.

    The lens's numbers are as the file has them. They are checked when asked for, so that what a
    format does not use may be anything.
    """

    source: Path
    name: str
    path: Path
    pose: Tensor
    lens: dict[str, float]

    def number(self, key: str, default: float, *, positive: bool = False) -> float:
        """Return a number of the lens.

        Raises:
            SceneError: it is NaN, infinite or, if it has to be ``positive``, not > 0.
        """
        value = self.lens.get(key, default)
        # Cameras become float32.
        if not abs(value) <= torch.finfo(torch.float32).max or (positive and not value > 0):
            wanted = "finite in float32 and > 0" if positive else "finite in float32"
            raise SceneError(
                self.source, f"frame {self.name}: «{key}» must be {wanted}, got {value}"
            )
        return value

    def half_angle(self) -> float | None:
        """Return half of ``camera_angle_x``, the horizontal field of view, where there is one.

        Raises:
            SceneError: a pinhole camera cannot have this angle.
        """
        if "camera_angle_x" not in self.lens:
            return None
        angle = self.lens["camera_angle_x"]
        if not 0 < 0.5 * angle < 0.5 * math.pi:
            problem = f"«camera_angle_x» must be in (0, π), radians, got {angle}"
            raise SceneError(self.source, f"frame {self.name}: {problem}")
        return 0.5 * angle


def load_transforms_json(
    folder: Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read a capture with a ``transforms.json``.

    Where the file lists ``train_filenames`` and ``test_filenames``, as nerfstudio's may, these
    train and test; otherwise every 8th view tests. Photos are undistorted (OPENCV model). The world
    is moved and scaled so that the cameras' common focus is the origin and their mean distance from
    it 4. Near and far come from the depths of the training views' keypoints wherever there is a
    model, asked for or not, so that runs with and without keypoint supervision have the same
    bounds.

    Args:
        folder: with ``transforms.json``, the photos and, for keypoints, ``sparse_train{n_views}/0``
            or ``sparse/0``, a COLMAP model in the same world or in one that differs by a
            similarity.
        n_views: number of training views.
        width: of the photos, in pixels; by default their own.
        keypoints: whether to keep the training views' keypoints.

    Raises:
        SceneError: a file is missing, damaged or does not fit the others; there are too few views.
    """
    source = folder / "transforms.json"
    frames = read_frames(source)
    try:
        listed = _listed(source, [frame.name for frame in frames])
        if listed is None:
            train, test = splits.evenly_spaced(len(frames), n_views)
        else:
            may_train, test = listed
            train = [may_train[i] for i in splits.evenly(len(may_train), n_views)]
    except SceneError:
        raise
    except ValueError as error:
        raise SceneError(folder, str(error)) from None
    size = image_size(frames[0].path)
    matrices = torch.stack([_intrinsics(frame, size) for frame in frames])
    lenses = [_distortion(frame) for frame in frames]
    images = load_images(
        [frame.path for frame in frames],
        width,
        undistort=lambda i, photo: lenses[i].undistort(photo, matrices[i]),
    )
    return inward.make_scene(
        folder,
        source,
        c2w=opengl_to_opencv(torch.stack([f.pose for f in frames])),
        intrinsics=matrices,
        size=size,
        images=images,
        names=[frame.name for frame in frames],
        split=(train, test),
        keypoints=keypoints,
        rule=splits.EVENLY_SPACED if listed is None else LISTED,
    )


def _listed(source: Path, names: list[str]) -> tuple[list[int], list[int]] | None:
    """Find the views that the file itself lists for training and for testing, if it does."""
    content = json.loads(source.read_text(encoding="utf-8"))
    keys = ("train_filenames", "test_filenames")
    if not all(key in content for key in keys):
        return None
    rows = {name: i for i, name in enumerate(names)}
    found: list[list[int]] = []
    for key in keys:
        wanted = [str(name).removeprefix("./") for name in content[key]]
        unknown = [name for name in wanted if name not in rows]
        if unknown:
            raise SceneError(source, f"«{key}» lists {unknown[0]}, but no frame has this file_path")
        twice = sorted({name for name in wanted if wanted.count(name) > 1})
        if twice:
            raise SceneError(source, f"«{key}» lists {twice[0]} twice")
        found.append(sorted(rows[name] for name in wanted))
    train, test = found
    both = sorted({*train} & {*test})
    if both:
        raise SceneError(source, f"{names[both[0]]} is listed for training and for testing")
    if not test:
        raise SceneError(source, "«test_filenames» lists no photograph to measure on")
    return train, test


def read_frames(source: Path) -> list[Frame]:
    """Read the frames of a ``transforms*.json``, sorted by name.

    Raises:
        SceneError: the file is missing or damaged, a frame lacks its image or pose, or a pose has a
            NaN, an infinity or a number that is one in float32.
    """
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SceneError(source, "no such file") from None
    except (OSError, ValueError) as error:
        raise SceneError(source, f"damaged or not JSON ({error})") from error
    listed = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise SceneError(source, "no images: expected a list «frames» with at least one entry")
    frames = [_frame(source, content, entry) for entry in listed]
    frames.sort(key=lambda frame: frame.name)
    for first, second in pairwise(frames):
        if first.name == second.name:
            raise SceneError(source, f"frame {first.name} is listed twice")
    return frames


def _frame(source: Path, content: dict[str, Any], entry: Any) -> Frame:
    name = entry.get("file_path") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise SceneError(source, f"a frame lacks «file_path»: {str(entry)[:80]}")
    try:
        pose = torch.tensor(entry["transform_matrix"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError):
        pose = torch.zeros(0)
    except OverflowError:  # of an integer that no float holds
        pose = torch.full((4, 4), math.inf)
    if pose.shape not in ((4, 4), (3, 4)):
        raise SceneError(source, f"frame {name}: «transform_matrix» must be 4×4 numbers")
    if not bool(pose.float().isfinite().all()):  # cameras become float32
        raise SceneError(
            source, f"frame {name}: NaN, infinity or too large a number in «transform_matrix»"
        )
    path = source.parent / name
    if not path.is_file():  # Blender's files leave the ending out
        endings = (path.with_name(path.name + ending) for ending in ENDINGS)
        path = next((found for found in endings if found.is_file()), path)
    if not path.is_file():
        raise SceneError(path, f"no such image; {source.name} lists it")
    both = {**content, **entry}
    lens = {key: _float(v) for key, v in both.items() if isinstance(v, (int, float))}
    return Frame(source, name.removeprefix("./"), path, pose[:3], lens)


def _float(number: float) -> float:
    """Convert an integer; one that no float holds is infinite, as JSON's 1e999 is."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, 1 if number > 0 else -1)


def _intrinsics(frame: Frame, size: tuple[int, int]) -> Tensor:
    """Build (3, 3) intrinsics in pixels of photos of ``size``, which the file may call larger."""
    width = frame.number("w", size[0], positive=True)
    height = frame.number("h", size[1], positive=True)
    if "fl_x" in frame.lens:
        fx = frame.number("fl_x", 0.0, positive=True)
    elif (half_angle := frame.half_angle()) is not None:
        fx = 0.5 * width / math.tan(half_angle)
    else:
        raise SceneError(
            frame.source, f"frame {frame.name}: no focal length; expected fl_x or camera_angle_x"
        )
    fy = frame.number("fl_y", fx, positive=True)
    cx, cy = frame.number("cx", width / 2), frame.number("cy", height / 2)
    sx, sy = size[0] / width, size[1] / height
    rows = [[fx * sx, 0, cx * sx], [0, fy * sy, cy * sy], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def _distortion(frame: Frame) -> Distortion:
    strange = [name for name in UNSUPPORTED if frame.lens.get(name)]
    if strange or frame.lens.get("is_fisheye"):
        what = "a fisheye lens" if frame.lens.get("is_fisheye") else f"{', '.join(strange)} ≠ 0"
        raise SceneError(frame.source, f"{what} is not supported; undistort the photos first")
    return Distortion(*(frame.number(name, 0.0) for name in ("k1", "k2", "p1", "p2")))
