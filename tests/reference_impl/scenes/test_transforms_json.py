import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nerfreg.supervision import SupervisionWarning
from nerfreg.views import AroundFocusPoses, ForwardFacingPoses
from reference_impl.scenes import Scene, SceneError, load_scene
from tests.reference_impl.scenes import captures
from tests.reference_impl.scenes.captures import World, write_model, write_transforms

pytest.importorskip("pycolmap", reason="reading COLMAP models needs pycolmap")

LENS = (0.06, -0.04, 0.001, -0.002)
TRAIN, TEST = [1, 5, 9], [0, 8]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def folder(tmp_path: Path, world: World) -> Path:
    names = write_transforms(tmp_path / "scene", world, lens=LENS)
    bare = [Path(name).name for name in names]
    write_model(tmp_path / "scene/sparse/0", world, bare, lens=LENS)
    write_model(tmp_path / "scene/sparse_train3/0", world, bare, TRAIN, lens=LENS)
    return tmp_path / "scene"


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def fits(scene: Scene, world: World) -> None:
    for kind in (scene.keypoints, scene.points):
        for view, k in kind.items():
            normalised, depth = world.seen(view)
            rows = (k.point_ids - 10) // 2
            # Undistorted: where a pinhole sees the points.
            np.testing.assert_allclose(k.xy, captures.pixels(normalised)[rows], atol=2e-3)
            unit = float(scene.cameras.c2w[0, :, 3].norm()) / float(
                np.linalg.norm(world.c2w[0, :, 3] - centre(world))
            )
            np.testing.assert_allclose(k.depth, unit * depth[rows], rtol=1e-3)
            rays = scene.cameras.rays(torch.tensor(view), k.xy)
            points = rays.origins + k.depth[:, None] * rays.directions
            for other, there in kind.items():
                xy, _ = scene.cameras.project(points, torch.tensor(other))
                row, column = (k.point_ids[:, None] == there.point_ids).nonzero(as_tuple=True)
                torch.testing.assert_close(xy[row], there.xy[column], atol=1e-2, rtol=0)


def centre(world: World) -> np.ndarray:
    """What all cameras look at: the origin of the world before it was moved."""
    axes, positions = world.c2w[:2, :, 2], world.c2w[:2, :, 3]
    system = sum(np.eye(3) - np.outer(a, a) for a in axes)
    side = sum((np.eye(3) - np.outer(a, a)) @ p for a, p in zip(axes, positions, strict=True))
    return np.linalg.solve(system, side)


def test_frames_are_sorted_and_split(folder: Path):
    scene = load_scene(folder, 3)
    assert scene.names[:2] == ["images/0000.png", "images/0001.png"]
    assert (scene.train, scene.test) == (TRAIN, TEST)
    assert (scene.ndc_near, scene.background) == (None, 0.0)
    assert isinstance(scene.unseen, AroundFocusPoses)
    assert scene.unseen.sample(3).shape == (3, 3, 4)


def test_cameras_look_at_the_origin_from_distance_four(folder: Path):
    cameras = load_scene(folder, 3).cameras
    _, depth = cameras.project(torch.zeros(len(cameras), 3), torch.arange(len(cameras)))
    assert float(depth.mean()) == pytest.approx(4, rel=1e-5)
    # All optical axes meet there, so the world's origin is in the middle of each image.
    xy, _ = cameras.project(torch.zeros(len(cameras), 3), torch.arange(len(cameras)))
    torch.testing.assert_close(
        xy, torch.tensor([24.0, 18.0]).expand(len(cameras), 2), atol=0.01, rtol=0
    )


def test_keypoints_are_undistorted_and_in_the_scenes_units(folder: Path, world: World):
    scene = load_scene(folder, 3)
    assert list(scene.keypoints) == TRAIN
    assert list(scene.points) == [i for i in range(len(scene.images)) if i not in TRAIN]
    assert min(len(k) for k in scene.keypoints.values()) > 20
    fits(scene, world)


