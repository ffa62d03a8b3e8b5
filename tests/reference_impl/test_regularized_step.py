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
from reference_impl.train import Watch

TINY = MipNerfConfig(width=16, depth=2, view_width=8, n_samples=8, max_degree=4)
MASK = FrequencyMask(n_steps=4)


def make_step(recipe="fewview", device="cpu", **changes) -> RegularizedStep:
    """The step of a recipe (some of whose fields change) on the embedded scene made small."""
    run = Run.of(Config(width=24, steps=6, recipe=recipe, device=device, model=TINY))
    chosen = replace(run.recipe, **changes)
    space, model = run.space(device), run.model().to(device)
    sampler = BatchSampler(run.scene, chosen, space, 128, torch.device(device))
    return RegularizedStep(model, chosen, space, sampler, 0.0)


def test_every_active_term_moves_the_field():
    """The commonest bug of published trainers is a loss that never reached the field."""
    step = make_step()
    for name, (loss, _) in list(step.objective.terms.items()):
        for other in step.objective.terms:
            step.objective.terms[other] = (step.objective.terms[other][0], 0.0)
        step.objective.terms[name] = (loss, 1.0)
        step.model.zero_grad()
        step(0, torch.Generator().manual_seed(0))[0].backward()
        norm = sum(p.grad.square().sum() for p in step.model.parameters() if p.grad is not None)
        assert float(norm) > 0, name


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_step_reads_a_number_back(recipe):
    """Fake tensors have shapes and no numbers: whoever asks for one would wait for a device."""
    step = make_step(recipe, frequency_mask=MASK)
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
def test_no_step_waits_for_a_gpu(recipe):
    step = make_step(recipe, "cuda", frequency_mask=MASK)
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
