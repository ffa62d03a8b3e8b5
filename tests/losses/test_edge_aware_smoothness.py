"""Edge-aware smoothness against loops, by hand, against Monodepth2's formula, and at its edges."""

import itertools
import math

import numpy as np
import pytest
import torch

from nerfreg.losses import EdgeAwareSmoothness, depth_smoothness, edge_aware_smoothness


def slow_edge_aware_smoothness(depth, rgb, opacity, sharpness, normalize, valid) -> np.ndarray:
    """One value a patch, pair of pixels by pair of pixels."""
    values = []
    for d, c, o, v in zip(depth, rgb, opacity, valid, strict=True):
        mean = sum(d[v]) / max(v.sum(), 1) if normalize else 1.0
        value = 0.0
        for down, right in ((0, 1), (1, 0)):
            total, count = 0.0, 0
            places = itertools.product(range(d.shape[0] - down), range(d.shape[1] - right))
            for y, x in places:
                there = y + down, x + right
                if not (v[y, x] and v[there]):
                    continue
                edge = sum(abs(c[there][i] - c[y, x][i]) for i in range(3)) / 3
                step = abs(d[there] - d[y, x]) / mean * math.exp(-sharpness * edge)
                total += min(o[y, x], o[there]) * step
                count += 1
            value += total / count if count else 0.0
        values.append(value)
    return np.array(values)


@pytest.mark.parametrize("sharpness", [1.0, 5.0, 0.0])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("with_opacity", [False, True])
@pytest.mark.parametrize("with_valid", [False, True])
@pytest.mark.parametrize("size", [(6, 7), (2, 2)])
def test_agrees_with_loops(sharpness, normalize, with_opacity, with_valid, size) -> None:
    rng = np.random.default_rng(0)
    depth, rgb = rng.uniform(1.0, 3.0, (4, *size)), rng.random((4, *size, 3))
    opacity = rng.random((4, *size)) if with_opacity else np.ones_like(depth)
    valid = rng.random((4, *size)) < 0.8 if with_valid else np.ones(depth.shape, bool)
    valid[0] &= not with_valid  # one patch without a counted pair
    expected = slow_edge_aware_smoothness(depth, rgb, opacity, sharpness, normalize, valid)
    got = edge_aware_smoothness(
        torch.from_numpy(depth),
        torch.from_numpy(rgb),
        torch.from_numpy(opacity) if with_opacity else None,
        sharpness=sharpness,
        normalize=normalize,
        valid=torch.from_numpy(valid) if with_valid else None,
        reduction="none",
    )
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_by_hand() -> None:
    """Depths 1 3 / 1 4, colours black grey / black black, k = 2.

    Across: 2·e^(−2·½) and 3, mean (2/e + 3)/2. Down: 0, and 1·e^(−2·½), mean 1/(2e).
    """
    depth = torch.tensor([[1.0, 3.0], [1.0, 4.0]], dtype=torch.float64)
    rgb = torch.zeros(2, 2, 3, dtype=torch.float64)
    rgb[0, 1] = 0.5
    expected = (2 / math.e + 3) / 2 + 1 / (2 * math.e)
    assert edge_aware_smoothness(depth, rgb, sharpness=2.0).item() == pytest.approx(expected)
    # Mean depth 9/4.
    value = edge_aware_smoothness(depth, rgb, sharpness=2.0, normalize=True)
    assert value.item() == pytest.approx(expected * 4 / 9)


def test_an_edge_is_the_mean_over_channels() -> None:
    """A step of 0.3 in one channel forgives as a step of 0.1 in each."""
    depth = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    one, each = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    one[:, 1, 2], each[:, 1] = 0.3, 0.1
    torch.testing.assert_close(
        edge_aware_smoothness(depth, one), edge_aware_smoothness(depth, each)
    )
    assert edge_aware_smoothness(depth, each).item() == pytest.approx(math.exp(-0.1))


