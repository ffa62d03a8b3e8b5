"""RGB-D scans in the layout of Redwood's release, with a trajectory."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reference_impl.scenes import SceneError, load_scene, redwood

from .captures import SIZE, World, write_redwood

WORLD = World(10, unit=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_redwood(tmp_path / "00033", WORLD)
    return tmp_path / "00033"


def test_a_scan(folder: Path):
    scene = load_scene(folder, 3)
    assert (scene.name, scene.train, scene.test) == ("00033", [1, 5, 9], [0, 8])
    # The colour frame nearest in time to the depth frame.
    assert scene.names[4] == "0000009-000000143332.png"
    assert float(scene.cameras.intrinsics[0, 0, 0]) == pytest.approx(525 * SIZE[0] / 640)
    assert scene.cameras.intrinsics[0, :2, 2].tolist() == [SIZE[0] / 2, SIZE[1] / 2]
    # The world's unit is not the metre: cameras stand 4 from what they look at, here 2 metres.
    known = scene.keypoints[1].where(scene.keypoints[1].xy[:, 0] < SIZE[0] - 7)
    assert sorted(scene.keypoints) == [1, 5, 9]
    torch.testing.assert_close(known.depth, known.depth[:1].expand(len(known)))
    assert float(known.depth[0]) == pytest.approx(4.0, rel=0.05)
    ratio = float(known.std[0] / known.depth[0])
    assert ratio == pytest.approx(1.425e-3 * 2)
    assert scene.near < 4 < scene.far
    assert sorted(scene.points) == [0, 2, 3, 4, 6, 7, 8]
    assert load_scene(folder, 3, keypoints=False).keypoints == {}


def test_depth_is_taken_where_it_is_known_and_smooth(folder: Path):
    scene = load_scene(folder, 3)
    x, y = scene.keypoints[5].xy.T
    # A pixel's centre.
    assert bool(((x % 1 == 0.5) & (y % 1 == 0.5)).all())
    # No answer in the upper left quarter, an edge six columns from the right.
    assert not bool(((x < SIZE[0] / 2) & (y < SIZE[1] / 2)).any())
    assert not bool(((x > SIZE[0] - 7) & (x < SIZE[0] - 5)).any())
    assert len(x) >= 8
    half = load_scene(folder, 3, width=SIZE[0] // 2)
    torch.testing.assert_close(half.keypoints[5].xy, scene.keypoints[5].xy / 2)


def test_long_scans_are_thinned(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redwood, "MAX_VIEWS", 5)
    scene = load_scene(folder, 2)
    assert [int(name[:7]) for name in scene.names] == [1, 5, 9, 15, 19]


def test_one_photograph_is_one_view(folder: Path):
    """Two depth frames whose nearest colour frame is the same."""
    for path in sorted((folder / "rgb").iterdir())[5:9]:
        path.unlink()
    scene = load_scene(folder, 3)
    assert len(set(scene.names)) == len(scene.names) < 10


def test_frames_without_times_are_matched_by_order(folder: Path):
    for path in sorted((folder / "rgb").iterdir())[1::2]:
        path.unlink()
    for kind in ("rgb", "depth"):
        for i, path in enumerate(sorted((folder / kind).iterdir())):
            path.rename(path.with_name(f"{i:05d}.png"))
    assert load_scene(folder, 3).names[4] == "00004.png"
    (folder / "rgb" / "00009.png").unlink()
    with pytest.raises(SceneError, match="9 colour and 10 depth images, and names tell no time"):
        load_scene(folder, 3)


def rewrite(change):
    def damage(folder: Path):
        path = folder / "trajectory.log"
        path.write_text(change(path.read_text()))

    return damage


def save_depth(values):
    def damage(folder: Path):
        Image.fromarray(values).save(sorted((folder / "depth").iterdir())[3])

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rewrite(lambda text: text.rsplit("\n", 3)[0]), "a line of 3 numbers and 4 lines of 4"),
        (rewrite(lambda text: text.split("4 4 5")[0]), "4 poses, but 10 depth images"),
        (rewrite(lambda text: ""), "damaged, or not a trajectory"),
        (rewrite(lambda text: text.replace(".", "x", 1)), "damaged, or not a trajectory"),
        (rewrite(lambda text: text.replace("0.0 0.0 0.0 1.0", "0 0 0 1", 1)), None),
        (
            lambda folder: shutil.copy(folder / "trajectory.log", folder / "other.log"),
            r"expected one trajectory \(.log\), found 2",
        ),
        (lambda folder: shutil.rmtree(folder / "rgb"), "no images; expected a folder rgb"),
        (save_depth(np.full((9, 9), 2000, np.uint16)), r"\(36, 48\).*, got uint16 \(9, 9\)"),
        (save_depth(np.zeros((*SIZE[::-1], 3), np.uint8)), r"grey pixels .* \(36, 48, 3\)"),
        (
            lambda folder: sorted((folder / "depth").iterdir())[3].write_bytes(b"damaged"),
            "not a depth image that can be read",
        ),
    ],
)
def test_damage(folder: Path, damage, message: str | None):
    damage(folder)
    if message is None:
        load_scene(folder, 3)
        return
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 3)


def test_poses_that_are_none(folder: Path):
    path = folder / "trajectory.log"
    lines = path.read_text().splitlines()
    lines[6] = "2 0 0 0"
    path.write_text("\n".join(lines))
    with pytest.raises(SceneError, match=r"pose\(s\) \[1\] are no rigid motions"):
        load_scene(folder, 3)
