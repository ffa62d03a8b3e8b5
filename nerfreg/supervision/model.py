"""A sparse structure-from-motion model as plain arrays, and the depths that some views know."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from nerfreg.supervision.keypoints import Keypoints
from nerfreg.supervision.uncertainty import depth_std

__all__ = ["SparseModel", "SupervisionWarning"]

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


class SupervisionWarning(UserWarning):
    """Keypoints are usable, but not what an honest few-view experiment would want."""


@dataclass(frozen=True)
class SparseModel:
    """V posed views, P points and the M observations of points in views, as NumPy arrays.

    :func:`~nerfreg.supervision.read_colmap` reads one; from another structure-from-motion tool,
    fill it.

    Attributes:
        source: where it comes from, for messages.
        names: image name of each view.
        image_ids: (V,) the model's id of each view.
        world_to_camera: (V, 3, 4), OpenCV axes.
        intrinsics: (V, 3, 3), pinhole.
        sizes: (V, 2) width and height of each image.
        point_ids: (P,) the model's id of each point.
        points: (P, 3) positions, world units.
        view: (M,) the observing view, as an index into ``names``.
        point: (M,) the observed point, as an index into ``points``.
        xy: (M, 2) where, in pixels with distortion removed; (0.5, 0.5) is the top-left pixel's
            centre.
        error: (M,) distance between the observed and the projected pixel, in the photo as it was
            taken.
    """

    source: str
    names: list[str]
    image_ids: Int[np.ndarray, " v"]
    world_to_camera: Float[np.ndarray, "v 3 4"]
    intrinsics: Float[np.ndarray, "v 3 3"]
    sizes: Int[np.ndarray, "v 2"]
    point_ids: Int[np.ndarray, " p"]
    points: Float[np.ndarray, "p 3"]
    view: Int[np.ndarray, " m"]
    point: Int[np.ndarray, " m"]
    xy: Float[np.ndarray, "m 2"]
    error: Float[np.ndarray, " m"]

    @property
    def centres(self) -> Doubles:
        """(V, 3) positions of the cameras."""
        rotation, translation = self.world_to_camera[:, :, :3], self.world_to_camera[:, :, 3]
        return -np.einsum("vji,vj->vi", rotation, translation)

    def renamed(self, names: Mapping[str, str]) -> "SparseModel":
        """Return the model with views called ``names[name]`` where ``names`` has an entry."""
        return replace(self, names=[names.get(name, name) for name in self.names])

    def keypoints(
        self,
        views: Iterable[str] | None = None,
        *,
        min_views: int = 2,
        dtype: torch.dtype = torch.float32,
    ) -> dict[str, Keypoints]:
        """Collect the keypoints of ``views``, from what these views alone have seen.

        A point counts where at least ``min_views`` of the views observe it in front of them. Its
        track length, errors and parallax are those within the views, so nothing that only another
        view has seen gets in. Its position, however, is the model's: where the model has further
        views, they took part in the triangulation.

        Args:
            views: image names; ``None`` stands for all of the model's. A name is matched exactly,
                or else by its stem (``images/0001.jpg`` finds ``0001.png``) if that is unambiguous.
            min_views: how many of the views must observe a point, ≥ 2.
            dtype: of the returned tensors.

        Returns:
            One entry a view, by the name given in ``views``, in their order; views without any
            keypoint have an empty one.

        Raises:
            ValueError: the model knows none of the views, ``views`` repeats a name, or
                ``min_views`` < 2.

        Warns:
            SupervisionWarning: the model contains other views than ``views``, or a view has no
                keypoints.
        """
        if min_views < 2:
            raise ValueError(
                f"keypoints: min_views must be ≥ 2, got {min_views}: one view gives no depth"
            )
        wanted = list(self.names if views is None else views)
        if len(set(wanted)) < len(wanted):
            raise ValueError(f"keypoints: views repeats a name: {_few(wanted)}")
        rows = match_names(wanted, self.names)
        if not rows:
            raise ValueError(
                f"{self.source}: a model of other images: it has {_few(self.names)}, the views are"
                f" {_few(wanted)}, and no name is in both"
            )
        seen = np.zeros(len(self.names), dtype=bool)
        seen[np.fromiter(rows.values(), dtype=np.int64)] = True
        unseen = np.setdiff1d(self.view, np.flatnonzero(seen))
        if len(unseen):
            warnings.warn(
                f"{self.source}: the model has {len(unseen)} views beside the {len(wanted)} given"
                f" ({_few([self.names[i] for i in unseen])}); they helped to place its points,"
                " which leaks unseen views: triangulate a model from the given views alone",
                SupervisionWarning,
                stacklevel=2,
            )
        tracks = _Tracks.of(self, seen, min_views)
        found = {name: tracks.of_view(self, name, rows.get(name, -1), dtype) for name in wanted}
        empty = [name for name, keypoints in found.items() if not len(keypoints)]
        if empty:
            warnings.warn(
                f"{self.source}: no keypoints in {len(empty)} of {len(wanted)} views:"
                f" {_few(empty)}",
                SupervisionWarning,
                stacklevel=2,
            )
        return found


@dataclass(frozen=True)
class _Tracks:
    """The observations that count, with what is known of each one's point."""

    view: Integers
    point: Integers
    xy: Doubles
    error: Doubles
    depth: Doubles
    length: Integers
    point_error: Doubles
    parallax: Doubles
    mean_error: float

    @classmethod
    def of(cls, model: SparseModel, seen: NDArray[np.bool_], min_views: int) -> "_Tracks":
        pose = model.world_to_camera[model.view]
        depth = np.einsum("mj,mj->m", pose[:, 2, :3], model.points[model.point]) + pose[:, 2, 3]
        usable = seen[model.view] & (depth > 0) & np.isfinite(model.xy).all(-1)
        usable &= np.isfinite(model.error)
        # Views, not observations, make a track: a repeated texture may show one point twice in one
        # photo.
        pairs = np.unique(np.stack([model.point[usable], model.view[usable]], -1), axis=0)
        length = np.bincount(pairs[:, 0], minlength=len(model.points))
        pairs = pairs[length[pairs[:, 0]] >= min_views]
        parallax = _parallax(model.points, model.centres, pairs, length)

        kept = np.flatnonzero(usable & (length[model.point] >= min_views))
        point = model.point[kept]
        count = np.bincount(point, minlength=len(model.points))
        total = np.bincount(point, weights=model.error[kept], minlength=len(model.points))
        point_error = total / np.maximum(count, 1)
        used = count > 0
        return cls(
            view=model.view[kept],
            point=point,
            xy=model.xy[kept],
            error=model.error[kept],
            depth=depth[kept],
            length=length[point],
            point_error=point_error[point],
            parallax=parallax[point],
            mean_error=float(point_error[used].mean()) if used.any() else 0.0,
        )

    def of_view(self, model: SparseModel, name: str, row: int, dtype: torch.dtype) -> Keypoints:
        mine = np.flatnonzero(self.view == row)

        def tensor(values: NDArray[Any]) -> torch.Tensor:
            return torch.as_tensor(values[mine])

        depth, point_error, length = map(tensor, (self.depth, self.point_error, self.length))
        # Pixels are square enough that one focal length serves; 1 stands in for a view the model
        # lacks.
        focal = float(np.sqrt(np.linalg.det(model.intrinsics[row, :2, :2]))) if row >= 0 else 1.0
        std = depth_std(depth, point_error, tensor(self.parallax), length, focal, self.mean_error)
        return Keypoints(
            name=name,
            image_id=int(model.image_ids[row]) if row >= 0 else -1,
            xy=tensor(self.xy).to(dtype),
            depth=depth.to(dtype),
            std=std.to(dtype),
            error=tensor(self.error).to(dtype),
            point_error=point_error.to(dtype),
            track_length=length,
            point_ids=torch.as_tensor(model.point_ids[self.point[mine]]),
            mean_error=self.mean_error,
        )


