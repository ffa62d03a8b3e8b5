"""The learning rate and gradient clipping against upstream's numbers."""

import pytest
import torch
from torch import nn

from reference_impl.mipnerf import clip_gradients_, learning_rate
from tests.golden import golden, golden_cases


@pytest.mark.parametrize("case", golden_cases("lr"))
def test_learning_rate_equals_upstream(case):
    data = golden("lr", case)
    settings = {"lr_init": float(data["lr_init"]), "lr_final": float(data["lr_final"])}
    n = int(data["max_steps"])
    delay = {
        "lr_delay_steps": int(data["lr_delay_steps"]),
        "lr_delay_mult": float(data["lr_delay_mult"]),
    }
    rates = [learning_rate(int(i), max_steps=n, **settings, **delay) for i in data["steps"]]
    assert rates == pytest.approx(data["lr"].tolist(), rel=1e-12)
    decay = [learning_rate(int(i), lr_init=0.1, lr_final=1e-3, max_steps=n) for i in data["steps"]]
    assert decay == pytest.approx(data["log_lerp_0p1_to_1em3"].tolist(), rel=1e-12)


def _parameters(*gradients):
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return parameters


@pytest.mark.parametrize("case", golden_cases("gradclip"))
def test_clipping_equals_upstream(case):
    data = golden("gradclip", case)
    parameters = _parameters(*(data[f"grad{i}"].clone() for i in range(3)))
    unused = nn.Parameter(torch.zeros(2))
    norm = clip_gradients_(
        [unused, *parameters], max_value=float(data["max_val"]), max_norm=float(data["max_norm"])
    )
    exact = {"rtol": 1e-12, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(norm, data["norm_after_valueclip"], **exact)
    for i, parameter in enumerate(parameters):
        torch.testing.assert_close(parameter.grad, data[f"clipped{i}"], **exact)
    assert unused.grad is None


def test_either_clipping_alone():
    gradient = torch.tensor([3.0, -4.0])
    parameters = _parameters(gradient)
    assert clip_gradients_(parameters) == 5
    assert gradient.tolist() == [3, -4]
    clip_gradients_(parameters, max_value=3.5)
    assert gradient.tolist() == [3, -3.5]
    clip_gradients_(parameters, max_norm=1.0)
    torch.testing.assert_close(gradient.norm(), torch.tensor(1.0))
    short = torch.tensor([0.3, 0.4])
    clip_gradients_(_parameters(short), max_norm=1.0)
    assert torch.equal(short, torch.tensor([0.3, 0.4]))


def test_nothing_to_clip():
    assert clip_gradients_([nn.Parameter(torch.ones(1))], max_norm=1.0) == 0
