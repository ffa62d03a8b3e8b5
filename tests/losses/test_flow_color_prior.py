"""The colour prior: values, windows, bounded gradients, a model that nothing swallows, meaning."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import skimage.data
import torch
from torch import Tensor, nn

import nerfreg
from nerfreg import FlowColorPrior, flow_color_prior
from nerfreg.priors import RealNVP, RealNVPConfig, bits_per_dim, dequantize, load_prior, save_prior
from pretrain_flow.corruptions import MISLEADING, UNNATURAL


def independent(mean: float = 0.5, std: float = 0.1, size: int = 2) -> Any:
    normal = torch.distributions.Normal(mean, std).expand([3 * size**2])
    return torch.distributions.Independent(normal, 1)


def small_flow(size: int = 2) -> RealNVP:
    torch.manual_seed(0)
    flow = RealNVP(RealNVPConfig(patch_size=size, n_couplings=2, width=8))
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.2)
    flow.standardize_(torch.rand(500, size, size, 3))
    return flow


@pytest.fixture(scope="module")
def shipped() -> FlowColorPrior:
    return FlowColorPrior.from_pretrained(reduction="none")


def slopes(prior: FlowColorPrior, rgb: Tensor) -> Tensor:
    """Norm of each patch's own gradient."""
    rgb = rgb.clone().requires_grad_()
    values = prior(rgb)
    assert values.isfinite().all()
    (gradient,) = torch.autograd.grad(values.sum(), rgb)
    assert gradient.isfinite().all()
    return gradient.flatten(1).norm(dim=-1)


# Values


def test_by_hand() -> None:
    """At the mean of a Gaussian with std 0.1: ln(0.1·√(2π)) a dimension."""
    value = flow_color_prior(torch.full((3, 2, 2, 3), 0.5), model=independent(), patch_size=2)
    assert value.item() == pytest.approx(math.log(0.1 * math.sqrt(2 * math.pi)), rel=1e-6)


def test_is_minus_the_log_density_of_row_major_patches_a_dimension() -> None:
    flow = small_flow()
    rgb = torch.rand(5, 2, 2, 3)
    expected = -flow.log_prob(torch.stack([p.reshape(12) for p in rgb])) / 12
    torch.testing.assert_close(flow_color_prior(rgb, model=flow, reduction="none"), expected)
    shape = flow_color_prior(rgb[None, :, None], model=flow, reduction="none").shape
    assert shape == (1, 5, 1)


@pytest.mark.parametrize(
    ("height", "width", "stride", "rows", "columns"),
    [
        (2, 2, None, [0], [0]),
        (4, 3, None, [0, 1, 2], [0, 1]),
        (5, 6, 2, [0, 2, 3], [0, 2, 4]),
        (7, 2, 3, [0, 3, 5], [0]),
        (5, 5, 9, [0, 3], [0, 3]),
    ],
)
def test_larger_patches_are_covered_by_windows(height, width, stride, rows, columns) -> None:
    flow = small_flow()
    rgb = torch.rand(4, height, width, 3)
    windows = [rgb[:, y : y + 2, x : x + 2] for y in rows for x in columns]
    expected = torch.stack([flow_color_prior(w, model=flow, reduction="none") for w in windows])
    got = flow_color_prior(rgb, model=flow, stride=stride, reduction="none")
    torch.testing.assert_close(got, expected.mean(0))


def test_every_pixel_of_a_whole_image_counts() -> None:
    rgb = torch.rand(11, 9, 3).requires_grad_()
    flow_color_prior(rgb, model=small_flow(), max_gradient=None, stride=2).backward()
    assert rgb.grad is not None
    assert rgb.grad.abs().amin() > 0


def test_autocast_changes_nothing() -> None:
    flow, rgb = small_flow(), torch.rand(5, 2, 2, 3)
    expected = flow_color_prior(rgb, model=flow)
    with torch.autocast("cpu", torch.bfloat16):
        got = flow_color_prior(rgb, model=flow)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)


