"""Depth ranking against loops, by hand, against SparseNeRF's and nerfstudio's numbers, at edges."""

import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.losses import DepthRanking, depth_ranking
from tests.golden import golden, golden_cases

PAIRS = torch.ones(4, 2), torch.ones(4, 2)


def slow_depth_ranking(rendered, depth, margin, tolerance, valid) -> tuple[np.ndarray, int]:
    """One value a pair, pair by pair, and how many count."""
    values, count = [], 0
    for (r0, r1), (d0, d1), counts in zip(rendered, depth, valid, strict=True):
        if not counts or abs(d0 - d1) <= tolerance * max(abs(d0), abs(d1)):
            values.append(0.0)
            continue
        near, far = (r0, r1) if d0 < d1 else (r1, r0)
        values.append(max(near - far + margin, 0.0))
        count += 1
    return np.array(values), count


@pytest.mark.parametrize("margin", [0.0, 1e-4, 0.7])
@pytest.mark.parametrize("tolerance", [0.0, 0.4])
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(margin, tolerance, with_valid) -> None:
    rng = np.random.default_rng(0)
    rendered, depth = rng.uniform(1.0, 3.0, (2, 64, 2))
    depth[::5, 1] = depth[::5, 0]  # ties
    depth[40:] *= -1.0  # negated inverse depth
    valid = rng.random(64) < 0.7 if with_valid else np.ones(64, bool)
    expected, count = slow_depth_ranking(rendered, depth, margin, tolerance, valid)
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / count),
    ]:
        got = depth_ranking(
            torch.from_numpy(rendered),
            torch.from_numpy(depth),
            margin=margin,
            tolerance=tolerance,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_by_hand() -> None:
    """The order asks for 3 before 1: 3 − 1 + ½ = 2.5. The other pair has it: 1 − 3 + ½ < 0."""
    rendered = torch.tensor([[3.0, 1.0], [1.0, 3.0]])
    depth = torch.tensor([[5.0, 6.0], [5.0, 6.0]])
    assert depth_ranking(rendered, depth, margin=0.5, reduction="none").tolist() == [2.5, 0.0]
    assert depth_ranking(rendered, depth, margin=0.5).item() == 1.25
    assert depth_ranking(rendered, -depth, margin=0.5, reduction="none").tolist() == [0.0, 2.5]


@pytest.mark.parametrize("case", golden_cases("sparsenerf_losses"))
def test_meets_sparsenerf(case) -> None:
    """Rows 0 and 1 are the nearer and the farther point; each is weighed alike in its gradients."""
    numbers = golden("sparsenerf_losses", case)
    rendered = numbers["depth_rows"][:2].T.clone().requires_grad_()
    order = torch.tensor([0.2, 0.8], dtype=torch.float64).expand_as(rendered)
    value = depth_ranking(rendered, order)
    torch.testing.assert_close(value, numbers["rank"], rtol=1e-13, atol=0)
    # The pair exchanged is the same pair.
    exchanged = depth_ranking(rendered.flip(-1), order.flip(-1))
    torch.testing.assert_close(exchanged, value, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(value, rendered)
    # The ranking's part of upstream's gradient is what their two weightings leave.
    # llff = 0.5 rank + 0.005 cont, dtu = 0.2 rank + 0.2 cont.
    rank_part = (40.0 * numbers["grad_llff"] - numbers["grad_dtu"]) / 19.8
    torch.testing.assert_close(gradient, rank_part[:2].T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", golden_cases("ns_depth_ranking_loss"))
def test_meets_nerfstudio_but_for_its_margin_and_ties(case) -> None:
    """Upstream averages |r₀ − r₁ + m| over the pairs that contradict, whichever pixel is nearer.

    Where the second is, that is r₁ − r₀ − m: the margin has the wrong sign, the difference is 2m.
    Ties (case 3) are penalised there and count nothing here. All else is the same.
    """
    numbers, margin = golden("ns_depth_ranking_loss", case), 1e-4
    n = len(numbers["gt_depth"]) // 2 * 2  # the last of an odd number has no partner
    rendered = numbers["rendered_depth"][:n].reshape(-1, 2).clone().requires_grad_()
    depth = numbers["gt_depth"][:n].reshape(-1, 2)
    difference = rendered[:, 0] - rendered[:, 1] + margin
    contradict = (depth[:, 0] - depth[:, 1]).sign() != difference.sign()
    second_is_near, tie = depth[:, 0] > depth[:, 1], depth[:, 0] == depth[:, 1]

    ours = depth_ranking(rendered, depth, margin=margin, reduction="none")
    assert (ours[tie] == 0.0).all()
    assert tie.any() == (case == 3)
    theirs = torch.where(
        tie, difference.abs(), torch.where(second_is_near, ours - 2.0 * margin, ours)
    )
    value = theirs[contradict].mean()
    value.backward()
    torch.testing.assert_close(value, numbers["loss"], rtol=1e-13, atol=0)
    expected = numbers["grad_rendered_depth"][:n].reshape(-1, 2)
    torch.testing.assert_close(rendered.grad, expected, rtol=0, atol=1e-14)


def test_where_nothing_contradicts_the_value_is_zero() -> None:
    """NaN in nerfstudio: the mean of an empty selection. And so is a batch of ties."""
    rendered = torch.tensor([[1.0, 2.0], [3.0, 2.0]], requires_grad=True)
    for depth in (rendered.detach(), torch.ones(2, 2), torch.zeros(2, 2)):
        value = depth_ranking(rendered, depth)
        value.backward()
        assert value.item() == 0.0
        assert not rendered.grad.any()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_tolerance_is_a_share_of_the_larger(scale) -> None:
    rendered = torch.tensor([[1.0, 0.0]]).expand(3, 2)
    depth = scale * torch.tensor([[1.0, 1.1], [1.0, 1.2], [-1.2, -1.0]])
    counted = depth_ranking(rendered, depth, tolerance=0.15, reduction="none") > 0
    assert counted.tolist() == [False, True, True]


def test_a_tie_or_an_invalid_pair_does_not_dilute_the_mean() -> None:
    rendered = torch.tensor([[3.0, 1.0], [9.0, 1.0], [torch.nan, 1.0]])
    depth = torch.tensor([[1.0, 2.0], [1.0, 1.0], [1.0, torch.nan]])
    valid = torch.tensor([True, True, False])
    assert depth_ranking(rendered, depth, margin=0.0, valid=valid).item() == 2.0


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (
            ValueError,
            r"rendered must be \(…, 2\), the depths of two pixels, got \(4, 3\)",
            (torch.ones(4, 3), torch.ones(4, 3)),
            {},
        ),
        (ValueError, r"rendered must be .* got \(\)", (torch.ones(()), torch.ones(())), {}),
        (
            ValueError,
            r"share one shape .* rendered \(4, 2\), depth \(1, 2\)",
            (torch.ones(4, 2), torch.ones(1, 2)),
            {},
        ),
        (ValueError, r"margin must be a number >= 0", PAIRS, {"margin": -1e-4}),
        (ValueError, r"margin must be a number >= 0", PAIRS, {"margin": torch.ones(4)}),
        (ValueError, r"tolerance must be a number >= 0", PAIRS, {"tolerance": -0.1}),
        (ValueError, r"reduction must be", PAIRS, {"reduction": "max"}),
        (
            ValueError,
            r"valid must be boolean of shape \(4,\), got torch.bool \(4, 2\)",
            PAIRS,
            {"valid": torch.ones(4, 2, dtype=torch.bool)},
        ),
        (
            TypeError,
            r"depth must be floating point",
            (torch.ones(4, 2), torch.ones(4, 2).int()),
            {},
        ),
        (TypeError, r"rendered must be an array", ([[1.0, 2.0]], torch.ones(1, 2)), {}),
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
    with pytest.raises(error, match="^depth_ranking: .*" + message):
        depth_ranking(*arguments, **options)


def test_checks_values_when_asked() -> None:
    depth = torch.tensor([[1.0, 2.0], [torch.nan, 2.0]])
    assert depth_ranking(torch.ones(2, 2), depth).isfinite()
    with check_values():
        with pytest.raises(ValueError, match=r"^depth_ranking: depth must be finite"):
            depth_ranking(torch.ones(2, 2), depth)
        depth_ranking(torch.ones(2, 2), depth, valid=torch.tensor([True, False]))


def test_the_module_has_the_options() -> None:
    rendered, depth = torch.rand(2, 16, 2)
    module = DepthRanking(margin=0.3, tolerance=0.2, reduction="sum")
    expected = depth_ranking(rendered, depth, margin=0.3, tolerance=0.2, reduction="sum")
    assert torch.equal(module(rendered, depth), expected)
