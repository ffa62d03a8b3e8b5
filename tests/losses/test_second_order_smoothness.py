"""Second-order smoothness against loops, by hand, on planes, and at its edges."""

import numpy as np
import pytest
import torch

from nerfreg.losses import SecondOrderSmoothness, second_order_smoothness
from nerfreg.views import Cameras, pinhole

# What is differenced: offsets with coefficients, and how often it counts.
STENCILS = (
    ({(0, 0): 1, (0, 1): -2, (0, 2): 1}, 1),
    ({(0, 0): 1, (1, 0): -2, (2, 0): 1}, 1),
    ({(0, 0): 1, (0, 1): -1, (1, 0): -1, (1, 1): 1}, 2),
)


def slow_second_order_smoothness(depth, opacity, norm, valid) -> np.ndarray:
    """One value a patch, place by place."""
    values = []
    for d, o, v in zip(depth, opacity, valid, strict=True):
        value = 0.0
        for stencil, times in STENCILS:
            total, count = 0.0, 0
            for y in range(d.shape[0]):
                for x in range(d.shape[1]):
                    places = {(y + i, x + j): c for (i, j), c in stencil.items()}
                    if not all(i < d.shape[0] and j < d.shape[1] and v[i, j] for i, j in places):
                        continue
                    bend = sum(c * d[place] for place, c in places.items())
                    total += min(o[p] for p in places) * (bend**2 if norm == "l2" else abs(bend))
                    count += 1
            value += times * total / count if count else 0.0
        values.append(value)
    return np.array(values)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("with_opacity", [False, True])
@pytest.mark.parametrize("with_valid", [False, True])
@pytest.mark.parametrize("size", [(6, 7), (3, 3)])
def test_agrees_with_loops(norm, with_opacity, with_valid, size) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1.0, 3.0, (4, *size))
    opacity = rng.random((4, *size)) if with_opacity else np.ones_like(depth)
    valid = rng.random((4, *size)) < 0.8 if with_valid else np.ones(depth.shape, bool)
    valid[0] &= not with_valid  # one patch without a counted place
    got = second_order_smoothness(
        torch.from_numpy(depth),
        torch.from_numpy(opacity) if with_opacity else None,
        norm=norm,
        valid=torch.from_numpy(valid) if with_valid else None,
        reduction="none",
    )
    expected = slow_second_order_smoothness(depth, opacity, norm, valid)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_by_hand() -> None:
    """A lone 3 in the middle: d_xx is −6 in one of three rows, d_yy alike; each square has ±3.

    l2: 36/3 + 36/3 + 2·9 = 42; l1: 6/3 + 6/3 + 2·3 = 10.
    """
    depth = torch.zeros(3, 3)
    depth[1, 1] = 3.0
    assert second_order_smoothness(depth).item() == 42.0
    assert second_order_smoothness(depth, norm="l1").item() == 10.0


def test_a_saddle_bends_although_its_rows_and_columns_are_straight() -> None:
    """For d = xy there is d_xx = d_yy = 0, and d_xy = 1, which counts twice."""
    saddle = torch.arange(4.0)[:, None] * torch.arange(5.0)
    assert second_order_smoothness(saddle).item() == 2.0


def test_the_mixed_difference_counts_once_for_each_order() -> None:
    """SfMLearner's code averages |d_xx|, |d_xy|, |d_yx| and |d_yy|, each over its own places."""
    d = torch.rand(6, 7, dtype=torch.float64)
    dx, dy = d.diff(dim=1), d.diff(dim=0)
    parts = (dx.diff(dim=1), dx.diff(dim=0), dy.diff(dim=1), dy.diff(dim=0))
    expected = sum(part.abs().mean() for part in parts)
    torch.testing.assert_close(second_order_smoothness(d, norm="l1"), expected)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_ramps_have_loss_and_gradient_zero(norm) -> None:
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    for ramp in (0 * x + 7.0, 3.0 * x, 2.0 + x - 4.0 * y):
        depth = ramp.clone().requires_grad_()
        value = second_order_smoothness(depth, norm=norm)
        value.backward()
        assert value.item() == 0.0
        assert not depth.grad.any()


def test_inverse_z_depth_of_any_plane_is_a_ramp() -> None:
    """z-depth and distance of a slanted plane are not."""
    cameras = Cameras(torch.eye(3, 4)[None].double(), pinhole(20.0, 8, 6)[None].double(), 8, 6)
    directions = cameras.image_rays(0).directions
    z_depth = 2.0 / (directions @ torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64))
    assert second_order_smoothness(1 / z_depth, norm="l1").item() < 1e-14
    assert second_order_smoothness(z_depth, norm="l1").item() > 1e-4
    assert second_order_smoothness(1 / (z_depth * directions.norm(dim=-1))).item() > 1e-9


def test_l1_prices_a_fold_by_its_angle() -> None:
    """A fold of slope 0 to 4, at once or in two steps, costs l1 the same, and l2 twice as much."""
    sharp = torch.tensor([0.0, 0.0, 0.0, 4.0, 8.0, 12.0]).expand(6, 6)
    blunt = torch.tensor([0.0, 0.0, 2.0, 6.0, 10.0, 14.0]).expand(6, 6)
    of_l1 = [second_order_smoothness(d, norm="l1").item() for d in (sharp, blunt)]
    assert of_l1[0] == of_l1[1] == 1.0
    of_l2 = [second_order_smoothness(d).item() for d in (sharp, blunt)]
    assert of_l2[0] == 2 * of_l2[1] == 4.0


def test_counts_what_is_left_of_a_patch() -> None:
    """Without the middle column of a 3×3 patch no row counts; the columns at its sides do."""
    depth = torch.tensor([0.0, 1.0, 5.0])[:, None].expand(3, 3)
    valid = torch.tensor([True, False, True]).expand(3, 3)
    assert second_order_smoothness(depth, valid=valid).item() == 9.0  # (0 − 2 + 5)²


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"H, W >= 3.* got H, W = \(2, 4\)", (torch.ones(3, 2, 4),), {}),
        (ValueError, r"H, W >= 3.* got H, W = \(4,\)", (torch.ones(4),), {}),
        (ValueError, r'norm must be "l2" or "l1", got \'l3\'', (torch.ones(3, 3),), {"norm": "l3"}),
        (ValueError, r"reduction must be", (torch.ones(3, 3),), {"reduction": "max"}),
        (ValueError, r"opacity \(1, 3, 3\)", (torch.ones(2, 3, 3), torch.ones(1, 3, 3)), {}),
        (
            ValueError,
            r"valid must be boolean of shape \(2, 3, 3\)",
            (torch.ones(2, 3, 3),),
            {"valid": torch.ones(2, dtype=torch.bool)},
        ),
        (
            ValueError,
            r"one device, got valid on meta, values on cpu",
            (torch.ones(3, 3),),
            {"valid": torch.ones(3, 3, dtype=torch.bool, device="meta")},
        ),
        (TypeError, r"depth must be floating point", (torch.ones(3, 3).int(),), {}),
        (TypeError, r"depth must be an array .* got list", ([[1.0]],), {}),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^second_order_smoothness: .*" + message):
        second_order_smoothness(*arguments, **options)


def test_module_shows_its_options() -> None:
    shown = repr(SecondOrderSmoothness(norm="l1", reduction="sum"))
    assert shown == "SecondOrderSmoothness(norm='l1', reduction='sum')"
