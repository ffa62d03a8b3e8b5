"""Patch-normalized depth against loops, by hand, and at its edges."""

from statistics import fmean, pstdev

import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.losses import PatchNormalizedDepth, patch_normalized_depth

MAPS = torch.rand(3, 8, 9), torch.rand(3, 8, 9)


def slow_normalized(x, valid, patch_size, std) -> dict[tuple[int, int], float]:
    """The normalised depth of each valid pixel in a patch, by its place."""
    tall, wide = (patch_size, patch_size) if patch_size else x.shape
    patches = []
    for y0 in range(0, x.shape[0] - tall + 1, tall):
        for x0 in range(0, x.shape[1] - wide + 1, wide):
            places = [(y, x) for y in range(y0, y0 + tall) for x in range(x0, x0 + wide)]
            patches.append([place for place in places if valid[place]])
    counted = [float(x[place]) for patch in patches for place in patch]
    found = {}
    for patch in filter(None, patches):
        depths = [float(x[place]) for place in patch]
        spread = pstdev(counted)
        if std == "local":
            spread = pstdev(depths) + 0.01 * spread
        found |= {
            place: (float(x[place]) - fmean(depths)) / spread if spread else 0.0 for place in patch
        }
    return found


def slow_patch_normalized_depth(rendered, depth, patch_size, margin, std, form, valid):
    """One value a map, pixel by pixel."""
    values = []
    for r, d, v in zip(rendered, depth, valid, strict=True):
        r, d = slow_normalized(r, v, patch_size, std), slow_normalized(d, v, patch_size, std)
        errors = [r[place] - d[place] for place in r]
        beyond = [e**2 for e in errors if abs(e) > margin]
        n = len(beyond) if form == "released" else len(errors)
        values.append(sum(beyond) / n if n else 0.0)
    return np.array(values)


