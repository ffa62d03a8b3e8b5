"""Small captures of a known world, written to disk in each of the formats."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

Array = np.ndarray

SIZE = (48, 36)
FOCAL = 40.0


def noise(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def looking_at(position: Array, target: Array, up: Array) -> Array:
    """(3, 4) camera-to-world, OpenCV axes."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
    return np.stack([right, np.cross(forward, right), forward, position], -1)


@dataclass(frozen=True)
class World:
    """Cameras in a bow before a cloud of points, in a world of its own place, turn and unit."""

    n: int = 10
    unit: float = 3.0
    c2w: Array = field(init=False)
    points: Array = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        place = np.array([5.0, -2.0, 1.0])
        angles = np.linspace(-0.4, 0.4, self.n)
        heights = 0.3 * np.cos(3 * np.arange(self.n))
        positions = np.stack([4 * np.sin(angles), heights, -4 * np.cos(angles)], -1)
        c2w = np.stack([looking_at(p, np.zeros(3), np.array([0.0, -1.0, 0.0])) for p in positions])
        points = rng.uniform(-0.9, 0.9, size=(40, 3))
        object.__setattr__(self, "c2w", _moved(c2w, turn, place, self.unit))
        object.__setattr__(self, "points", self.unit * points @ turn.T + place)

    def moved(self, turn: Array, place: Array, unit: float) -> "World":
        """The same capture in another world, X → unit · turn · X + place."""
        other = World(self.n, self.unit)
        object.__setattr__(other, "c2w", _moved(self.c2w, turn, place, unit))
        object.__setattr__(other, "points", unit * self.points @ turn.T + place)
        return other

    def seen(self, view: int) -> tuple[Array, Array]:
        """Normalised coordinates (40, 2) and z-depths (40,) of the points."""
        rotation, position = self.c2w[view, :, :3], self.c2w[view, :, 3]
        local = (self.points - position) @ rotation
        return local[:, :2] / local[:, 2:], local[:, 2]


def _moved(c2w: Array, turn: Array, place: Array, unit: float) -> Array:
    positions = unit * c2w[:, :, 3] @ turn.T + place
    return np.concatenate([turn @ c2w[:, :, :3], positions[..., None]], -1)


def pixels(normalised: Array, scale: float = 1.0) -> Array:
    return scale * (FOCAL * normalised + np.array(SIZE) / 2)


def bent(xy: Array, k1: float, k2: float, p1: float, p2: float) -> Array:
    x, y = xy.T
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 * r2
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([xd, yd], -1)


def write_model(
    folder: Path,
    world: World,
    names: list[str] | dict[int, str],
    views: list[int] | None = None,
    *,
    scale: float = 1.0,
    lens: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
) -> None:
    """Write a COLMAP text model of some views; ids have gaps and run against the names.

    ``scale``: of the photographs that it was made from, relative to ``SIZE``.
    """
    folder.mkdir(parents=True)
    views = list(range(world.n)) if views is None else views
    width, height = (round(scale * side) for side in SIZE)
    numbers = (scale * FOCAL, scale * FOCAL, width / 2, height / 2, *lens)
    line = " ".join(repr(float(number)) for number in numbers)
    (folder / "cameras.txt").write_text(f"7 OPENCV {width} {height} {line}\n")
    ids = {view: 100 - 3 * view for view in views}
    images = []
    for view in views:
        w2c = world.c2w[view, :, :3].T
        q, t = quaternion(w2c), -w2c @ world.c2w[view, :, 3]
        head = " ".join(repr(float(number)) for number in (*q, *t))
        xy = pixels(bent(world.seen(view)[0], *lens), scale)
        tail = " ".join(f"{x!r} {y!r} {10 + 2 * k}" for k, (x, y) in enumerate(xy.tolist()))
        images += [f"{ids[view]} {head} 7 {names[view]}", tail]
    (folder / "images.txt").write_text("\n".join([*images, ""]))
    rows = []
    for k, point in enumerate(world.points.tolist()):
        track = " ".join(f"{ids[view]} {k}" for view in views)
        rows.append(f"{10 + 2 * k} {' '.join(map(repr, point))} 9 9 9 0.1 {track}")
    (folder / "points3D.txt").write_text("\n".join([*rows, ""]))


