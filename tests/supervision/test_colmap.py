import importlib
import shutil
import struct
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg.supervision import (
    Keypoints,
    SupervisionWarning,
    keypoints_from_colmap,
    read_colmap,
    reprojection_weight,
)
from tests.golden import GOLDEN, golden, golden_cases

pytest.importorskip("pycolmap", reason="reading COLMAP models needs pycolmap")

MODELS = GOLDEN / "losses" / "colmap_tiny"
FORMS = ["bin", "txt"]


def keypoints(name: str, form: str) -> dict[str, Keypoints]:
    return keypoints_from_colmap(MODELS / name / form, dtype=torch.float64)


def observations(name: str) -> dict[int, dict[str, Tensor]]:
    """Upstream's reading: for each image id, the columns of its observed points."""
    upstream = golden(f"colmap_{name}")
    columns = [str(column) for column in upstream["obs_cols"]]
    table = upstream["obs"]
    return {
        int(i): dict(zip(columns, table[table[:, 0] == i].T, strict=True))
        for i in upstream["image_ids"]
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["contiguous", "gappy", "edge"])
def test_equals_upstream(name: str, form: str):
    upstream = golden(f"colmap_{name}")
    if name == "edge":
        with pytest.warns(SupervisionWarning, match=r"1 of 3 views: no_points\.png"):
            found = keypoints(name, form)
    else:
        found = keypoints(name, form)
    ids = dict(zip(upstream["image_names"].tolist(), upstream["image_ids"].tolist(), strict=True))
    assert {view: k.image_id for view, k in found.items()} == ids
    seen = observations(name)
    models = {int(i): str(upstream[f"camera{i}_model"]) for i in upstream["camera_ids"]}
    of_view = dict(zip(ids, upstream["image_camera_ids"].tolist(), strict=True))
    for view, k in found.items():
        expected = seen[k.image_id]
        assert k.point_ids.tolist() == expected["point3D_id"].long().tolist()
        exact = {"rtol": 1e-12, "atol": 1e-12}
        torch.testing.assert_close(k.depth, expected["z_depth"], **exact)
        torch.testing.assert_close(k.point_error, expected["reproj_error"], **exact)
        if models[of_view[view]] != "OPENCV":
            torch.testing.assert_close(
                k.xy, torch.stack([expected["x"], expected["y"]], -1), **exact
            )
        assert k.mean_error == pytest.approx(float(upstream["point_error"].mean()), rel=1e-12)
        assert ((k.std > 0) & (k.std <= k.depth / 2)).all()
    lengths = torch.bincount(upstream["point_track_flat"][:, 0])
    for k in found.values():
        assert torch.equal(k.track_length, lengths[k.point_ids])


@pytest.mark.parametrize("form", FORMS)
def test_distortion_is_removed(form: str):
    """Distorted again by OpenCV's formula, keypoints lie where they were observed."""
    upstream, seen = golden("colmap_gappy"), observations("gappy")
    distorted = 0
    for k in keypoints("gappy", form).values():
        row = upstream["image_ids"].tolist().index(k.image_id)
        camera = int(upstream["image_camera_ids"][row])
        if str(upstream[f"camera{camera}_model"]) != "OPENCV":
            continue
        fx, fy, cx, cy, k1, k2, p1, p2 = upstream[f"camera{camera}_params"].tolist()
        x, y = ((k.xy - torch.tensor([cx, cy])) / torch.tensor([fx, fy])).unbind(-1)
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2 * r2
        xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        yd = y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
        again = torch.stack([fx * xd + cx, fy * yd + cy], -1)
        observed = torch.stack([seen[k.image_id]["x"], seen[k.image_id]["y"]], -1)
        torch.testing.assert_close(again, observed, rtol=0, atol=1e-6)
        assert (k.xy - observed).abs().max() > 0.05
        distorted += len(k)
    assert distorted > 0


