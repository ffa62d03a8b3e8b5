"""Pearson correlation of depths against loops, by hand, against gsplat's numbers, at its edges."""

import math
from statistics import correlation, fmean

import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.losses import PearsonDepth, pearson_depth
from tests.golden import golden, golden_cases

MAPS = torch.rand(3, 4, 5), torch.rand(3, 4, 5)


def slow_pearson_depth(rendered, depth, patch_size, target, valid) -> tuple[np.ndarray, int]:
    """One value a map, patch by patch, and how many count."""

    def map_mean(r, d, v) -> float | None:
        tall, wide = (patch_size, patch_size) if patch_size else r.shape
        values = []
        for y in range(0, r.shape[0] - tall + 1, tall):
            for x in range(0, r.shape[1] - wide + 1, wide):
                patch = slice(y, y + tall), slice(x, x + wide)
                some_r, some_d = r[patch][v[patch]].tolist(), d[patch][v[patch]].tolist()
                if len(some_r) < 2:
                    continue
                constant = len(set(some_r)) == 1 or len(set(some_d)) == 1
                values.append(1.0 if constant else 1.0 - correlation(some_r, some_d))
        return fmean(values) if values else None

    found = []
    for r, d, v in zip(rendered, depth, valid, strict=True):
        values = [map_mean(r, d if target == "depth" else -d, v)]
        if target == "fsgs":
            values.append(map_mean(r, 1.0 / (np.maximum(d, 0.0) + 200.0), v))
        found.append(None if values[0] is None else min(values))
    return np.array([x or 0.0 for x in found]), sum(x is not None for x in found)


@pytest.mark.parametrize("patch_size", [None, 2, 3])
@pytest.mark.parametrize("target", ["depth", "inverse", "fsgs"])
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(patch_size, target, with_valid) -> None:
    rng = np.random.default_rng(0)
    rendered, depth = rng.uniform(1.0, 3.0, (2, 5, 7, 5))
    depth = rng.uniform(-50.0, 1000.0, depth.shape) if target == "fsgs" else depth
    if target == "fsgs":  # a map for which either transform is the better one
        rendered[0], rendered[1] = -np.maximum(depth[0], 0.0), 1.0 / (np.maximum(depth[1], 0) + 200)
    rendered[2], depth[3, :2, :2] = 2.0, 5.0
    valid = rng.random(depth.shape) < 0.6 if with_valid else np.ones(depth.shape, bool)
    if with_valid:
        valid[4] = False
        valid[4, 0, 0] = True  # one pixel correlates with nothing
    expected, count = slow_pearson_depth(rendered, depth, patch_size, target, valid)
    assert count == 5 - with_valid
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / count),
    ]:
        got = pearson_depth(
            torch.from_numpy(rendered),
            torch.from_numpy(depth),
            patch_size=patch_size,
            target=target,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """Centred, (−1, 0, 1) and (−1, 1, 0): covariance 1/3, variances 2/3, so r = 1/2."""
    rendered, depth = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 30.0, 20.0]])
    assert pearson_depth(rendered, depth).item() == pytest.approx(0.5, abs=1e-6)
    assert pearson_depth(rendered, depth, target="inverse").item() == pytest.approx(1.5, abs=1e-6)


@pytest.mark.parametrize("case", golden_cases("gsplat_depth_losses"))
@pytest.mark.parametrize("masked", [False, True])
def test_meets_gsplat(case, masked) -> None:
    """Everywhere but in case 3: a constant, whose gradient is 1.8e6 there and 0 here."""
    numbers, suffix = golden("gsplat_depth_losses", case), "_masked" if masked else ""
    pred = numbers["pred"].clone().requires_grad_()
    value = pearson_depth(pred, numbers["gt"], valid=numbers["mask"] > 0 if masked else None)
    value.backward()
    torch.testing.assert_close(value, numbers[f"pearson{suffix}"], rtol=1e-12, atol=0)
    expected = numbers[f"grad_pearson{suffix}"]
    assert (expected.abs().max() > 1e6) == (case == 3)
    if case == 3:
        assert not pred.grad.any()
    else:
        torch.testing.assert_close(pred.grad, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e36])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_neither_unit_matters_in_float32(scale, shift) -> None:
    rendered, depth = torch.rand(2, 3, 16, 16)
    expected = pearson_depth(rendered, depth)
    got = pearson_depth(scale * (rendered + shift), scale * depth)
    # Adding 100 rounds off 4e-6 of each depth.
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6 if shift == 0.0 else 1e-5)


def test_nearly_equal_maps_keep_their_precision() -> None:
    """1 − r ≈ 5e-9 is below float32's resolution of r, but not of 1 − r."""
    depth = torch.rand(64, 64, dtype=torch.float64)
    rendered = depth + 1e-4 * depth.std() * torch.randn(64, 64, dtype=torch.float64)
    r = torch.corrcoef(torch.stack([rendered.flatten(), depth.flatten()]))[0, 1]
    got = pearson_depth(rendered.float(), depth.float())
    assert got.item() == pytest.approx(1.0 - r.item(), rel=1e-2)


