"""Pictures of a run: what they are called and which depths their colours span."""

from dataclasses import replace

import imageio.v3 as iio
import pytest
import torch

from reference_impl.evaluate import Picture
from reference_impl.mipnerf import MipNerf, MipNerfConfig
from reference_impl.ray_space import RaySpace
from reference_impl.report import depth_range, write_flight, write_pictures
from reference_impl.run_folder import picture_stem
from reference_impl.scenes.embedded import load_embedded


@pytest.fixture(scope="module")
def scene():
    return load_embedded(2, width=16, per_view=8)


def bare(scene):
    """Without any depth: every training view has its keypoints, none of them any."""
    none = {
        view: k.where(torch.zeros(len(k), dtype=torch.bool)) for view, k in scene.keypoints.items()
    }
    return replace(scene, depth=None, keypoints=none)


def picture(scene, depth):
    h, w = scene.images.shape[1:3]
    return Picture(torch.zeros(h, w, 3), torch.full((h, w), depth))


def test_depth_range_takes_the_best_that_is_known(scene):
    exact = depth_range(scene, {})
    low, high = torch.quantile(scene.depth[scene.test].flatten(), torch.tensor([0.01, 0.99]))
    assert exact == pytest.approx((float(low), float(high)))
    of_keypoints = depth_range(replace(scene, depth=None), {})
    depths = torch.cat([k.depth for k in scene.keypoints.values()])
    assert depths.min() <= of_keypoints[0] < of_keypoints[1] <= depths.max()
    rendered = depth_range(bare(scene), {0: picture(scene, 1.0), 1: picture(scene, 2.0)})
    assert rendered == pytest.approx((1, 2))
    assert depth_range(bare(scene), {}) == (scene.near, scene.far)


def test_a_flight_needs_no_known_depth(scene, tmp_path):
    model = MipNerf(MipNerfConfig(width=8, depth=1, view_width=4, n_samples=4, max_degree=2))
    write_flight(tmp_path / "flight.gif", model, bare(scene), RaySpace.of(scene, "metric"), 2)
    frames = iio.imread(tmp_path / "flight.gif")
    assert frames.shape[0] == 2
    assert frames.shape[2] == 2 * scene.cameras.width


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("view01", "view01"),
        ("image001.png", "image001"),
        ("left/0001.png", "left_0001"),
        ("./train/r_0", "train_r_0"),
    ],
)
def test_picture_stem(name, stem):
    assert picture_stem(name) == stem


def test_views_of_two_folders_do_not_collide(scene, tmp_path):
    names = [f"{'left' if i < 12 else 'right'}/{i % 12:04d}.png" for i in range(24)]
    assert {names[2], names[14]} == {"left/0002.png", "right/0002.png"}
    pictures = {2: picture(scene, 1.0), 14: picture(scene, 2.0)}
    write_pictures(tmp_path, replace(scene, names=names), pictures)
    written = {path.name for path in tmp_path.iterdir()}
    kinds = ("rgb", "truth", "depth", "depth_error")
    assert written == {f"{side}_0002_{kind}.png" for side in ("left", "right") for kind in kinds}
