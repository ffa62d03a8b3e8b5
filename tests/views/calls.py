"""Every function of poses and rays with numbers to call it on, for tests over all of them.

A function here takes arrays by name, so that libraries, gradients and compiled graphs can be
compared without knowing what is compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nerfreg import views
from nerfreg.vectors import away_from_zero, cross, length, unit
from nerfreg.views import Cameras, Rays
from tests.views.scenes import any_intrinsics, any_poses, forward_facing_poses, ring_poses


@dataclass(frozen=True)
class Call:
    """A function and what it is called with.

    Attributes:
        function: takes arrays by name; gives arrays, rays or cameras.
        inputs: float64 arrays, or integer ones, by name.
        strict: whether it keeps to the standard, which has no arrays of integers as index.
    """

    function: Callable[..., Any]
    inputs: dict[str, np.ndarray]
    strict: bool = True

    def __call__(self, **arrays: Any) -> tuple[Any, ...]:
        found = self.function(**arrays)
        if isinstance(found, Cameras):
            return found.c2w, found.intrinsics
        if isinstance(found, Rays):
            return found.origins, found.directions, found.viewdirs, found.radii
        return found if isinstance(found, tuple) else (found,)


def rays(origins: Any, directions: Any) -> Rays[Any]:
    return Rays(origins, directions, unit(directions), directions[..., :1])


def cameras(c2w: Any, intrinsics: Any) -> Cameras[Any]:
    return Cameras(c2w, intrinsics, 64, 48)


RNG = np.random.default_rng(0)
POSES, OTHERS = any_poses(5, 0).numpy(), any_poses(5, 1).numpy()
RING, AHEAD = ring_poses().numpy(), forward_facing_poses().numpy()
K = any_intrinsics(5, 0).numpy()
POINTS, UPS, POSITIONS = RNG.normal(size=(3, 5, 3))
# In front of cameras that look along −z.
SEEN = np.concatenate([0.5 * POINTS[:, :2], -RNG.uniform(2.0, 4.0, (5, 1))], axis=1)
QUATERNIONS = RNG.normal(size=(2, 5, 4))
QUATERNIONS /= np.linalg.norm(QUATERNIONS, axis=-1, keepdims=True)
WEIGHT, T, XY = RNG.uniform(size=5), RNG.uniform(0.5, 0.9, (5, 3)), 48 * RNG.uniform(size=(5, 2))

TURN = {"first": QUATERNIONS[0], "second": QUATERNIONS[1], "weight": WEIGHT}
FRAME = {"axis": POINTS, "up": UPS, "position": POSITIONS}
LOOK = {"position": POSITIONS, "target": POINTS[0], "up": UPS[0]}
PINHOLE = {"c2w": POSES, "intrinsics": K, "xy": XY}
PROJECTION = {"c2w": AHEAD, "intrinsics": K, "points": SEEN}
NDC = {"c2w": AHEAD, "intrinsics": K, "xy": XY, "scale": np.array([1.5, 2.0])}
LINES = {
    "origins": AHEAD[..., 3],
    "directions": np.concatenate([0.1 * POINTS[:, :2], -np.ones((5, 1))], axis=1),
}
CAMERAS = {"c2w": AHEAD, "intrinsics": K}
SOME = {**CAMERAS, "index": np.array([4, 0, 0, 2])}


def first(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first of a batch: results without an axis are scalars in NumPy."""
    return {name: x[0] if len(x) == 5 else x for name, x in inputs.items()}


