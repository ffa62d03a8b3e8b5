"""What all distributions of unseen poses have in common, and what each has to itself."""

import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from torch import Tensor

from nerfreg.views import (
    AroundFocusPoses,
    Cameras,
    ForwardFacingPoses,
    HemispherePoses,
    InterpolatedPoses,
    PoseDistribution,
    compose_poses,
    focus_depth,
    invert_pose,
    pinhole,
)
from tests.views.scenes import any_poses, ring_poses, seeds

Make = Callable[[Tensor], PoseDistribution]
MAKERS: dict[str, Make] = {
    "forward-facing": lambda c2w: ForwardFacingPoses.from_cameras(c2w, near=1.0, far=10.0),
    "around focus": AroundFocusPoses.from_cameras,
    "hemisphere": HemispherePoses.from_cameras,
    "interpolated": InterpolatedPoses.from_cameras,
}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_are_poses(make: Make, dtype: torch.dtype) -> None:
    poses = make(ring_poses(dtype=dtype)).sample(500, generator())
    assert poses.shape == (500, 3, 4)
    assert poses.dtype == dtype
    rotation = poses[..., :3].double()
    gram = rotation.mT @ rotation
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(gram, torch.eye(3).double().expand_as(gram), rtol=0, atol=tolerance)
    assert (torch.linalg.det(rotation) > 0).all()


@each
def test_n_draws_are_n_poses(make: Make) -> None:
    assert len(torch.unique(make(ring_poses()).sample(200, generator()), dim=0)) == 200


@each
def test_one_seed_one_sequence(make: Make) -> None:
    distribution = make(ring_poses())
    g = generator(3)
    first, second = distribution.sample(5, g), distribution.sample(5, g)
    assert not torch.equal(first, second)
    assert torch.equal(distribution.sample(5, generator(3)), first)
    torch.manual_seed(3)
    assert torch.equal(distribution.sample(5), first), "without a generator: torch's own"


@each
def test_cameras_and_their_poses_mean_the_same(make: Make) -> None:
    cameras = Cameras.from_opencv(ring_poses(), pinhole(50.0, 64, 48), 64, 48)
    from_cameras = make(cameras).sample(5, generator())  # type: ignore[arg-type]
    assert torch.equal(from_cameras, make(ring_poses()).sample(5, generator()))


@each
def test_moving_and_converting(make: Make) -> None:
    distribution = make(ring_poses())
    assert distribution.to(dtype=torch.float32).sample(2).dtype == torch.float32
    assert distribution.to("meta").sample(2).device.type == "meta"
    assert isinstance(distribution, PoseDistribution)


@each
def test_a_generator_of_another_device(make: Make) -> None:
    with pytest.raises(ValueError, match="generator must draw on meta, where the poses are"):
        make(ring_poses()).to("meta").sample(2, generator())


@each
@pytest.mark.parametrize("n", [0, -1])
def test_nothing_to_draw(make: Make, n: int) -> None:
    with pytest.raises(ValueError, match=rf"sample: n must be ≥ 1, got {n}"):
        make(ring_poses()).sample(n)


