import pytest
import torch
from hypothesis import given

from nerfreg.views import (
    average_pose,
    compose_poses,
    focus_depth,
    focus_point,
    invert_pose,
    look_at,
    orbit_path,
    recenter_poses,
    spiral_path,
    to_unit_hemisphere,
    view_matrix,
)
from tests.views.scenes import any_poses, forward_facing_poses, ring_poses, seeds

IDENTITY = torch.eye(3).double()


def assert_rotations(poses: torch.Tensor, atol: float = 1e-9) -> None:
    r = poses[..., :3]
    identity = torch.eye(3, dtype=r.dtype).expand_as(r)
    torch.testing.assert_close(r.mT @ r, identity, rtol=0, atol=atol)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones_like(r[..., 0, 0]))


@given(seed=seeds)
def test_a_camera_sees_its_target_in_the_middle_and_up_above(seed: int) -> None:
    position, target, up = torch.randn(
        3, 20, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    poses = look_at(position, target, up)
    assert_rotations(poses)
    local = compose_poses(invert_pose(poses), torch.cat([poses[..., :3], target[..., None]], -1))
    distance = (target - position).norm(dim=-1)
    expected = torch.stack([0 * distance, 0 * distance, distance], -1)
    torch.testing.assert_close(local[..., 3], expected)
    assert ((poses[..., 1] * up).sum(-1) < 0).all(), "down is away from up"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("axis", [(0, 0, 1.0), (0, 0, -2.0), (3.0, 0, 0), (1.0, 1.0, 1.0)])
def test_up_along_the_viewing_direction(axis: tuple[float, ...], dtype: torch.dtype) -> None:
    direction = torch.tensor(axis, dtype=dtype)
    for up in (direction, -5 * direction, torch.zeros(3, dtype=dtype)):
        pose = view_matrix(direction, up, torch.zeros(3, dtype=dtype))
        assert_rotations(pose, 1e-6)
        torch.testing.assert_close(pose[:, 2], direction / direction.norm())


@given(seed=seeds)
def test_inverses_and_products(seed: int) -> None:
    a, b = any_poses(5, seed), any_poses(5, seed + 3)

    def four(pose: torch.Tensor) -> torch.Tensor:
        return torch.cat([pose, torch.tensor([[[0, 0, 0, 1.0]]]).double().expand(5, 1, 4)], 1)

    torch.testing.assert_close(compose_poses(a, b), (four(a) @ four(b))[:, :3])
    torch.testing.assert_close(invert_pose(a), torch.linalg.inv(four(a))[:, :3])


@given(seed=seeds)
def test_average_and_focus_move_with_the_world(seed: int) -> None:
    world = any_poses(1, seed)[0]
    poses = ring_poses()
    moved = compose_poses(world, poses)
    torch.testing.assert_close(average_pose(moved), compose_poses(world, average_pose(poses)))
    focus = world[:, :3] @ focus_point(poses) + world[:, 3]
    torch.testing.assert_close(focus_point(moved), focus)
    torch.testing.assert_close(recenter_poses(moved), recenter_poses(poses))


def test_the_average_of_recentred_poses_is_the_identity() -> None:
    torch.testing.assert_close(
        average_pose(recenter_poses(ring_poses())), torch.eye(3, 4).double(), rtol=0, atol=1e-12
    )


def test_the_focus_of_cameras_that_look_at_one_point() -> None:
    expected = torch.tensor([0.3, 0.2, 1.0])
    torch.testing.assert_close(focus_point(ring_poses()), expected.double())
    torch.testing.assert_close(focus_point(ring_poses(dtype=torch.float32)), expected)


@pytest.mark.parametrize("n", [1, 4])
def test_parallel_axes_have_no_focus(n: int) -> None:
    poses = torch.eye(3, 4).repeat(n, 1, 1)
    poses[:, 0, 3] = torch.arange(n)
    with pytest.raises(ValueError, match=f"optical axes of the {n} poses are parallel"):
        focus_point(poses)


@pytest.mark.parametrize("function", [average_pose, focus_point, recenter_poses])
@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 4), (0, 3, 4), (2, 3, 3)])
def test_wrong_shapes(unhooked: None, function, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"poses must be \(n, 3, 4\), n ≥ 1, got"):
        function(torch.ones(shape))


def test_the_unit_hemisphere() -> None:
    poses, scale = to_unit_hemisphere(ring_poses())
    assert_rotations(poses)
    torch.testing.assert_close(focus_point(poses), torch.zeros(3).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close((poses[..., 3] ** 2).sum(-1).mean(), torch.tensor(1.0).double())
    assert poses[..., 3].mean(0)[2] > 0.5
    before, after = ring_poses()[..., 3], poses[..., 3]
    torch.testing.assert_close(torch.pdist(after), scale * torch.pdist(before))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_spiral_stays_among_the_cameras(dtype: torch.dtype) -> None:
    cameras = ring_poses(dtype=dtype)
    path = spiral_path(cameras, n_frames=30, quantile=1.0)
    assert path.shape == (30, 3, 4)
    assert path.dtype == dtype
    assert_rotations(path, 1e-5)
    local = compose_poses(invert_pose(average_pose(cameras)), path)[..., 3]
    box = compose_poses(invert_pose(average_pose(cameras)), cameras)[..., 3].abs().amax(0)
    assert (local.abs() <= box + 1e-5).all()
    ahead = spiral_path(cameras, 2.0, n_frames=7)
    target = average_pose(cameras)[:, 3] + 2 * average_pose(cameras)[:, 2]
    towards = torch.nn.functional.normalize(target - ahead[..., 3], dim=-1)
    torch.testing.assert_close(ahead[..., 2], towards)
    given_target = spiral_path(cameras, target, n_frames=7)
    torch.testing.assert_close(given_target, ahead)


def test_an_orbit_circles_the_focus() -> None:
    cameras = ring_poses()
    up = torch.tensor([0.0, -2.0, 0.0]).double()
    path = orbit_path(cameras, up=up, n_frames=16)
    assert_rotations(path)
    focus = torch.tensor([0.3, 0.2, 1.0]).double()
    rms = (cameras[..., 3] - focus).square().sum(-1).mean().sqrt()
    distance = (path[..., 3] - focus).norm(dim=-1)
    torch.testing.assert_close(distance, rms.expand(16))
    torch.testing.assert_close(path[:, 1, 3], cameras[:, 1, 3].mean().expand(16))
    towards = (focus - path[..., 3]) / distance[:, None]
    torch.testing.assert_close(path[..., 2], towards)
    sideways = orbit_path(cameras, up=torch.tensor([1.0, 0, 0]).double(), n_frames=5)
    assert_rotations(sideways)


def test_depth_to_look_at() -> None:
    # By hand: 1 / (0.25/0.9 + 0.75/50).
    assert focus_depth(1.0, 10.0) == pytest.approx(3.415559772296015)
    for near, far in [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)]:
        with pytest.raises(ValueError, match="expected 0 < near < far"):
            focus_depth(near, far)


def test_paths_check_their_cameras() -> None:
    broken = ring_poses()
    broken[2, 0, 0] = float("nan")
    for path in (spiral_path, orbit_path):
        with pytest.raises(ValueError, match=r"cameras\[2\] has a NaN"):
            path(broken)
    parallel = torch.eye(3, 4).repeat(2, 1, 1)
    with pytest.raises(ValueError, match="look at no common point"):
        orbit_path(parallel)
    assert len(spiral_path(forward_facing_poses(), 2.0)) == 120