@pytest.mark.parametrize("case", golden_cases("dsnerf_colmap_depth"))
def test_equals_the_right_depths_of_dsnerf(tmp_path: Path, case: int):
    """Case 1 stores the images in another order, for which upstream's own depths are wrong."""
    upstream = golden("dsnerf_colmap_depth", case)
    order = upstream["image_ids_file_order"].tolist()
    path = reordered(MODELS / "contiguous" / "txt", tmp_path / "model", order)
    scale, factor = float(upstream["scale"]), int(upstream["factor"])
    wrong = 0.0
    for i, k in enumerate(keypoints_from_colmap(path, dtype=torch.float64).values()):
        scaled = k.scaled(scale).resized(1 / factor, 1 / factor)
        true = {name: upstream[f"true_id{k.image_id}_{name}"] for name in ("coord", "weight")}
        # Upstream keeps its scale in float32, here it is the same number.
        depth = upstream[f"true_id{k.image_id}_zdepth_scaled"]
        torch.testing.assert_close(scaled.depth, depth, rtol=1e-6, atol=0)
        torch.testing.assert_close(scaled.xy, true["coord"], rtol=1e-12, atol=0)
        weight = reprojection_weight(k.point_error, float(upstream["err_mean"]))
        torch.testing.assert_close(weight, true["weight"], rtol=1e-10, atol=0)
        assert k.mean_error == pytest.approx(float(upstream["err_mean"]), rel=1e-10)
        listed = upstream[f"list{i}_depth"]
        nearest = (scaled.depth[:, None] - listed).abs().min(0).values / listed
        wrong = max(wrong, float(nearest.max()))
    assert (wrong > 1e-3) == (case == 1)


def reordered(source: Path, target: Path, order: list[int]) -> Path:
    """Copy a text model with its images stored in another order, points last to first."""
    shutil.copytree(source, target)
    lines = (source / "images.txt").read_text().splitlines()
    rows = [line for line in lines if not line.startswith("#")]
    of_id = {
        int(head.split()[0]): [head, tail] for head, tail in zip(rows[::2], rows[1::2], strict=True)
    }
    images = [line for i in order for line in of_id[i]]
    (target / "images.txt").write_text("\n".join([*lines[:4], *images, ""]))
    points = (source / "points3D.txt").read_text().splitlines()
    (target / "points3D.txt").write_text("\n".join([*points[:3], *points[:2:-1], ""]))
    return target


def test_both_forms_and_any_order_are_one_model(tmp_path: Path):
    path = reordered(MODELS / "gappy" / "txt", tmp_path / "model", [9, 2, 5])
    found = (
        keypoints("gappy", "bin"),
        keypoints("gappy", "txt"),
        keypoints_from_colmap(path, dtype=torch.float64),
    )
    for view, first in found[0].items():
        for other in found[1:]:
            for name in ("xy", "depth", "std", "error", "point_ids"):
                torch.testing.assert_close(getattr(other[view], name), getattr(first, name))


@pytest.mark.parametrize("form", FORMS)
def test_models_without_rigs_and_frames(tmp_path: Path, form: str):
    for name in ("cameras", "images", "points3D"):
        shutil.copy(MODELS / "gappy" / form / f"{name}.{form}", tmp_path)
    old = keypoints_from_colmap(tmp_path, dtype=torch.float64)
    for view, k in keypoints("gappy", form).items():
        torch.testing.assert_close(old[view].depth, k.depth)
        torch.testing.assert_close(old[view].std, k.std)


def test_views_and_names():
    path = MODELS / "gappy" / "bin"
    with pytest.warns(SupervisionWarning, match="1 views beside the 2"):
        found = keypoints_from_colmap(path, ["mid.jpg", "first"], names={"aa_first.png": "first"})
    assert {name: k.image_id for name, k in found.items()} == {"mid.jpg": 5, "first": 9}
    assert all((k.track_length == 2).all() for k in found.values())
    common = set(found["first"].point_ids.tolist())
    assert common == set(found["mid.jpg"].point_ids.tolist())
    with pytest.raises(ValueError, match="no name is in both"):
        keypoints_from_colmap(path, ["x.png"])