def test_half_precision_colours_are_scored_in_the_models_precision() -> None:
    flow, rgb = small_flow(), torch.rand(5, 2, 2, 3).bfloat16()
    assert torch.equal(flow_color_prior(rgb, model=flow), flow_color_prior(rgb.float(), model=flow))
    assert flow_color_prior(rgb, model=flow.double()).dtype == torch.float64


# Gradients


def test_short_gradients_are_left_alone_and_long_ones_point_the_same_way() -> None:
    rgb = torch.stack([torch.full((2, 2, 3), 0.5), torch.rand(2, 2, 3)]).requires_grad_()
    free = flow_color_prior(rgb, model=independent(), patch_size=2, max_gradient=None)
    (expected,) = torch.autograd.grad(free, rgb)
    bounded = flow_color_prior(rgb, model=independent(), patch_size=2, max_gradient=0.5)
    (got,) = torch.autograd.grad(bounded, rgb)
    assert bounded == free
    assert torch.equal(got[0], expected[0])
    assert got[1].norm().item() == pytest.approx(0.5 / 2, rel=1e-5), "0.5 of one patch of two"
    torch.testing.assert_close(got[1] / got[1].norm(), expected[1] / expected[1].norm())


@pytest.mark.parametrize("weight", [1e-3, -7.0])
def test_the_bound_is_on_the_values_own_slope_whatever_its_weight(weight: float) -> None:
    rgb = torch.rand(3, 2, 2, 3).requires_grad_()
    values = flow_color_prior(
        rgb, model=independent(), patch_size=2, max_gradient=0.5, reduction="none"
    )
    (gradient,) = torch.autograd.grad(weight * values.sum(), rgb)
    torch.testing.assert_close(gradient.flatten(1).norm(dim=-1), torch.full((3,), abs(weight) / 2))


class Cliff:
    """A density so steep that its gradient's square, or the gradient itself, overflows."""

    patch_size = 2

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def log_prob(self, x: Tensor) -> Tensor:
        return -self.slope * x.sum(-1)


@pytest.mark.parametrize("slope", [1e15, 1e25, 1e38])
def test_the_steepest_gradient_keeps_its_direction(slope: float) -> None:
    rgb = torch.rand(1, 2, 2, 3).requires_grad_()
    flow_color_prior(rgb, model=Cliff(slope), max_gradient=2.0).backward()
    torch.testing.assert_close(rgb.grad, torch.full((1, 2, 2, 3), 2.0 / math.sqrt(12)))


