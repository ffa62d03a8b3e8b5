"""Normal smoothness against loops, by hand, on planes and spheres, and at its edges."""

import math

import numpy as np
import pytest
import torch

from nerfreg.losses import NormalSmoothness, normal_smoothness
from nerfreg.rays import normals_from_depth
from nerfreg.views import Cameras, pinhole


def slow_normal_smoothness(normals, opacity, norm, valid) -> np.ndarray:
    """One value a patch, pair of pixels by pair of pixels; angles by the cosine."""
    values = []
    for n, o, v in zip(normals, opacity, valid, strict=True):
        value = 0.0
        for down, right in ((0, 1), (1, 0)):
            found = []
            for y in range(n.shape[0] - down):
                for x in range(n.shape[1] - right):
                    a, b = n[y, x], n[y + down, x + right]
                    if v[y, x] and v[y + down, x + right] and a.any() and b.any():
                        turn = 1 - a @ b if norm == "l2" else sum(abs(a - b))
                        found.append(min(o[y, x], o[y + down, x + right]) * turn)
            value += sum(found) / len(found) if found else 0.0
        values.append(value)
    return np.array(values)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("with_opacity", [False, True])
@pytest.mark.parametrize("with_valid", [False, True])
@pytest.mark.parametrize("size", [(6, 7), (2, 2)])
def test_agrees_with_loops(norm, with_opacity, with_valid, size) -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(4, *size, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[rng.random((4, *size)) < 0.1] = 0.0  # degenerate ones
    opacity = rng.random((4, *size)) if with_opacity else np.ones(normals.shape[:-1])
    valid = rng.random((4, *size)) < 0.8 if with_valid else np.ones(normals.shape[:-1], bool)
    valid[0] &= not with_valid  # one patch without a counted pair
    got = normal_smoothness(
        torch.from_numpy(normals),
        torch.from_numpy(opacity) if with_opacity else None,
        norm=norm,
        valid=torch.from_numpy(valid) if with_valid else None,
        reduction="none",
    )
    expected = slow_normal_smoothness(normals, opacity, norm, valid)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-15)


def test_by_hand() -> None:
    """Two rows turn by 60° from left to right: 1 − cos 60° = ½; nothing turns downwards."""
    left, right = [0.0, 0.0, -1.0], [math.sqrt(0.75), 0.0, -0.5]
    normals = torch.tensor([[left, right]] * 2, dtype=torch.float64)
    assert normal_smoothness(normals).item() == pytest.approx(0.5)
    assert normal_smoothness(normals, norm="l1").item() == pytest.approx(math.sqrt(0.75) + 0.5)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_pixel_without_a_normal_takes_part_in_nothing(norm) -> None:
    normals = torch.nn.functional.normalize(torch.randn(2, 5, 5, 3), dim=-1)
    normals[0, 1, 2], normals[1] = 0.0, 0.0
    exists = normals.any(-1)
    expected = normal_smoothness(normals, norm=norm, valid=exists)
    torch.testing.assert_close(normal_smoothness(normals, norm=norm), expected, rtol=0, atol=0)
    # A map without any normal is no map: the mean is over the other.
    torch.testing.assert_close(normal_smoothness(normals[:1], norm=norm), expected)
    leaf = normals.clone().requires_grad_()
    normal_smoothness(leaf, norm=norm).backward()
    assert not leaf.grad[~exists].any()


def test_small_angles_keep_their_digits() -> None:
    """1 − cos of 1e-4 is 5e-9: below what float32 can say near 1."""
    angle = 1e-4
    turned = torch.tensor([math.sin(angle), 0.0, -math.cos(angle)])
    normals = torch.stack([torch.tensor([0.0, 0.0, -1.0]), turned]).expand(2, 2, 3)
    assert normal_smoothness(normals).item() == pytest.approx(angle**2 / 2, rel=1e-3)


@pytest.mark.parametrize("kind", ["z_depth", "distance"])
def test_is_zero_of_a_slanted_plane_and_positive_of_a_ball(kind) -> None:
    cameras = Cameras(torch.eye(3, 4)[None].double(), pinhole(40.0, 9, 7)[None].double(), 9, 7)
    directions = cameras.image_rays(0).directions
    length = 1.0 if kind == "z_depth" else directions.norm(dim=-1)
    plane = 2.0 / (directions @ torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64))
    of_plane = normal_smoothness(normals_from_depth(plane * length, directions, kind=kind))
    assert 0.0 <= of_plane.item() < 1e-20

    # A ball of radius 1 around (0, 0, 3): ‖t·d − c‖² = 1.
    a, b = (directions**2).sum(-1), directions[..., 2] * 3.0
    ball = (b - (b**2 - 8.0 * a).sqrt()) / a
    of_ball = normal_smoothness(normals_from_depth(ball * length, directions, kind=kind))
    # Neighbours are about 2 / 40 apart, seen from the centre of the ball.
    assert of_ball.item() == pytest.approx(2 * 0.05**2 / 2, rel=0.3)


def test_the_gradient_reaches_depth_and_flattens_it() -> None:
    """Descending, a bumpy wall becomes smooth."""
    cameras = Cameras(torch.eye(3, 4)[None], pinhole(20.0, 8, 8)[None], 8, 8)
    directions = cameras.image_rays(0).directions
    depth = (2.0 + 0.1 * torch.rand(8, 8)).requires_grad_()
    optimizer = torch.optim.Adam([depth], lr=0.005)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = normal_smoothness(normals_from_depth(depth, directions, kind="z_depth"))
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.05 * values[0]


NORMALS = torch.ones(3, 2, 2, 3)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"H, W >= 2.* got H, W = \(1, 2\)", (NORMALS[:, :1],), {}),
        (ValueError, r"normals must be \(…, H, W, 3\), got \(3, 2, 2\)", (NORMALS[..., 0],), {}),
        (ValueError, r"normals must be \(…, H, W, 3\), got \(2, 3\)", (NORMALS[0, 0],), {}),
        (ValueError, r"opacity must have shape \(3, 2, 2\), one a pixel", (NORMALS, NORMALS), {}),
        (ValueError, r'norm must be "l2" or "l1"', (NORMALS,), {"norm": "cos"}),
        (ValueError, r"reduction must be", (NORMALS,), {"reduction": "max"}),
        (
            ValueError,
            r"valid must be boolean of shape \(3, 2, 2\)",
            (NORMALS,),
            {"valid": NORMALS.bool()},
        ),
        (ValueError, r"one device", (NORMALS, torch.ones(3, 2, 2, device="meta")), {}),
        (TypeError, r"normals must be floating point", (NORMALS.long(),), {}),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^normal_smoothness: .*" + message):
        normal_smoothness(*arguments, **options)


def test_module_shows_its_options() -> None:
    assert repr(NormalSmoothness(norm="l1")) == "NormalSmoothness(norm='l1', reduction='mean')"
