"""Keypoints triangulated between training views: a textured plane whose depth is known."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample, interpolate

from nerfreg.views import AroundFocusPoses, Cameras, pinhole
from reference_impl.config import Config
from reference_impl.run import Run
from reference_impl.scenes import Scene, SceneError, load_scene, triangulate

from .captures import looking_at, write_idr

WIDTH, HEIGHT = 200, 150
# Points X with NORMAL · X = 0: a board at the origin, turned a little.
NORMAL = torch.tensor([0.2, 0.1, -1.0])


def plane_depth(cameras: Cameras, view: int, xy: torch.Tensor) -> torch.Tensor:
    rays = cameras.rays(torch.tensor(view), xy)
    return -(rays.origins @ NORMAL) / (rays.directions @ NORMAL)


@pytest.fixture(scope="module")
def board() -> Scene:
    positions = np.array([[-0.7, 0.1, -3.0], [0.0, -0.2, -3.1], [0.7, 0.1, -2.9], [0.3, 0.3, -3.0]])
    up = np.array([0.0, -1.0, 0.0])
    c2w = torch.from_numpy(np.stack([looking_at(p, np.zeros(3), up) for p in positions])).float()
    cameras = Cameras.from_opencv(c2w, pinhole(220.0, WIDTH, HEIGHT), WIDTH, HEIGHT)
    generator = torch.Generator().manual_seed(3)
    texture = interpolate(
        torch.rand(1, 3, 48, 48, generator=generator), (384, 384), mode="bicubic"
    ).clamp(0, 1)
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    xy = torch.stack([x, y], -1)
    photographs = []
    for view in range(len(c2w)):
        rays = cameras.rays(torch.full((HEIGHT, WIDTH), view), xy)
        points = rays.origins + plane_depth(cameras, view, xy)[..., None] * rays.directions
        seen = grid_sample(texture, points[None, ..., :2] / 2.5, align_corners=False)
        photographs.append((255 * seen[0].permute(1, 2, 0)).round().to(torch.uint8))
    return Scene(
        name="board",
        images=torch.stack(photographs),
        cameras=cameras,
        names=[f"left/{view}.jpg" for view in range(4)],
        train=[2, 0, 1],
        test=[3],
        near=1.0,
        far=5.0,
        unseen=AroundFocusPoses.from_cameras(cameras[[0, 1, 2]]),
        split="by hand",
    )


@pytest.fixture(scope="module")
def pycolmap():
    return pytest.importorskip("pycolmap", reason="triangulating needs pycolmap")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_depth_is_the_planes(board, pycolmap, cache):
    found = triangulate.triangulate(board, cache)
    assert sorted(found) == [0, 1, 2]
    for view, keypoints in found.items():
        assert len(keypoints) > 50
        truth = plane_depth(board.cameras, view, keypoints.xy)
        off = (keypoints.depth / truth - 1).abs()
        # Measured: 0.07 to 0.08 %, of a standard deviation of 0.4 %.
        assert float(off.median()) < 2e-3
        # What the standard deviation says is about what the error is.
        share = ((keypoints.depth - truth).abs() < 3 * keypoints.std).float().mean()
        assert float(share) > 0.9


def test_a_model_is_made_once_and_never_of_test_views(board, pycolmap, cache, monkeypatch):
    first = triangulate.triangulate(board, cache)
    assert len(list(cache.iterdir())) == 1

    def never(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(triangulate, "_triangulate", never)
    images = board.images.clone()
    images[3] = 0
    again = triangulate.triangulate(replace(board, images=images), cache)
    for view in first:
        assert torch.equal(first[view].depth, again[view].depth)
    images[1] = 0
    with pytest.raises(AssertionError, match="made again"):
        triangulate.triangulate(replace(board, images=images), cache)
    assert len(list(cache.iterdir())) == 1  # nothing half made stays behind


def test_the_cache_is_the_users(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert triangulate.cache_folder() == Path("somewhere/nerfreg/keypoints")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert triangulate.cache_folder() == Path.home() / ".cache/nerfreg/keypoints"


def test_what_cannot_be_triangulated(board, pycolmap, tmp_path):
    with pytest.raises(SceneError, match="needs at least 2 training views"):
        triangulate.triangulate(replace(board, train=[0]), tmp_path)
    blank = replace(board, images=torch.full_like(board.images, 128))
    with pytest.raises(SceneError, match="the training views have no point in common"):
        triangulate.triangulate(blank, tmp_path)


def test_without_pycolmap(board, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ImportError, match=r"--keypoints triangulate needs pycolmap: pip install"):
        triangulate.triangulate(board, tmp_path)


def test_runs_choose_their_keypoints(board, monkeypatch, tmp_path):
    """The option, on a scene's folder: reduced photographs, keypoints of the whole ones."""
    from .captures import World

    write_idr(tmp_path / "figure", World(10), masks=False)
    seen = []

    def two(scene, cache):
        seen.append((scene.cameras.width, cache))
        keypoints = load_scene("embedded", 2, width=16).keypoints.values()
        return dict(zip(scene.train, keypoints, strict=False))

    monkeypatch.setattr("reference_impl.run.triangulate", two)
    options = {"scene": str(tmp_path / "figure"), "width": 24, "device": "cpu"}
    made = Run.of(Config(keypoints="triangulate", keypoints_cache="there", **options))
    assert seen == [(48, Path("there"))]
    Run.of(Config(keypoints="triangulate", keypoints_width=40, **options))
    assert seen[1] == (40, None)
    original = next(iter(load_scene("embedded", 2, width=16).keypoints.values()))
    half = made.scene.keypoints[made.scene.train[0]]
    torch.testing.assert_close(half.xy, original.xy / 2)
    assert Path(made.config.keypoints_cache).is_absolute()
    assert Run.of(Config(keypoints="none", **options)).scene.keypoints == {}
    assert Run.of(Config(keypoints="none", width=16, device="cpu")).scene.keypoints == {}
    assert Run.of(Config(keypoints="model", width=16, device="cpu")).scene.keypoints
