import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nerfreg.supervision import SupervisionWarning
from nerfreg.views import ForwardFacingPoses
from reference_impl.scenes import Scene, SceneError, load_scene
from tests.reference_impl.scenes import captures
from tests.reference_impl.scenes.captures import World, write_llff, write_model

pytest.importorskip("pycolmap", reason="reading COLMAP models needs pycolmap")

PHOTOGRAPHS = [f"IMG_{4020 + i}.JPG" for i in range(10)]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def folder(tmp_path: Path, world: World) -> Path:
    """As the project's LLFF captures: photographs' names in the models, others beside them."""
    write_llff(tmp_path / "scene", world)
    write_model(tmp_path / "scene/sparse/0", world, PHOTOGRAPHS, scale=8.0)
    write_model(tmp_path / "scene/sparse_train3/0", world, PHOTOGRAPHS, [1, 5, 9], scale=8.0)
    return tmp_path / "scene"


def scale_of(world: World) -> float:
    return 1 / (0.75 * min(world.seen(view)[1].min() for view in range(world.n)))


def test_split_names_and_pictures(folder: Path):
    scene = load_scene(folder, 3)
    assert (scene.train, scene.test) == ([1, 5, 9], [0, 8])
    assert scene.name == "scene"
    assert scene.names[3] == "image003.png"
    assert "every 8th of 10 views tests; 3 evenly spaced" in scene.split
    assert scene.images.shape == (10, 36, 48, 3)
    assert scene.images[4, 0, 0].tolist() == (captures.noise(36, 48, 3)[0, 0] // 2 + 4).tolist()
    assert (scene.ndc_near, scene.background, scene.depth) == (1.0, 0.0, None)


def test_cameras_are_the_capture_moved_and_scaled(folder: Path, world: World):
    cameras, scale = load_scene(folder, 3).cameras, scale_of(world)
    true, ours = torch.from_numpy(world.c2w).float(), cameras.c2w
    torch.testing.assert_close(
        torch.cdist(ours[:, :, 3], ours[:, :, 3]),
        scale * torch.cdist(true[:, :, 3], true[:, :, 3]),
        rtol=1e-4,
        atol=1e-4,
    )
    relative = true[0, :, :3].T @ true[:, :, :3]
    torch.testing.assert_close(ours[0, :, :3].T @ ours[:, :, :3], relative, atol=1e-5, rtol=0)
    # Recentred: on average in the origin, looking along −z, upright.
    torch.testing.assert_close(ours[:, :, 3].mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    forward = ours[:, :, 2].mean(0)
    torch.testing.assert_close(
        forward / forward.norm(), torch.tensor([0.0, 0, -1]), atol=1e-5, rtol=0
    )
    assert (ours[:, 1, 1] < -0.9).all()
    assert cameras.intrinsics[0].tolist() == [[40, 0, 24], [0, 40, 18], [0, 0, 1]]


def test_bounds_are_those_of_the_training_views(folder: Path, world: World):
    scene, scale = load_scene(folder, 3), scale_of(world)
    depths = np.stack([world.seen(view)[1] for view in scene.train])
    assert scene.near == pytest.approx(0.9 * scale * depths.min(), rel=1e-6)
    assert scene.far == pytest.approx(scale * depths.max(), rel=1e-6)
    assert isinstance(scene.unseen, ForwardFacingPoses)
    assert scene.unseen.sample(4).shape == (4, 3, 4)


def fits(scene: Scene, world: World, keypoints: str, scale: float) -> None:
    """Keypoints lie where the world's points project, at their depths."""
    for view, k in getattr(scene, keypoints).items():
        normalised, depth = world.seen(view)
        rows = (k.point_ids - 10) // 2
        width = scene.cameras.width / captures.SIZE[0]
        expected = captures.pixels(normalised, width)[rows]
        np.testing.assert_allclose(k.xy, expected, atol=1e-3)
        np.testing.assert_allclose(k.depth, scale * depth[rows], rtol=1e-4)
        # And the scene's own cameras agree: carried over, a point lands where it was seen.
        rays = scene.cameras.rays(torch.tensor(view), k.xy)
        points = rays.origins + k.depth[:, None] * rays.directions
        for other, there in getattr(scene, keypoints).items():
            xy, z = scene.cameras.project(points, torch.tensor(other))
            row, column = (k.point_ids[:, None] == there.point_ids).nonzero(as_tuple=True)
            torch.testing.assert_close(xy[row], there.xy[column], atol=5e-3, rtol=0)
            torch.testing.assert_close(z[row], there.depth[column], atol=0, rtol=1e-3)


@pytest.mark.parametrize("width", [None, 24, 31])
def test_keypoints_are_in_the_scenes_units(folder: Path, world: World, width: int | None):
    scene = load_scene(folder, 3, width=width)
    assert list(scene.keypoints) == [1, 5, 9]
    assert all(len(k) > 20 for k in scene.keypoints.values())
    assert scene.keypoints[5].name == "image005.png"
    assert (scene.keypoints[5].track_length <= 3).all()
    if width != 31:  # 31 pixels of width round the height, so pixels are no longer square
        fits(scene, world, "keypoints", scale_of(world))


def test_held_out_points_are_of_views_that_do_not_train(folder: Path, world: World):
    scene = load_scene(folder, 3)
    assert list(scene.points) == [0, 2, 3, 4, 6, 7, 8]
    fits(scene, world, "points", scale_of(world))
    without = load_scene(folder, 3, keypoints=False)
    assert without.keypoints == {}
    assert list(without.points) == list(scene.points)


def test_a_model_of_all_views_serves_with_a_warning(folder: Path, world: World):
    shutil.rmtree(folder / "sparse_train3")
    with pytest.warns(SupervisionWarning, match=r"7 views beside the 3 given.*leaks"):
        scene = load_scene(folder, 3)
    assert (scene.keypoints[5].track_length <= 3).all()
    fits(scene, world, "keypoints", scale_of(world))


def test_names_of_a_small_model_without_the_full_one(folder: Path, world: World):
    shutil.rmtree(folder / "sparse")
    scene = load_scene(folder, 3)
    assert list(scene.keypoints) == [1, 5, 9]
    assert scene.points == {}
    fits(scene, world, "keypoints", scale_of(world))


def test_models_with_the_photos_own_names(tmp_path: Path, world: World):
    names = write_llff(tmp_path, world)
    write_model(tmp_path / "sparse_train3/0", world, names, [1, 5, 9])
    fits(load_scene(tmp_path, 3), world, "keypoints", scale_of(world))


def test_scene_without_models(tmp_path: Path, world: World):
    write_llff(tmp_path, world)
    scene = load_scene(tmp_path, 3)
    assert (scene.keypoints, scene.points) == ({}, {})


def test_one_view_has_no_keypoints(folder: Path):
    scene = load_scene(folder, 1)
    assert (scene.train, scene.keypoints) == ([1], {})


@pytest.mark.parametrize("order", ["reversed", "turned"])
def test_a_model_in_another_order_is_refused(tmp_path: Path, world: World, order: str):
    names = write_llff(tmp_path, world)
    views = [9, 5, 1] if order == "reversed" else [5, 9, 1]
    wrong = dict(zip((1, 5, 9), (names[view] for view in views), strict=True))
    write_model(tmp_path / "sparse_train3/0", world, wrong, [1, 5, 9])
    with pytest.warns(SupervisionWarning, match=r"sparse_train3/0: not used: .*(pixels|scale)"):
        scene = load_scene(tmp_path, 3)
    assert scene.keypoints == {}


def test_larger_photos_serve_larger_requests(folder: Path):
    names = [f"image{i:03d}.png" for i in range(10)]
    captures.write_photos(folder / "images_4", names, (96, 72))
    assert load_scene(folder, 3).images.shape == (10, 36, 48, 3)
    scene = load_scene(folder, 3, width=60)
    assert scene.images.shape == (10, 45, 60, 3)
    assert float(scene.cameras.intrinsics[0, 0, 0]) == 50.0
    with pytest.raises(SceneError, match=r"images_4.*width must be in 1…96 .*got 97"):
        load_scene(folder, 3, width=97)


# ------------------------------------------------------------------------------------- bad input


def test_too_many_views(folder: Path):
    with pytest.raises(SceneError, match=r"scene: 9 training views .* leaves 8"):
        load_scene(folder, 9)
    with pytest.raises(SceneError, match="at least one training view"):
        load_scene(folder, 0)


def test_photos_that_do_not_match_the_poses(folder: Path):
    (folder / "images_8/image003.png").unlink()
    with pytest.raises(SceneError, match=r"images_8: 9 images, but poses_bounds\.npy has 10 poses"):
        load_scene(folder, 3)
    shutil.rmtree(folder / "images_8")
    with pytest.raises(SceneError, match="no images; expected a folder images_8, images_4"):
        load_scene(folder, 3)
    (folder / "images_8").mkdir()
    with pytest.raises(SceneError, match="images_8: no images"):
        load_scene(folder, 3)


def test_a_truncated_photo_is_named(folder: Path):
    path = folder / "images_8/image003.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SceneError, match=r"image003\.png: damaged or truncated"):
        load_scene(folder, 3)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (3, 2, math.nan, r"NaN or infinity in the pose of view\(s\) \[3\]"),
        (4, 16, math.inf, r"NaN or infinity in the pose of view\(s\) \[4\]"),
        (0, 15, -1.0, "depth bounds must satisfy 0 < near < far"),
        (0, 15, 99.0, "depth bounds must satisfy 0 < near < far"),
        (2, 4, 100.0, "photographs of different sizes"),
        (2, 0, 5.0, "rotation|rigid"),
    ],
)
def test_bad_numbers_are_named(folder: Path, row: int, column: int, value: float, message: str):
    table = np.load(folder / "poses_bounds.npy")
    table[row, column] = value
    np.save(folder / "poses_bounds.npy", table)
    with pytest.raises(
        SceneError, match=rf"poses_bounds\.npy: .*{message}" if "poses" not in message else message
    ):
        load_scene(folder, 3)