def test_an_infinite_gradient_is_dropped() -> None:
    class Cusp(Cliff):
        def log_prob(self, x: Tensor) -> Tensor:
            return -(x - 0.5).abs().sqrt().sum(-1)

    rgb = torch.full((2, 2, 2, 3), 0.5)
    rgb[1] = 0.7
    rgb.requires_grad_()
    flow_color_prior(rgb, model=Cusp(1.0)).backward()
    assert rgb.grad is not None
    assert (rgb.grad[0] == 0).all()
    assert (rgb.grad[1] > 0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    flow = small_flow().double()
    rgb = (0.2 + 0.6 * torch.rand(2, 3, 2, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: flow_color_prior(x, model=flow, max_gradient=None), (rgb,)
    )


HARSH = {
    "natural": torch.linspace(0.3, 0.6, 8).expand(4, 8, 8)[..., None].expand(4, 8, 8, 3),
    "black": torch.zeros(4, 8, 8, 3),
    "white": torch.ones(4, 8, 8, 3),
    "constant": torch.full((4, 8, 8, 3), 0.37),
    "noise": torch.rand(64, 8, 8, 3, generator=torch.Generator().manual_seed(0)),
    "times 3": 3 * torch.rand(64, 8, 8, 3, generator=torch.Generator().manual_seed(1)),
    "below 0": -torch.rand(64, 8, 8, 3, generator=torch.Generator().manual_seed(2)),
    "chequers": ((torch.arange(8)[:, None] + torch.arange(8)) % 2.0)[None, ..., None].expand(
        4, 8, 8, 3
    ),
    "hot": torch.full((4, 8, 8, 3), 3e38),
}


@pytest.mark.parametrize("kind", HARSH)
def test_whatever_is_rendered_the_slope_is_bounded(shipped: FlowColorPrior, kind: str) -> None:
    assert shipped.max_gradient is not None
    assert slopes(shipped, HARSH[kind]).max() <= shipped.max_gradient * (1 + 1e-5)


def test_noise_pulls_no_harder_than_photographs(shipped: FlowColorPrior) -> None:
    """By itself: without the bound, an untrained field's first patches do not rule the step."""
    free = FlowColorPrior.from_model(shipped.model, max_gradient=None, reduction="none")
    natural = slopes(free, photographs() / 255)
    assert slopes(free, HARSH["noise"]).median() < natural.median()
    assert (natural > 50).float().mean() < 0.05
    assert slopes(free, HARSH["times 3"]).max() > 50, "there the bound acts"


def test_colours_beyond_what_any_could_be_get_no_gradient() -> None:
    rgb = torch.tensor([-1.5, -0.5, 1.5, 2.5]).reshape(4, 1, 1, 1).expand(4, 2, 2, 3)
    rgb = rgb.clone().requires_grad_()
    flow_color_prior(rgb, model=independent(), patch_size=2).backward()
    assert rgb.grad is not None
    assert (rgb.grad != 0).all((1, 2, 3)).tolist() == [False, True, True, False]


# The model is a guest


def test_an_optimizer_and_a_checkpoint_see_nothing_of_the_model() -> None:
    host = nn.ModuleDict({"prior": FlowColorPrior(model=small_flow()), "field": nn.Linear(2, 2)})
    assert set(host.state_dict()) == {"field.weight", "field.bias"}
    assert len(list(host.parameters())) == 2
    host.load_state_dict(host.state_dict())


def test_the_model_is_frozen_and_stays_in_eval_mode() -> None:
    class Dropping(nn.Module):
        patch_size = 2

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def log_prob(self, x: Tensor) -> Tensor:
            return -self.scale * nn.functional.dropout(x, 0.5, self.training).square().sum(-1)

    model = Dropping()
    prior = FlowColorPrior(model=model)
    nn.Sequential(prior).train()
    assert not model.training
    rgb = torch.rand(3, 2, 2, 3).requires_grad_()
    assert torch.equal(prior(rgb), prior(rgb))
    prior(rgb).backward()
    assert model.scale.grad is None


def test_the_model_follows_its_prior() -> None:
    prior = FlowColorPrior(model=small_flow())
    assert isinstance(prior.model, nn.Module)
    nn.Sequential(prior).to(torch.float64)
    assert {p.dtype for p in prior.model.parameters()} == {torch.float64}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_host_in_half_precision_leaves_the_model_as_it_is(dtype: torch.dtype) -> None:
    prior, rgb = FlowColorPrior(model=small_flow()), torch.rand(3, 2, 2, 3)
    expected = prior(rgb)
    nn.Sequential(prior, nn.Linear(2, 2)).to(dtype)
    assert torch.equal(prior(rgb), expected)


def test_the_model_goes_back_to_eval_mode() -> None:
    model = small_flow()
    prior = FlowColorPrior(model=model)
    model.train()
    prior(torch.rand(1, 2, 2, 3))
    assert not model.training


def test_stand_ins() -> None:
    prior = FlowColorPrior.from_model(independent(), patch_size=2, reduction="sum")
    rgb = torch.rand(3, 2, 2, 3)
    expected = flow_color_prior(rgb, model=independent(), patch_size=2, reduction="sum")
    assert prior(rgb) == expected


def test_from_file(tmp_path: Path) -> None:
    flow, rgb = small_flow(), torch.rand(3, 2, 2, 3)
    save_prior(tmp_path / "own.safetensors", flow, {})
    prior = FlowColorPrior.from_file(tmp_path / "own.safetensors", max_gradient=None)
    assert prior.max_gradient is None
    assert prior(rgb) == flow_color_prior(rgb, model=flow)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.safetensors"):
        FlowColorPrior.from_file(tmp_path / "none.safetensors")


# Wrong calls


class Odd:
    def __init__(self, answer: Any) -> None:
        self.answer, self.patch_size = answer, 2

    def log_prob(self, x: Tensor) -> Any:
        return self.answer


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((2, 2), {"model": small_flow()}, ValueError, r"rgb must be \(…, H, W, 3\).*at least 2x2"),
        ((1, 2, 2, 4), {"model": small_flow()}, ValueError, r"channels last.*got \(1, 2, 2, 4\)"),
        ((5, 7, 8, 3), {"model": small_flow(8)}, ValueError, r"at least 8x8 pixels as the model's"),
        ((1, 2, 2, 3), {"model": independent()}, ValueError, "patch_size must be given"),
        ((1, 2, 2, 3), {"model": object()}, TypeError, "must have a method log_prob.*got object"),
        (
            (1, 4, 4, 3),
            {"model": small_flow(), "patch_size": 4},
            ValueError,
            "patch_size must be the model's, 2, got 4",
        ),
        (
            (1, 2, 2, 3),
            {"model": independent(), "patch_size": 0},
            ValueError,
            "patch_size must be a whole number >= 1, got 0",
        ),
        ((1, 2, 2, 3), {"model": small_flow(), "stride": 0}, ValueError, "stride must be a whole"),
        (
            (1, 2, 2, 3),
            {"model": small_flow(), "max_gradient": 0.0},
            ValueError,
            "max_gradient must be a number > 0, got 0.0",
        ),
        (
            (3, 2, 2, 3),
            {"model": Odd(torch.zeros(3, 12))},
            ValueError,
            r"one log-density a patch, \(3,\), got \(3, 12\)",
        ),
        ((3, 2, 2, 3), {"model": Odd(0.0)}, ValueError, r"one log-density a patch"),
    ],
)
def test_wrong_calls(shape, options, error, message) -> None:
    with pytest.raises(error, match=f"^flow_color_prior: .*{message}"):
        flow_color_prior(torch.zeros(shape), **options)


