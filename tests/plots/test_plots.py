"""Figures say in lines and labels what the numbers are; each array library, each layout."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from nerfreg import RayTermination, depth_kl
from nerfreg.plots import plot_depth_agreement, plot_gradient_shares, plot_termination
from nerfreg.rays import z_depth_to_distance

LIBRARIES = {"torch": torch.tensor, "numpy": np.array, "jax": jnp.array}
STARTS, ENDS = [[1.0, 2.0, 4.0], [1.0, 2.0, 3.0]], [[2.0, 3.0, 6.0], [2.0, 3.0, 4.0]]
WEIGHTS = [[0.25, 0.5, 0.1], [0.0, 0.5, 0.25]]


def stairs(axes):
    """Heights and edges of each outline, in order."""
    found = [patch for patch in axes.patches if not patch.get_fill()]
    return [(patch.get_data().values, patch.get_data().edges) for patch in found]


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
def test_a_ray_is_drawn_per_unit_of_t(make, packed):
    """A gap is empty; a wide interval is low: its area is the probability."""
    weights, starts, ends = (make(np.array(x, np.float32)) for x in (WEIGHTS, STARTS, ENDS))
    rays = RayTermination(weights, starts, ends)
    if packed:
        flat = (x.reshape(-1) for x in (weights, starts, ends))
        rays = RayTermination(*flat, make([0, 0, 0, 1, 1, 1]), 2)
    figure = plot_termination(**rays, ray=0, title="pixel")
    (axes,) = figure.axes
    ((heights, edges),) = stairs(axes)
    np.testing.assert_allclose(edges, [1, 2, 3, 4, 6])
    np.testing.assert_allclose(heights, [0.25, 0.5, 0, 0.05], rtol=1e-6)
    assert labels(axes) == ["ray: 85% stops", "expected 2.5", "median 2.35"]
    assert axes.get_title() == "pixel"
    assert axes.get_ylabel() == "probability of stopping, per unit"


def test_the_target_is_drawn_as_the_loss_compares_it():
    """N(2, 0.5²): Φ(2) − Φ(0) of it in each of two intervals of width 1; the KL in the title."""
    weights, starts, ends = (torch.tensor([x]) for x in ([0.7, 0.3], [1.0, 2.0], [2.0, 3.0]))
    depth, std = torch.tensor([2.0]), torch.tensor([0.5])
    figure = plot_termination(weights, starts, ends, depth, std, kind="z-depth (m)")
    _, (heights, _) = stairs(figure.axes[0])
    np.testing.assert_allclose(heights, [0.47725, 0.47725], atol=1e-5)
    kl = depth_kl(weights, starts, ends, depth, std).item()
    assert figure.axes[0].get_title() == f"KL {kl:.2f} nats"
    assert figure.axes[0].get_xlabel() == "z-depth (m)"
    assert "target 2 ± 0.5" in labels(figure.axes[0])


def test_before_and_after_stand_in_one_figure():
    starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
    late, early = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0]])
    before = RayTermination(early, torch.tensor([[0.0]]), torch.tensor([[4.0]]))
    figure = plot_termination(late, starts, ends, 2.5, 0.1, before=before)
    (axes,) = figure.axes
    first, second, _ = stairs(axes)
    np.testing.assert_allclose(first[0], [0.25])
    np.testing.assert_allclose(second[0], [0, 1])
    assert labels(axes)[:2] == ["before: 100% stops", "after: 100% stops"]
    numbers = [
        depth_kl(*rays, torch.tensor([2.5]), torch.tensor([0.1])).item()
        for rays in ((before.weights, before.starts, before.ends), (late, starts, ends))
    ]
    assert axes.get_title() == f"KL {numbers[0]:.2f} → {numbers[1]:.2f} nats"


def test_an_open_last_interval_is_told_not_drawn():
    starts, ends = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1e10])
    figure = plot_termination(torch.tensor([0.5, 0.25]), starts, ends, 1.5)
    ((_, edges),) = stairs(figure.axes[0])
    assert edges.max() == 2
    assert labels(figure.axes[0])[0] == "ray: 75% stops, 25% of it beyond the last bound"
    assert "target 1.5" in labels(figure.axes[0])


def test_an_empty_packed_ray_can_be_looked_at():
    """Ray and target both lie elsewhere than in its samples, of which there are none."""
    none = torch.zeros(0)
    index = torch.zeros(0, dtype=torch.long)
    figure = plot_termination(none, none, none, 2.0, 0.1, ray_indices=index, n_rays=1)
    assert figure.axes[0].get_title() == "KL 0.00 nats"


def test_axes_of_ones_own_are_drawn_in():
    from matplotlib.figure import Figure

    figure = Figure()
    given = figure.add_subplot()
    starts = torch.tensor([1.0])
    assert plot_termination(torch.tensor([1.0]), starts, starts + 1, ax=given) is figure
    assert stairs(given)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "ray must name one of the 2 rays, got None"),
        ({"ray": 2}, r"ray must be in \[0, 2\), got 2"),
        ({"ray": 0, "std": 0.1}, "std must come with depth"),
        ({"ray": 0, "depth": 2.0, "std": 0.0}, "std must be > 0, got 0"),
        ({"ray": 0, "depth": torch.ones(3)}, r"depth must be a number or one a ray, \(2,\), got 3"),
        ({"ray": 0, "ends": torch.tensor(STARTS)}, "points have no density"),
    ],
)
def test_what_cannot_be_drawn(changes, message):
    rays = {"weights": WEIGHTS, "starts": STARTS, "ends": ENDS}
    given = {name: torch.tensor(x) for name, x in rays.items()}
    with pytest.raises(ValueError, match=message):
        plot_termination(**{**given, **changes})


@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
def test_depths_are_drawn_against_each_other_and_against_eccentricity(make):
    generator = np.random.default_rng(0)
    xy = generator.uniform(-0.7, 0.7, (4000, 2))
    directions = np.concatenate([xy, np.ones((4000, 1))], -1)
    truth = generator.uniform(1, 3, 4000)
    distance = truth * np.linalg.norm(directions, axis=-1)
    figure = plot_depth_agreement(make(truth), make(distance), make(directions), unit="m")
    both, ratio = figure.axes
    assert figure.get_suptitle() == "likely: rendered is z-depth"
    assert both.get_xlabel() == "true depth (m)"
    assert both.get_title().endswith("at 4000 points")
    median = next(line for line in ratio.lines if line.get_label() == "median")
    x, y = median.get_data()
    np.testing.assert_allclose(y, 1 / np.sqrt(1 + x**2), rtol=1e-3)
    wrong = next(line for line in ratio.lines if line.get_label().startswith("rendered z-depth"))
    np.testing.assert_allclose(np.interp(x, *wrong.get_data()), y, rtol=2e-3)


def test_few_points_are_drawn_as_points():
    depth = torch.linspace(1, 2, 50)
    figure = plot_depth_agreement(depth, depth)
    (axes,) = figure.axes
    assert len(axes.collections[0].get_offsets()) == 50
    assert figure.get_suptitle() == "likely: agreement"
    directions = torch.tensor([0.5, 0.0, 1.0]).expand(50, 3)
    distance = z_depth_to_distance(depth, directions)
    assert len(plot_depth_agreement(distance, depth, directions).axes) == 2


def test_shares_are_stacked_and_drawn_each():
    shares = [{"color": torch.tensor(0.75), "smooth": 0.25}, {"color": 1.0}]
    figure = plot_gradient_shares([0, 100], shares, title="run")
    stacked, each = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["color", "smooth"]
    heights = [area.get_paths()[0].vertices[:, 1].max() for area in stacked.collections]
    assert heights == pytest.approx([1, 1])
    color, smooth = (line.get_ydata() for line in each.lines)
    assert color.tolist() == [0.75, 1.0]
    assert smooth[0] == 0.25
    assert np.isnan(smooth[1]), "0 is nowhere on a logarithmic axis"
    assert figure.get_suptitle() == "run"
    plot_gradient_shares([0], [{"off": 0.0}])


def test_shares_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="one mapping a step, got 1 for 2 steps"):
        plot_gradient_shares([0, 1], [{"color": 1.0}])
    with pytest.raises(ValueError, match="must name at least one term"):
        plot_gradient_shares([0], [{}])


def test_matplotlib_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "nerfreg\[plot\]"'):
        plot_gradient_shares([0], [{"color": 1.0}])


def test_a_figure_opens_no_window_and_sets_no_backend():
    code = (
        "import sys, nerfreg.plots as p; assert 'matplotlib' not in sys.modules;"
        "p.plot_gradient_shares([0], [{'a': 1.0}]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
