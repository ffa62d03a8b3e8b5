"""Keypoints as a COLMAP model in text: the way from a scene back to what other tools read."""

from pathlib import Path

import torch
from torch import Tensor

from nerfreg.supervision import Keypoints
from nerfreg.views import Cameras, opencv_to_colmap

__all__ = ["write_colmap"]

# A keypoint's depth is the model's, its pixel off by the reprojection error: of the two, the depth
# decides where its point lies.
PIXEL_WEIGHT = 1e-3


def write_colmap(
    folder: Path, cameras: Cameras[Tensor], names: list[str], keypoints: dict[int, Keypoints]
) -> None:
    """Write the views that have keypoints, and the points of these, as a model of pinholes.

    Args:
        folder: to write ``cameras.txt``, ``images.txt`` and ``points3D.txt`` in.
        cameras: of all views.
        names: of all views' photographs.
        keypoints: by view; the same ``point_ids`` in two views are one point.
    """
    folder.mkdir(parents=True, exist_ok=True)
    qvec, tvec = opencv_to_colmap(cameras.c2w.double())
    lenses, images = list[str](), list[str]()
    tracks: dict[int, list[tuple[int, int]]] = {}
    for view, known in keypoints.items():
        k = cameras.intrinsics[view].double()
        lens = _numbers(k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        lenses.append(f"{view + 1} PINHOLE {cameras.width} {cameras.height} {lens}")
        images.append(f"{view + 1} {_numbers(*qvec[view], *tvec[view])} {view + 1} {names[view]}")
        row = [f"{_numbers(*xy)} {int(i)}" for xy, i in zip(known.xy, known.point_ids, strict=True)]
        images.append(" ".join(row))
        for place, point in enumerate(known.point_ids.tolist()):
            tracks.setdefault(point, []).append((view, place))
    points = list[str]()
    for point, track in sorted(tracks.items()):
        observed = " ".join(f"{view + 1} {place}" for view, place in track)
        error = torch.stack([keypoints[view].error[place] for view, place in track]).mean()
        position = _place(cameras, keypoints, track)
        points.append(f"{point} {_numbers(*position)} 128 128 128 {_numbers(error)} {observed}")
    for name, lines in (("cameras", lenses), ("images", images), ("points3D", points)):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def _place(
    cameras: Cameras[Tensor], keypoints: dict[int, Keypoints], track: list[tuple[int, int]]
) -> Tensor:
    """Find the point that has the known depth in every view of its track, near where it is seen."""
    rows, right = list[Tensor](), list[Tensor]()
    for view, place in track:
        c2w, k = cameras.c2w[view].double(), cameras.intrinsics[view].double()
        depth = keypoints[view].depth[place].double()
        xy = torch.cat([keypoints[view].xy[place].double(), depth.new_ones(1)])
        in_camera = torch.linalg.solve(k, xy) * depth
        weights = depth.new_tensor([PIXEL_WEIGHT, PIXEL_WEIGHT, 1.0])[:, None]
        rotation = c2w[:, :3].T
        rows.append(weights * rotation)
        right.append(weights[:, 0] * (in_camera + rotation @ c2w[:, 3]))
    return torch.linalg.lstsq(torch.cat(rows), torch.cat(right)[:, None]).solution[:, 0]


def _numbers(*values: Tensor) -> str:
    """Write numbers so that they read back as they were."""
    return " ".join(repr(float(value)) for value in values)