def test_an_answer_that_is_not_finite_raises_while_values_are_checked() -> None:
    rgb = torch.rand(2, 2, 2, 3)
    model = Odd(torch.tensor([0.0, math.inf]))
    with nerfreg.check_values(), pytest.raises(ValueError, match="values must be finite"):
        flow_color_prior(rgb, model=model, reduction="none")
    assert flow_color_prior(rgb, model=model, reduction="none")[0] == 0


def test_8_bit_levels_raise_while_values_are_checked() -> None:
    """Otherwise they score as one flat, likely colour."""
    levels, model = torch.randint(3, 256, (2, 2, 2, 3)).float(), small_flow()
    flow_color_prior(levels, model=model)
    with nerfreg.check_values():
        with pytest.raises(ValueError, match=r"rgb must be colours in \[0, 1\], but 100% of"):
            flow_color_prior(levels, model=model)
        with pytest.raises(ValueError, match="but 100% of"):
            flow_color_prior(levels, model=model, valid=torch.tensor([True, False]))
        levels[0] = 0.5
        flow_color_prior(levels, model=model, valid=torch.tensor([True, False]))
        few = torch.full((1, 4, 4, 3), 0.5)
        few[:, 0] = 5.0  # a field may answer some
        flow_color_prior(few, model=model)


# The shipped weights


