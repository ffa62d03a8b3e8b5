"""The likely mistake between two depths, from synthetic ones with a known mistake."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from nerfreg.rays import check_depth_agreement
from nerfreg.views import Cameras, pinhole

LIBRARIES = {"torch": torch.from_numpy, "numpy": np.asarray, "jax": jnp.asarray}


@pytest.fixture(scope="module")
def scene():
    """z-depth and directions of 5000 pixels of a camera of 62°, and noise of 5 %."""
    cameras = Cameras.from_opencv(torch.eye(4)[None, :3], pinhole(40.0, 48, 48), 48, 48)
    generator = np.random.default_rng(0)
    xy = torch.from_numpy(generator.uniform(0, 48, (5000, 2))).float()
    directions = cameras.rays(torch.zeros(5000, dtype=torch.long), xy).directions.double().numpy()
    return {
        "z": generator.uniform(1.0, 4.0, 5000),
        "directions": directions,
        "length": np.linalg.norm(directions, axis=-1),
        "noise": np.exp(0.05 * generator.standard_normal(5000)),
    }


@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize(
    ("rendered_power", "true_power", "likely", "slope"),
    [
        (0, 0, None, 0),
        (1, 1, None, 0),
        (0, 1, "rendered is z-depth", -1),
        (1, 0, "rendered is distance", 1),
    ],
)
def test_kinds_and_scales(scene, make, scale, rendered_power, true_power, likely, slope):
    truth = scene["z"] * scene["length"] ** true_power
    rendered = scale * scene["noise"] * scene["z"] * scene["length"] ** rendered_power
    found = check_depth_agreement(*map(make, (rendered, truth, scene["directions"])))
    assert found.likely == (likely or ("agreement" if scale == 1 else "scale"))
    assert found.slope == pytest.approx(slope, abs=0.15)
    assert found.scale == pytest.approx(scale, rel=0.02)
    # The median of |noise|: 0.674 of its standard deviation.
    assert found.explained_error == pytest.approx(0.0337, rel=0.1)
    assert found.n == 5000


def test_inverse_depth(scene):
    found = check_depth_agreement(3 / scene["z"], scene["z"], scene["directions"])
    assert found.likely == "inverse depth"
    assert found.scale == pytest.approx(3)
    assert found.explained_error < 1e-9
    assert "rendered is 3 / truth" in str(found)


def test_scatter_is_not_explained(scene):
    rendered = np.random.default_rng(1).permutation(scene["z"])
    found = check_depth_agreement(rendered, scene["z"], scene["directions"])
    assert found.likely == "scatter"
    assert "neither another kind of depth nor a scale" in str(found)


def test_outliers_do_not_decide(scene):
    rendered = scene["z"].copy()
    rendered[::3] = 100.0
    found = check_depth_agreement(rendered, scene["z"] * scene["length"], scene["directions"])
    assert found.likely == "rendered is z-depth"


def test_without_directions_kinds_stay_untold(scene):
    """Distances of a wide view then look like z-depths of a larger world."""
    found = check_depth_agreement(scene["z"], scene["z"] * scene["length"])
    assert found.likely == "scale"
    assert math.isnan(found.slope)


def test_a_narrow_view_cannot_tell(scene):
    directions = scene["directions"] * [0.01, 0.01, 1]
    found = check_depth_agreement(scene["z"], scene["z"], directions)
    assert math.isnan(found.slope)
    assert found.likely == "agreement"


def test_what_does_not_count(scene):
    rendered = scene["z"].copy()
    rendered[:4] = [np.nan, np.inf, 0.0, -1.0]
    valid = np.arange(5000) < 1000
    found = check_depth_agreement(rendered, scene["z"], valid=valid)
    assert (found.n, found.relative_error) == (996, 0)


def test_a_sentence_names_the_remedy(scene):
    found = check_depth_agreement(2 * scene["z"], scene["z"] * scene["length"], scene["directions"])
    said = str(found)
    assert said.startswith("rendered is z-depth: the truth is distance; use nerfreg.rays.z_depth_")
    assert "or distance_to_z_depth on the truth" in said
    assert "then rendered is 2 times the truth" in said
    assert str(check_depth_agreement(scene["z"], scene["z"])) == (
        "agreement: median relative error 0.0% at 5000 points"
    )
    assert "was one world rescaled" in str(check_depth_agreement(3 * scene["z"], scene["z"]))


@pytest.mark.usefixtures("unhooked")
def test_errors(scene):
    z = scene["z"]
    with pytest.raises(ValueError, match="unit vectors, which have forgotten"):
        check_depth_agreement(z, z, scene["directions"] / scene["length"][:, None])
    with pytest.raises(ValueError, match="no point is left to compare: of 5000"):
        check_depth_agreement(-z, z)
    with pytest.raises(ValueError, match="must share one shape"):
        check_depth_agreement(z, z[1:])
    with pytest.raises(ValueError, match=r"directions must have shape \(5000, 3\)"):
        check_depth_agreement(z, z, scene["directions"][:, :2])
    with pytest.raises(TypeError, match="truth must be floating point"):
        check_depth_agreement(z, np.ones(5000, dtype=int))
    with pytest.raises(TypeError, match="one library"):
        check_depth_agreement(z, torch.from_numpy(z))


@pytest.mark.parametrize(
    ("n", "noise"),
    [(3, 0.05), (5, 0.3), (10, 0.05), (10, 0.3), (30, 0.1), (100, 0.05), (100, 0.3), (1000, 0.3)],
)
def test_noise_is_not_taken_for_a_mistake(n, noise):
    """Of 100 pairs of equal depths with noise, none is told to convert anything."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(1.0, 4.0, n)
        directions = np.concatenate([rng.uniform(-0.7, 0.7, (n, 2)), np.ones((n, 1))], -1)
        rendered = truth * np.exp(noise * rng.standard_normal(n))
        assert check_depth_agreement(rendered, truth, directions).likely in ("agreement", "scatter")