def _parallax(points: Doubles, centres: Doubles, pairs: Integers, length: Integers) -> Doubles:
    """Find, of all pairs of viewing rays at a point, the angle with the largest sine (radians)."""
    parallax = np.zeros(len(points))
    rays = centres[pairs[:, 1]] - points[pairs[:, 0]]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    of_length = length[pairs[:, 0]]
    # `pairs` is sorted by point, so tracks of equal length stack into one regular array.
    for n in np.unique(of_length):
        chosen = of_length == n
        track = np.reshape(rays[chosen], (-1, n, 3))
        crosses = np.cross(track[:, :, None], track[:, None, :])
        sine = np.linalg.norm(crosses, axis=-1).max((1, 2))
        # The cross product keeps small angles exact, where 1 − cos θ would drown in rounding.
        parallax[pairs[chosen, 0][::n]] = np.arcsin(np.minimum(sine, 1))
    return parallax


def match_names(wanted: list[str], known: list[str]) -> dict[str, int]:
    """Find each wanted name among the known: exactly, or by a stem unique on both sides."""
    exact = {name: i for i, name in enumerate(known)}

    def stems(names: list[str]) -> dict[str, str]:
        by_stem: dict[str, list[str]] = {}
        for name in names:
            by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
        return {stem: same[0] for stem, same in by_stem.items() if len(same) == 1}

    wanted_stems = stems(wanted)
    by_stem = {
        wanted_stems[stem]: exact[name]
        for stem, name in stems(known).items()
        if stem in wanted_stems
    }
    rows = {name: exact.get(name, by_stem.get(name)) for name in wanted}
    return {name: row for name, row in rows.items() if row is not None}


def _few(names: list[str], most: int = 4) -> str:
    listed = ", ".join(names[:most])
    return listed + f", … ({len(names)} in all)" if len(names) > most else listed or "none"