@pytest.mark.parametrize("patch_size", [None, 2, 4])
@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("std", ["local", "global"])
@pytest.mark.parametrize("form", ["mean", "released"])
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(patch_size, margin, std, form, with_valid) -> None:
    rng = np.random.default_rng(0)
    rendered, depth = rng.uniform(1.0, 3.0, (2, 4, 8, 9))
    rendered[0, :4, :4] = 2.0  # a flat patch
    rendered[1] = 2.0  # a flat map
    valid = rng.random(depth.shape) < 0.6 if with_valid else np.ones(depth.shape, bool)
    valid[3] &= not with_valid
    expected = slow_patch_normalized_depth(rendered, depth, patch_size, margin, std, form, valid)
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / (3 if with_valid else 4)),
    ]:
        got = patch_normalized_depth(
            torch.from_numpy(rendered),
            torch.from_numpy(depth),
            patch_size=patch_size,
            margin=margin,
            std=std,
            form=form,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """One patch of (0, 0, 2, 2), mean and std 1, and one of (0, 2, 0, 2): ±1 in both.

    Divided by its std and 1 % of the map's, each is ±1/1.01. Two pixels agree, two differ by
    2/1.01, so the mean is 2/1.01² over all four, and 4/1.01² over those that differ. Divided by the
    map's std they are ±1.
    """
    rendered, depth = torch.tensor([[0.0, 0.0], [2.0, 2.0]]), torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    for options, expected in [
        ({}, 2.0 / 1.01**2),
        ({"form": "released"}, 4.0 / 1.01**2),
        ({"std": "global"}, 2.0),
        ({"margin": 2.0}, 0.0),
        ({"std": "global", "margin": 1.9}, 2.0),
    ]:
        got = patch_normalized_depth(rendered, 30.0 * depth + 7.0, patch_size=2, **options)
        assert got.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", ["mean", "released"])
def test_where_no_pixel_is_beyond_the_margin_the_value_is_zero(form) -> None:
    """NaN upstream: the mean of an empty selection."""
    depth = torch.rand(3, 16, 16)
    rendered = (2.0 * depth + 1.0).requires_grad_()
    value = patch_normalized_depth(rendered, depth, margin=1e-2, form=form)
    value.backward()
    assert value.item() == 0.0
    assert not rendered.grad.any()


def test_global_sees_how_large_a_shape_is_beside_another_and_local_does_not() -> None:
    depth = torch.rand(16, 8, dtype=torch.float64)
    rendered = torch.cat([depth[:8], 3.0 * depth[8:]])
    local = patch_normalized_depth(rendered, depth, margin=0.0)
    whole = patch_normalized_depth(rendered, depth, margin=0.0, std="global")
    assert local.item() < 1e-3  # the map's 1 % remain
    assert whole.item() > 0.1


def test_in_released_form_the_last_pixel_is_pulled_as_hard_as_all_were() -> None:
    """The gradient to one pixel beyond the margin, among 64: 64 times that of the mean."""
    depth = torch.rand(8, 8, dtype=torch.float64)
    gradients = {}
    for form in ("mean", "released"):
        rendered = depth.clone()
        rendered[3, 3] += 0.2
        rendered.requires_grad_()
        value = patch_normalized_depth(rendered, depth, margin=0.3, form=form)
        (gradients[form],) = torch.autograd.grad(value, rendered)
    assert gradients["mean"].any()
    torch.testing.assert_close(gradients["released"], 64.0 * gradients["mean"])


@pytest.mark.parametrize("std", ["local", "global"])
@pytest.mark.parametrize("fill", [0.0, 1e-38, 0.1, 3e38])
def test_constant_maps_have_a_finite_value_and_no_gradient(std, fill) -> None:
    depth, rendered = torch.rand(2, 64, 64), torch.full((2, 64, 64), fill, requires_grad=True)
    value = patch_normalized_depth(rendered, depth, std=std)
    value.backward()
    assert value.item() == pytest.approx(1.0, abs=0.1)  # the mean square of normalised depth
    assert not rendered.grad.any()
    assert patch_normalized_depth(rendered, rendered, std=std).item() == 0.0


def test_a_flat_patch_of_a_varied_map_is_pulled() -> None:
    depth = torch.rand(16, 16)
    rendered = torch.cat([torch.full((8, 16), 2.0), torch.rand(8, 16)]).requires_grad_()
    patch_normalized_depth(rendered, depth).backward()
    assert rendered.grad.isfinite().all()
    assert rendered.grad[:8].count_nonzero() > 100


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e37])
def test_neither_unit_matters_in_float32(scale) -> None:
    rendered, depth = torch.rand(2, 3, 16, 16)
    expected = patch_normalized_depth(rendered, depth)
    torch.testing.assert_close(
        patch_normalized_depth(scale * rendered, scale * depth), expected, rtol=1e-5, atol=0
    )


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"two pixels or more, got \(4,\)", (torch.ones(4), torch.ones(4)), {}),
        (
            ValueError,
            r"share one shape .* rendered \(3, 8, 8\), depth \(1, 8, 8\)",
            (torch.ones(3, 8, 8), torch.ones(1, 8, 8)),
            {},
        ),
        (ValueError, r"patch_size must be an integer >= 2, got 0", MAPS, {"patch_size": 0}),
        (
            ValueError,
            r"patch_size must be at most the maps' height and width, got 8 for maps of 4 x 9",
            (torch.ones(4, 9), torch.ones(4, 9)),
            {},
        ),
        (ValueError, r"margin must be a number >= 0, got -0.1", MAPS, {"margin": -0.1}),
        (ValueError, r'std must be "local" or "global", got \'map\'', MAPS, {"std": "map"}),
        (ValueError, r'form must be "mean" or "released", got \'sum\'', MAPS, {"form": "sum"}),
        (ValueError, r"reduction must be", MAPS, {"reduction": "max"}),
        (
            ValueError,
            r"valid must be boolean of shape \(3, 8, 9\), got torch.float32",
            MAPS,
            {"valid": torch.ones(3, 8, 9)},
        ),
        (
            TypeError,
            r"depth must be floating point",
            (torch.ones(8, 8), torch.ones(8, 8).int()),
            {},
        ),
        (TypeError, r"rendered must be an array", ([[1.0, 2.0]], torch.ones(1, 2)), {}),
        (TypeError, r"one library", (torch.ones(8, 8), np.ones((8, 8))), {}),
        (
            ValueError,
            r"must be on one device, got rendered on cpu, depth on meta",
            (torch.ones(8, 8), torch.ones(8, 8, device="meta")),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^patch_normalized_depth: .*" + message):
        patch_normalized_depth(*arguments, **options)


def test_checks_values_when_asked() -> None:
    rendered, depth = torch.rand(2, 8, 8)
    depth[1, 1] = torch.nan
    with check_values():
        with pytest.raises(ValueError, match=r"^patch_normalized_depth: depth must be finite"):
            patch_normalized_depth(rendered, depth)
        patch_normalized_depth(rendered, depth, valid=depth.isfinite())


def test_the_module_has_the_options() -> None:
    rendered, depth = torch.rand(2, 3, 8, 8)
    options = {"patch_size": 3, "margin": 0.5, "std": "global", "form": "released"}
    module = PatchNormalizedDepth(**options, reduction="sum")
    expected = patch_normalized_depth(rendered, depth, **options, reduction="sum")
    assert torch.equal(module(rendered, depth), expected)