def test_damaged_poses_are_named(folder: Path):
    path = folder / "poses_bounds.npy"
    whole = path.read_bytes()
    for content in (b"", whole[:50], whole[:-9], b"not an array"):
        path.write_bytes(content)
        with pytest.raises(SceneError, match=r"poses_bounds\.npy: damaged, or not a NumPy array"):
            load_scene(folder, 3)
    for table in (np.zeros((10, 15)), np.zeros(17), np.zeros((10, 17), dtype=np.int64)):
        np.save(path, table)
        with pytest.raises(SceneError, match=r"poses_bounds\.npy: expected"):
            load_scene(folder, 3)


def test_damaged_and_foreign_models_are_named(folder: Path, world: World, tmp_path: Path):
    path = folder / "sparse_train3/0/points3D.txt"
    path.write_text(path.read_text()[:-3])
    with pytest.raises(ValueError, match=r"points3D\.txt: truncated"):
        load_scene(folder, 3)
    shutil.rmtree(folder / "sparse_train3")
    shutil.rmtree(folder / "sparse")
    others = World(n=6)
    write_model(folder / "sparse/0", others, [f"other{i}.jpg" for i in range(6)])
    with pytest.raises(ValueError, match=r"sparse/0: a model of other images: it has other"):
        load_scene(folder, 3)


def test_a_small_model_of_another_scene_is_named(folder: Path):
    """As many photographs as there are training views, but the full model knows none of them."""
    shutil.rmtree(folder / "sparse_train3")
    others = World(n=3)
    write_model(folder / "sparse_train3/0", others, [f"other{i}.jpg" for i in range(3)])
    with pytest.raises(ValueError, match=r"sparse_train3/0: a model of other images: it has other"):
        load_scene(folder, 3)


def test_folders_that_are_no_scenes(tmp_path: Path):
    with pytest.raises(SceneError, match="nowhere: no such folder; expected a scene's folder"):
        load_scene(tmp_path / "nowhere", 3)
    with pytest.raises(
        SceneError, match=r"no scene here: expected one of poses_bounds\.npy, transf"
    ):
        load_scene(tmp_path, 3)