@each
@pytest.mark.parametrize(
    ("c2w", "message"),
    [
        (torch.full((2, 3, 4), float("nan")), "cameras[0] has a NaN or infinite entry"),
        (3 * ring_poses(), "cameras[0] must begin with a rotation"),
        (ring_poses()[0], "cameras must be (n, 3, 4), n ≥ 1, got (3, 4)"),
    ],
)
def test_what_are_no_poses(make: Make, c2w: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make(c2w)


@each
def test_gradients_reach_the_poses(make: Make) -> None:
    """Cameras that are optimised themselves pass their gradient on."""
    c2w = ring_poses().requires_grad_()
    make(c2w).sample(4, generator()).square().sum().backward()
    assert c2w.grad is not None
    assert c2w.grad.isfinite().all()


@pytest.mark.parametrize("name", ["forward-facing", "interpolated"])
@given(seed=seeds)
def test_moving_the_world_moves_the_samples(name: str, seed: int) -> None:
    world = any_poses(1, seed)[0]
    here = MAKERS[name](ring_poses()).sample(4, generator(seed))
    there = MAKERS[name](compose_poses(world, ring_poses())).sample(4, generator(seed))
    torch.testing.assert_close(there, compose_poses(world, here))


@each
@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_scaling_the_world_scales_the_samples(make: Make, scale: float) -> None:
    """The same scene in centimetres: no parameter has a hidden unit of length."""
    if make is MAKERS["forward-facing"]:

        def scaled_make(c2w: Tensor) -> PoseDistribution:
            return ForwardFacingPoses.from_cameras(c2w, near=scale, far=10 * scale)
    else:
        scaled_make = make
    factor = torch.tensor([1, 1, 1, scale])
    here = make(ring_poses()).sample(4, generator())
    there = scaled_make(ring_poses() * factor).sample(4, generator())
    torch.testing.assert_close(there, here * factor)


@pytest.mark.parametrize("name", ["forward-facing", "around focus"])
def test_the_box_just_holds_the_training_cameras(name: str) -> None:
    c2w = ring_poses()
    distribution = MAKERS[name](c2w)

    def in_box(poses: Tensor) -> Tensor:
        return compose_poses(invert_pose(distribution.pose), poses)[..., 3] / distribution.radii

    torch.testing.assert_close(in_box(c2w).abs().amax(0), torch.ones(3).double())
    places = in_box(distribution.sample(4000, generator()))
    assert (places.abs() <= 1 + 1e-9).all()
    # Uniform on [−1, 1]: mean 0, variance 1/3, no correlation; 4000 draws leave about 0.01.
    assert places.mean(0).abs().max() < 0.05
    assert (torch.cov(places.T) - torch.eye(3) / 3).abs().max() < 0.03


def test_forward_facing_poses_look_at_one_point() -> None:
    distribution = ForwardFacingPoses.from_cameras(ring_poses(), near=1.0, far=10.0, radius=2.0)
    poses = distribution.sample(50, generator())
    offset = distribution.target - poses[..., 3]
    torch.testing.assert_close(
        poses[..., 2], offset / offset.norm(dim=-1, keepdim=True), rtol=0, atol=1e-12
    )
    ahead = distribution.target - distribution.pose[:, 3]
    torch.testing.assert_close(ahead, focus_depth(1.0, 10.0) * distribution.pose[:, 2])
    small = ForwardFacingPoses.from_cameras(ring_poses(), near=1.0, far=10.0)
    torch.testing.assert_close(distribution.radii, 2 * small.radii)


def test_around_focus_poses_glance_beside_the_focus() -> None:
    still = AroundFocusPoses.from_cameras(ring_poses(), jitter=0.0)
    focus = torch.tensor([0.3, 0.2, 1.0]).double()
    torch.testing.assert_close(still.focus, focus)
    poses = still.sample(50, generator())
    offset = focus - poses[..., 3]
    torch.testing.assert_close(poses[..., 2], offset / offset.norm(dim=-1, keepdim=True))

    jittered = AroundFocusPoses.from_cameras(ring_poses())
    torch.testing.assert_close(jittered.jitter, 0.125 * jittered.radii.max())
    assert (jittered.sample(50, generator())[..., 2] - poses[..., 2]).abs().max() > 0.01
    elsewhere = torch.tensor([0.0, 1.0, 0.0])
    assert AroundFocusPoses.from_cameras(ring_poses(), focus=elsewhere).focus[1] == 1


def test_cameras_that_look_at_nothing_common() -> None:
    parallel = torch.eye(3, 4).repeat(3, 1, 1)
    parallel[:, 0, 3] = torch.arange(3)
    diverging = ring_poses()
    diverging[..., :3] = diverging[..., :3] * torch.tensor([-1, 1, -1])
    for make in (AroundFocusPoses.from_cameras, HemispherePoses.from_cameras):
        with pytest.raises(ValueError, match=r"look at no common point .*parallel.*Forward"):
            make(parallel)
        with pytest.raises(ValueError, match="lies behind 5 of 5; use ForwardFacingPoses"):
            make(diverging)
    AroundFocusPoses.from_cameras(parallel, focus=torch.tensor([1.0, 0, 5])).sample(2)


@pytest.mark.parametrize("jitter", [-0.1, -1.0])
def test_negative_jitter(jitter: float) -> None:
    with pytest.raises(ValueError, match="jitter must be ≥ 0"):
        AroundFocusPoses.from_cameras(ring_poses(), jitter=jitter)


def test_one_camera_alone_has_no_extent() -> None:
    one = ring_poses()[2:3]
    distribution = ForwardFacingPoses.from_cameras(one, near=1.0, far=2.0)
    poses = distribution.sample(3, generator())
    torch.testing.assert_close(poses, one.expand(3, 3, 4))
    with pytest.raises(ValueError, match="at least two poses are needed, got 1"):
        InterpolatedPoses.from_cameras(one)


def test_hemisphere() -> None:
    up = torch.tensor([0.3, -2.0, 0.1]).double()
    distribution = HemispherePoses.from_cameras(ring_poses(), up=up)
    focus = torch.tensor([0.3, 0.2, 1.0]).double()
    mean_distance = (ring_poses()[..., 3] - focus).norm(dim=-1).mean()
    torch.testing.assert_close(distribution.radius, mean_distance)
    poses = distribution.sample(4000, generator())
    offset = poses[..., 3] - focus
    torch.testing.assert_close(offset.norm(dim=-1), mean_distance.expand(4000))
    torch.testing.assert_close(poses[..., 2], -offset / mean_distance)
    # Uniform on a hemisphere: the height is uniform on [0, 1] (Archimedes).
    height = offset @ up / up.norm() / mean_distance
    assert (height >= -1e-12).all()
    share = torch.histc(height, 10, 0, 1) / 4000
    assert (share - 0.1).abs().max() < 0.025
    assert ((poses[..., 1] @ up) <= 1e-9).all(), "up is up"

    given_all = HemispherePoses.from_cameras(ring_poses(), centre=torch.zeros(3), radius=2.0, up=up)
    torch.testing.assert_close(
        given_all.sample(3, generator())[..., 3].norm(dim=-1), torch.full((3,), 2.0).double()
    )
    # The mean of the cameras' up axes, by default: these are nearly level.
    default = HemispherePoses.from_cameras(ring_poses())
    assert default.up[1] < -0.9
    with pytest.raises(ValueError, match="radius must be > 0, got 0"):
        HemispherePoses.from_cameras(ring_poses(), radius=0.0)


def test_looking_straight_down_from_the_pole() -> None:
    pole = HemispherePoses.blender().place(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    assert pole.isfinite().all()
    gram = pole[..., :3].mT @ pole[..., :3]
    torch.testing.assert_close(gram, torch.eye(3).expand(2, 3, 3))
    torch.testing.assert_close(pole[0], pole[1], rtol=0, atol=1e-6)


def test_interpolation_starts_and_ends_at_cameras() -> None:
    c2w = ring_poses()
    distribution = InterpolatedPoses.from_cameras(c2w)
    i, j = torch.tensor([0, 1, 4]), torch.tensor([3, 2, 0])
    torch.testing.assert_close(distribution.place(i, j, torch.ones(3).double()), c2w[i])
    torch.testing.assert_close(distribution.place(i, j, torch.zeros(3).double()), c2w[j])
    half = torch.full((3,), 0.5).double()
    torch.testing.assert_close(distribution.place(i, j, half), distribution.place(j, i, half))


def test_interpolation_reaches_all_pairs_equally_often() -> None:
    distribution = InterpolatedPoses.from_cameras(ring_poses(4))
    seen = torch.zeros(4, 4)
    n = 6000

    class Recorder(InterpolatedPoses):
        def place(self, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
            seen.index_put_((first, second), torch.ones(len(first)), accumulate=True)
            assert ((weight >= 0) & (weight < 1)).all()
            return super().place(first, second, weight)

    Recorder(distribution.c2w).sample(n, generator())
    assert not seen.diagonal().any()
    expected = (1 - torch.eye(4)) / 12
    assert (seen / n - expected).abs().max() < 4 * (1 / 12 / n) ** 0.5


def test_unknown_form(unhooked: None) -> None:
    with pytest.raises(ValueError, match='form must be "slerp" or "released", got \'lerp\''):
        InterpolatedPoses.from_cameras(ring_poses(), form="lerp")  # type: ignore[arg-type]
