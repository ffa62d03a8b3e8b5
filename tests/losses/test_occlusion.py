"""Occlusion against loops, by hand, against FreeNeRF's numbers, and at its edges."""

import numpy as np
import pytest
import torch

from nerfreg.losses import Occlusion, occlusion
from tests.golden import golden, golden_cases


def slow_by_rank(density, n_samples) -> float:
    return sum(s for k, s in enumerate(density) if k < n_samples) / len(density)


def slow_by_distance(density, starts, ends, distance) -> float:
    near = [max(min(e, distance) - s, 0.0) for s, e in zip(starts, ends, strict=True)]
    return sum(s * length for s, length in zip(density, near, strict=True))


def some_rays(rng) -> tuple[np.ndarray, ...]:
    """Six rays of twelve intervals with gaps."""
    widths, gaps = rng.uniform(0.1, 0.5, (2, 6, 12))
    ends = 0.5 + np.cumsum(widths + gaps, -1)
    return rng.uniform(0.0, 5.0, (6, 12)), ends - widths, ends


@pytest.mark.parametrize(
    "options", [{}, {"n_samples": 1}, {"n_samples": 20}, {"distance": 2.2}, {"distance": 1e3}]
)
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(options, with_valid) -> None:
    rng = np.random.default_rng(0)
    rays = some_rays(rng)
    valid = rng.random(6) < 0.6 if with_valid else np.ones(6, bool)
    if "distance" in options:
        values = [slow_by_distance(*ray, **options) for ray in zip(*rays, strict=True)]
    else:
        values = [slow_by_rank(d, options.get("n_samples", 10)) for d in rays[0]]
    expected = valid * values
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / valid.sum()),
    ]:
        got = occlusion(
            *(torch.from_numpy(x) for x in rays),
            **options,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_by_hand() -> None:
    """Densities 4, 2, 8. Two of three samples: (4 + 2) / 3 = 2. Up to 2.5: 4·1 + 2·½ = 5."""
    density = torch.tensor([[4.0, 2.0, 8.0]])
    starts = torch.tensor([[1.0, 2.0, 3.0]])
    assert occlusion(density, n_samples=2).item() == 2.0
    assert occlusion(density, starts, starts + 1.0, distance=2.5).item() == 5.0


@pytest.mark.parametrize("case", golden_cases("freenerf_occ_reg"))
def test_meets_upstream(case) -> None:
    """DTU's black and white prior is a mask on the density that comes in."""
    numbers = golden("freenerf_occ_reg", case)
    density, rgb = numbers["density"].requires_grad_(), numbers["rgb"]
    n_near, n_samples = int(numbers["reg_range"]), int(numbers["reg_range"])
    given = density
    if numbers["wb_prior"]:
        plain = (rgb > 0.99).all(-1) | (rgb < 0.01).all(-1)
        assert plain.any()
        first = torch.arange(density.shape[-1]) < n_near
        given = torch.where(plain | first, density, 0.0)
        n_samples = max(n_near, int(numbers["wb_range"]))
    value = occlusion(given, n_samples=n_samples)
    value.backward()
    torch.testing.assert_close(value, numbers["loss"], rtol=1e-12, atol=0)
    torch.testing.assert_close(density.grad, numbers["grad_density"], rtol=1e-12, atol=0)


def test_samples_stay_where_they_are() -> None:
    rays = [torch.from_numpy(x).requires_grad_() for x in some_rays(np.random.default_rng(0))]
    occlusion(*rays, distance=2.0).backward()
    assert rays[0].grad.any()
    assert rays[1].grad is None
    assert rays[2].grad is None


def test_the_integral_does_not_depend_on_the_sampling() -> None:
    """Split intervals, and empty ones left out; the mean by rank halves and jumps."""
    rng = np.random.default_rng(0)
    density, starts, ends = (torch.from_numpy(x) for x in some_rays(rng))
    middle = 0.5 * (starts + ends)
    split = [torch.stack(x, -1).flatten(1) for x in ((starts, middle), (middle, ends))]
    twice = density.repeat_interleave(2, -1)
    for distance in (0.4, 1.0, 2.2, 3.1):
        once = occlusion(density, starts, ends, distance=distance, reduction="none")
        again = occlusion(twice, *split, distance=distance, reduction="none")
        torch.testing.assert_close(again, once, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(occlusion(twice, n_samples=3), occlusion(density, n_samples=3))

    keep = torch.rand(6, 12) < 0.5
    packed = [torch.where(keep, density, 0.0)[keep], starts[keep], ends[keep]]
    layout = {"ray_indices": keep.nonzero()[:, 0], "n_rays": 6}
    expected = occlusion(torch.where(keep, density, 0.0), starts, ends, distance=2.2)
    assert occlusion(*packed, **layout, distance=2.2).item() == pytest.approx(expected.item())


def test_evenly_spread_samples_relate_both_forms() -> None:
    """As the docstring says: the integral is ``far`` times the mean by rank."""
    density = torch.rand(3, 128, dtype=torch.float64)
    edges = torch.linspace(0.0, 6.0, 129, dtype=torch.float64).expand(3, -1)
    by_rank = occlusion(density, n_samples=20)
    by_distance = occlusion(density, edges[:, :-1], edges[:, 1:], distance=6.0 * 20 / 128)
    assert by_distance.item() == pytest.approx(6.0 * by_rank.item(), rel=1e-12)


def test_what_is_far_receives_no_gradient() -> None:
    density = torch.rand(2, 5, requires_grad=True)
    starts = torch.arange(5.0).expand(2, -1)
    occlusion(density, starts, starts + 1.0, distance=2.5, reduction="sum").backward()
    assert density.grad.tolist() == [[1.0, 1.0, 0.5, 0.0, 0.0]] * 2


def test_the_largest_density_stays_finite() -> None:
    density = torch.tensor([[3e38]], requires_grad=True)
    value = occlusion(density, torch.zeros(1, 1), torch.full((1, 1), 1e10), distance=100.0)
    value.backward()
    assert value.item() == pytest.approx(1e32)
    assert density.grad.isfinite().all()


def test_an_open_last_interval_is_cut() -> None:
    density = torch.full((1, 2), 3.0)
    starts, ends = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1e10]])
    assert occlusion(density, starts, ends, distance=1.5).item() == 4.5
    assert occlusion(density, starts, ends, distance=0.5).item() == 1.5


