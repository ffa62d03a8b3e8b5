"""A scene that needs no download: a small room of textured solids, traced with exact depth.

Keypoints are simulated as structure-from-motion would deliver them: a surface point is seen in two
or three training views, each observation is off by a fraction of a pixel, some are matched wrongly,
and depth, reprojection error and standard deviation come from triangulating those observations, not
from the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nerfreg.supervision import Keypoints, depth_std
from nerfreg.views import AroundFocusPoses, Cameras, Rays
from reference_impl.scenes.scene import Scene, SceneError
from reference_impl.scenes.splits import evenly_spaced

Array = NDArray[np.float64]
Texture = Callable[[Array], Array]

WIDTH, HEIGHT = 96, 72
N_CAMERAS = 24
FOCUS = np.array([0.0, 0.4, 0.8])
# One unit of the scene's world is two of the solids' below: cameras stand two units from the middle
# and the bounds are about DTU's in RegNeRF's normalisation, so that published weights keep their
# meaning.
UNIT = 2.0
NEAR, FAR = 0.5, 4.25
# Of a mobile photograph's SIFT matches: localisation error in pixels, and the share of wrong
# matches that survive verification.
MATCH_STD, OUTLIERS = 0.35, 0.04


def _waves(
    base: tuple[float, float, float], seed: int, frequency: float, contrast: float
) -> Texture:
    """A smooth, aperiodic pattern: a sum of plane waves, mostly of brightness, a little of hue."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(6, 3))
    directions *= frequency / np.linalg.norm(directions, axis=1, keepdims=True)
    directions *= rng.uniform(0.5, 2.0, size=(6, 1))
    phases = rng.uniform(0, 2 * np.pi, 6)
    mix = (rng.normal(size=(6, 1)) + 0.4 * rng.normal(size=(6, 3))) * contrast / np.sqrt(6)

    def texture(x: Array) -> Array:
        return np.clip(np.asarray(base) + np.sin(x @ directions.T + phases) @ mix, 0.03, 0.97)

    return texture


def _checker(base: Texture, size: float, strength: float) -> Texture:
    """Darken every other cell of a chessboard laid over another texture."""

    def texture(x: Array) -> Array:
        odd = np.floor(x[..., :2] / size).sum(-1) % 2
        return base(x) * (1 - strength * odd[..., None])

    return texture


