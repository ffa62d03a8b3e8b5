"""Projection matrices taken apart give back what they were put together from."""

from pathlib import Path

import numpy as np
import pytest

from reference_impl.scenes import SceneError
from reference_impl.scenes.projection import decompose

from .captures import FOCAL, SIZE, World, projection


@pytest.mark.parametrize("factor", [1.0, -3.0, 1e-4])
def test_lens_and_pose_come_back(factor: float):
    world = World(5)
    matrices = factor * np.stack([projection(world, i, 2.0) for i in range(5)])
    intrinsics, c2w = decompose(Path("here"), matrices)
    expected = np.array([[2 * FOCAL, 0, SIZE[0]], [0, 2 * FOCAL, SIZE[1]], [0, 0, 1]])
    np.testing.assert_allclose(intrinsics, np.broadcast_to(expected, (5, 3, 3)), atol=1e-8)
    np.testing.assert_allclose(c2w, world.c2w, atol=1e-10)


def test_skew_and_unequal_focal_lengths():
    lens = np.array([[50.0, 0.7, 20.0], [0.0, 40.0, 11.0], [0.0, 0.0, 1.0]])
    matrix = lens @ np.concatenate([np.eye(3), np.ones((3, 1))], -1)
    intrinsics, c2w = decompose(Path("here"), matrix[None])
    np.testing.assert_allclose(intrinsics[0], lens, atol=1e-12)
    np.testing.assert_allclose(c2w[0, :, 3], [-1, -1, -1], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.nan, "NaN or infinity in a projection matrix"),
        (0.0, r"projection matrix of view\(s\) \[1\] is singular"),
    ],
)
def test_what_is_no_projection(change: float, message: str):
    matrices = np.stack([projection(World(2), i) for i in range(2)])
    matrices[1] *= change
    with pytest.raises(SceneError, match=f"here: {message}"):
        decompose(Path("here"), matrices)