def test_ranks_of_packed_samples_start_on_each_ray() -> None:
    density = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    indices = torch.tensor([0, 0, 0, 2, 2])
    values = occlusion(density, n_samples=1, ray_indices=indices, n_rays=4, reduction="none")
    assert values.tolist() == pytest.approx([1 / 3, 0.0, 4 / 2, 0.0])


RAYS = {name: torch.ones(5, 7) for name in ("density", "starts", "ends")}


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n_samples": 3, "distance": 1.0}, ValueError, r"n_samples and distance are two ways"),
        ({"distance": 1.0, "starts": None}, ValueError, r"distance needs starts and ends"),
        ({"distance": 1.0, "ends": None}, ValueError, r"distance needs starts and ends"),
        ({"distance": 0.0}, ValueError, r"distance must be a number > 0, got 0.0"),
        ({"distance": np.inf}, ValueError, r"distance must be a number > 0, got inf"),
        ({"n_samples": 0}, ValueError, r"n_samples must be a number that is whole and >= 1, got 0"),
        ({"n_samples": 2.5}, ValueError, r"n_samples must be a number that is whole .* got 2.5"),
        ({"starts": torch.ones(5, 8)}, ValueError, r"density, starts, ends must share one shape"),
        ({"ends": torch.ones(5)}, ValueError, r"density, starts, ends must share one shape"),
        ({"density": torch.ones(5, 7).int()}, TypeError, r"density must be floating point"),
        ({"density": 1.0}, TypeError, r"density must be an array .* got float"),
        ({"valid": torch.ones(5, 7) > 0}, ValueError, r"valid must be boolean of shape \(5,\)"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    with pytest.raises(error, match="^occlusion: " + message):
        occlusion(**{**RAYS, **changes})


@pytest.mark.parametrize("options", [{}, {"n_samples": 2}, {"distance": 1.5}])
def test_module_is_the_function(options) -> None:
    density, starts = torch.rand(2, 5), torch.arange(5.0).expand(2, -1)
    module = Occlusion(**options, reduction="none")
    expected = occlusion(density, starts, starts + 1.0, **options, reduction="none")
    assert torch.equal(module(density, starts, starts + 1.0), expected)
    assert repr(module) == (
        f"Occlusion(n_samples={options.get('n_samples')}, distance={options.get('distance')},"
        " reduction='none')"
    )