def quaternion(rotation: Array) -> Array:
    """(w, x, y, z), as the eigenvector that is fixed by the rotation's bilinear form."""
    m = rotation
    form = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [0, m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [0, 0, m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
            [0, 0, 0, m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    vectors = np.linalg.eigh(form, UPLO="U")[1]
    return vectors[:, -1]


def write_photos(folder: Path, names: list[str], size: tuple[int, int] = SIZE) -> None:
    folder.mkdir(parents=True)
    for k, name in enumerate(names):
        Image.fromarray(noise(size[1], size[0], 3) // 2 + k).save(folder / name)


def write_llff(folder: Path, world: World, *, factor: int = 8) -> list[str]:
    """Photographs ``factor`` times as large as ``images_8``, in which COLMAP's pixels are."""
    names = [f"image{i:03d}.png" for i in range(world.n)]
    write_photos(folder / "images_8", names)
    rows = []
    for view, c2w in enumerate(world.c2w):
        right, down, forward, position = c2w.T
        hwf = np.array([factor * SIZE[1], factor * SIZE[0], factor * FOCAL])
        pose = np.stack([down, right, -forward, position, hwf], -1)
        depth = world.seen(view)[1]
        rows.append(np.concatenate([pose.ravel(), [depth.min(), depth.max()]]))
    np.save(folder / "poses_bounds.npy", np.stack(rows))
    return names


def write_transforms(
    folder: Path,
    world: World,
    *,
    lens: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    **extra: object,
) -> list[str]:
    names = [f"images/{i:04d}.png" for i in range(world.n)]
    write_photos(folder / "images", [name.removeprefix("images/") for name in names])
    frames = [
        {"file_path": f"./{name}", "transform_matrix": opengl(c2w)}
        for name, c2w in zip(names, world.c2w, strict=True)
    ]
    content = {
        "fl_x": FOCAL,
        "fl_y": FOCAL,
        "cx": SIZE[0] / 2,
        "cy": SIZE[1] / 2,
        "w": SIZE[0],
        "h": SIZE[1],
        **dict(zip(("k1", "k2", "p1", "p2"), lens, strict=True)),
        **extra,
        # As converters write them: in no order.
        "frames": frames[::-1],
    }
    (folder / "transforms.json").write_text(json.dumps(content))
    return names


def opengl(c2w: Array) -> list[list[float]]:
    return [*(c2w * np.array([1, -1, -1, 1])).tolist(), [0.0, 0.0, 0.0, 1.0]]


def write_blender(
    folder: Path, train: list[int], test: list[int], size: tuple[int, int] = (20, 20)
) -> None:
    for part, numbers in (("train", train), ("test", test)):
        (folder / part).mkdir(parents=True)
        frames = []
        for number in numbers:
            pixels = noise(size[1], size[0], 4)
            pixels[0, 0] = 0
            pixels[..., 1] = number
            Image.fromarray(pixels).save(folder / part / f"r_{number}.png")
            angle = 0.1 * number
            position = np.array([3.2 * np.cos(angle), 3.2 * np.sin(angle), 2.45])
            c2w = looking_at(position, np.zeros(3), np.array([0.0, 0.0, 1.0]))
            frames.append({"file_path": f"./{part}/r_{number}", "transform_matrix": opengl(c2w)})
        content = {"camera_angle_x": 0.6911112070083618, "frames": frames}
        (folder / f"transforms_{part}.json").write_text(json.dumps(content))


def projection(world: World, view: int, scale: float = 1.0) -> Array:
    """(3, 4) world to pixels of photographs ``scale`` times ``SIZE``."""
    width, height = SIZE
    k = np.array([[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1 / scale]]) * scale
    w2c = world.c2w[view, :, :3].T
    return k @ np.concatenate([w2c, -w2c @ world.c2w[view, :, 3:]], -1)


def write_idr(
    folder: Path,
    world: World,
    *,
    file: str = "cameras_sphere.npz",
    scale: float = 1.0,
    masks: bool = True,
) -> list[str]:
    """IDR's layout; matrices of no particular scale or sign, for photographs ``scale`` as large."""
    names = [f"{i:06d}.png" for i in range(world.n)]
    write_photos(folder / "image", names)
    if masks:
        write_masks(folder / "mask", world.n)
    arrays = {}
    for i in range(world.n):
        matrix = np.eye(4)
        matrix[:3] = (-2.0 if i % 2 else 0.5) * projection(world, i, scale)
        arrays[f"world_mat_{i}"] = matrix
        arrays[f"scale_mat_{i}"] = np.diag([2.0, 2.0, 2.0, 1.0])
    np.savez(folder / file, **arrays)
    return names


def write_masks(folder: Path, n: int, size: tuple[int, int] = SIZE) -> None:
    """White from row 6 and column 8 on, after a column that is grey, as edges are."""
    folder.mkdir(parents=True)
    mask = np.zeros(size[::-1], np.uint8)
    mask[6:, 8:] = 255
    mask[6:, 7] = 254
    for i in range(n):
        Image.fromarray(mask).save(folder / f"{i:03d}.png")


def write_rectified(root: Path, world: World, scan: str = "scan8") -> Path:
    """DTU's release: photographs reduced to ``SIZE``, cameras for 1600 pixels of width."""
    folder = root / "Rectified" / scan
    write_photos(folder, [f"rect_{i + 1:03d}_3_r5000.png" for i in range(world.n)])
    # Other lights lie beside.
    (folder / "rect_001_0_r5000.png").write_bytes(b"not looked at")
    calibration = root / "Calibration" / "cal18"
    calibration.mkdir(parents=True)
    for i in range(world.n):
        rows = projection(world, i, 1600 / SIZE[0])
        lines = [" ".join(repr(float(number)) for number in row) for row in rows]
        (calibration / f"pos_{i + 1:03d}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_workspace(folder: Path, world: World, **options: object) -> list[str]:
    """COLMAP's: images and a model of them."""
    names = [f"left/{i:03d}.png" for i in range(world.n)]
    write_photos(folder / "images" / "left", [name.removeprefix("left/") for name in names])
    write_model(folder / "sparse" / "0", world, names, **options)
    model = folder / "sparse" / "0" / "cameras.txt"
    if "lens" not in options:
        words = model.read_text().split()
        model.write_text(" ".join([words[0], "PINHOLE", *words[2:8]]) + "\n")
    return names


def write_redwood(folder: Path, world: World, size: tuple[int, int] = SIZE) -> None:
    """A scan of a wall at z-depth 2 metres before each camera, colour 10 ms after depth."""
    width, height = size
    (folder / "depth").mkdir(parents=True)
    names, lines = [], []
    for i, c2w in enumerate(world.c2w):
        depth = np.full((height, width), 2000, np.uint16)
        depth[: height // 2, : width // 2] = 0
        depth[:, -6:] = 4000
        time = 33_333 * i
        Image.fromarray(depth).save(folder / "depth" / f"{i + 1:07d}-{time:012d}.png")
        # A colour frame between any two that belong to depth frames.
        names += [f"{2 * i + 1:07d}-{time + 10_000:012d}.png"]
        names += [f"{2 * i + 2:07d}-{time + 20_000:012d}.png"]
        rows = [*c2w.tolist(), [0.0, 0.0, 0.0, 1.0]]
        lines += [f"{i} {i} {i + 1}", *(" ".join(map(repr, row)) for row in rows)]
    write_photos(folder / "rgb", names, size)
    (folder / "trajectory.log").write_text("\n".join(lines) + "\n")
