"""Corruptions do what they say; scores and baselines are what can be counted by hand."""

import math

import pytest
import torch

from nerfreg.priors import dequantize
from pretrain_flow.bank import PatchBank
from pretrain_flow.baselines import GaussianMixture, IndependentPixels, choose_components
from pretrain_flow.corruptions import MISLEADING, UNNATURAL, hue_inverted_noise
from pretrain_flow.draws import torch_rng
from pretrain_flow.scores import auc, bits, bits_by_kind, mean_over_photographs, tell_apart
from tests.pretrain_flow.conftest import photograph


@pytest.fixture(scope="module")
def levels():
    bank = PatchBank.of([[photograph(str(i))] for i in range(8)], "cpu")
    return bank.draw(600, 4, torch_rng("cpu", 0))


@pytest.mark.parametrize("name", [*UNNATURAL, *MISLEADING])
def test_corruptions_change_patches_and_repeat(name, levels):
    corrupt = {**UNNATURAL, **MISLEADING}[name]
    before = levels.clone()
    spoiled = corrupt(levels, torch_rng("cpu", 1))
    assert spoiled.dtype == torch.uint8
    assert spoiled.shape == levels.shape
    assert (spoiled != levels).flatten(1).any(1).float().mean() > 0.9
    assert torch.equal(levels, before)
    assert torch.equal(spoiled, corrupt(levels, torch_rng("cpu", 1)))


def test_each_corruption_keeps_what_it_says(levels):
    def spoil(name, patches=levels):
        return {**UNNATURAL, **MISLEADING}[name](patches, torch_rng("cpu", 1))

    def sorted_pixels(patches):
        code = (patches.int() * torch.tensor([65536, 256, 1])).sum(-1)
        return code.flatten(1).sort().values

    assert torch.equal(sorted_pixels(spoil("shuffled pixels")), sorted_pixels(levels))
    noise = spoil("uniform noise").double()
    assert noise.mean().item() == pytest.approx(127.5, abs=1)
    grey = torch.full((500, 4, 4, 3), 128, dtype=torch.uint8)
    heavy = spoil("heavy noise", grey).double()
    assert heavy.std().item() == pytest.approx(50, rel=0.03)
    hue = spoil("hue-inverted noise", grey).double()
    assert abs(hue.mean(-1) - 128).max() < 1
    assert hue.std().item() == pytest.approx(25 * math.sqrt(2 / 3), rel=0.03)
    board = spoil("chequerboard", grey).int() - 128
    assert torch.equal(board[:, 0, :, 0], torch.tensor([[-32, 32, -32, 32]]).expand(500, 4).int())
    assert torch.equal(board[:, 1], -board[:, 0])
    assert torch.equal(spoil("blurred", grey), grey)
    flat = spoil("constant")
    assert torch.equal(flat, flat[:, :1, :1].expand(flat.shape))
    assert abs(flat[:, 0, 0].double() - levels.double().mean((1, 2))).max() <= 0.5 + 1e-4


def test_hues_become_their_opposites():
    red = torch.tensor([160, 100, 100], dtype=torch.uint8).expand(4000, 1, 1, 3)
    found = hue_inverted_noise(red, torch_rng("cpu", 0)).double()[:, 0, 0, 0]
    # The mean is grey: red in half of the pixels, its opposite in the others.
    assert found.mean().item() == pytest.approx(120, abs=2)
    assert found.std().item() == pytest.approx(math.hypot(40, 25 * math.sqrt(2 / 3)), rel=0.05)


def test_bits_of_a_uniform_density_are_log2_of_255(levels):
    found = bits(lambda x: torch.zeros(len(x)), levels, 0, "cpu")
    assert found.shape == (600,)
    assert found.unique().item() == pytest.approx(math.log2(255))


