"""The scene that needs no download."""

import pytest
import torch

from reference_impl.scenes import SceneError, load_scene


def test_the_smallest_that_is_allowed():
    scene = load_scene("embedded", 2, width=16)
    assert scene.images.shape == (24, 12, 16, 3)
    assert len(scene.train) == 2
    assert all(len(k) for k in scene.keypoints.values())
    assert scene.unseen.sample(4).shape == (4, 3, 4)


def test_exact_depth_lies_within_the_bounds():
    scene = load_scene("embedded", 3, width=24)
    assert scene.depth is not None
    depth = scene.depth[torch.tensor(scene.train)]
    assert scene.near < float(depth.min())
    assert float(depth.max()) < scene.far


@pytest.mark.parametrize(
    ("views", "width", "message"),
    [
        (1, None, "embedded: .*--views of at least 2, got 1"),
        (19, 24, "embedded: 19 training views .* leaves 18"),
        (3, 15, "embedded: --width must be at least 16, got 15"),
        (3, 0, "embedded: --width must be at least 16, got 0"),
    ],
)
def test_what_cannot_be_had_is_named(views: int, width: int | None, message: str):
    with pytest.raises(SceneError, match=message):
        load_scene("embedded", views, width=width)