def test_positions_and_sizes():
    upstream, model = golden("colmap_gappy"), read_colmap(MODELS / "gappy" / "bin")
    assert model.image_ids.tolist() == upstream["image_ids"].tolist()
    np.testing.assert_allclose(model.centres, upstream["c2w_opencv"][:, :3, 3], atol=1e-12)
    assert {tuple(size) for size in model.sizes.tolist()} == {(160, 120), (200, 150)}


# ------------------------------------------------------------------------------------- bad input


def damaged(tmp_path: Path, name: str, form: str, change: Callable[[bytes], bytes]) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "gappy" / form, folder)
    path = folder / f"{name}.{form}"
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize("share", [0, 3, 8, 20, 0.3, 0.5, 0.9, -9, -1])
@pytest.mark.parametrize("name", ["cameras", "images", "points3D", "rigs", "frames"])
def test_truncated_binary_files_are_named(tmp_path: Path, name: str, share: float):
    """Some of these hang pycolmap itself, and some it reads as if whole."""

    def cut(data: bytes) -> bytes:
        end = int(share * len(data)) if isinstance(share, float) else share
        return data[:end]

    path = damaged(tmp_path, name, "bin", cut)
    with pytest.raises(ValueError, match=f"{name}.bin: truncated or not a COLMAP file"):
        read_colmap(path.parent)


def test_any_cut_of_the_points_is_noticed(tmp_path: Path):
    path = damaged(tmp_path, "points3D", "bin", lambda data: data)
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"points3D.bin: truncated"):
            read_colmap(path.parent)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_foreign_binary_files_are_named(tmp_path: Path, name: str):
    foreign = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
    path = damaged(tmp_path, name, "bin", lambda data: foreign)
    with pytest.raises(ValueError, match=rf"{name}\.bin: .*not a COLMAP file"):
        read_colmap(path.parent)


def test_a_file_with_something_behind_it_is_named(tmp_path: Path):
    path = damaged(tmp_path, "images", "bin", lambda data: data + b"more")
    with pytest.raises(ValueError, match=r"images.bin: not a COLMAP file: 4 bytes follow"):
        read_colmap(path.parent)


def test_unknown_camera_models_are_named(tmp_path: Path):
    def strange(data: bytes) -> bytes:
        return data[:12] + struct.pack("<i", 99) + data[16:]

    path = damaged(tmp_path, "cameras", "bin", strange)
    with pytest.raises(ValueError, match=r"cameras.bin: .*camera model unknown here: id 99"):
        read_colmap(path.parent)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("images", lambda text: text[: len(text) * 3 // 4]),
        ("images", lambda text: text[: len(text) // 2]),
        ("images", lambda text: "\n".join(text.split("\n")[:7]) + "\n"),
        ("points3D", lambda text: text.rstrip().rsplit(" ", 1)[0]),
        ("points3D", lambda text: "\n".join(text.split("\n")[:9]) + "\n"),
        ("cameras", lambda text: "\n".join(text.split("\n")[:4]) + "\n"),
        ("cameras", lambda text: "8 OPENCV\n"),
    ],
)
def test_damaged_text_files_are_named(tmp_path: Path, name: str, change: Callable[[str], str]):
    path = damaged(tmp_path, name, "txt", lambda data: change(data.decode()).encode())
    with pytest.raises(ValueError, match=rf"{name}\.txt: truncated"):
        read_colmap(path.parent)


def test_binary_under_the_name_of_text_is_named(tmp_path: Path):
    path = damaged(tmp_path, "images", "txt", lambda data: b"\xff\xfe\x00" * 50)
    with pytest.raises(ValueError, match=r"images\.txt: not a COLMAP text file"):
        read_colmap(path.parent)


def test_files_of_two_models_do_not_mix(tmp_path: Path):
    path = damaged(tmp_path, "points3D", "bin", lambda data: data)
    shutil.copy(MODELS / "contiguous" / "bin" / "points3D.bin", path)
    with pytest.raises(ValueError, match="model: not a consistent COLMAP model"):
        read_colmap(path.parent)


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (2**63 - 1, "observes a point that does not exist"),
        (2**63, "has a point id of 9223372036854775808, beyond"),
        (2**64 - 2, "has a point id of 18446744073709551614, beyond"),
    ],
)
def test_ids_of_no_point_are_named(tmp_path: Path, number: int, problem: str):
    def strange(data: bytes) -> bytes:
        # Of the first image: 4 + 7 · 8 + 4 bytes, the name, a count, and then x, y and id.
        start = data.index(b"\0", 8 + 64) + 1 + 8 + 16
        return data[:start] + struct.pack("<Q", number) + data[start + 8 :]

    path = damaged(tmp_path, "images", "bin", strange)
    with pytest.raises(
        ValueError, match=rf"model: not a consistent COLMAP model: image \S+ {problem}"
    ):
        read_colmap(path.parent)


