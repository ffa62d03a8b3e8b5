import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nerfreg.views import (
    Cameras,
    Rays,
    depth_to_ndc,
    ndc_scale,
    ndc_to_depth,
    pinhole,
    to_ndc,
)
from tests.views.scenes import forward_facing_poses, seeds


def cameras(dtype: torch.dtype = torch.float64) -> Cameras:
    k = pinhole((50.0, 55.0), 64, 48, dtype=dtype)
    return Cameras.from_opencv(forward_facing_poses(dtype=dtype), k, 64, 48)


def some_rays(n: int = 40, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Rays, Rays]:
    """Rays in the world and the same ones in NDC with near 1.2."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(5, (n,), generator=generator)
    xy = torch.rand(n, 2, generator=generator).to(dtype) * torch.tensor([64, 48]).to(dtype)
    both = cameras(dtype)
    return both.rays(index, xy), both.ndc_rays(index, xy, near=1.2)


def test_by_hand() -> None:
    # A camera at (0, 0, 0.5) that looks along (0.5, 0, −1): at D = 2 it sees (1, 0, −1.5).
    rays = Rays(
        torch.tensor([0.0, 0.0, 0.5]),
        torch.tensor([0.5, 0.0, -1.0]),
        torch.tensor([0.0, 0.0, -1.0]),
        torch.ones(1),
    )
    torch.testing.assert_close(depth_to_ndc(torch.tensor(2.0), rays), torch.tensor(1 - 1 / 1.5))
    origin, direction = to_ndc(rays.origins, rays.directions, torch.tensor([2.0, 3.0]))
    # It meets z = −1 at (0.75, 0, −1) and points to x/−z = 0.5 at infinity.
    torch.testing.assert_close(origin, torch.tensor([1.5, 0.0, -1.0]))
    torch.testing.assert_close(origin + direction, torch.tensor([1.0, 0.0, 1.0]))


@given(seed=seeds, samples=st.sampled_from([None, 1, 7]))
def test_a_point_is_the_same_point_in_both_spaces(seed: int, samples: int | None) -> None:
    world, ndc = some_rays(seed=seed)
    shape = world.shape if samples is None else (*world.shape, samples)
    depth = 0.5 + 20 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()
    t = depth_to_ndc(depth, world, near=1.2)
    assert t.shape == depth.shape
    points = world.at(depth)
    scale = ndc_scale(cameras().intrinsics[0], 64, 48)
    expected = torch.cat(
        [
            scale * points[..., :2] / -points[..., 2:],
            1 + 2 * 1.2 / points[..., 2:],
        ],
        -1,
    )
    torch.testing.assert_close(ndc.at(t), expected)
    torch.testing.assert_close(ndc_to_depth(t, world, near=1.2), depth)


@given(seed=seeds)
def test_round_trip_from_ndc(seed: int) -> None:
    world, _ = some_rays(seed=seed)
    t = torch.rand(40, 9, generator=torch.Generator().manual_seed(seed)).double()
    back = depth_to_ndc(ndc_to_depth(t, world, near=0.7), world, near=0.7)
    torch.testing.assert_close(back, t)


def test_view_directions_stay_those_of_the_world() -> None:
    world, ndc = some_rays()
    assert torch.equal(world.viewdirs, ndc.viewdirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [1.0, 1.0 + 1e-3, 2.0, -1e6, 0.0])
def test_infinity_is_finite(dtype: torch.dtype, t: float) -> None:
    world, _ = some_rays(dtype=dtype)
    at = torch.full((40, 2), t, dtype=dtype, requires_grad=True)
    depth = ndc_to_depth(at, world)
    depth.sum().backward()
    assert depth.isfinite().all()
    assert at.grad is not None
    assert at.grad.isfinite().all()
    if t >= 1:
        # The stated bound: Z = near/eps.
        z = -(world.origins[:, 2] + depth[:, 0] * world.directions[:, 2])
        torch.testing.assert_close(z, torch.full_like(z, 1 / torch.finfo(dtype).eps))
        assert not at.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [-5.0, 0.0, 1e30, 0.05])
def test_points_behind_the_camera_are_finite(dtype: torch.dtype, depth: float) -> None:
    world, _ = some_rays(dtype=dtype)
    at = torch.full((40,), depth, dtype=dtype, requires_grad=True)
    t = depth_to_ndc(at, world, near=1.2)
    t.sum().backward()
    assert t.isfinite().all()
    assert at.grad is not None
    assert at.grad.isfinite().all()
    if depth == -5:
        torch.testing.assert_close(t, torch.full_like(t, 1 - 1e6))


def test_a_ray_across_the_viewing_direction_is_finite() -> None:
    across = torch.tensor([[1.0, 0.0, 0.0]])
    rays = Rays(torch.zeros(1, 3), across, across, torch.ones(1, 1))
    assert ndc_to_depth(torch.tensor([0.5]), rays).isfinite().all()
    assert depth_to_ndc(torch.tensor([0.5]), rays).isfinite().all()
    for x in to_ndc(rays.origins, rays.directions, torch.ones(2)):
        assert x.isfinite().all()


def test_gradients() -> None:
    world, _ = some_rays(3)
    depth = torch.tensor([1.5, 2.0, 9.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda d: depth_to_ndc(d, world, near=1.2), depth)
    t = torch.tensor([0.0, 0.5, 0.99]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: ndc_to_depth(t, world, near=1.2), t)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_answered_in_float32(dtype: torch.dtype) -> None:
    world, _ = some_rays(dtype=torch.float32)
    depth = torch.full((40,), 3.0, dtype=dtype)
    t = depth_to_ndc(depth, world)
    assert t.dtype == torch.float32
    torch.testing.assert_close(t, depth_to_ndc(depth.float(), world))
    assert ndc_to_depth(t.to(dtype), world).dtype == torch.float32


@pytest.mark.parametrize("function", [depth_to_ndc, ndc_to_depth])
@pytest.mark.parametrize("shape", [(), (39,), (7, 40), (40, 7, 1)])
def test_wrong_shapes(unhooked: None, function, shape: tuple[int, ...]) -> None:
    world, _ = some_rays()
    name = "depth" if function is depth_to_ndc else "t"
    with pytest.raises(ValueError, match=rf"{name} must have the rays' shape \(40,\)"):
        function(torch.ones(shape), world)


@pytest.mark.parametrize("function", [depth_to_ndc, ndc_to_depth])
def test_wrong_values(unhooked: None, function) -> None:
    world, _ = some_rays()
    for near in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="near must be > 0"):
            function(torch.ones(40), world, near=near)
    with pytest.raises(TypeError, match="must be floating point, got torch"):
        function(torch.ones(40, dtype=torch.int64), world)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_radius_of_the_last_row_and_column(dtype: torch.dtype) -> None:
    """As upstream: the last row takes the step between the two rows above it."""
    c = cameras(dtype)

    def radius(x: float, y: float) -> Tensor:
        return c.ndc_rays(torch.tensor(0), torch.tensor([x, y], dtype=dtype)).radii

    def origin(x: float, y: float) -> Tensor:
        return c.ndc_rays(torch.tensor(0), torch.tensor([x, y], dtype=dtype)).origins

    column, row = 63.5, 20.5
    dx = (origin(62.5, row) - origin(61.5, row)).norm()
    dy = (origin(column, row + 1) - origin(column, row)).norm()
    torch.testing.assert_close(radius(column, row)[0], (dx + dy) / 12**0.5, rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [(2, 2), (1, 5), (5, 1)])
def test_images_too_small_for_upstreams_rule(size: tuple[int, int]) -> None:
    c = Cameras.from_opencv(forward_facing_poses(1), pinhole(5.0, *size).double(), *size)
    rays = c.ndc_rays(torch.tensor(0), torch.tensor([0.5, 0.5]).double())
    assert rays.radii.item() > 0