def test_mean_and_standard_error_are_over_photographs():
    photographs = {"a": torch.zeros(3), "b": torch.zeros(1)}
    found = mean_over_photographs(torch.tensor([1.0, 2.0, 3.0, 4.0]), photographs)
    assert found == {"mean": 3.0, "standard_error": 1.0}
    assert math.isnan(mean_over_photographs(torch.ones(2), {"a": torch.zeros(2)})["standard_error"])


def test_auc_counts_pairs():
    natural, other = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 5.0])
    assert auc(natural, other) == pytest.approx((1.5 + 3) / 6)
    assert auc(natural, natural) == 0.5
    assert auc(natural, natural + 10) == 1.0


def test_kinds_are_scored_and_grouped(levels):
    kinds = bits_by_kind(lambda x: -x.reshape(-1, 16, 3).var(1).sum(1), levels, 0, "cpu")
    assert kinds.keys() == {"natural", *UNNATURAL, *MISLEADING}
    found = tell_apart(kinds)
    assert found["unnatural"].keys() == UNNATURAL.keys()
    assert found["misleading"].keys() == MISLEADING.keys()
    noise, constant = found["unnatural"]["uniform noise"], found["misleading"]["constant"]
    assert noise["auc"] == noise["paired"] == 1.0
    assert constant["auc"] < 0.01
    assert constant["paired"] < 0.01


def test_a_histogram_spends_the_entropy_of_its_levels():
    # Level 0 in half of the numbers, else 1..4 equally often: 2 bits.
    values = torch.tensor([0, 0, 0, 0, 1, 2, 3, 4], dtype=torch.uint8)
    patches = values.repeat(20_000).reshape(-1, 4, 4, 1).expand(-1, 4, 4, 3)
    found = bits(IndependentPixels(patches).log_prob, patches, 0, "cpu")
    assert found.mean().item() == pytest.approx(2, abs=0.02)
    never = torch.full((1, 4, 4, 3), 200, dtype=torch.uint8)
    assert 8 < bits(IndependentPixels(patches).log_prob, never, 0, "cpu").item() < 25


def test_one_gaussian_is_torchs(levels):
    x = dequantize(levels, torch_rng("cpu", 0)).flatten(1)
    fitted = GaussianMixture(x, 1)
    twin = torch.distributions.MultivariateNormal(fitted.mean[0], scale_tril=fitted.factor[0])
    torch.testing.assert_close(fitted.log_prob(x), twin.log_prob(x.double()))
    torch.testing.assert_close(
        fitted.factor[0] @ fitted.factor[0].T,
        torch.cov(x.double().T, correction=0),
        atol=2e-7,
        rtol=0,
    )


def test_a_mixture_finds_its_parts():
    """Two widths: no single Gaussian has both."""
    generator = torch_rng("cpu", 0)
    narrow = 0.5 + 0.01 * torch.randn(3000, 12, generator=generator)
    wide = 0.5 + 0.1 * torch.randn(1000, 12, generator=generator)
    x = torch.cat([narrow, wide])
    mixture = GaussianMixture(x, 2)
    assert mixture.log_weight.exp().tolist() == pytest.approx([0.75, 0.25], abs=0.02)
    spread = mixture.factor.diagonal(dim1=1, dim2=2).mean(1).tolist()
    assert spread == pytest.approx([0.01, 0.1], rel=0.05)
    normal = torch.distributions.Normal
    truth = torch.logaddexp(
        math.log(0.75) + normal(0.5, 0.01).log_prob(x.double()).sum(1),
        math.log(0.25) + normal(0.5, 0.1).log_prob(x.double()).sum(1),
    )
    assert mixture.log_prob(x).mean().item() == pytest.approx(truth.mean().item(), abs=0.2)
    assert choose_components(x[::2], x[1::2], [1, 2]) == 2


def test_densities_are_ordered_on_photographs(levels):
    x = dequantize(levels, torch_rng("cpu", 0)).flatten(1)
    densities = [IndependentPixels(levels), GaussianMixture(x, 1)]
    independent, gaussian = (bits(d.log_prob, levels, 1, "cpu").mean() for d in densities)
    assert gaussian < independent - 0.5
