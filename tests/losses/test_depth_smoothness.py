"""Depth smoothness against loops, by hand, against RegNeRF's numbers, and at its edges."""

import itertools

import numpy as np
import pytest
import torch

from nerfreg.losses import DepthSmoothness, depth_smoothness
from tests.golden import golden, golden_cases


def slow_depth_smoothness(depth, opacity, norm, valid) -> np.ndarray:
    """One value a patch, pixel by pixel."""
    values = []
    for d, o, v in zip(depth, opacity, valid, strict=True):
        total, count = 0.0, 0
        for y, x in itertools.product(range(d.shape[0] - 1), range(d.shape[1] - 1)):
            if not (v[y, x] and v[y, x + 1] and v[y + 1, x]):
                continue
            differences = d[y, x] - d[y, x + 1], d[y, x] - d[y + 1, x]
            total += o[y, x] * sum(e * e if norm == "l2" else abs(e) for e in differences)
            count += 1
        values.append(total / count if count else 0.0)
    return np.array(values)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("with_opacity", [False, True])
@pytest.mark.parametrize("with_valid", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (2, 2), (5, 3)])
def test_agrees_with_loops(norm, with_opacity, with_valid, size) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1.0, 3.0, (4, *size))
    opacity = rng.uniform(0.0, 1.0, (4, *size)) if with_opacity else np.ones_like(depth)
    valid = rng.random((4, *size)) < 0.8 if with_valid else np.ones(depth.shape, bool)
    valid[0] &= not with_valid  # one patch without a counted position
    expected = slow_depth_smoothness(depth, opacity, norm, valid)
    some = slow_depth_smoothness(np.ones_like(depth), np.ones_like(depth), "l1", valid)
    counted = [v[:-1, :-1] & v[1:, :-1] & v[:-1, 1:] for v in valid]
    n_patches = max(sum(bool(c.any()) for c in counted), 1)
    assert not some.any()
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n_patches),
    ]:
        got = depth_smoothness(
            torch.from_numpy(depth),
            torch.from_numpy(opacity) if with_opacity else None,
            norm=norm,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_by_hand() -> None:
    """One position: (1 − 3)² + (1 − 4)² = 13, |1 − 3| + |1 − 4| = 5; the 9 is not seen."""
    depth = torch.tensor([[1.0, 3.0], [4.0, 9.0]])
    half = torch.full((2, 2), 0.5)
    assert depth_smoothness(depth).item() == 13.0
    assert depth_smoothness(depth, norm="l1").item() == 5.0
    assert depth_smoothness(depth, half).item() == 6.5


@pytest.mark.parametrize("case", golden_cases("tvnorm"))
@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("mask_weight", [None, "1.0", "0.5"])
def test_meets_upstream(case, norm, mask_weight) -> None:
    numbers = golden("tvnorm", case)
    key = f"{norm}_mean" if mask_weight is None else f"{norm}_accw{mask_weight}_mean"
    grad_key = (
        f"{norm}_mean_grad_depth" if mask_weight is None else key.replace("mean", "grad_depth")
    )
    depth = numbers["depth"][..., 0].requires_grad_()
    opacity = None
    if mask_weight is not None:  # upstream's mask weight multiplies the opacity
        opacity = (float(mask_weight) * numbers["acc"][..., 0]).requires_grad_()
    value = depth_smoothness(depth, opacity, norm=norm)
    value.backward()
    torch.testing.assert_close(value, numbers[key], rtol=1e-12, atol=1e-14)
    patches = slice(None)
    if norm == "l1":
        # At equal depths JAX takes +1 for the derivative of |·|, torch 0: compare where none are
        # equal.
        d = depth.detach()
        ties = (d[:, :-1, :-1] == d[:, :-1, 1:]) | (d[:, :-1, :-1] == d[:, 1:, :-1])
        patches = ~ties.flatten(1).any(1)
        assert patches.any()
    torch.testing.assert_close(
        depth.grad[patches], numbers[grad_key][..., 0][patches], rtol=1e-12, atol=1e-14
    )
    assert opacity is None or opacity.grad is None  # detached


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_gradcheck(norm) -> None:
    depth = torch.rand(2, 4, 3, dtype=torch.float64, requires_grad=True)
    opacity, valid = torch.rand(2, 4, 3, dtype=torch.float64), torch.rand(2, 4, 3) < 0.8
    assert torch.autograd.gradcheck(
        lambda d: depth_smoothness(d, opacity, norm=norm, valid=valid), depth
    )


def test_invalid_pixels_may_hold_anything() -> None:
    depth = torch.rand(3, 4, 4).requires_grad_()
    opacity, valid = torch.rand(3, 4, 4), torch.rand(3, 4, 4) < 0.7
    for rubbish in (torch.nan, torch.inf, 1e30):
        spoiled = torch.where(valid, depth.detach(), rubbish).requires_grad_()
        value = depth_smoothness(spoiled, torch.where(valid, opacity, rubbish), valid=valid)
        clean = depth_smoothness(depth, opacity, valid=valid)
        torch.testing.assert_close(value, clean, rtol=0, atol=0)
        (grad,) = torch.autograd.grad(value, spoiled)
        torch.testing.assert_close(grad, torch.autograd.grad(clean, depth)[0], rtol=0, atol=0)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("fill", [0.0, 1.0, 1e10])
def test_constant_patches_have_loss_and_gradient_zero(norm, fill) -> None:
    depth = torch.full((2, 8, 8), fill, requires_grad=True)
    value = depth_smoothness(depth, torch.zeros(2, 8, 8), norm=norm)
    value.backward()
    assert value.item() == 0.0
    assert not depth.grad.any()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_half_precision_computes_in_float32(dtype, bound, norm) -> None:
    """Rounding the input is all that is lost; squares of 300 would overflow float16."""
    depth = 300.0 * torch.rand(4, 8, 8)
    low = depth.to(dtype).requires_grad_()
    value = depth_smoothness(low, torch.ones_like(low), norm=norm)
    value.backward()
    assert value.dtype == torch.float32
    assert low.grad.dtype == dtype
    assert low.grad.isfinite().all()
    torch.testing.assert_close(value, depth_smoothness(depth, norm=norm), rtol=bound, atol=0)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"H, W >= 2.* got \(3, 1, 4\)", (torch.ones(3, 1, 4),), {}),
        (ValueError, r"H, W >= 2.* got \(4,\)", (torch.ones(4),), {}),
        (ValueError, r'norm must be "l2" or "l1", got \'l3\'', (torch.ones(2, 2),), {"norm": "l3"}),
        (ValueError, r"reduction must be", (torch.ones(2, 2),), {"reduction": "max"}),
        (
            ValueError,
            r"depth, opacity must share one shape .* opacity \(1, 2, 2\)",
            (torch.ones(3, 2, 2), torch.ones(1, 2, 2)),
            {},
        ),
        (
            ValueError,
            r"valid must be boolean of shape \(3, 2, 2\)",
            (torch.ones(3, 2, 2),),
            {"valid": torch.ones(3, dtype=torch.bool)},
        ),
        (ValueError, r"valid must be boolean", (torch.ones(2, 2),), {"valid": torch.ones(2, 2)}),
        (
            TypeError,
            r"depth must be floating point, got torch.int64",
            (torch.ones(2, 2).long(),),
            {},
        ),
        (
            TypeError,
            r"depth must be an array \(torch, JAX or NumPy\), got list",
            ([[1.0, 2.0], [3.0, 4.0]],),
            {},
        ),
        (
            ValueError,
            r"must be on one device, got depth on cpu, opacity on meta",
            (torch.ones(2, 2), torch.ones(2, 2, device="meta")),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^depth_smoothness: .*" + message):
        depth_smoothness(*arguments, **options)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_module_is_the_function(norm, reduction) -> None:
    depth, opacity, valid = torch.rand(3, 4, 4), torch.rand(3, 4, 4), torch.rand(3, 4, 4) < 0.9
    module = DepthSmoothness(norm, reduction)
    expected = depth_smoothness(depth, opacity, norm=norm, valid=valid, reduction=reduction)
    torch.testing.assert_close(module(depth, opacity, valid), expected, rtol=0, atol=0)
    assert repr(module) == f"DepthSmoothness(norm='{norm}', reduction='{reduction}')"