@pytest.mark.parametrize(("n", "noise"), [(50, 0.02), (200, 0.05), (200, 0.1), (1000, 0.2)])
def test_kinds_are_told_from_few_points(n, noise):
    """In at least 95 of 100 scenes, through noise and one outlier in ten, and never the other."""
    told = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(1.0, 4.0, n)
        directions = np.concatenate([rng.uniform(-0.7, 0.7, (n, 2)), np.ones((n, 1))], -1)
        rendered = truth * np.exp(noise * rng.standard_normal(n))
        rendered[::10] *= rng.uniform(0.5, 2.0, len(rendered[::10]))
        length = np.linalg.norm(directions, axis=-1)
        told.append(check_depth_agreement(rendered, truth * length, directions).likely)
    assert "rendered is distance" not in told
    assert told.count("rendered is z-depth") >= 95


@pytest.mark.parametrize("seed", range(5))
def test_kind_and_scale_are_told_through_noise(seed):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1.0, 4.0, 2000)
    directions = np.concatenate([rng.uniform(-0.7, 0.7, (2000, 2)), np.ones((2000, 1))], -1)
    noise = np.exp(0.1 * rng.standard_normal(2000))
    length = np.linalg.norm(directions, axis=-1)
    assert check_depth_agreement(truth * noise, truth * length, directions).likely == (
        "rendered is z-depth"
    )
    scaled = check_depth_agreement(1.5 * truth * noise**4, truth, directions)
    assert scaled.likely == "scale"
    assert scaled.scale == pytest.approx(1.5, rel=0.05)


def test_unit_directions_are_noticed_beside_points_that_do_not_count():
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((50, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    directions[0] = np.nan
    depth = rng.uniform(1.0, 2.0, 50)
    with pytest.raises(ValueError, match="unit vectors"):
        check_depth_agreement(depth, depth, directions)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_unit_directions_are_noticed_in_half_precision(dtype):
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(50, 3, generator=generator)
    directions = (directions / directions.norm(dim=-1, keepdim=True)).to(dtype)
    depth = 1 + torch.rand(50, generator=generator)
    with pytest.raises(ValueError, match="unit vectors"):
        check_depth_agreement(depth.to(dtype), depth.to(dtype), directions)
