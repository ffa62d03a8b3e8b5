"""What rays and schedules compute compiles as one graph, with the eager value and gradient.

The tracing backend ``aot_eager`` finds graph breaks and wrong derivatives without generating code.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nerfreg.rays import expected_depth, median_depth, opacity, weights_from_density
from nerfreg.schedules import Cosine, FrequencyMask, Linear, LogLinear, SampleSpaceAnnealing

pytestmark = pytest.mark.usefixtures("unhooked")


def _ray() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    edges = torch.rand(5, 9, generator=generator).cumsum(-1)
    weights = torch.rand(5, 8, generator=generator).softmax(-1)
    return weights, edges[:, :-1], edges[:, 1:]


STEPS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "weights_from_density": (weights_from_density, _ray()),
    "opacity": (opacity, _ray()[:1]),
    "expected_depth": (expected_depth, _ray()),
    "median_depth": (median_depth, _ray()),
}


@pytest.mark.parametrize("name", STEPS)
def test_one_graph_with_the_eager_value_and_gradient(name: str) -> None:
    function, inputs = STEPS[name]
    torch.compiler.reset()

    def value_and_gradient(f: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        first = inputs[0].clone().requires_grad_()
        value = f(first, *inputs[1:])
        return value.detach(), torch.autograd.grad(value.sum(), first)[0]

    compiled: Any = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(value_and_gradient(compiled), value_and_gradient(function))


@pytest.mark.parametrize(
    "schedule", [Linear(2.0, 1.0, 10), LogLinear(2.0, 1.0, 10, begin=3), Cosine(2.0, 1.0, 10)]
)
def test_a_tensor_step_compiles_schedules_once(schedule: Callable[..., Any]) -> None:
    torch.compiler.reset()
    anneal = SampleSpaceAnnealing(10, 0.5)
    near, far = torch.tensor(1.0), torch.tensor(2.0)
    compiled: Any = torch.compile(
        lambda step: (schedule(step), *anneal(step, near, far)), fullgraph=True, backend="aot_eager"
    )
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in (0, 4, 13, 100):
            expected = (schedule(step), *anneal(step, 1.0, 2.0))
            got = compiled(torch.tensor(step))
            torch.testing.assert_close(torch.stack(got), torch.tensor(expected))


def test_a_tensor_step_compiles_a_frequency_mask_once() -> None:
    torch.compiler.reset()
    mask = FrequencyMask(10)
    compiled: Any = torch.compile(lambda step: mask(step, 4), fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in (0, 4, 13, 100):
            assert torch.equal(compiled(torch.tensor(step)), mask(step, 4))
