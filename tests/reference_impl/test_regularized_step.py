"""One training step: every loss reaches the field, nothing waits for the device, one graph."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from nerfreg.recipes import RECIPES
from nerfreg.schedules import FrequencyMask
from reference_impl.batches import BatchSampler
from reference_impl.config import Config
from reference_impl.mipnerf import MipNerfConfig, clip_gradients_
from reference_impl.regularized_step import RegularizedStep
from reference_impl.run import Run
from reference_impl.watch import Watch

TINY = MipNerfConfig(width=16, depth=2, view_width=8, n_samples=8, max_degree=4)
MASK = FrequencyMask(n_steps=4)


def make_step(recipe="fewview", device="cpu", options=None, **changes) -> RegularizedStep:
    """The step of a recipe (some of whose fields change) on the embedded scene made small."""
    config = Config(width=24, steps=6, recipe=recipe, device=device, model=TINY, **(options or {}))
    run = Run.of(config)
    chosen = replace(run.recipe, **changes)
    space, model = run.space(device), run.model().to(device)
    sampler = BatchSampler(run.scene, chosen, space, 128, torch.device(device))
    return RegularizedStep(model, chosen, space, sampler, 0.0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_active_term_moves_the_field(recipe, options_of):
    """The commonest bug of published trainers is a loss that never reached the field."""
    step = make_step(recipe, options=options_of(recipe))
    expected = {"color", "color_coarse", *step.recipe.terms}
    expected |= {f"{name}_coarse" for name in step.recipe.coarse_weights}
    assert step.objective.terms.keys() == expected
    for name, (loss, _) in list(step.objective.terms.items()):
        for other in step.objective.terms:
            step.objective.terms[other] = (step.objective.terms[other][0], 0.0)
        step.objective.terms[name] = (loss, 1.0)
        step.model.zero_grad()
        step(0, torch.Generator().manual_seed(0))[0].backward()
        norm = sum(p.grad.square().sum() for p in step.model.parameters() if p.grad is not None)
        assert float(norm) > 0, name


def test_a_loss_is_handed_what_its_forward_names():
    """A loss of one's own takes part without a word to the trainer."""
    seen = {}

    class Curious(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

    class OfRays(Curious):
        def forward(self, density, ends, starts):
            seen[self.name] = {"density": density, "starts": starts, "ends": ends}
            return density.sum()

    class OfPatches(Curious):
        def forward(self, rgb, neighbor_weights, weights):
            seen[self.name] = {"rgb": rgb, "weights": weights, "neighbor_weights": neighbor_weights}
            return rgb.sum()

    step = make_step(
        "mipnerf",
        ray_terms={"rays": (OfRays("rays"), 1.0)},
        patch_terms={"patches": (OfPatches("patches"), 1.0)},
        coarse_weights={"rays": 1.0},
        unseen_share=0.5,
        patch_size=4,
    )
    step(0, torch.Generator().manual_seed(0))
    n, samples = 128 + 4 * 16, TINY.n_samples
    assert {x.shape for x in seen["rays"].values()} == {(n, samples)}
    starts, ends = seen["rays"]["starts"], seen["rays"]["ends"]
    assert (starts < ends).all()
    assert starts.min() >= 0.0
    assert ends.max() <= 1.0 + 1e-5
    assert seen["patches"]["rgb"].shape == (4, 4, 4, 3)
    pairs = seen["patches"]["weights"].reshape(4, 4, 3, samples)
    neighbors = seen["patches"]["neighbor_weights"].reshape(4, 4, 3, samples)
    torch.testing.assert_close(pairs[:, :, 1:], neighbors[:, :, :-1])


def test_a_loss_that_asks_for_what_is_not_there_is_named():
    step = make_step("mipnerf", ray_terms={"mine": (lambda weights, colour: weights.sum(), 1.0)})
    with pytest.raises(ValueError, match="recipe mipnerf: term 'mine' asks for colour, but"):
        step(0, torch.Generator().manual_seed(0))


def test_images_come_when_their_turn_is(options_of):
    step = make_step("dietnerf", options=options_of("dietnerf"), image_every=3, image_size=8)
    for now, expected in ((0, True), (1, False), (2, False), (3, True)):
        _, values, _ = step(now, torch.Generator().manual_seed(0))
        assert ("semantic_consistency" in values) == expected
        assert ("semantic_consistency_coarse" in values) == expected


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_step_reads_a_number_back(recipe, options_of):
    """Fake tensors have shapes and no numbers: whoever asks for one would wait for a device."""
    step = make_step(recipe, options=options_of(recipe), frequency_mask=MASK)
    generator, watch = torch.Generator().manual_seed(0), Watch()
    with FakeTensorMode(allow_non_fake_inputs=True):
        total, values, _ = step(3, generator)
        total.backward()
        norm = clip_gradients_(list(step.model.parameters()), max_value=0.1, max_norm=0.1)
        watch.record(3, {**values, "gradient norm": norm})
        with pytest.raises(DataDependentOutputException):  # the check can fail
            float(total.detach())


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_step_waits_for_a_gpu(recipe, options_of):
    step = make_step(recipe, "cuda", options_of(recipe), frequency_mask=MASK)
    generator, watch = torch.Generator("cuda").manual_seed(0), Watch()
    parameters = list(step.model.parameters())
    step(0, generator)[0].backward()  # libraries may wait while they set themselves up
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        total, values, _ = step(3, generator)
        total.backward()
        norm = clip_gradients_(parameters, max_value=0.1, max_norm=0.1)
        watch.record(3, {**values, "gradient norm": norm})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(total)


@pytest.mark.usefixtures("unhooked")
def test_the_model_compiles_once_for_all_steps():
    """Annealed bounds and masked octaves change at every step, and no graph with them."""
    step, eager = make_step(frequency_mask=MASK), make_step(frequency_mask=MASK)
    torch.compiler.reset()
    step.model = torch.compile(step.model, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for i in (0, 1, 3, 5):
            total, values, _ = step(i, torch.Generator().manual_seed(i))
            total.backward()
            expected, terms, _ = eager(i, torch.Generator().manual_seed(i))
            torch.testing.assert_close(total, expected)
            assert values.keys() == terms.keys()


def test_the_frequency_mask_hides_octaves_from_the_field():
    """At step 0 of a mask that starts at 0 octaves nothing of the position is seen."""
    step = make_step("mipnerf", frequency_mask=FrequencyMask(4, start=0.0))
    step(0, torch.Generator().manual_seed(0))[0].backward()
    assert step.model.field.trunk[0].weight.grad.abs().max() == 0
    step(2, torch.Generator().manual_seed(0))[0].backward()
    seen = step.model.field.trunk[0].weight.grad.abs().amax(0).reshape(2, 4, 3).amax((0, 2)) > 0
    assert seen.tolist() == [True, True, False, False]


def test_the_frequency_mask_may_hide_octaves_of_the_direction():
    for directions in (False, True):
        mask = FrequencyMask(4, start=0.0)
        step = make_step("mipnerf", frequency_mask=mask, mask_directions=directions)
        step(0, torch.Generator().manual_seed(0))[0].backward()
        from_view = step.model.field.view.weight.grad[:, TINY.width :].abs().amax(0)
        assert from_view[:3].min() > 0, "the direction itself is always seen"
        assert bool(from_view[3:].max() > 0) != directions
