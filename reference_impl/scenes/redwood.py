"""Redwood's object scans: colour and depth of a hand-held sensor, and its trajectory."""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nerfreg.supervision import Keypoints
from nerfreg.views import Cameras, pinhole
from reference_impl.scenes import inward, splits
from reference_impl.scenes.images import image_size, list_images, load_images
from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["load_redwood"]

COLOR_FOLDERS = ("rgb", "color", "image")
# Of the data set's sensor, PrimeSense Carmine, at 640 pixels of width. Its principal point is given
# as (319.5, 239.5) with pixel centres at whole numbers, which is the middle of the image.
SENSOR_WIDTH, FOCAL = 640, 525.0
# Scans are videos of thousands of frames; ours: so many of them, evenly spread, are the views.
MAX_VIEWS = 200
# Every so many-th pixel of a depth image becomes a keypoint.
GRID = 8
MILLIMETRES = 1e-3
# Random error of such a sensor, in metres at z metres: 1.425e-3·z² (Khoshelham and Elberink 2012,
# Sensors 12(2): 4 cm at 5 m).
STD_AT_1M = 1.425e-3
# Where neighbours differ by more than this share, the pixel may be of either side of an edge.
EDGE = 0.05


def load_redwood(
    folder: Path, n_views: int, *, width: int | None = None, keypoints: bool = True
) -> Scene:
    """Read an RGB-D scan.

    Colour frames are taken at the poses of the depth frames nearest in time. Depth is registered to
    colour, as in the release. Training views get it as keypoints with the sensor's own standard
    deviation; that of other views is kept for evaluation.

    Args:
        folder: with ``rgb`` (JPEG or PNG), ``depth`` (16-bit PNG, millimetres) and one ``.log``, a
            trajectory: of each depth frame in order a line of three numbers and a 4×4
            camera-to-world matrix, metres. File names are NUMBER-MICROSECONDS, or there is one
            colour frame for each depth frame.
        n_views: number of training views.
        width: of the photographs, in pixels; by default their own.
        keypoints: whether to keep the training views' keypoints.

    Raises:
        SceneError: a file is missing, damaged or does not fit the others; there are too few views.
    """
    logs = sorted(folder.glob("*.log"))
    if len(logs) != 1:
        raise SceneError(folder, f"expected one trajectory (.log), found {len(logs)}")
    colors = next((folder / f for f in COLOR_FOLDERS if (folder / f).is_dir()), None)
    if colors is None:
        raise SceneError(folder, f"no images; expected a folder {', '.join(COLOR_FOLDERS)}")
    photographs, depths = list_images(colors), list_images(folder / "depth")
    trajectory = read_trajectory(logs[0])
    if len(trajectory) != len(depths):
        counts = f"{len(trajectory)} poses, but {len(depths)} depth images in {folder / 'depth'}"
        raise SceneError(logs[0], counts)
    chosen = splits.evenly(len(depths), min(len(depths), MAX_VIEWS))
    found = _nearest_in_time(photographs, depths, chosen)
    # No photograph becomes two views, of which one might train and the other one test.
    pairs = dict(zip(reversed(found), reversed(chosen), strict=True))
    chosen, paths = list(pairs.values())[::-1], list(pairs)[::-1]
    depths, c2w = [depths[i] for i in chosen], trajectory[chosen]
    try:
        train, test = splits.evenly_spaced(len(paths), n_views)
    except ValueError as error:
        raise SceneError(folder, str(error)) from None
    images = load_images(paths, width)
    size = image_size(paths[0])
    placed, scale = inward.centred(logs[0], c2w)
    try:
        focal = FOCAL * size[0] / SENSOR_WIDTH
        intrinsics = pinhole(focal, *size).double()
        cameras = Cameras.from_opencv(placed, intrinsics, *size)
    except ValueError as error:
        raise SceneError(logs[0], str(error)) from error
    cameras = cameras.resized(images.shape[2], images.shape[1]).to(dtype=torch.float32)
    reduced = (images.shape[2] / size[0], images.shape[1] / size[1])
    names = [path.name for path in paths]
    sensed = {
        view: _sensed(depths[view], names[view], view, size).scaled(scale).resized(*reduced)
        for view in range(len(paths))
    }
    known = {view: sensed[view] for view in train}
    near, far = inward.bounds(known)
    return Scene(
        name=folder.name,
        images=images,
        cameras=cameras,
        names=names,
        train=train,
        test=test,
        near=near,
        far=far,
        unseen=inward.unseen(cameras[train], near, far),
        split=f"RGB-D: {splits.EVENLY_SPACED.format(len(paths), n_views)}",
        keypoints=known if keypoints else {},
        points={view: k for view, k in sensed.items() if view not in train and len(k)},
    )


