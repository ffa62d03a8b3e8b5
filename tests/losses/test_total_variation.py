"""Total variation against loops, by hand, and against gsplat's and nerfstudio's numbers."""

import numpy as np
import pytest
import torch

from nerfreg.losses import TotalVariation, total_variation
from tests.golden import golden, golden_cases


def slow_total_variation(rgb, norm, valid) -> np.ndarray:
    """One value a patch, pair of pixels by pair of pixels."""
    values = []
    for c, v in zip(rgb, valid, strict=True):
        value = 0.0
        for down, right in ((0, 1), (1, 0)):
            found = []
            for y in range(c.shape[0] - down):
                for x in range(c.shape[1] - right):
                    if v[y, x] and v[y + down, x + right]:
                        steps = [c[y + down, x + right, i] - c[y, x, i] for i in range(3)]
                        found += [abs(s) if norm == "l1" else s * s for s in steps]
            value += sum(found) / len(found) if found else 0.0
        values.append(value)
    return np.array(values)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("with_valid", [False, True])
@pytest.mark.parametrize("size", [(6, 7), (2, 2)])
def test_agrees_with_loops(norm, with_valid, size) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.random((4, *size, 3))
    valid = rng.random((4, *size)) < 0.8 if with_valid else np.ones((4, *size), bool)
    valid[0] &= not with_valid  # one patch without a counted pair
    expected = slow_total_variation(rgb, norm, valid)
    n_patches = 3 if with_valid else 4
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n_patches),
    ]:
        got = total_variation(
            torch.from_numpy(rgb),
            norm=norm,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_what_is_invalid_is_not_seen_nor_differentiated() -> None:
    rgb, valid = torch.rand(3, 5, 5, 3), torch.rand(3, 5, 5) < 0.7
    clean = rgb.clone().requires_grad_()
    total_variation(clean, valid=valid).backward()
    for rubbish in (torch.nan, torch.inf):
        spoiled = torch.where(valid[..., None], rgb, rubbish).requires_grad_()
        total_variation(spoiled, valid=valid).backward()
        torch.testing.assert_close(spoiled.grad, clean.grad, rtol=0, atol=0)


def test_by_hand() -> None:
    """One red pixel, 0.6, of four: half of the pairs across, half of those down, a third of rgb."""
    rgb = torch.zeros(2, 2, 3)
    rgb[0, 0, 0] = 0.6
    assert total_variation(rgb).item() == pytest.approx(2 * 0.6 / 2 / 3)
    assert total_variation(rgb, norm="l2").item() == pytest.approx(2 * 0.36 / 2 / 3)


def test_an_edge_and_a_slope_of_equal_height_cost_l1_alike() -> None:
    edge = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])[:, None].expand(5, 5, 3)
    slope = torch.linspace(0.0, 1.0, 5)[:, None].expand(5, 5, 3)
    torch.testing.assert_close(total_variation(edge), total_variation(slope))
    assert total_variation(edge, norm="l2") > 3.9 * total_variation(slope, norm="l2")


def strips(image: torch.Tensor) -> torch.Tensor:
    """Make a patch of two equal rows of each row: no difference down, one row's across."""
    return image[:, None].expand(-1, 2, -1)[..., None].expand(-1, -1, -1, 3)


@pytest.mark.parametrize("case", golden_cases("gsplat_depth_losses"))
def test_meets_gsplat(case) -> None:
    """Gsplat divides both sums by H·W; ours are means over H·(W−1) and (H−1)·W differences."""
    numbers = golden("gsplat_depth_losses", case)
    pred = numbers["pred"].requires_grad_()
    (image,) = pred
    height, width = image.shape
    across = total_variation(strips(image)) * (width - 1) / width
    down = total_variation(strips(image.T)) * (height - 1) / height
    (across + down).backward()
    torch.testing.assert_close(across + down, numbers["tv"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(pred.grad, numbers["grad_tv"], rtol=1e-12, atol=1e-14)
    if height == width:  # the factor of the docstring
        whole = total_variation(image[..., None].expand(-1, -1, 3)) * (width - 1) / width
        torch.testing.assert_close(whole, numbers["tv"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", golden_cases("ns_misc"))
def test_meets_nerfstudio(case) -> None:
    """Twice "l2", of each channel of each grid."""
    numbers = golden("ns_misc", case)
    grids = numbers["tv_grids"].requires_grad_()
    of_channels = grids.flatten(0, 1)[..., None].expand(-1, -1, -1, 3)
    value = 2 * total_variation(of_channels, norm="l2")
    value.backward()
    torch.testing.assert_close(value, numbers["tv_loss"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(grids.grad, numbers["grad_tv_grids"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_one_colour_has_loss_and_gradient_zero(norm) -> None:
    rgb = torch.full((2, 8, 8, 3), 0.3, requires_grad=True)
    value = total_variation(rgb, norm=norm)
    value.backward()
    assert value.item() == 0.0
    assert not rgb.grad.any()


RGB = torch.ones(3, 2, 4, 3)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (
            ValueError,
            r"rgb must be \(…, H, W, 3\), channels last, got \(3, 3, 2, 4\)",
            (RGB.movedim(-1, 1),),
            {},
        ),
        (ValueError, r"rgb must be \(…, H, W, 3\).* got \(4, 3\)", (RGB[0, 0],), {}),
        (ValueError, r"H, W >= 2.* got H, W = \(1, 4\)", (RGB[:, :1],), {}),
        (ValueError, r'norm must be "l1" or "l2", got \'l3\'', (RGB,), {"norm": "l3"}),
        (ValueError, r"reduction must be", (RGB,), {"reduction": "max"}),
        (
            ValueError,
            r"valid must be boolean of shape \(3, 2, 4\), got torch.bool \(3,\)",
            (RGB,),
            {"valid": torch.ones(3, dtype=torch.bool)},
        ),
        (
            ValueError,
            r"one device, got valid on meta, values on cpu",
            (RGB,),
            {"valid": torch.ones(3, 2, 4, dtype=torch.bool, device="meta")},
        ),
        (TypeError, r"rgb must be floating point, got torch.uint8", (RGB.byte(),), {}),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^total_variation: .*" + message):
        total_variation(*arguments, **options)


def test_module_shows_its_options() -> None:
    assert repr(TotalVariation(norm="l2")) == "TotalVariation(norm='l2', reduction='mean')"
