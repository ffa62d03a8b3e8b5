"""Dequantisation and bits per dimension."""

import math

import pytest
import torch

from nerfreg.priors import bits_per_dim, dequantize


def test_levels_become_intervals_around_their_colours() -> None:
    levels = torch.arange(256, dtype=torch.uint8).repeat(200, 1)
    x = dequantize(levels, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32
    assert ((x * 255).round() - levels).abs().max() <= 1  # float32 may round up to the next one
    assert (x - levels / 255).abs().max() <= 0.5 / 255 + 1e-6
    assert (x - levels / 255).mean().abs() < 1e-5
    assert ((x - levels / 255).std() * 255 - math.sqrt(1 / 12)).abs() < 2e-3


def test_one_seed_one_sequence() -> None:
    levels = torch.zeros(8, 8, 3, dtype=torch.uint8)
    first, second = (dequantize(levels, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.usefixtures("unhooked")
def test_what_is_not_8_bit() -> None:
    with pytest.raises(TypeError, match=r"^dequantize: levels must be uint8, got torch.float32"):
        dequantize(torch.zeros(3))


def test_a_density_that_knows_the_level_costs_no_bits() -> None:
    # Spread evenly over one level's interval: density 255 in each number.
    log_prob = torch.full((4,), 12 * math.log(255.0))
    torch.testing.assert_close(bits_per_dim(log_prob, 12), torch.zeros(4), atol=1e-5, rtol=0)


def test_twice_as_sharp_costs_a_bit_less() -> None:
    log_prob = torch.tensor([0.0, 12 * math.log(2.0)])
    dull, sharp = bits_per_dim(log_prob, 12)
    assert dull - sharp == pytest.approx(1.0, abs=1e-6)
