"""Depth continuity against loops, by hand, against SparseNeRF's numbers, and at its edges."""

import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.losses import DepthContinuity, depth_continuity, depth_ranking
from tests.golden import golden, golden_cases

PAIRS = torch.ones(4, 2), torch.ones(4, 2)


def slow_depth_continuity(rendered, depth, margin, tolerance, valid) -> tuple[np.ndarray, int]:
    """One value a pair, pair by pair, and how many count."""
    values, count = [], 0
    for i, (r0, r1) in enumerate(rendered):
        joined = True
        if depth is not None:
            d0, d1 = depth[i]
            joined = abs(d0 - d1) <= tolerance * max(abs(d0), abs(d1))
        counts = joined and valid[i]
        values.append(max(abs(r0 - r1) - margin, 0.0) if counts else 0.0)
        count += int(counts)
    return np.array(values), count


@pytest.mark.parametrize("margin", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("tolerance", [0.0, 0.4])
@pytest.mark.parametrize("with_depth", [False, True])
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(margin, tolerance, with_depth, with_valid) -> None:
    rng = np.random.default_rng(0)
    rendered, depth = rng.uniform(1.0, 3.0, (2, 64, 2))
    depth[::5, 1] = depth[::5, 0]
    valid = rng.random(64) < 0.7 if with_valid else np.ones(64, bool)
    expected, count = slow_depth_continuity(
        rendered, depth if with_depth else None, margin, tolerance, valid
    )
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / count),
    ]:
        got = depth_continuity(
            torch.from_numpy(rendered),
            torch.from_numpy(depth) if with_depth else None,
            margin=margin,
            tolerance=tolerance,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_by_hand() -> None:
    """|1 − 4| − ½ = 2.5; |4 − 3.75| is within the margin; 2 is a third of 3 away from it."""
    rendered = torch.tensor([[1.0, 4.0], [4.0, 3.75], [1.0, 4.0]])
    depth = torch.tensor([[2.0, 2.0], [2.0, 2.0], [2.0, 3.0]])
    options = {"margin": 0.5, "reduction": "none"}
    assert depth_continuity(rendered, **options).tolist() == [2.5, 0.0, 2.5]
    assert depth_continuity(rendered, depth, **options).tolist() == [2.5, 0.0, 0.0]
    assert depth_continuity(rendered, depth, margin=0.5).item() == 1.25
    assert depth_continuity(rendered, depth, tolerance=0.34, **options).tolist() == [2.5, 0.0, 2.5]


@pytest.mark.parametrize("case", golden_cases("sparsenerf_losses"))
def test_meets_sparsenerf(case) -> None:
    """Rows 0 and 2, and 1 and 3, are neighbours; with ranking, the whole of both totals."""
    numbers = golden("sparsenerf_losses", case)
    rows = numbers["depth_rows"].clone().requires_grad_()
    near, far, beside_near, beside_far = rows
    continuity_a = depth_continuity(torch.stack([near, beside_near], dim=-1))
    continuity_b = depth_continuity(torch.stack([far, beside_far], dim=-1))
    torch.testing.assert_close(continuity_a, numbers["cont_a"], rtol=1e-13, atol=0)
    torch.testing.assert_close(continuity_b, numbers["cont_b"], rtol=1e-13, atol=0)

    order = torch.tensor([0.2, 0.8], dtype=torch.float64).expand(rows.shape[1], 2)
    rank = depth_ranking(torch.stack([near, far], dim=-1), order)
    continuity = continuity_a + continuity_b
    for name, total in [
        ("llff", 0.5 * (rank + 0.01 * continuity)),
        ("dtu", 0.2 * (rank + continuity)),
    ]:
        (gradient,) = torch.autograd.grad(total, rows, retain_graph=True)
        torch.testing.assert_close(total, numbers[f"{name}_total"], rtol=1e-13, atol=0)
        torch.testing.assert_close(gradient, numbers[f"grad_{name}"], rtol=0, atol=1e-14)


def test_where_nothing_is_joined_the_value_is_a_differentiable_zero() -> None:
    rendered = torch.tensor([[1.0, 2.0]], requires_grad=True)
    value = depth_continuity(rendered, torch.tensor([[1.0, 2.0]]))
    value.backward()
    assert value.item() == 0.0
    assert not rendered.grad.any()


def test_pairs_that_are_not_joined_do_not_dilute_the_mean() -> None:
    rendered = torch.tensor([[3.0, 1.0], [9.0, 1.0], [torch.nan, 1.0]])
    depth = torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, torch.nan]])
    valid = torch.tensor([True, True, False])
    assert depth_continuity(rendered, depth, margin=0.0, valid=valid).item() == 2.0


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"rendered must be \(…, 2\), .* got \(4, 3\)", (torch.ones(4, 3),), {}),
        (
            ValueError,
            r"share one shape .* rendered \(4, 2\), depth \(1, 2\)",
            (torch.ones(4, 2), torch.ones(1, 2)),
            {},
        ),
        (ValueError, r"margin must be a number >= 0", PAIRS, {"margin": -1e-4}),
        (ValueError, r"tolerance must be a number >= 0", PAIRS, {"tolerance": -0.1}),
        (ValueError, r"reduction must be", PAIRS, {"reduction": "max"}),
        (
            ValueError,
            r"valid must be boolean of shape \(4,\), got torch.float32 \(4,\)",
            PAIRS,
            {"valid": torch.ones(4)},
        ),
        (TypeError, r"rendered must be floating point", (torch.ones(4, 2).int(),), {}),
        (TypeError, r"rendered must be an array", ([[1.0, 2.0]],), {}),
        (TypeError, r"one library", (torch.ones(4, 2), np.ones((4, 2))), {}),
        (
            ValueError,
            r"must be on one device, got rendered on cpu, depth on meta",
            (torch.ones(4, 2), torch.ones(4, 2, device="meta")),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^depth_continuity: .*" + message):
        depth_continuity(*arguments, **options)


def test_checks_values_when_asked() -> None:
    depth = torch.tensor([[1.0, 2.0], [torch.inf, 2.0]])
    with check_values():
        with pytest.raises(ValueError, match=r"^depth_continuity: depth must be finite"):
            depth_continuity(torch.ones(2, 2), depth)
        depth_continuity(torch.ones(2, 2), depth, valid=torch.tensor([True, False]))
        depth_continuity(torch.ones(2, 2))


def test_the_module_has_the_options() -> None:
    rendered, depth = torch.rand(2, 16, 2)
    module = DepthContinuity(margin=0.3, tolerance=0.5, reduction="sum")
    expected = depth_continuity(rendered, depth, margin=0.3, tolerance=0.5, reduction="sum")
    assert expected.item() > 0.0
    assert torch.equal(module(rendered, depth), expected)
    assert torch.equal(module(rendered), depth_continuity(rendered, margin=0.3, reduction="sum"))
