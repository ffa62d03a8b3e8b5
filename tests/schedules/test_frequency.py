"""Frequency masks against FreeNeRF's numbers, and by hand; their columns against loops."""

import itertools

import numpy as np
import pytest
import torch

from nerfreg.schedules import FrequencyMask
from tests.golden import golden, golden_cases


def column_octaves(layout: str, n_octaves: int, n_dims: int) -> list[int]:
    """The octave of each column, written as the loops of those encodings."""
    octaves, axes, waves = range(n_octaves), range(n_dims), ("sin", "cos")
    if layout == "interleaved":
        return [o for o in octaves for _ in waves for _ in axes]
    if layout == "grouped":
        return [o for _ in waves for o in octaves for _ in axes]
    if layout == "interleaved_by_axis":
        return [o for _ in axes for o in octaves for _ in waves]
    if layout == "grouped_by_axis":
        return [o for _ in waves for _ in axes for o in octaves]
    return [o for o in octaves for _ in axes]


LAYOUTS = ["interleaved", "grouped", "interleaved_by_axis", "grouped_by_axis", "levels"]


@pytest.mark.parametrize("case", golden_cases("freenerf"))
def test_meets_upstream_group_by_group(case):
    """Its mask is a prefix over groups of three features, within 1e-8 of 0 and of 1."""
    numbers = golden("freenerf", case)
    groups = int(numbers["length"]) // 3
    mask = FrequencyMask(int(numbers["total_iters"]))
    for step, expected in zip(numbers["its"].tolist(), numbers["mask"], strict=True):
        weights = mask(step, groups).double()
        # float32 weights of numbers up to 33.
        torch.testing.assert_close(weights, expected[::3], rtol=0, atol=3e-6)
        assert torch.equal(expected[::3], expected[2::3])


