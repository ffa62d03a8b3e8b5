import re
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from nerfreg import check_values
from nerfreg.views import (
    Cameras,
    colmap_to_opencv,
    look_at,
    opencv_to_colmap,
    opencv_to_opengl,
    opengl_to_opencv,
    pinhole,
)
from tests.views.scenes import any_cameras, any_intrinsics, any_poses, forward_facing_poses, seeds

K = pinhole(50.0, 64, 48, dtype=torch.float64)


def test_a_point_seen_by_three_cameras_is_found_again() -> None:
    """The same cameras through three doors see one point where a drawing on paper has it."""
    point = torch.tensor([0.2, -0.1, 0.3]).double()
    position = torch.tensor([[0.0, 0.0, -4.0], [3.0, 0.5, -3.0], [-2.0, -1.0, -3.5]]).double()
    opencv = look_at(position, torch.zeros(3).double(), torch.tensor([0.0, -1.0, 0.0]).double())
    doors = [
        Cameras.from_opencv(opencv, K, 64, 48),
        Cameras.from_opengl(opencv_to_opengl(opencv), K, 64, 48),
        Cameras.from_colmap(*opencv_to_colmap(opencv), K, 64, 48),
    ]
    index = torch.arange(3)
    for cameras in doors:
        xy, z = cameras.project(point, index)
        # By hand, camera 0: it looks along +z with y down, so the point is 0.2 to the right, 0.1 up
        # and 4.3 ahead.
        expected = torch.tensor([32 + 50 * 0.2 / 4.3, 24 - 50 * 0.1 / 4.3]).double()
        torch.testing.assert_close(xy[0], expected)
        torch.testing.assert_close(z[0], torch.tensor(4.3).double())
        torch.testing.assert_close(cameras.rays(index, xy).at(z), point.expand(3, 3))


@given(seed=seeds)
def test_round_trips_of_axes(seed: int) -> None:
    c2w = any_poses(10, seed)
    assert torch.equal(opengl_to_opencv(opencv_to_opengl(c2w)), c2w)
    qvec, tvec = opencv_to_colmap(c2w)
    torch.testing.assert_close(colmap_to_opencv(qvec, tvec), c2w)
    # COLMAP's definition: a world point X is R·X + t in the camera.
    world = torch.ones(10, 3).double()
    local = ((world - c2w[..., 3])[..., None, :] @ c2w[..., :3])[..., 0, :]
    w2c = torch.linalg.inv(torch.cat([c2w, torch.tensor([[[0, 0, 0, 1.0]]]).expand(10, 1, 4)], 1))
    torch.testing.assert_close(w2c[:, :3, 3], tvec)
    torch.testing.assert_close((w2c[:, :3, :3] @ world[..., None])[..., 0] + tvec, local)
    four = torch.cat([c2w, torch.tensor([[[0, 0, 0, 1.0]]]).double().expand(10, 1, 4)], 1)
    assert opengl_to_opencv(four).shape == (10, 4, 4)
    assert torch.equal(Cameras.from_opencv(four, K, 64, 48).c2w, c2w)


def test_an_unnormalised_quaternion_is_the_same_rotation() -> None:
    qvec, tvec = opencv_to_colmap(any_poses(4, 0))
    torch.testing.assert_close(colmap_to_opencv(-3 * qvec, tvec), colmap_to_opencv(qvec, tvec))


def test_resizing_moves_no_ray() -> None:
    cameras = any_cameras(3, 0)
    small = cameras.resized(16, 24)
    assert (small.width, small.height) == (16, 24)
    index, xy = torch.arange(3), torch.tensor([[10.0, 20.0]]).double()
    scaled = xy * torch.tensor([16 / 64, 24 / 48])
    torch.testing.assert_close(
        small.rays(index, scaled).directions, cameras.rays(index, xy).directions
    )
    assert torch.equal(cameras.resized(64, 48).intrinsics, cameras.intrinsics)


def test_selecting_cameras() -> None:
    cameras = any_cameras(5, 0)
    assert len(cameras) == 5
    assert len(cameras[2]) == 1
    assert torch.equal(cameras[-1].c2w[0], cameras.c2w[4])
    assert torch.equal(cameras[torch.tensor(3)].c2w[0], cameras.c2w[3])
    for index in ([1, 3], torch.tensor([1, 3]), slice(1, 4, 2)):
        assert torch.equal(cameras[index].intrinsics, cameras.intrinsics[[1, 3]])
    assert len(list(cameras)) == 5
    with pytest.raises(IndexError, match="camera 5 does not exist: there are 5"):
        cameras[5]


def test_image_rays_are_those_of_the_pixel_centres() -> None:
    cameras = any_cameras(2, 0)
    rays = cameras.image_rays(1)
    assert rays.shape == (48, 64)
    one = cameras.rays(torch.tensor(1), torch.tensor([10.5, 7.5]).double())
    torch.testing.assert_close(rays[7, 10].directions, one.directions)


def test_moving_and_converting() -> None:
    cameras = any_cameras(2, 0).to(dtype=torch.float32)
    assert cameras.c2w.dtype == cameras.intrinsics.dtype == torch.float32
    assert cameras.to("meta").c2w.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_any_integer_index(dtype: torch.dtype) -> None:
    cameras = any_cameras(2, 0)
    rays = cameras.rays(torch.tensor([1], dtype=dtype), torch.ones(1, 2).double())
    assert torch.equal(rays.origins[0], cameras.c2w[1, :, 3])


def bad(entry: tuple[int, ...], value: float) -> Tensor:
    c2w = any_poses(3, 0)
    c2w[entry] = value
    return c2w