@dataclass(frozen=True)
class _Sphere:
    centre: tuple[float, float, float]
    radius: float
    texture: Texture

    def hit(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        offset = origins - np.asarray(self.centre)
        a, b = (directions**2).sum(-1), (offset * directions).sum(-1)
        discriminant = b**2 - a * ((offset**2).sum(-1) - self.radius**2)
        t = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
        t = np.where((discriminant > 0) & (t > 1e-6), t, np.inf)
        normals = (offset + np.where(np.isfinite(t), t, 0)[..., None] * directions) / self.radius
        return t, normals


@dataclass(frozen=True)
class _Box:
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    texture: Texture
    inside: bool = False  # a room, seen from within

    def hit(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        with np.errstate(divide="ignore"):
            inverse = 1 / np.where(np.abs(directions) < 1e-12, 1e-12, directions)
        a, b = (
            (np.asarray(self.low) - origins) * inverse,
            (np.asarray(self.high) - origins) * inverse,
        )
        entries, exits = np.minimum(a, b), np.maximum(a, b)
        enter, leave = entries.max(-1), exits.min(-1)
        t, axis = (leave, exits.argmin(-1)) if self.inside else (enter, entries.argmax(-1))
        t = np.where((enter < leave) & (t > 1e-6), t, np.inf)
        normals = np.eye(3)[axis] * -np.sign(np.take_along_axis(directions, axis[..., None], -1))
        return t, normals


_SOLIDS = (
    _Box(
        (-3.2, -6.0, 0.0),
        (3.2, 2.6, 3.4),
        _checker(_waves((0.62, 0.55, 0.48), 1, 3.2, 0.33), 0.55, 0.3),
        True,
    ),
    _Sphere((-0.95, 0.15, 0.55), 0.55, _waves((0.75, 0.35, 0.25), 2, 7.0, 0.45)),
    _Sphere((0.75, -0.55, 0.38), 0.38, _waves((0.25, 0.45, 0.75), 3, 9.0, 0.45)),
    _Sphere((0.1, 1.5, 1.9), 0.5, _waves((0.85, 0.75, 0.35), 4, 7.0, 0.4)),
    _Box((0.45, 0.7, 0.0), (1.45, 1.5, 1.35), _waves((0.35, 0.62, 0.38), 5, 6.0, 0.4)),
    _Box((-2.0, 1.2, 0.0), (-1.3, 1.9, 1.9), _waves((0.6, 0.4, 0.62), 6, 6.0, 0.4)),
)


def _trace(origins: Array, directions: Array) -> tuple[Array, Array]:
    """Colour and ray parameter of the first surface along each ray."""
    light = np.array([-0.45, -0.7, 0.75])
    light /= np.linalg.norm(light)
    nearest = np.full(origins.shape[:-1], np.inf)
    colour = np.zeros_like(origins)
    for solid in _SOLIDS:
        t, normals = solid.hit(origins, directions)
        closer = t < nearest
        points = origins[closer] + t[closer, None] * directions[closer]
        shade = 0.55 + 0.45 * np.abs(normals[closer] @ light)
        colour[closer] = solid.texture(points) * shade[:, None]
        nearest[closer] = t[closer]
    return colour, nearest


def trace_depth(rays: Rays[torch.Tensor]) -> torch.Tensor:
    """Parameter t (…) of the first surface along rays (…) in the scene's world."""
    _, t = _trace(rays.origins.double().numpy() * UNIT, rays.directions.double().numpy())
    return torch.from_numpy(t / UNIT).float()


def _cameras(width: int) -> Cameras:
    """A hand-held sweep past the scene: left to right, up and down twice, facing the middle."""
    scale = width / WIDTH
    height = round(HEIGHT * scale)
    angle = np.linspace(-0.62, 0.62, N_CAMERAS)
    elevation = 0.38 + 0.12 * np.sin(np.arange(N_CAMERAS) * 1.7)
    radius = 4.1 + 0.25 * np.cos(np.arange(N_CAMERAS) * 2.3)
    position = FOCUS + radius[:, None] * np.stack(
        [np.sin(angle) * np.cos(elevation), -np.cos(angle) * np.cos(elevation), np.sin(elevation)],
        -1,
    )
    forward = FOCUS - position
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    down = np.cross(forward, right)
    c2w = torch.from_numpy(np.stack([right, down, forward, position], -1))
    focal = 82.0 * scale
    intrinsics = torch.tensor(
        [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64
    )
    return Cameras.from_opencv(c2w, intrinsics.expand(N_CAMERAS, 3, 3), width, height)


def _photograph(cameras: Cameras, samples: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """8-bit photographs (the mean of samples² rays a pixel) and exact z-depth at pixel centres."""
    h, w = cameras.height, cameras.width
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    centre = torch.stack([x, y], -1).double().expand(len(cameras), h, w, 2)
    index = torch.arange(len(cameras))[:, None, None].expand(-1, h, w)

    def trace(xy: torch.Tensor) -> tuple[Array, Array]:
        rays = cameras.rays(index, xy)
        return _trace(rays.origins.numpy(), rays.directions.numpy())

    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    colour = np.mean(
        [trace(centre + torch.tensor([dx, dy]))[0] for dx in offsets for dy in offsets], axis=0
    )
    images = torch.from_numpy(np.round(colour * 255).astype(np.uint8))
    return images, torch.from_numpy(trace(centre)[1]).float()


def _triangulate(origins: Array, directions: Array) -> Array:
    """The point nearest to all rays of a track, (views, 3) each, in the least-squares sense."""
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    projectors = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    return np.linalg.lstsq(
        projectors.sum(0), (projectors @ origins[..., None]).sum(0)[:, 0], rcond=None
    )[0]


def _keypoints(
    cameras: Cameras, train: list[int], per_view: int, seed: int
) -> dict[int, Keypoints]:
    """What structure-from-motion between the training views alone would know."""
    rng = np.random.default_rng(seed)
    focal = float(cameras.intrinsics[0, 0, 0])
    size = np.array([cameras.width, cameras.height], dtype=np.float64)
    observations: dict[int, list[tuple[float, ...]]] = {view: [] for view in train}
    tracks: list[tuple[list[int], Array, Array, Array, float]] = []
    centres = cameras.c2w[:, :, 3].numpy()
    for view in train:
        xy = rng.uniform(2, size - 2, size=(per_view, 2))
        rays = cameras.rays(torch.full((per_view,), view), torch.from_numpy(xy))
        _, t = _trace(rays.origins.numpy(), rays.directions.numpy())
        for point in rays.origins.numpy() + t[:, None] * rays.directions.numpy():
            views, seen = [], []
            for other in train:
                projected, depth = (
                    v.numpy()
                    for v in cameras.project(torch.from_numpy(point)[None], torch.tensor([other]))
                )
                direction = point - centres[other]
                _, first = _trace(centres[other][None], direction[None])
                if (
                    ((projected[0] > 1) & (projected[0] < size - 1)).all()
                    and depth[0] > 0
                    and first[0] > 0.999
                ):
                    views.append(other)
                    seen.append(projected[0])
            if len(views) < 2:
                continue
            matched = np.array(seen) + rng.normal(size=(len(seen), 2)) * MATCH_STD
            if rng.uniform() < OUTLIERS:
                matched[rng.integers(len(views))] += rng.normal(size=2) * 5
            matched_rays = cameras.rays(torch.tensor(views), torch.from_numpy(matched))
            solved = _triangulate(matched_rays.origins.numpy(), matched_rays.directions.numpy())
            back, depths = cameras.project(
                torch.from_numpy(solved).expand(len(views), 3), torch.tensor(views)
            )
            if (depths <= 0).any():
                continue
            residuals = np.linalg.norm(back.numpy() - matched, axis=-1)
            towards = solved - centres[views]
            towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
            parallax = float(np.arccos(np.clip(towards @ towards.T, -1, 1)).max())
            tracks.append((views, matched, depths.numpy(), residuals, parallax))
    mean_error = float(np.mean([residuals.mean() for _, _, _, residuals, _ in tracks]))
    for identity, (views, matched, depths, residuals, parallax) in enumerate(tracks):
        for view, xy, depth, own in zip(views, matched, depths, residuals, strict=True):
            observations[view].append(
                (*xy, depth, own, residuals.mean(), parallax, len(views), identity)
            )
    keypoints: dict[int, Keypoints] = {}
    for view, rows in observations.items():
        table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 8)
        depth, own, error, parallax, length = table[:, 2:7].unbind(-1)
        keypoints[view] = Keypoints(
            name=f"view{view:02d}",
            image_id=view,
            xy=table[:, :2].float(),
            depth=depth.float(),
            std=depth_std(depth, error, parallax, length, focal, mean_error).float(),
            error=own.float(),
            point_error=error.float(),
            track_length=length.long(),
            point_ids=table[:, 7].long(),
            mean_error=mean_error,
        )
    return keypoints


def load_embedded(n_views: int = 3, *, width: int | None = None, per_view: int = 160) -> Scene:
    """Trace the embedded scene.

    Args:
        n_views: number of training views, evenly spaced along the sweep; at least 2, for keypoints.
        width: of the photographs, in pixels (height is 3/4 of it); at least 16, by default 96.
        per_view: surface points tried as keypoints in each training view; those visible in another
            training view are kept.

    Returns:
        24 cameras, every fourth of them a test view; the scene itself never changes, whatever the
        seed of a training.

    Raises:
        SceneError: too few or too many views, or photographs too small to compare.
    """
    if n_views < 2:
        raise SceneError("embedded", f"keypoints need --views of at least 2, got {n_views}")
    # SSIM's window is 11 pixels wide.
    if width is not None and width < 16:
        raise SceneError("embedded", f"--width must be at least 16, got {width}")
    try:
        train, test = evenly_spaced(N_CAMERAS, n_views, every=4, offset=2)
    except ValueError as error:
        raise SceneError("embedded", str(error)) from None
    cameras = _cameras(width or WIDTH)
    images, depth = _photograph(cameras)
    keypoints = _keypoints(cameras, train, per_view, seed=0)
    c2w = torch.cat([cameras.c2w[..., :3], cameras.c2w[..., 3:] / UNIT], -1)
    cameras = replace(cameras, c2w=c2w).to(dtype=torch.float32)
    return Scene(
        name="embedded",
        images=images,
        cameras=cameras,
        names=[f"view{i:02d}" for i in range(N_CAMERAS)],
        train=train,
        test=test,
        near=NEAR,
        far=FAR,
        keypoints={view: k.scaled(1 / UNIT) for view, k in keypoints.items()},
        depth=depth / UNIT,
        surface=trace_depth,
        unseen=AroundFocusPoses.from_cameras(cameras[torch.tensor(train)]),
        split=f"every 4th of {N_CAMERAS} views from the 3rd is a test view;"
        f" {n_views} evenly spaced of the rest",
    )
