import pytest
import torch
from hypothesis import given

from nerfreg.views import (
    opengl_to_opencv,
    pinhole,
    pinhole_rays,
    pixel_centres,
    project_points,
)
from tests.views.scenes import any_cameras, any_intrinsics, any_poses, seeds


def test_the_top_left_pixel_centre_by_hand() -> None:
    # 4×2 pixels, f = 2: the centre (0.5, 0.5) is 1.5 pixels left of and 0.5 above (2, 1), so its
    # direction is (−1.5, −0.5, 2)/2.
    xy = pixel_centres(4, 2)
    assert xy.shape == (2, 4, 2)
    rays = pinhole_rays(torch.eye(3, 4), pinhole(2.0, 4, 2), xy)
    torch.testing.assert_close(rays.directions[0, 0], torch.tensor([-0.75, -0.25, 1.0]))
    torch.testing.assert_close(rays.directions[1, 3], torch.tensor([0.75, 0.25, 1.0]))
    # The next row is 1/f away; 2/√12 of that.
    torch.testing.assert_close(rays.radii, torch.full((2, 4, 1), 0.5 * 2 / 12**0.5))


def test_opengl_directions_are_the_same_vectors() -> None:
    # As NeRF's code writes them: (x − W/2 + ½)/f, −(y − H/2 + ½)/f, −1 for integer x and y.
    c2w = any_poses(1, 3)[0]
    x, y = torch.meshgrid(torch.arange(6.0), torch.arange(4.0), indexing="xy")
    camera = torch.stack([(x - 3 + 0.5) / 5, -(y - 2 + 0.5) / 5, -torch.ones_like(x)], -1).double()
    rays = pinhole_rays(
        opengl_to_opencv(c2w),
        pinhole(5.0, 6, 4, dtype=torch.float64),
        pixel_centres(6, 4, dtype=torch.float64),
    )
    torch.testing.assert_close(rays.directions, camera @ c2w[:, :3].mT)


@given(seed=seeds)
def test_inverse_of_any_intrinsics(seed: int) -> None:
    n = 8
    k, c2w = any_intrinsics(n, seed), any_poses(n, seed)
    xy = 64 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)).double()
    rays = pinhole_rays(c2w, k, xy)
    homogeneous = torch.cat([xy, torch.ones(n, 1).double()], -1)
    camera = (torch.linalg.inv(k) @ homogeneous[..., None])[..., 0]
    torch.testing.assert_close(rays.directions, (c2w[..., :3] @ camera[..., None])[..., 0])
    step = torch.linalg.inv(k)[..., 1].norm(dim=-1, keepdim=True)
    torch.testing.assert_close(rays.radii, step * 2 / 12**0.5)
    torch.testing.assert_close(rays.viewdirs.norm(dim=-1), torch.ones(n).double())


@given(seed=seeds)
def test_t_is_z_depth_and_projection_is_the_inverse(seed: int) -> None:
    cameras = any_cameras(6, seed)
    generator = torch.Generator().manual_seed(seed)
    index = torch.arange(6)
    xy = 48 * torch.rand(6, 2, generator=generator).double()
    t = 0.1 + 5 * torch.rand(6, generator=generator).double()
    rays = cameras.rays(index, xy)
    back, z = cameras.project(rays.at(t), index)
    torch.testing.assert_close(back, xy)
    torch.testing.assert_close(z, t)


def test_points_behind_and_beside_the_camera_stay_finite() -> None:
    points = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, -2.0]], requires_grad=True)
    xy, z = project_points(torch.eye(3, 4), pinhole(2.0, 4, 2), points)
    assert xy.isfinite().all()
    assert torch.equal(z, torch.tensor([0.0, 0.0, -2.0]))
    xy.sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()


def test_two_focal_lengths() -> None:
    assert torch.equal(
        pinhole((3.0, 5.0), 4, 2, dtype=torch.float64),
        torch.tensor([[3, 0, 2], [0, 5, 1], [0, 0, 1]], dtype=torch.float64),
    )


def test_batches_broadcast() -> None:
    c2w, k = any_poses(5, 0)[:, None, None], any_intrinsics(5, 0)[:, None, None]
    rays = pinhole_rays(c2w, k, pixel_centres(4, 3, dtype=torch.float64))
    assert rays.shape == (5, 3, 4)
    assert rays.flatten().radii.shape == (60, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_follows_the_pose(dtype: torch.dtype) -> None:
    c2w, k = any_poses(3, 0, dtype), any_intrinsics(3, 0, dtype)
    rays = pinhole_rays(c2w, k, torch.rand(3, 2, dtype=torch.float32))
    assert {x.dtype for x in vars(rays).values()} == {dtype}
    exact = pinhole_rays(c2w.double(), k.double(), torch.full((3, 2), 5.0).double())
    rough = pinhole_rays(c2w, k, torch.full((3, 2), 5.0, dtype=dtype))
    torch.testing.assert_close(rough.directions.double(), exact.directions, rtol=1e-5, atol=1e-6)


def test_gradients_to_poses_and_intrinsics() -> None:
    c2w, k = any_poses(2, 0).requires_grad_(), any_intrinsics(2, 0).requires_grad_()
    xy = torch.tensor([[3.0, 4.0], [30.0, 20.0]]).double()

    def outputs(c2w: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rays = pinhole_rays(c2w, k, xy)
        return rays.origins, rays.directions, rays.viewdirs, rays.radii

    assert torch.autograd.gradcheck(outputs, (c2w, k))