# A name with a space is another case of what has that name without it.
CALLS: dict[str, Call] = {
    "length": Call(length, {"v": POINTS}),
    "unit": Call(unit, {"v": POINTS}),
    "cross": Call(cross, {"a": POINTS, "b": UPS}),
    "away_from_zero": Call(away_from_zero, {"x": np.array([0.5, -2.0, 0.0, -0.0, 1e-300])}),
    "quaternion_to_rotation": Call(views.quaternion_to_rotation, {"quaternion": QUATERNIONS[0]}),
    "quaternion_to_rotation of one": Call(
        views.quaternion_to_rotation, {"quaternion": QUATERNIONS[0, 0]}
    ),
    "rotation_to_quaternion": Call(views.rotation_to_quaternion, {"rotation": POSES[..., :3]}),
    "rotation_to_quaternion of one": Call(
        views.rotation_to_quaternion, {"rotation": POSES[0, :, :3]}
    ),
    "slerp": Call(views.slerp, TURN),
    "slerp of one": Call(views.slerp, first(TURN)),
    "slerp of next to nothing": Call(views.slerp, {**TURN, "second": QUATERNIONS[0] + 1e-12}),
    "opengl_to_opencv": Call(views.opengl_to_opencv, {"c2w": POSES}),
    "opencv_to_opengl": Call(views.opencv_to_opengl, {"c2w": POSES[0]}),
    "colmap_to_opencv": Call(views.colmap_to_opencv, {"qvec": 3 * QUATERNIONS[0], "tvec": POINTS}),
    "opencv_to_colmap": Call(views.opencv_to_colmap, {"c2w": POSES}),
    "view_matrix": Call(views.view_matrix, FRAME),
    "view_matrix of many": Call(
        views.view_matrix, {**FRAME, "up": UPS[0], "position": POSITIONS[0]}
    ),
    "view_matrix straight up": Call(views.view_matrix, {**FRAME, "up": 2 * POINTS}),
    "look_at": Call(views.look_at, LOOK),
    "look_at of one": Call(views.look_at, {**LOOK, "position": POSITIONS[0]}),
    "compose_poses": Call(views.compose_poses, {"outer": POSES, "inner": OTHERS}),
    "compose_poses of one and many": Call(
        views.compose_poses, {"outer": POSES[0], "inner": OTHERS}
    ),
    "invert_pose": Call(views.invert_pose, {"pose": POSES}),
    "average_pose": Call(views.average_pose, {"poses": RING}),
    "recenter_poses": Call(views.recenter_poses, {"poses": RING}),
    "focus_point": Call(views.focus_point, {"poses": RING}),
    "to_unit_hemisphere": Call(views.to_unit_hemisphere, {"poses": RING}),
    "spiral_path": Call(
        partial(views.spiral_path, n_frames=7), {"cameras": RING, "target": POINTS[0]}
    ),
    "spiral_path ahead": Call(
        partial(views.spiral_path, target=2.0, n_frames=3, quantile=0.3), {"cameras": RING}
    ),
    "orbit_path": Call(
        partial(views.orbit_path, n_frames=7), {"cameras": RING, "centre": POINTS[0], "up": UPS[0]}
    ),
    "orbit_path around the focus": Call(partial(views.orbit_path, n_frames=3), {"cameras": RING}),
    "pinhole_rays": Call(views.pinhole_rays, PINHOLE),
    "pinhole_rays of one": Call(views.pinhole_rays, first(PINHOLE)),
    "pinhole_rays of many": Call(
        views.pinhole_rays, {"c2w": POSES[:, None], "intrinsics": K[0], "xy": XY[:4]}
    ),
    "project_points": Call(views.project_points, PROJECTION),
    "project_points of one": Call(views.project_points, first(PROJECTION)),
    "project_points at the camera": Call(
        views.project_points, {**PROJECTION, "points": AHEAD[..., 3]}
    ),
    "ndc_scale": Call(partial(views.ndc_scale, width=64, height=48), {"intrinsics": K}),
    "to_ndc": Call(partial(views.to_ndc, near=1.2), {**LINES, "scale": NDC["scale"]}),
    "ndc_rays": Call(partial(views.ndc_rays, size=(64, 48), near=1.2), NDC),
    "ndc_rays of one": Call(partial(views.ndc_rays, size=(64, 48)), first(NDC)),
    "ndc_rays of the last pixel": Call(
        partial(views.ndc_rays, size=(64, 48)), {**NDC, "xy": np.full((5, 2), [63.5, 47.5])}
    ),
    "depth_to_ndc": Call(
        lambda t, **line: views.depth_to_ndc(t, rays(**line), 0.5), {**LINES, "t": 3 * T}
    ),
    "depth_to_ndc of one": Call(
        lambda t, **line: views.depth_to_ndc(t, rays(**line)), first({**LINES, "t": 3 * WEIGHT})
    ),
    "ndc_to_depth": Call(lambda t, **line: views.ndc_to_depth(t, rays(**line)), {**LINES, "t": T}),
    "ndc_to_depth of infinity": Call(
        lambda t, **line: views.ndc_to_depth(t, rays(**line)), {**LINES, "t": np.ones(5)}
    ),
    "plane_parameter": Call(lambda **line: views.plane_parameter(rays(**line), -2.0), LINES),
    "shift_origins": Call(lambda **line: views.shift_origins(rays(**line), -2.0), LINES),
    "Rays.at": Call(lambda t, **line: rays(**line).at(t), {**LINES, "t": T}),
    "Rays.at one t": Call(lambda t, **line: rays(**line).at(t), {**LINES, "t": WEIGHT}),
    "Rays.flatten": Call(lambda **line: rays(**line).map(lambda x: x[:, None, :]).flatten(), LINES),
    "Rays.cat": Call(
        lambda **line: Rays.cat([rays(**line), rays(**line)[1:3], rays(**line)[..., 3:]]), LINES
    ),
    "Cameras.from_opencv": Call(
        partial(Cameras.from_opencv, width=64, height=48), {"c2w": RING, "intrinsics": K[0]}
    ),
    "Cameras.from_opengl": Call(
        partial(Cameras.from_opengl, width=64, height=48), {"c2w": RING, "intrinsics": K}
    ),
    "Cameras.from_colmap": Call(
        partial(Cameras.from_colmap, width=64, height=48),
        {"qvec": QUATERNIONS[0], "tvec": POINTS, "intrinsics": K},
    ),
    "Cameras.resized": Call(lambda **both: cameras(**both).resized(16, 36), CAMERAS),
    "Cameras[i]": Call(lambda **both: cameras(**both)[-2], CAMERAS),
    "Cameras[i:j]": Call(lambda **both: cameras(**both)[1:4:2], CAMERAS),
    "Cameras[list]": Call(lambda **both: cameras(**both)[[3, 0]], CAMERAS, strict=False),
    "Cameras[array]": Call(lambda index, **both: cameras(**both)[index], SOME, strict=False),
    "Cameras.image_rays": Call(lambda **both: cameras(**both).image_rays(1)[::16, 40:42], CAMERAS),
    "Cameras.rays": Call(
        lambda index, xy, **both: cameras(**both).rays(index, xy),
        {**SOME, "xy": XY[:4]},
        strict=False,
    ),
    "Cameras.ndc_rays": Call(
        lambda index, xy, **both: cameras(**both).ndc_rays(index, xy, near=1.2),
        {**SOME, "xy": XY[:4]},
        strict=False,
    ),
    "Cameras.project": Call(
        lambda index, points, **both: cameras(**both).project(points, index),
        {**SOME, "points": SEEN[:4]},
        strict=False,
    ),
}