def read_trajectory(path: Path) -> Tensor:
    """Read a trajectory log as (N, 3, 4) camera-to-world poses, OpenCV axes.

    Raises:
        SceneError: it is damaged, or a pose is not a rigid motion.
    """
    try:
        words = [line.split() for line in path.read_text().splitlines() if line.strip()]
        whole = len(words) % 5 == 0 and all(
            len(line) == (3 if i % 5 == 0 else 4) for i, line in enumerate(words)
        )
        numbers = [float(word) for i, line in enumerate(words) if i % 5 for word in line]
    except (OSError, ValueError) as error:
        raise SceneError(path, f"damaged, or not a trajectory ({error})") from error
    if not words or not whole:
        raise SceneError(
            path, "damaged, or not a trajectory: each pose has a line of 3 numbers and 4 lines of 4"
        )
    poses = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 4, 4)
    turned = poses[:, :3, :3]
    error = (turned @ turned.mT - torch.eye(3, dtype=torch.float64)).abs().amax((1, 2))
    wrong = (~(error < 1e-3)).nonzero().flatten().tolist()
    if wrong or not bool(poses.isfinite().all()):
        raise SceneError(path, f"pose(s) {wrong[:8]} are no rigid motions")
    return poses[:, :3]


def _nearest_in_time(photographs: list[Path], depths: list[Path], chosen: list[int]) -> list[Path]:
    """Find a colour frame for each chosen depth frame: by time, or by order where names tell none.

    Raises:
        SceneError: there are more or fewer colour than depth images, and no times.
    """
    times = [_microseconds(path) for path in photographs]
    wanted = [_microseconds(depths[i]) for i in chosen]
    if None in times or None in wanted:
        if len(photographs) != len(depths):
            counts = f"{len(photographs)} colour and {len(depths)} depth images"
            raise SceneError(photographs[0].parent, f"{counts}, and names tell no time to match by")
        return [photographs[i] for i in chosen]
    at = np.array(times, dtype=np.int64)
    return [photographs[int(np.abs(at - time).argmin())] for time in np.array(wanted)]


def _microseconds(path: Path) -> int | None:
    stamped = re.fullmatch(r"\d+-(\d+)", path.stem)
    return int(stamped[1]) if stamped else None


def _sensed(path: Path, name: str, view: int, size: tuple[int, int]) -> Keypoints:
    """Keypoints of a depth image, in metres and pixels of the photograph on disk."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, UnidentifiedImageError) as error:
        raise SceneError(path, f"not a depth image that can be read ({error})") from error
    if values.shape != (size[1], size[0]) or values.dtype.kind not in "iu":
        expected = f"grey pixels ({size[1]}, {size[0]}), as the photographs are"
        raise SceneError(path, f"expected {expected}, got {values.dtype} {values.shape}")
    z = torch.from_numpy(values.astype(np.float64)) * MILLIMETRES
    windows = z.unfold(0, 3, 1).unfold(1, 3, 1).flatten(2)
    inner, low, high = z[1:-1, 1:-1], windows.amin(-1), windows.amax(-1)
    rows, columns = torch.meshgrid(
        torch.arange(GRID // 2 - 1, size[1] - 2, GRID),
        torch.arange(GRID // 2 - 1, size[0] - 2, GRID),
        indexing="ij",
    )
    # 0 is a pixel without an answer.
    smooth = (low > 0) & (high - low < EDGE * inner)
    y, x = (axis[smooth[rows, columns]] for axis in (rows, columns))
    depth = inner[y, x]
    n = len(depth)
    nothing = torch.zeros(n)
    return Keypoints(
        name=name,
        image_id=view,
        xy=torch.stack([x, y], -1).float() + 1.5,
        depth=depth.float(),
        std=(STD_AT_1M * depth.square()).float(),
        error=nothing,
        point_error=nothing,
        track_length=torch.ones(n, dtype=torch.int64),
        point_ids=torch.arange(n) + view * size[0] * size[1],
        mean_error=0.0,
    )
