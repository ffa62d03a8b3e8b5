"""Depth maps beside a scene: what is read, in which order it puts pixels, what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from reference_impl.scenes import SceneError
from reference_impl.scenes.depth_maps import load_depth_maps
from reference_impl.scenes.embedded import load_embedded


@pytest.fixture(scope="module")
def scene():
    return load_embedded(3, width=24)


def names(scene) -> list[str]:
    return [scene.names[view].rsplit(".", 1)[0] for view in scene.train]


def write(folder, scene, values, ending=".npy") -> None:
    for name in names(scene):
        path = folder / f"{name}{ending}"
        if ending == ".npy":
            np.save(path, values)
        else:
            Image.fromarray(values).save(path)


def ramp(scene, dtype=np.float32) -> np.ndarray:
    h, w = scene.cameras.height, scene.cameras.width
    return (1 + np.arange(h * w).reshape(h, w)).astype(dtype)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize(
    ("ending", "dtype"),
    [(".npy", np.float32), (".npy", np.float64), (".npy", np.uint16), (".png", np.uint16)],
)
def test_nearest_is_1_and_farthest_is_2(tmp_path, scene, kind, ending, dtype) -> None:
    write(tmp_path, scene, ramp(scene, dtype), ending)
    maps = load_depth_maps(tmp_path, scene, kind)
    assert sorted(maps) == sorted(scene.train)
    for found in maps.values():
        assert found.dtype == torch.float32
        assert found.shape == (scene.cameras.height, scene.cameras.width)
        expected = torch.linspace(1, 2, found.numel())
        expected = expected if kind == "depth" else 3 - expected
        torch.testing.assert_close(found.flatten(), expected)


def test_eight_bit_maps_and_other_sizes(tmp_path, scene) -> None:
    h, w = scene.cameras.height, scene.cameras.width
    values = np.zeros((2 * h, 2 * w), np.uint8)
    values[:, :w], values[:, w:] = 50, 200
    write(tmp_path, scene, values, ".png")
    for found in load_depth_maps(tmp_path, scene, "depth").values():
        assert found.shape == (h, w)
        assert (found[:, : w // 2] == 1).all(), "no depth between the two is invented at the edge"
        assert (found[:, w // 2 :] == 2).all()


def test_what_is_unknown_becomes_nan(tmp_path, scene) -> None:
    values = ramp(scene)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, 0.0
    write(tmp_path, scene, values)
    for found in load_depth_maps(tmp_path, scene, "depth").values():
        assert found[0].isnan().tolist()[:4] == [True, True, True, False]
        assert found.isnan().sum() == 3
    for found in load_depth_maps(tmp_path, scene, "disparity").values():
        assert found.isnan().sum() == 2, "0 is the farthest disparity"


def test_says_what_is_wrong(tmp_path, scene) -> None:
    first = names(scene)[0]

    def refuses(message: str, kind="depth") -> None:
        with pytest.raises(SceneError, match=message):
            load_depth_maps(tmp_path, scene, kind)

    with pytest.raises(ValueError, match="--depth-maps-kind metres: expected depth or disparity"):
        load_depth_maps(tmp_path, scene, "metres")
    with pytest.raises(SceneError, match="no such folder"):
        load_depth_maps(tmp_path / "nowhere", scene, "depth")
    refuses(rf"expected one of {first}\.npy, .* for training view {first}.*, none")
    write(tmp_path, scene, ramp(scene), ".npy")
    np.save(tmp_path / f"{first}.npy", ramp(scene)[None])
    refuses(rf"{first}\.npy: expected \(H, W\) numbers, got float32 \(1, ")
    np.save(tmp_path / f"{first}.npy", ramp(scene)[:, :9])
    refuses(rf"{first}\.npy: a map of 9×")
    np.save(tmp_path / f"{first}.npy", np.ones_like(ramp(scene)))
    refuses("without two different numbers orders nothing")
    np.save(tmp_path / f"{first}.npy", np.full_like(ramp(scene), np.nan))
    refuses("without two different numbers orders nothing")
    (tmp_path / f"{first}.npy").write_bytes(b"no array")
    refuses("not a depth map that can be read")
    (tmp_path / f"{first}.npy").unlink()
    (tmp_path / f"{first}.png").write_bytes(b"no image")
    refuses("not a depth map that can be read")
    Image.fromarray(np.zeros((*ramp(scene).shape, 3), np.uint8)).save(tmp_path / f"{first}.png")
    refuses(r"expected \(H, W\) numbers, got uint8")
    np.save(tmp_path / f"{first}.npy", ramp(scene))
    refuses("2 of them")