def test_what_is_shipped_is_small_and_says_where_it_comes_from(shipped: FlowColorPrior) -> None:
    path = Path(nerfreg.__file__).parent / "priors" / "weights" / "natural_8x8.safetensors"
    assert path.stat().st_size <= 3_000_000
    flow, about = load_prior(path)
    assert flow.patch_size == 8
    assert {"data", "licences", "seed", "commit", "color_space", "preprocessing"} <= about.keys()
    levels = photographs()
    x = dequantize(levels, torch.Generator().manual_seed(0)).flatten(1)
    assert bits_per_dim(flow.log_prob(x), 192).mean() < 4
    assert about["photographs"] == sum(about["licences"].values())
    assert all(re.match("CC0|CC-BY|public domain", licence) for licence in about["licences"])
    assert (path.parent / "MODEL_CARD.md").is_file()


def photographs() -> Tensor:
    """Patches of photographs that the shipped weights were not trained on: scikit-image's."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        image = torch.from_numpy(getattr(skimage.data, name)())
        corners = torch.rand(256, 2, generator=generator) * (torch.tensor(image.shape[:2]) - 8)
        found += [image[y : y + 8, x : x + 8] for y, x in corners.long().tolist()]
    return torch.stack(found)


@pytest.mark.parametrize("kind", UNNATURAL)
def test_a_photographs_patch_scores_better_than_what_becomes_of_it(
    shipped: FlowColorPrior, kind: str
) -> None:
    levels = photographs()
    spoiled = UNNATURAL[kind](levels, torch.Generator().manual_seed(0))
    natural, unnatural = shipped(levels / 255), shipped(spoiled / 255)
    changed = (levels != spoiled).flatten(1).any(1)  # a constant patch, shuffled, is what it was
    assert changed.float().mean() > 0.9
    assert (unnatural > natural)[changed].float().mean() > 0.95
    # Against patches of all photographs: shuffled sky is smoother than foliage.
    auc = (unnatural[:, None] > natural).float().mean()
    assert auc > {"shuffled pixels": 0.65, "chequerboard": 0.8}.get(kind, 0.99)


@pytest.mark.parametrize("kind", MISLEADING)
def test_where_a_likelihood_misleads(shipped: FlowColorPrior, kind: str) -> None:
    """Nobody wants it, the docs say it: what is smoothed scores better than the photograph."""
    levels = photographs()
    smooth = MISLEADING[kind](levels, torch.Generator().manual_seed(0))
    assert (shipped(smooth / 255) < shipped(levels / 255)).float().mean() > 0.9


@pytest.mark.parametrize("magnitude", [1.0, 1e3, 1e6])
def test_the_shipped_flow_is_finite_far_outside(shipped: FlowColorPrior, magnitude: float) -> None:
    x = (magnitude * torch.randn(16, 192)).requires_grad_()
    value = shipped.model.log_prob(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient != 0).any(-1).all()


def test_the_shipped_flow_compiles_as_one_graph(shipped: FlowColorPrior, unhooked: None) -> None:
    torch.compiler.reset()
    rgb = torch.rand(3, 8, 8, 3).requires_grad_()
    compiled: Any = torch.compile(shipped, fullgraph=True, backend="aot_eager")
    values = shipped(rgb), compiled(rgb)
    torch.testing.assert_close(values[1], values[0])
    gradients = [torch.autograd.grad(value.sum(), rgb)[0] for value in values]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-3)


@pytest.mark.gpu
def test_on_cuda_it_scores_as_on_the_cpu() -> None:
    prior, rgb = FlowColorPrior.from_pretrained(), photographs()[:64] / 255
    expected = prior(rgb)
    host = nn.Sequential(prior).cuda()
    on_cuda = rgb.cuda().requires_grad_()
    value = host(on_cuda)
    value.backward()
    torch.testing.assert_close(value.cpu(), expected, rtol=1e-4, atol=1e-4)
    assert on_cuda.grad is not None
    assert on_cuda.grad.isfinite().all()
