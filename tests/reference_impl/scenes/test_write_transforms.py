import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_impl import export_scene
from reference_impl.scenes import Scene, SceneError, load_scene
from reference_impl.scenes.write_transforms import write_transforms

pytest.importorskip("pycolmap", reason="reading COLMAP models needs pycolmap")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return load_scene("embedded", 3, width=64)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "room"
    export_scene.export_scene(folder, views=3, width=64)
    return folder


@pytest.fixture(scope="module")
def again(exported: Path) -> Scene:
    return load_scene(exported, 3)


def scale(scene: Scene, again: Scene) -> float:
    """Our loader of such folders chooses a unit of length of its own."""
    first, second = (
        torch.linalg.norm(s.cameras.c2w[0, :, 3] - s.cameras.c2w[9, :, 3]) for s in (scene, again)
    )
    return float(second / first)


def test_the_same_photographs_train_and_test(scene: Scene, again: Scene) -> None:
    assert (again.train, again.test) == (scene.train, scene.test)
    assert torch.equal(again.images, scene.images)
    assert [Path(name).stem for name in again.names] == scene.names


def test_a_point_is_seen_at_the_same_pixel(scene: Scene, again: Scene) -> None:
    """Carried from view to view by depth, in either world."""
    unit = scale(scene, again)
    xy = torch.tensor([[20.5, 16.5], [6.25, 40.0], [60.0, 24.0]])
    for a, b in ((0, 11), (23, 5)):
        there = []
        for s, depth in ((scene, 2.0), (again, 2.0 * unit)):
            rays = s.cameras.rays(torch.tensor(a), xy)
            there.append(s.cameras.project(rays.at(torch.full((3,), depth)), torch.tensor(b)))
        torch.testing.assert_close(there[1][0], there[0][0], rtol=0, atol=2e-3)
        torch.testing.assert_close(there[1][1], there[0][1] * unit, rtol=1e-4, atol=0)


def test_keypoints_keep_their_depth_and_standard_deviation(scene: Scene, again: Scene) -> None:
    unit = scale(scene, again)
    for view in scene.train:
        after, before = again.keypoints[view], scene.keypoints[view]
        # A wrong match may lie beside the photograph, and is read by nobody.
        size = torch.tensor([scene.cameras.width, scene.cameras.height])
        before = before.where(((before.xy >= 0) & (before.xy <= size)).all(-1))
        assert len(before) > 20
        assert after.point_ids.tolist() == before.point_ids.tolist()
        assert after.track_length.tolist() == before.track_length.tolist()
        torch.testing.assert_close(after.xy, before.xy, rtol=0, atol=1e-3)
        torch.testing.assert_close(after.depth, before.depth * unit, rtol=2e-4, atol=0)
        ratio = after.std / (before.std * unit)
        assert float((ratio.log().abs() < 0.05).float().mean()) > 0.95


def test_lists_say_who_trains_validates_and_tests(exported: Path, scene: Scene) -> None:
    content = json.loads((exported / "transforms.json").read_text())
    lists = {key: content[f"{key}_filenames"] for key in ("train", "val", "test")}
    assert lists["train"] == [f"images/view{i:02d}.png" for i in scene.train]
    assert lists["test"] == [f"images/view{i:02d}.png" for i in scene.test]
    every = [name for names in lists.values() for name in names]
    assert len(set(every)) == len(every)
    assert all((exported / name).is_file() for name in every)
    np.testing.assert_allclose(content["applied_transform"], np.eye(4)[:3])


def test_a_list_that_names_no_frame_is_refused(exported: Path, tmp_path: Path) -> None:
    content = json.loads((exported / "transforms.json").read_text())
    content["test_filenames"] = ["images/other.png"]
    (tmp_path / "images").symlink_to(exported / "images")
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(SceneError, match=r"«test_filenames» lists images/other\.png, but no frame"):
        load_scene(tmp_path, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["test_filenames"].append(c["train_filenames"][0]), "for training and for"),
        (
            lambda c: c["train_filenames"].append(c["train_filenames"][0]),
            "lists .* twice",
        ),
        (lambda c: c["test_filenames"].clear(), "lists no photograph to measure on"),
    ],
)
def test_lists_that_are_no_split_are_refused(exported, tmp_path, change, message) -> None:
    folder = tmp_path / "room"
    shutil.copytree(exported, folder)
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 3)


def test_a_scene_without_keypoints_has_no_model(scene: Scene, tmp_path: Path) -> None:
    assert write_transforms(replace(scene, keypoints={}), tmp_path) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "transforms.json"]


def test_what_cannot_be_written_is_refused(scene: Scene, tmp_path: Path) -> None:
    names = ["a.png", "a.jpg", *scene.names[2:]]
    with pytest.raises(SceneError, match="two views have one name"):
        write_transforms(replace(scene, names=names), tmp_path)
    skewed = scene.cameras.intrinsics.clone()
    skewed[:, 0, 1] = 1.0
    cameras = replace(scene.cameras, intrinsics=skewed)
    with pytest.raises(SceneError, match="skewed"):
        write_transforms(replace(scene, cameras=cameras), tmp_path)


def test_an_export_is_whole_or_not_there(
    exported: Path, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(export_scene, "load_scene", lambda *_, **__: scene)
    monkeypatch.setattr("sys.argv", ["export_scene.py", "--out", str(exported)])
    assert export_scene.main() == 2
    assert "already exists and is not empty" in capsys.readouterr().err

    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["export_scene.py", "--out", str(out), "--width", "64"])
    monkeypatch.setattr(
        "reference_impl.scenes.write_transforms.write_colmap",
        lambda *_: (_ for _ in ()).throw(OSError("disk full")),
    )
    assert export_scene.main() == 2
    assert "disk full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
