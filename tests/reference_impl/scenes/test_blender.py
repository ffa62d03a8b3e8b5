import json
import math
from pathlib import Path

import pytest
import torch

from nerfreg.views import HemispherePoses
from reference_impl.scenes import SceneError, load_scene
from tests.reference_impl.scenes.captures import noise, write_blender

TRAIN = [2, 8, 16, 26, 55, 73, 75, 76, 86, 93]
EIGHT = [2, 16, 26, 55, 73, 76, 86, 93]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_blender(tmp_path / "lego", TRAIN, [0, 7, 8, 104, 16])
    return tmp_path / "lego"


def test_the_published_eight_views(folder: Path):
    scene = load_scene(folder, 8)
    assert [scene.names[i] for i in scene.train] == [f"train/r_{i}" for i in EIGHT]
    # Sorted by number, not as text; every 8th alone tests.
    assert [scene.names[i] for i in scene.test] == [f"test/r_{i}" for i in (0, 8, 16, 104)]
    assert (scene.near, scene.far, scene.background, scene.ndc_near) == (2.0, 6.0, 1.0, None)
    assert (scene.keypoints, scene.points) == ({}, {})
    assert isinstance(scene.unseen, HemispherePoses)
    assert "blender-8;" in scene.split


def test_other_numbers_of_views(folder: Path):
    scene = load_scene(folder, 3)
    assert [scene.names[i] for i in scene.train] == ["train/r_2", "train/r_55", "train/r_93"]
    with pytest.raises(SceneError, match=r"transforms_train\.json: 11 training views .* only 10"):
        load_scene(folder, 11)


def test_pictures_are_on_white(folder: Path):
    scene = load_scene(folder, 8)
    assert (scene.images[:, 0, 0] == 255).all()
    pixels = torch.from_numpy(noise(20, 20, 4)).double()
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., [0, 2]] * alpha + 255 * (1 - alpha)
    expected[0, 0] = 255
    assert (scene.images[2][..., [0, 2]].double() - expected).abs().max() <= 0.5 + 1e-3


def test_cameras_look_at_the_object(folder: Path):
    cameras = load_scene(folder, 8).cameras
    xy, depth = cameras.project(torch.zeros(len(cameras), 3), torch.arange(len(cameras)))
    torch.testing.assert_close(xy, torch.full_like(xy, 10.0), atol=1e-4, rtol=0)
    assert (depth - 4.03).abs().max() < 0.01
    above, _ = cameras.project(
        torch.tensor([0.0, 0, 1]).expand(len(cameras), 3), torch.arange(len(cameras))
    )
    assert (above[:, 1] < 10).all()
    focal = 10 / math.tan(0.5 * 0.6911112070083618)
    torch.testing.assert_close(cameras.intrinsics[0, 0, 0], torch.tensor(focal))


def test_reduced_pictures(folder: Path):
    scene = load_scene(folder, 8, width=10)
    assert scene.images.shape == (14, 10, 10, 3)  # two training frames of ten are left
    whole = load_scene(folder, 8).cameras
    torch.testing.assert_close(scene.cameras.intrinsics[0, 0, 0], whole.intrinsics[0, 0, 0] / 2)


def test_training_frames_that_are_left_may_validate(folder: Path):
    scene = load_scene(folder, 8)
    for_validation = scene.for_validation()
    assert [scene.names[i] for i in for_validation.test] == ["train/r_8", "train/r_75"]
    assert not {*for_validation.test} & {*scene.train, *scene.test}
    assert len(load_scene(folder, 3).for_validation().test) == 7


def test_bad_input_is_named(folder: Path):
    (folder / "train/r_55.png").unlink()
    with pytest.raises(SceneError, match=r"r_55: no such image; transforms_train\.json lists it"):
        load_scene(folder, 8)
    path = folder / "transforms_test.json"
    content = json.loads(path.read_text())
    path.unlink()
    with pytest.raises(SceneError, match=r"(r_55|transforms_test\.json: no such file)"):
        load_scene(folder, 8)
    content["frames"][0]["file_path"] = "./test/last"
    (folder / "test/r_0.png").rename(folder / "test/last.png")
    path.write_text(json.dumps(content))
    write_blender(folder / "again", TRAIN, [0])
    (folder / "again/transforms_test.json").write_text(
        path.read_text().replace("./test", "../test")
    )
    with pytest.raises(
        SceneError, match=r"frame \.\./test/last: expected a name ending in a unique"
    ):
        load_scene(folder / "again", 8)


@pytest.mark.parametrize(
    "angle",
    [0, -0.5, math.pi, 40, math.nan, math.inf, 10**400],
    ids=lambda angle: str(angle)[:6],
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_angles_that_no_pinhole_has_are_named(folder: Path, part: str, angle: float):
    path = folder / f"transforms_{part}.json"
    content = json.loads(path.read_text())
    content["camera_angle_x"] = angle
    path.write_text(json.dumps(content))
    message = rf"transforms_{part}\.json: frame {part}/r_\d: «camera_angle_x» must be in \(0, π\)"
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 8)


@pytest.mark.parametrize("number", [math.inf, 10**40, 10**400], ids=["inf", "e40", "e400"])
def test_too_large_numbers_in_poses_are_named(folder: Path, number: float):
    path = folder / "transforms_test.json"
    content = json.loads(path.read_text())
    content["frames"][1]["transform_matrix"][0][3] = number
    path.write_text(json.dumps(content))
    message = r"transforms_test\.json: frame \./test/r_7: .*too large a number in"
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 8)


def test_angle_is_needed(folder: Path):
    path = folder / "transforms_train.json"
    content = json.loads(path.read_text())
    del content["camera_angle_x"]
    path.write_text(json.dumps(content))
    with pytest.raises(SceneError, match="no camera_angle_x"):
        load_scene(folder, 8)