@pytest.mark.parametrize(
    ("c2w", "message"),
    [
        (bad((1, 0, 0), float("nan")), "c2w[1] has a NaN or infinite entry"),
        (bad((2, 0, 3), float("inf")), "c2w[2] has a NaN or infinite entry"),
        (
            2 * any_poses(3, 0),
            "c2w[0] must begin with a rotation, but its columns have lengths 2, 2, 2",
        ),
        (any_poses(3, 0) * torch.tensor([1, 1, -1, 1]), "and its determinant is -1"),
        (any_poses(3, 0)[0], "c2w must be (n, 3, 4) or (n, 4, 4), got (3, 4)"),
        (any_poses(3, 0)[:0], "c2w must be (n, 3, 4), n ≥ 1, got (0, 3, 4)"),
        (any_poses(3, 0)[:, :, :3], "c2w must be (n, 3, 4) or (n, 4, 4), got (3, 3, 3)"),
    ],
)
@pytest.mark.parametrize("door", ["from_opencv", "from_opengl"])
def test_bad_poses(unhooked: None, door: str, c2w: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(Cameras, door)(c2w, K, 64, 48)


@pytest.mark.parametrize(
    ("intrinsics", "message"),
    [
        (K[:2], "intrinsics must be (n, 3, 3), n ≥ 1, got (3, 2, 3)"),
        (K.expand(2, 3, 3), "got 3 poses and 2 intrinsics"),
        (torch.diag(torch.tensor([-50.0, 50, 1])), "intrinsics[0] must be [[fx, s, cx]"),
        (torch.diag(torch.tensor([50.0, 50, 2])), "intrinsics[0] must be [[fx, s, cx]"),
        (torch.full((3, 3), float("nan")), "intrinsics[0] must be [[fx, s, cx]"),
        (K.mT, "intrinsics[0] must be [[fx, s, cx]"),
    ],
)
def test_bad_intrinsics(unhooked: None, intrinsics: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Cameras.from_opencv(any_poses(3, 0), intrinsics, 64, 48)


@pytest.mark.parametrize(
    ("qvec", "tvec", "message"),
    [
        (torch.ones(3, 3), torch.ones(3, 3), "qvec must be (n, 4), got (3, 3)"),
        (torch.ones(3, 4), torch.ones(3), "tvec must be (n, 3), got (3,)"),
        (torch.ones(3, 4), torch.ones(2, 3), "got 3 qvec and 2 tvec"),
        (torch.zeros(3, 4), torch.ones(3, 3), "c2w[0] has a NaN or infinite entry"),
    ],
)
def test_bad_colmap_poses(unhooked: None, qvec: Tensor, tvec: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Cameras.from_colmap(qvec, tvec, K, 64, 48)


@pytest.mark.parametrize(
    ("c2w", "intrinsics", "got"),
    [
        (torch.ones(2, 3, 4, dtype=torch.int64), K, "c2w must be floating point, got torch.int64"),
        (any_poses(2, 0), K.long(), "intrinsics must be floating point, got torch.int64"),
        (any_poses(2, 0).tolist(), K, "c2w must be an array (torch, JAX or NumPy), got list"),
        (any_poses(2, 0).numpy(), K, "arrays of one library, got c2w numpy, intrinsics torch"),
    ],
)
def test_what_is_no_floating_tensor(unhooked: None, c2w: Any, intrinsics: Any, got: str) -> None:
    with pytest.raises(TypeError, match=re.escape(got)):
        Cameras.from_opencv(c2w, intrinsics, 64, 48)


@pytest.mark.parametrize("size", [(0, 48), (64, -1)])
def test_bad_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="width and height must be ≥ 1"):
        Cameras.from_opencv(any_poses(2, 0), K, *size)
    with pytest.raises(ValueError, match=r"Cameras\.resized: width and height must be ≥ 1"):
        any_cameras(2, 0).resized(*size)


def test_the_constructor_reads_values_only_when_asked() -> None:
    c2w, k = bad((0, 0, 0), float("nan")), any_intrinsics(3, 0)
    assert len(Cameras(c2w, k, 64, 48)) == 3
    with check_values(), pytest.raises(ValueError, match="NaN"):
        Cameras(c2w, k, 64, 48)


def test_one_dtype_and_device() -> None:
    with pytest.raises(ValueError, match="must share device and dtype"):
        Cameras(any_poses(2, 0), any_intrinsics(2, 0).float(), 64, 48)
    with pytest.raises(ValueError, match="must share device and dtype"):
        Cameras(any_poses(2, 0).to("meta"), any_intrinsics(2, 0), 64, 48)


@pytest.mark.parametrize("index", [torch.tensor([0.0]), torch.tensor([True])])
def test_an_index_that_is_none(unhooked: None, index: Tensor) -> None:
    cameras = any_cameras(2, 0)
    for call in (cameras.rays, cameras.ndc_rays):
        with pytest.raises(TypeError, match="index must be an integer tensor"):
            call(index, torch.ones(1, 2).double())
    with pytest.raises(TypeError, match=r"Cameras\.project: index must be an integer tensor"):
        cameras.project(torch.ones(1, 3).double(), index)


def test_ndc_of_different_focal_lengths_needs_a_scale() -> None:
    k = torch.stack([K, pinhole(60.0, 64, 48, dtype=torch.float64)])
    cameras = Cameras.from_opencv(forward_facing_poses(2), k, 64, 48)
    index, xy = torch.tensor([0, 1]), torch.full((2, 2), 20.0).double()
    with check_values():
        with pytest.raises(ValueError, match="scale must be given"):
            cameras.ndc_rays(index, xy)
        one_space = torch.tensor([1.5, 2.0]).double()
        both = cameras.ndc_rays(index, xy, scale=one_space)
        alone = cameras[1].ndc_rays(torch.tensor([0]), xy[1:], scale=one_space)
    torch.testing.assert_close(both.origins[1:], alone.origins)