def test_models_in_another_world(tmp_path: Path, world: World):
    names = write_transforms(tmp_path, world)
    turn = captures.looking_at(np.zeros(3), np.array([1.0, 2, -1]), np.array([0.0, 1, 0]))[:, :3]
    other = world.moved(turn, np.array([1.0, 20, -3]), 0.2)
    write_model(tmp_path / "sparse_train3/0", other, names, TRAIN)
    scene = load_scene(tmp_path, 3)
    assert list(scene.keypoints) == TRAIN
    fits(scene, world)


def test_models_of_other_cameras_are_refused(tmp_path: Path, world: World):
    names = write_transforms(tmp_path, world)
    warped = world.moved(np.eye(3), np.zeros(3), 1.0)
    warped.c2w[:, :, 3] *= np.array([1.0, 1.4, 0.8])
    write_model(tmp_path / "sparse_train3/0", warped, names, TRAIN)
    with pytest.warns(SupervisionWarning, match="not used: between the scene's cameras its points"):
        scene = load_scene(tmp_path, 3)
    assert scene.keypoints == {}


def test_bounds_come_from_keypoints(folder: Path):
    scene, without = load_scene(folder, 3), load_scene(folder, 3, keypoints=False)
    depths = torch.cat([k.depth for k in scene.keypoints.values()])
    assert 0.7 * depths.min() < scene.near < depths.min()
    assert depths.max() < scene.far < 1.3 * depths.max()
    assert without.keypoints == {}
    assert (without.near, without.far) == (scene.near, scene.far)


def test_bounds_without_a_model(tmp_path: Path, world: World):
    write_transforms(tmp_path, world)
    scene = load_scene(tmp_path, 3)
    assert (scene.near, scene.far) == (1.0, 10.0)


def test_photos_are_undistorted(tmp_path: Path, world: World):
    write_transforms(tmp_path / "bent", world, lens=LENS)
    write_transforms(tmp_path / "straight", world)
    bent, straight = (load_scene(tmp_path / name, 3).images for name in ("bent", "straight"))
    assert not bent.equal(straight)
    # Without distortion photos are what is on disk.
    stored = np.asarray(Image.open(tmp_path / "straight/images/0004.png"))
    assert np.array_equal(straight[4].numpy(), stored)


def test_reduced_photos(folder: Path):
    scene, small = load_scene(folder, 3), load_scene(folder, 3, width=24)
    assert small.images.shape == (10, 18, 24, 3)
    assert float(small.cameras.intrinsics[0, 0, 0]) == captures.FOCAL / 2
    torch.testing.assert_close(small.keypoints[5].xy, scene.keypoints[5].xy / 2)
    assert (small.near, small.far) == pytest.approx((scene.near, scene.far))


def test_intrinsics_of_larger_photographs_and_of_each_frame(folder: Path):
    def larger(content: dict[str, Any]) -> None:
        for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
            content[key] *= 4
        content["frames"][0]["fl_x"] = 4 * 50.0

    change(folder, larger)
    for model in ("sparse", "sparse_train3"):
        shutil.rmtree(folder / model)
    cameras = load_scene(folder, 3).cameras
    assert cameras.intrinsics[0].tolist() == [[40, 0, 24], [0, 40, 18], [0, 0, 1]]
    assert float(cameras.intrinsics[9, 0, 0]) == 50.0


def test_angle_instead_of_focal_length(tmp_path: Path, world: World):
    write_transforms(tmp_path, world)

    def angle(content: dict[str, Any]) -> None:
        for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
            del content[key]
        content["camera_angle_x"] = 2 * math.atan(24 / 40)

    change(tmp_path, angle)
    expected = torch.tensor([[40.0, 0, 24], [0, 40, 18], [0, 0, 1]])
    torch.testing.assert_close(load_scene(tmp_path, 3).cameras.intrinsics[3], expected)


def test_parallel_cameras(tmp_path: Path, world: World):
    world.c2w[:, :, :3] = world.c2w[5, :, :3]
    write_transforms(tmp_path, world)
    scene = load_scene(tmp_path, 3)
    assert isinstance(scene.unseen, ForwardFacingPoses)
    spread = scene.cameras.c2w[:, :, 3].std(0, unbiased=False).norm()
    assert float(spread) == pytest.approx(1, rel=1e-4)