def test_missing_models_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        read_colmap(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"not a COLMAP model: expected .*found nothing"):
        read_colmap(tmp_path)
    shutil.copy(MODELS / "gappy" / "bin" / "cameras.bin", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"images\.bin, points3D\.bin .*found cameras\.bin"):
        read_colmap(tmp_path)


def test_missing_pycolmap_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ImportError, match=r'pip install "nerfreg\[colmap\]"'):
        read_colmap(MODELS / "gappy" / "bin")


def test_zlib_is_loaded_before_pycolmap(monkeypatch: pytest.MonkeyPatch):
    loaded, load = [], importlib.import_module

    def record(name: str) -> types.ModuleType:
        loaded.append(name)
        return load(name)

    monkeypatch.setattr(importlib, "import_module", record)
    read_colmap(MODELS / "gappy" / "bin")
    assert loaded == ["zlib", "pycolmap"]


def test_importing_nerfreg_leaves_pycolmap_alone():
    code = "import sys, nerfreg.supervision; sys.exit('pycolmap' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------- releases of pycolmap


class OldRigid:
    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix

    def matrix(self) -> np.ndarray:
        return self._matrix


class OldCamera:
    """As before 3.12: projection of normalised coordinates."""

    def __init__(self, camera: object) -> None:
        self._camera = camera
        self.width, self.height = camera.width, camera.height

    def calibration_matrix(self) -> np.ndarray:
        return self._camera.calibration_matrix()

    def cam_from_img(self, points: np.ndarray) -> np.ndarray:
        return self._camera.cam_from_img(points)

    def img_from_cam(self, points: np.ndarray) -> np.ndarray:
        if points.shape[1] != 2:
            raise TypeError("incompatible function arguments")
        return self._camera.img_from_cam(np.pad(points, ((0, 0), (0, 1)), constant_values=1.0))


class OldImage:
    """As before 3.12: the pose an attribute, no flag that says whether there is one."""

    def __init__(self, image: object) -> None:
        self.image_id, self.name, self.camera_id = image.image_id, image.name, image.camera_id
        self.points2D = image.points2D
        self.cam_from_world = OldRigid(image.cam_from_world().matrix())


def test_older_releases_of_pycolmap(monkeypatch: pytest.MonkeyPatch):
    import pycolmap

    if not callable(pycolmap.Image.cam_from_world):
        pytest.skip("this pycolmap is the older one")

    def reconstruction(path: str) -> types.SimpleNamespace:
        new = pycolmap.Reconstruction(path)
        return types.SimpleNamespace(
            images={i: OldImage(image) for i, image in new.images.items()},
            cameras={i: OldCamera(camera) for i, camera in new.cameras.items()},
            points3D=new.points3D,
        )

    new = keypoints("gappy", "bin")
    monkeypatch.setitem(
        sys.modules, "pycolmap", types.SimpleNamespace(Reconstruction=reconstruction)
    )
    for view, k in keypoints("gappy", "bin").items():
        for name in ("xy", "depth", "std", "error"):
            torch.testing.assert_close(getattr(k, name), getattr(new[view], name))