@pytest.mark.parametrize("which", ["rendered", "depth", "both"])
@pytest.mark.parametrize("fill", [0.0, 1e-38, 0.1, 3e38])
@pytest.mark.parametrize("patch_size", [None, 8])
def test_nothing_correlates_with_a_constant(which, fill, patch_size) -> None:
    """0.1 is none of the numbers whose mean over 800 · 800 is itself in float32."""
    constant = torch.full((800, 800), fill)
    varied = torch.rand(800, 800)
    rendered = (varied if which == "depth" else constant).clone().requires_grad_()
    value = pearson_depth(
        rendered, varied if which == "rendered" else constant, patch_size=patch_size
    )
    value.backward()
    assert value.item() == pytest.approx(1.0, abs=1e-6)
    assert not rendered.grad.any()


def test_what_fills_no_patch_does_not_count() -> None:
    rendered, depth = torch.rand(2, 7, 8).requires_grad_()
    value = pearson_depth(rendered, depth, patch_size=3)
    torch.testing.assert_close(
        value, pearson_depth(rendered[:6, :6], depth[:6, :6], patch_size=3), rtol=0, atol=0
    )
    (gradient,) = torch.autograd.grad(value, rendered)
    assert gradient[:6, :6].count_nonzero() == 36
    assert gradient.count_nonzero() == 36


def test_each_patch_has_its_own_scale_and_shift() -> None:
    depth = torch.rand(8, 8, dtype=torch.float64)
    factor, shift = torch.rand(2, 2, 2, dtype=torch.float64).repeat_interleave(4, 1)
    factor, shift = factor.repeat_interleave(4, 1), shift.repeat_interleave(4, 1)
    rendered = (factor + 0.1) * depth + shift
    assert pearson_depth(rendered, depth, patch_size=4).item() == pytest.approx(0.0, abs=1e-12)
    assert pearson_depth(rendered, depth).item() > 0.1


def test_fsgs_takes_the_better_transform() -> None:
    midas = torch.linspace(0.0, 2000.0, 64, dtype=torch.float64).reshape(8, 8)
    for rendered in (5.0 - 0.001 * midas, 1.0 + 300.0 / (midas + 200.0)):
        assert pearson_depth(rendered, midas, target="fsgs").item() == pytest.approx(0.0, abs=1e-12)
    curved = 1.0 + 300.0 / (midas + 200.0)
    assert pearson_depth(curved, midas, target="inverse").item() > 0.05


def test_is_worst_where_the_order_is_reversed() -> None:
    depth = torch.rand(8, 8, dtype=torch.float64)
    assert pearson_depth(-depth, depth).item() == pytest.approx(2.0, abs=1e-12)
    assert math.isclose(pearson_depth(depth, depth, target="inverse").item(), 2.0)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (
            ValueError,
            r"rendered and depth must be \(…, H, W\) with two pixels or more, got \(4,\)",
            (torch.ones(4), torch.ones(4)),
            {},
        ),
        (ValueError, r"two pixels or more, got \(3, 1, 1\)", (torch.ones(3, 1, 1),) * 2, {}),
        (ValueError, r"two pixels or more, got \(3, 0, 4\)", (torch.ones(3, 0, 4),) * 2, {}),
        (
            ValueError,
            r"share one shape .* rendered \(3, 4, 5\), depth \(1, 4, 5\)",
            (torch.ones(3, 4, 5), torch.ones(1, 4, 5)),
            {},
        ),
        (ValueError, r"patch_size must be an integer >= 2, got 1", MAPS, {"patch_size": 1}),
        (ValueError, r"patch_size must be an integer >= 2, got 2.0", MAPS, {"patch_size": 2.0}),
        (ValueError, r"patch_size must be an integer >= 2, got True", MAPS, {"patch_size": True}),
        (
            ValueError,
            r"patch_size must be at most the maps' height and width, got 5 for maps of 4 x 5",
            MAPS,
            {"patch_size": 5},
        ),
        (
            ValueError,
            r'target must be "depth", "inverse" or "fsgs", got \'midas\'',
            MAPS,
            {"target": "midas"},
        ),
        (ValueError, r"reduction must be", MAPS, {"reduction": "max"}),
        (
            ValueError,
            r"valid must be boolean of shape \(3, 4, 5\), got torch.bool \(3,\)",
            MAPS,
            {"valid": torch.ones(3, dtype=torch.bool)},
        ),
        (
            TypeError,
            r"depth must be floating point",
            (torch.ones(4, 5), torch.ones(4, 5).int()),
            {},
        ),
        (TypeError, r"rendered must be an array", ([[1.0, 2.0]], torch.ones(1, 2)), {}),
        (TypeError, r"one library", (torch.ones(4, 5), np.ones((4, 5))), {}),
        (
            ValueError,
            r"must be on one device, got rendered on cpu, depth on meta",
            (torch.ones(4, 5), torch.ones(4, 5, device="meta")),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^pearson_depth: .*" + message):
        pearson_depth(*arguments, **options)


def test_checks_values_when_asked() -> None:
    rendered, depth = torch.rand(2, 4, 4)
    depth[1, 1] = torch.nan
    with check_values():
        with pytest.raises(ValueError, match=r"^pearson_depth: depth must be finite"):
            pearson_depth(rendered, depth)
        pearson_depth(rendered, depth, valid=depth.isfinite())


def test_the_module_has_the_options() -> None:
    rendered, depth = torch.rand(2, 3, 8, 8)
    module = PearsonDepth(patch_size=3, target="fsgs", reduction="sum")
    expected = pearson_depth(rendered, depth, patch_size=3, target="fsgs", reduction="sum")
    assert torch.equal(module(rendered, depth), expected)