# ------------------------------------------------------------------------------------- bad input


def first(content: dict[str, Any]) -> dict[str, Any]:
    return content["frames"][0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("frames"), "no images: expected a list «frames»"),
        (lambda c: c.update(frames=[]), "no images"),
        (lambda c: first(c).pop("file_path"), "a frame lacks «file_path»"),
        (
            lambda c: first(c).pop("transform_matrix"),
            r"frame \./images/0009\.png: «transform_matrix»",
        ),
        (lambda c: first(c).update(transform_matrix=[[1, 2], [3]]), "must be 4×4 numbers"),
        (lambda c: first(c)["transform_matrix"][1].__setitem__(2, math.nan), "NaN, infinity or"),
        (lambda c: first(c)["transform_matrix"][1].__setitem__(3, 10**400), "too large a number"),
        (lambda c: first(c)["transform_matrix"][1].__setitem__(3, 10**40), "too large a number"),
        (lambda c: first(c)["transform_matrix"][1].__setitem__(2, 3.0), "rotation|rigid"),
        (lambda c: c["frames"].append(first(c)), r"images/0009\.png is listed twice"),
        (lambda c: c.update(k3=0.1), "k3 ≠ 0 is not supported"),
        (lambda c: c.update(is_fisheye=True), "a fisheye lens is not supported"),
        (lambda c: c.pop("fl_x"), "no focal length; expected fl_x or camera_angle_x"),
    ],
)
def test_bad_content_is_named(folder: Path, edit: Callable[[dict[str, Any]], object], message: str):
    change(folder, edit)
    with pytest.raises(SceneError, match=rf"transforms\.json: .*({message})"):
        load_scene(folder, 3)


SIZES, OFFSETS = ("w", "h", "fl_x", "fl_y"), ("cx", "cy", "k1", "k2", "p1", "p2")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in SIZES for value in (0, -3.0)),
        *(
            (key, value)
            for key in SIZES + OFFSETS
            for value in (math.nan, -math.inf, 10**400, 1e40)
        ),
    ],
    ids=lambda value: str(value)[:6],
)
def test_numbers_that_no_lens_has_are_named(folder: Path, key: str, value: float):
    change(folder, lambda c: c["frames"][2].update({key: value}))
    wanted = r"finite in float32( and > 0)?, got -?(\d|inf|nan)"
    message = rf"transforms\.json: frame images/0007\.png: «{key}» must be {wanted}"
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 3)


@pytest.mark.parametrize(
    "angle",
    [0, -0.5, 5e-324, math.pi, 4, math.nan, math.inf, 10**400],
    ids=lambda angle: str(angle)[:6],
)
def test_angles_that_no_pinhole_has_are_named(folder: Path, angle: float):
    change(folder, lambda c: c.update(camera_angle_x=angle))
    assert len(load_scene(folder, 3).images) == 10  # not used beside fl_x
    change(folder, lambda c: c.pop("fl_x"))
    message = r"transforms\.json: frame images/0000\.png: «camera_angle_x» must be in \(0, π\)"
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 3)


def test_damaged_files_are_named(folder: Path):
    path = folder / "transforms.json"
    path.write_text(path.read_text()[:300])
    with pytest.raises(SceneError, match=r"transforms\.json: damaged or not JSON"):
        load_scene(folder, 3)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SceneError, match=r"transforms\.json: damaged or not JSON"):
        load_scene(folder, 3)


def test_missing_photos_are_named(folder: Path):
    (folder / "images/0003.png").unlink()
    with pytest.raises(SceneError, match=r"0003\.png: no such image; transforms\.json lists it"):
        load_scene(folder, 3)


def test_cameras_in_one_place(tmp_path: Path, world: World):
    world.c2w[:] = world.c2w[0]
    write_transforms(tmp_path, world)
    with pytest.raises(SceneError, match="all cameras stand in one place"):
        load_scene(tmp_path, 3)


def test_too_many_views(folder: Path):
    with pytest.raises(SceneError, match=r"9 training views .* leaves 8"):
        load_scene(folder, 9)
