"""COLMAP workspaces on their own."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerfreg.supervision import SupervisionWarning
from reference_impl.scenes import SceneError, load_scene
from reference_impl.scenes.sfm import training_model

from .captures import FOCAL, SIZE, World, write_model, write_workspace

pytest.importorskip("pycolmap", reason="reading COLMAP models needs pycolmap")

WORLD = World(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_workspace(tmp_path / "garden", WORLD)
    return tmp_path / "garden"


def carried(scene, a: int, b: int) -> float:
    first, second = scene.keypoints[a], scene.keypoints[b]
    rays = scene.cameras.rays(torch.tensor(a), first.xy)
    points = rays.origins + first.depth[:, None] * rays.directions
    xy, _ = scene.cameras.project(points, torch.tensor(b))
    return float((xy - second.xy).norm(dim=-1).max())


def test_a_workspace(folder: Path):
    with pytest.warns(SupervisionWarning, match="leaks unseen views"):
        scene = load_scene(folder, 3)
    assert (scene.name, scene.train, scene.test) == ("garden", [1, 5, 9], [0, 8])
    # The model's ids run against the names: the views follow the names.
    assert scene.names == [f"left/{i:03d}.png" for i in range(10)]
    assert float(scene.cameras.intrinsics[3, 0, 0]) == FOCAL
    assert float(scene.cameras.c2w[:, :, 3].norm(dim=-1).mean()) == pytest.approx(4, rel=0.05)
    assert carried(scene, 1, 9) < 1e-3
    assert scene.near < min(float(k.depth.min()) for k in scene.keypoints.values())
    assert set(scene.points) == {0, 2, 3, 4, 6, 7, 8}
    np.testing.assert_array_equal(
        scene.images[3], np.asarray(Image.open(folder / "images" / scene.names[3]))
    )


def test_a_model_of_the_training_views_warns_of_nothing(folder: Path):
    names = {i: f"left/{i:03d}.png" for i in range(10)}
    write_model(folder / "sparse_train3" / "0", WORLD, names, [1, 5, 9])
    with warnings.catch_warnings():
        warnings.simplefilter("error", SupervisionWarning)
        scene = load_scene(folder, 3)
    assert sorted(scene.keypoints) == [1, 5, 9]
    assert training_model(folder, 3) == folder / "sparse_train3" / "0"
    assert training_model(folder, 4) == folder / "sparse" / "0"
    assert training_model(folder / "images", 3) is None
    without = load_scene(folder, 3, keypoints=False)
    assert without.keypoints == {}
    assert (without.near, without.far) == (scene.near, scene.far)


@pytest.mark.parametrize("place", ["sparse", "colmap/sparse/0"])
def test_other_places_of_the_model(folder: Path, place: str):
    (folder / "sparse").rename(folder / "model")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / "model" / "0").rename(folder / place)
    with pytest.warns(SupervisionWarning, match="leaks"):
        assert len(load_scene(folder, 3).images) == 10


def test_reduced_photographs(folder: Path):
    for path in (folder / "images" / "left").iterdir():
        Image.open(path).resize((24, 18)).save(path)
    with pytest.warns(SupervisionWarning, match="leaks"):
        scene = load_scene(folder, 3)
    assert float(scene.cameras.intrinsics[3, 0, 0]) == FOCAL / 2
    assert carried(scene, 1, 9) < 1e-3


def test_bent_lenses_are_refused(tmp_path: Path):
    write_workspace(tmp_path / "garden", WORLD, lens=(0.1, 0.0, 0.0, 0.0))
    with pytest.raises(SceneError, match=r"lenses are OPENCV, expected PINHOLE .*undistorter"):
        load_scene(tmp_path / "garden", 3)


def test_a_missing_photograph(folder: Path):
    (folder / "images" / "left" / "004.png").unlink()
    with pytest.raises(SceneError, match=r"left/004\.png: no such image"):
        load_scene(folder, 3)


def test_a_photograph_of_another_shape(folder: Path):
    Image.fromarray(np.zeros((SIZE[0], SIZE[0], 3), np.uint8)).save(folder / "images/left/000.png")
    with pytest.raises(SceneError, match="48×48 pixels, its camera has 48×36"):
        load_scene(folder, 3)


def test_cameras_of_different_sizes(folder: Path):
    model = folder / "sparse" / "0"
    one = (model / "cameras.txt").read_text()
    (model / "cameras.txt").write_text(one + one.replace("7 PINHOLE 48", "8 PINHOLE 50"))
    lines = (model / "images.txt").read_text().splitlines()
    lines[0] = lines[0].replace(" 7 left", " 8 left")
    (model / "images.txt").write_text("\n".join([*lines, ""]))
    with pytest.raises(SceneError, match=r"different sizes .*: \[\(48, 36\), \(50, 36\)\]"):
        load_scene(folder, 3)


def test_too_many_views(folder: Path):
    with pytest.raises(SceneError, match="9 training views asked for, but of 10"):
        load_scene(folder, 9)
