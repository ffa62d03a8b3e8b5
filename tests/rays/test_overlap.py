"""Masses of one step function in another's intervals: loops, upstream's numbers, any layout."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg.rays.layout import Layout, ray_layout
from nerfreg.rays.overlap import (
    Steps,
    in_one_layout,
    layout_beside,
    mass_around,
    mass_inside,
    mass_over,
    steps_of,
)
from tests.golden import golden, golden_cases
from tests.laws.calls import library

Ray = tuple[list[float], list[float], list[float]]

MASSES = [mass_inside, mass_over, mass_around]


def slow(mass, cells: Ray, steps: Ray) -> list[float]:
    """One ray, pair by pair, as the docstrings say."""
    found = []
    for a, b in zip(*cells[1:], strict=True):
        total = 0.0
        for w, s, e in zip(*steps, strict=True):
            if mass is mass_inside:
                share = float(a < s and e <= b)
            elif mass is mass_around:
                share = float(s <= b and e > a)
            elif s == e:
                share = float(a < s <= b)
            else:
                share = max(min(b, e) - max(a, s), 0.0) / (e - s)
            total += w * share
        found.append(total)
    return found


def some_ray(rng: np.random.Generator, n: int, grid: int = 0) -> Ray:
    """Intervals with gaps; on a grid, edges coincide and some intervals have no width."""
    t = np.sort(rng.uniform(-1.0, 3.0, 2 * n))
    if grid:
        t = np.round(t * grid) / grid
    return rng.uniform(0.0, 1.0, n).tolist(), t[::2].tolist(), t[1::2].tolist()


def dense(rays: list[Ray], array=torch.tensor) -> Steps:
    samples = [array(np.array(x)) for x in zip(*rays, strict=True)]
    return Steps(ray_layout("test", weights=samples[0]), *samples)


def packed(rays: list[Ray], array=torch.tensor, index=np.int64) -> Steps:
    samples = [array(np.array([*itertools.chain(*x)], np.float64)) for x in zip(*rays, strict=True)]
    at = np.repeat(np.arange(len(rays)), [len(ray[0]) for ray in rays]).astype(index)
    return Steps(ray_layout("test", array(at), len(rays), weights=samples[0]), *samples)


def single(steps: Steps) -> Steps:
    return Steps(steps.rays, *(x.float() for x in steps[1:]))


def flat(rays: list[list[float]]) -> np.ndarray:
    return np.array([*itertools.chain(*rays)])


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("name", ["torch", "numpy", "jax", "strict"])
@pytest.mark.parametrize("grid", [0, 4], ids=["apart", "on a grid"])
def test_dense_agrees_with_loops(mass, name, grid) -> None:
    rng = np.random.default_rng(0)
    cells, steps = ([some_ray(rng, n, grid) for _ in range(20)] for n in (6, 4))
    expected = flat([slow(mass, *pair) for pair in zip(cells, steps, strict=True)])
    assert expected.any()
    with library(name) as array:
        got = mass(dense(cells, array), dense(steps, array))
        assert type(got) is type(array(np.ones(1)))
        np.testing.assert_allclose(np.asarray(got).ravel(), expected, atol=1e-12)


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("name", ["torch", "numpy", "jax"])
@pytest.mark.parametrize("grid", [0, 4], ids=["apart", "on a grid"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_packed_agrees_with_loops(mass, name, grid, index) -> None:
    """Rays without samples of either kind, at the ends too."""
    rng = np.random.default_rng(1)
    cells, steps = ([some_ray(rng, n, grid) for n in rng.integers(0, 6, 30)] for _ in range(2))
    cells[0], steps[-1] = ([], [], []), ([], [], [])
    expected = flat([slow(mass, *pair) for pair in zip(cells, steps, strict=True)])
    with library(name) as array:
        got = mass(packed(cells, array, index), packed(steps, array, index))
        np.testing.assert_allclose(np.asarray(got), expected, atol=1e-12)


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("grid", [0, 4], ids=["apart", "on a grid"])
def test_packed_float32_finds_what_dense_float32_does(mass, grid) -> None:
    """Another search, by the bits of the numbers: signs, zeros and equal numbers count."""
    rng = np.random.default_rng(2)
    cells, steps = ([some_ray(rng, n, grid) for _ in range(200)] for n in (9, 5))
    expected = mass(single(dense(cells)), single(dense(steps)))
    got = mass(single(packed(cells)), single(packed(steps)))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected.flatten(), rtol=0, atol=5e-7)


def test_minus_zero_is_zero() -> None:
    """In a search of bits, too."""
    steps = packed([([1.0, 1.0], [-1.0, 0.0], [-0.0, 1.0])])
    for zero in (0.0, -0.0):
        cells = packed([([0.0], [-2.0], [zero])])
        assert mass_around(single(cells), single(steps)).tolist() == [2.0]
        assert mass_inside(single(cells), single(steps)).tolist() == [1.0]


def test_packed_numbers_of_every_size() -> None:
    """No ray is mistaken for its neighbour, however far its intervals reach."""
    bounds = [-3e38, -1e10, -1.0, -1e-38, 0.0, 1e-38, 1.0, 1e10, 3e38]
    rays = [([1.0, 1.0], [a, b], [a, b]) for a, b in itertools.pairwise(bounds)]
    cells = [([0.0] * 8, bounds[:-1], bounds[1:]) for _ in rays]
    got = mass_over(single(packed(cells)), single(packed(rays))).view(8, 8)
    # A point counts where start < point ≤ end: each in one cell, but the very first in none.
    expected = torch.eye(8) + torch.eye(8).roll(-1, 1).tril()
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("n", range(1, 10))
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_packed_rays_of_any_length(n, name) -> None:
    """Each sample of one ray is found."""
    edges = np.arange(n + 1.0)
    ray = [(np.arange(1.0, n + 1), edges[:-1], edges[1:])]
    with library(name) as array:
        got = mass_over(packed(ray, array), packed(ray, array))
        assert got.tolist() == ray[0][0].tolist()


@pytest.mark.parametrize("mass", MASSES)
def test_layouts_mix(mass) -> None:
    rng = np.random.default_rng(3)
    rays = [some_ray(rng, 5) for _ in range(7)]
    few = [some_ray(rng, n) for n in rng.integers(0, 4, 7)]
    for one, other in [(dense, packed), (packed, dense)]:
        cells, steps = (rays, few) if one is dense else (few, rays)
        expected = flat([slow(mass, *pair) for pair in zip(cells, steps, strict=True)])
        got = mass(*in_one_layout(one(cells), other(steps)))
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_one_layout_is_left_as_it_is() -> None:
    rays = [some_ray(np.random.default_rng(4), 3)]
    for pair in ([dense(rays), dense(rays)], [packed(rays), packed(rays)]):
        assert in_one_layout(*pair) == pair


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mass", MASSES)
def test_no_steps_at_all_have_no_mass(mass, dtype) -> None:
    nothing = packed([([], [], [])] * 3)
    something = packed([some_ray(np.random.default_rng(5), 2)] * 3)
    for cells, steps, n in [(something, nothing, 6), (nothing, something, 0)]:
        cells, steps = (Steps(x.rays, *(y.to(dtype) for y in x[1:])) for x in (cells, steps))
        assert mass(cells, steps).tolist() == [0.0] * n


def test_mass_is_bounded_and_none_is_lost() -> None:
    rng = np.random.default_rng(6)
    steps = dense([some_ray(rng, 6) for _ in range(50)])
    edges = np.sort(rng.uniform(-2.0, 4.0, (50, 10)))
    edges[:, 0], edges[:, -1] = -2.0, 4.0
    cells = Steps(
        steps.rays, *(torch.tensor(x) for x in (edges[:, 1:], edges[:, :-1], edges[:, 1:]))
    )
    inside, over, around = (mass(cells, steps) for mass in MASSES)
    assert (inside <= over + 1e-12).all()
    assert (over <= around + 1e-12).all()
    assert (inside < around).any()
    torch.testing.assert_close(over.sum(-1), steps.weights.sum(-1), rtol=1e-12, atol=0)


def test_an_open_interval_holds_its_mass_far_out() -> None:
    steps = single(dense([([0.25, 0.5], [1.0, 2.0], [2.0, 1e10])]))
    cells = single(dense([([0.0, 0.0], [0.0, 6.0], [6.0, 1e10])]))
    torch.testing.assert_close(mass_over(cells, steps), torch.tensor([[0.25, 0.5]]))


@pytest.mark.parametrize("case", golden_cases("multinerf_stepfun"))
def test_meets_multinerf(case) -> None:
    numbers = golden("multinerf_stepfun", case)
    cells, steps = (
        Steps(ray_layout("test", weights=w), w, t[..., :-1], t[..., 1:])
        for w, t in [(numbers["w"], numbers["t"]), (numbers["w_env"], numbers["t_env"])]
    )
    for mass, key in [(mass_inside, "inner"), (mass_around, "outer")]:
        torch.testing.assert_close(mass(cells, steps), numbers[key], rtol=0, atol=1e-15)


@pytest.mark.parametrize("case", golden_cases("ns_interlevel_loss"))
def test_meets_nerfstudio(case) -> None:
    numbers = golden("ns_interlevel_loss", case)
    cells, steps = (
        Steps(ray_layout("test", weights=w[..., 0]), w[..., 0], t[..., :-1], t[..., 1:])
        for w, t in [
            (numbers["weights"], numbers["sdist"]),
            (numbers["weights_prop"], numbers["sdist_prop"]),
        ]
    )
    torch.testing.assert_close(mass_around(cells, steps), numbers["outer"], rtol=0, atol=1e-15)


@pytest.mark.parametrize("layout", [dense, packed])
@pytest.mark.parametrize("mass", MASSES)
def test_gradients_are_those_of_finite_differences(mass, layout) -> None:
    rng = np.random.default_rng(7)
    cells, steps = (layout([some_ray(rng, n) for _ in range(2)]) for n in (4, 3))

    def function(weights: Tensor, *bounds: Tensor) -> Tensor:
        return mass(
            Steps(cells.rays, cells.weights, *bounds[:2]), Steps(steps.rays, weights, *bounds[2:])
        )

    bounds = [x.requires_grad_(mass is mass_over) for x in (*cells[2:], *steps[2:])]
    assert torch.autograd.gradcheck(function, (steps.weights.requires_grad_(), *bounds))


def test_points_and_slivers_have_finite_gradients() -> None:
    starts = torch.tensor([[1.0, 1.0, 2.0, 2.0]])
    ends = torch.tensor([[1.0, 2.0, 2.0, 2.0 + 2.0**-22]])
    given = [x.requires_grad_() for x in (torch.ones(1, 4), starts, ends)]
    steps = Steps(Layout((1,)), *given)
    cells = dense([([0.0, 0.0], [0.0, 2.0], [2.0, 3.0])])
    value = mass_over(single(cells), steps)
    assert value.tolist() == [[3.0, 1.0]]
    for gradient in torch.autograd.grad((value * value).sum(), given):
        assert gradient.isfinite().all()


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("layout", [dense, packed])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiles_as_one_graph(layout, dtype) -> None:
    torch.compiler.reset()
    rng = np.random.default_rng(8)
    cells, steps = (layout([some_ray(rng, n) for _ in range(3)]) for n in (4, 3))
    cells, steps = (Steps(x.rays, *(y.to(dtype) for y in x[1:])) for x in (cells, steps))
    for mass in MASSES:
        compiled = torch.compile(mass, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(cells, steps), mass(cells, steps))


def test_steps_of_rays_that_do_not_count_are_nothing() -> None:
    rays = [([1.0, np.nan], [0.0, np.inf], [1.0, 2.0]), ([0.5, 0.5], [0.0, 1.0], [1.0, 2.0])]
    for layout in (dense, packed):
        given = layout(rays)
        half = (x.half() for x in given[1:])
        steps = steps_of(given.rays, torch.tensor([False, True]), *half)
        assert {x.dtype for x in steps[1:]} == {torch.float32}
        assert steps.weights.flatten().tolist() == [0.0, 0.0, 0.5, 0.5]
        assert steps.starts.flatten().tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_layout_beside_another() -> None:
    x = torch.ones(3, 2)
    assert layout_beside("f", Layout((3,)), "p_", p_x=x) == Layout((3,))
    at = torch.tensor([0, 2])
    beside = layout_beside("f", Layout((3,)), "p_", at, p_x=x[0])
    assert beside.ray_shape == (3,)
    assert beside.offsets.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("rays", "indices", "x", "error", "message"),
    [
        ((4,), None, torch.ones(3, 2), ValueError, r"p_x must have shape \(4, S\), .* \(3, 2\)"),
        ((3,), None, torch.ones(3), ValueError, r"p_x .* packed, with p_ray_indices\), got \(3,\)"),
        ((), None, torch.ones(()), ValueError, r"p_x must have shape \(S\), .* got \(\)"),
        (
            (3, 2),
            torch.zeros(2).long(),
            torch.ones(2),
            ValueError,
            r"p_ray_indices need .* \(3, 2\)",
        ),
        ((3,), torch.zeros(2), torch.ones(2), TypeError, "p_ray_indices must be int32 or int64"),
        ((3,), torch.zeros(3).long(), torch.ones(2), ValueError, r"packed p_x .* as p_ray_indices"),
    ],
)
def test_says_what_does_not_lie_beside(rays, indices, x, error, message) -> None:
    with pytest.raises(error, match="^f: " + message):
        layout_beside("f", Layout(rays), "p_", indices, p_x=x)


def test_many_samples_need_little_memory() -> None:
    """All pairs of intervals of this ray would be 160 GB."""
    n = 200_000
    edges = torch.linspace(0.0, 1.0, n + 1)
    weights = torch.full((n,), 1.0 / n)
    for steps in (
        Steps(ray_layout("test", weights=weights), weights, edges[:-1], edges[1:]),
        Steps(
            ray_layout("test", torch.zeros(n, dtype=torch.int64), 1, weights=weights),
            *(weights, edges[:-1], edges[1:]),
        ),
    ):
        assert mass_over(steps, steps).sum().item() == pytest.approx(1.0, rel=1e-3)
        assert mass_around(steps, steps).max().item() < 4.0 / n