def test_a_difference_weighs_as_its_less_opaque_pixel() -> None:
    depth, grey = torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.zeros(2, 2, 3)
    object_beside_nothing = torch.tensor([[1.0, 0.25], [1.0, 0.25]])
    for opacity in (object_beside_nothing, object_beside_nothing.flip(-1)):
        assert edge_aware_smoothness(depth, grey, opacity).item() == 0.25


def test_without_colour_it_is_depth_smoothness_of_a_ramp() -> None:
    """Of one direction: there both average the same differences."""
    ramp = torch.tensor([0.0, 1.0, 2.5, 3.0]).expand(4, 4)
    value = edge_aware_smoothness(ramp, torch.rand(4, 4, 3), sharpness=0.0)
    torch.testing.assert_close(value, depth_smoothness(ramp, norm="l1"))


def test_normalized_it_does_not_see_the_scale() -> None:
    depth, rgb = 1.0 + torch.rand(3, 5, 5).double(), torch.rand(3, 5, 5, 3).double()
    small = edge_aware_smoothness(1e-3 * depth, rgb, normalize=True)
    torch.testing.assert_close(small, edge_aware_smoothness(depth, rgb, normalize=True))
    # So there is no gain, and no gradient, in shrinking.
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    edge_aware_smoothness(scale * depth, rgb, normalize=True).backward()
    assert abs(scale.grad.item()) < 1e-12


@pytest.mark.parametrize("normalize", [False, True])
def test_is_finite_where_the_map_is_empty(normalize) -> None:
    for fill in (0.0, 1e10):
        depth = torch.full((2, 4, 4), fill, requires_grad=True)
        value = edge_aware_smoothness(
            depth, torch.rand(2, 4, 4, 3), torch.zeros(2, 4, 4), normalize=normalize
        )
        value.backward()
        assert value.item() == 0.0
        assert not depth.grad.any()


def test_a_sharp_edge_of_large_colours_counts_nothing() -> None:
    depth = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    rgb = torch.zeros(2, 2, 3)
    rgb[:, 1] = 3e38
    assert edge_aware_smoothness(depth, rgb).item() == 0.0
    assert edge_aware_smoothness(depth, -rgb, sharpness=0.0).item() == 2.0


DEPTH, RGB = torch.ones(3, 2, 2), torch.ones(3, 2, 2, 3)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"H, W >= 2.* got H, W = \(1, 2\)", (DEPTH[:, :1], RGB[:, :1]), {}),
        (ValueError, r"H, W >= 2.* got H, W = \(2,\)", (DEPTH[0, 0], RGB[0, 0]), {}),
        (
            ValueError,
            r"rgb must have shape \(3, 2, 2, 3\), one colour for each depth, got \(3, 3, 2, 2\)",
            (DEPTH, RGB.movedim(-1, 1)),
            {},
        ),
        (ValueError, r"rgb must have shape .* got \(3, 2, 2\)", (DEPTH, DEPTH), {}),
        (ValueError, r"opacity \(2, 2\)", (DEPTH, RGB, DEPTH[0]), {}),
        (ValueError, r"sharpness must be a number >= 0, got -1", (DEPTH, RGB), {"sharpness": -1}),
        (ValueError, r"sharpness must be a number", (DEPTH, RGB), {"sharpness": math.nan}),
        (ValueError, r"reduction must be", (DEPTH, RGB), {"reduction": "max"}),
        (ValueError, r"valid must be boolean of shape \(3, 2, 2\)", (DEPTH, RGB), {"valid": DEPTH}),
        (ValueError, r"one device", (DEPTH, RGB.to("meta")), {}),
        (TypeError, r"depth must be floating point, got torch.int64", (DEPTH.long(), RGB), {}),
        (TypeError, r"rgb must be floating point, got torch.uint8", (DEPTH, RGB.byte()), {}),
        (TypeError, r"arrays of one library", (DEPTH, RGB.numpy()), {}),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^edge_aware_smoothness: .*" + message):
        edge_aware_smoothness(*arguments, **options)


def test_module_shows_its_options() -> None:
    module = EdgeAwareSmoothness(sharpness=10.0, normalize=True)
    assert repr(module) == "EdgeAwareSmoothness(sharpness=10.0, normalize=True, reduction='mean')"