@pytest.mark.parametrize("family", ["freenerf_freq_mask", "freenerf_freq_mask_torch"])
def test_released_columns_meet_upstream(family):
    """The JAX code and the torch port lay one mask over columns that they order differently.

    At step N the port still computes its mask, where the JAX code shows everything: the same.
    """
    for case in golden_cases(family):
        numbers = golden(family, case)
        length, n_steps = (
            int(numbers[name])
            for name in (
                ("length", "total") if "torch" in family else ("pos_enc_length", "total_reg_iter")
            )
        )
        mask, n_octaves = FrequencyMask(n_steps), (length // 3 - 1) // 2
        # Upstream keeps to [1e-8, 1 - 1e-8], the port computes in float32.
        atol = 2e-7 if "torch" in family else 1.1e-8
        for step, expected in zip(numbers["steps"].tolist(), numbers["mask"], strict=True):
            got = mask.columns(np.asarray(step), n_octaves, "released", position="first")
            np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize("case", golden_cases("freenerf_freq_mask"))
def test_half_visible_shows_as_many_columns_but_cuts_between_groups(case):
    """Upstream's ablation cuts within a group of x y z; here that group is faint instead."""
    expected = golden("freenerf_freq_mask", case)["mask_half_visible"]
    n_visible = int((expected > 0.5).sum())
    mask = FrequencyMask(10, start=n_visible / 3)
    got = mask.columns(np.asarray(0), (len(expected) // 3 - 1) // 2, "released", position="first")
    assert got.sum() == pytest.approx(n_visible, rel=1e-6)
    differs = np.abs(got - expected.numpy()) > 1e-6
    assert differs.sum() == (3 if n_visible % 3 else 0)


def test_released_shows_every_sine_half_way_and_grouped_does_not():
    """16 octaves and the position, as upstream trains: 33 groups, of which 17.5 are visible."""
    mask = FrequencyMask(1000)
    released = mask.columns(500, 16, "released", position="first")
    sines, cosines = released[3:51].reshape(16, 3), released[51:].reshape(16, 3)
    assert sines.eq(1).all()
    assert cosines[0].eq(0.5).all()
    assert not cosines[1:].any()
    grouped = mask.columns(500, 16, "grouped", position="first")
    sines, cosines = grouped[3:51].reshape(16, 3), grouped[51:].reshape(16, 3)
    assert torch.equal(sines, cosines)
    assert sines[:, 0].tolist() == [1.0] * 9 + [0.0] * 7


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n_octaves", "n_dims"), [(4, 3), (3, 2), (1, 1), (5, 4), (0, 3), (2, 0)])
def test_columns_agree_with_loops(layout, n_octaves, n_dims):
    mask = FrequencyMask(100)
    weights = mask(40, n_octaves)
    expected = [weights[octave].item() for octave in column_octaves(layout, n_octaves, n_dims)]
    assert mask.columns(40, n_octaves, layout, n_dims=n_dims).tolist() == expected
    if layout != "levels":
        first = mask.columns(40, n_octaves, layout, n_dims=n_dims, position="first")
        last = mask.columns(40, n_octaves, layout, n_dims=n_dims, position="last")
        assert first.tolist() == [1.0] * n_dims + expected
        assert last.tolist() == expected + [1.0] * n_dims


def test_layouts_are_distinct():
    """Or a test above could pass with one in the place of another."""
    for a, b in itertools.combinations(LAYOUTS, 2):
        assert column_octaves(a, 4, 3) != column_octaves(b, 4, 3)


def encode(point, variance, n_octaves) -> dict[str, torch.Tensor]:
    """Expected sines and cosines of Gaussians, in the layouts of NeRF and of mip-NeRF."""
    octaves = 2.0 ** torch.arange(n_octaves)[:, None]
    phase = point[:, None] * octaves
    damping = torch.exp(-0.5 * variance[:, None] * octaves**2)
    waves = torch.stack([damping * phase.sin(), damping * phase.cos()], dim=1)  # wave, octave, axis
    return {"grouped": waves.flatten(1), "interleaved": waves.transpose(1, 2).flatten(1)}


@pytest.mark.parametrize("layout", ["interleaved", "grouped"])
@pytest.mark.parametrize("variance", [0.0, 0.1])
def test_what_stays_of_an_encoding_is_the_encoding_of_fewer_octaves(layout, variance):
    """Positional (variance 0) and integrated."""
    point = torch.rand(5, 3)
    variance = torch.full((5, 3), variance)
    weights = FrequencyMask(100, start=2.0).columns(0, 6, layout)
    shown = encode(point, variance, 6)[layout] * weights
    assert torch.equal(shown[:, weights > 0], encode(point, variance, 2)[layout])


def test_without_an_octave_to_begin_with_the_position_is_all_there_is():
    assert FrequencyMask(10, 0.0).columns(0, 2, "interleaved", position="first").tolist() == [
        *(1.0, 1.0, 1.0),
        *[0.0] * 12,
    ]


def test_by_hand():
    mask = FrequencyMask(100, start=0.5)
    assert mask(0, 3).tolist() == [0.5, 0.0, 0.0]
    assert mask(50, 3).tolist() == [1.0, 1.0, 0.0]
    assert mask(75, 3).tolist() == [1.0, 1.0, 0.75]
    assert mask(100, 3).tolist() == [1.0, 1.0, 1.0]


def test_no_steps_show_everything():
    assert FrequencyMask(0)(0, 5).tolist() == [1.0] * 5


def test_a_tensor_step_gives_the_same_without_waiting_for_it():
    mask = FrequencyMask(100)
    for step in (0, 17, 50, 1000):
        assert torch.equal(mask(torch.tensor(step), 6), mask(step, 6))
    assert mask(torch.tensor(3, device="meta"), 6).device.type == "meta"
    columns = mask.columns(torch.tensor(3, device="meta"), 6, "grouped", position="last")
    assert (columns.device.type, columns.shape) == ("meta", (39,))


def test_no_octave_is_no_mask():
    assert FrequencyMask(10)(5, 0).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "FrequencyMask: n_steps must be a whole number >= 0, got -1"),
        ((1.5,), "FrequencyMask: n_steps must be a whole number >= 0, got 1.5"),
        ((10, -0.1), "FrequencyMask: start must be a number >= 0, got -0.1"),
        ((10, float("nan")), "FrequencyMask: start must be a number >= 0, got nan"),
        ((10, "all"), "FrequencyMask: start must be a number >= 0, got 'all'"),
        ((10, float("inf")), "FrequencyMask: start must be a number >= 0, got inf"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrequencyMask(*arguments)


def test_octaves_must_be_a_count():
    with pytest.raises(ValueError, match="n_octaves must be a whole number >= 0, got -2"):
        FrequencyMask(10)(0, -2)


def test_several_steps_are_refused():
    with pytest.raises(
        ValueError, match=r"^FrequencyMask: step must be an int or a 0-d array, .* \(3,\)"
    ):
        FrequencyMask(10)(torch.tensor([1, 5, 9]), 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 4, "sorted"), {}, 'layout must be "interleaved", .* or "released", got \'sorted\''),
        (
            (0, 4, "grouped"),
            {"position": True},
            'position must be "none", "first" or "last", got True',
        ),
        ((0, -4, "grouped"), {}, "n_octaves must be a whole number >= 0, got -4"),
        ((0, 4, "grouped"), {"n_dims": 1.5}, "n_dims must be a whole number >= 0, got 1.5"),
        (
            (0, 4, "levels"),
            {"position": "first"},
            'position must be "none" where layout is "levels", .* got \'first\'',
        ),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_bad_columns(arguments, options, message):
    with pytest.raises(ValueError, match=r"^FrequencyMask.columns: " + message):
        FrequencyMask(10).columns(*arguments, **options)
