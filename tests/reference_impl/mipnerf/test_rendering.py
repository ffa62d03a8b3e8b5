"""Compositing against upstream's numbers."""

import pytest
import torch

from reference_impl.mipnerf import composite
from tests.golden import golden, golden_cases

EXACT = {"rtol": 1e-9, "atol": 1e-10}


@pytest.mark.parametrize("case", golden_cases("render"))
@pytest.mark.parametrize(("name", "background"), [("black", 0.0), ("white", 1.0)])
def test_composite_equals_upstream(case, name, background):
    data = golden("render", case)
    view = composite(data["rgbs"], data["density"], data["t_vals"], data["directions"], background)
    torch.testing.assert_close(view.weights, data["weights"], **EXACT)
    torch.testing.assert_close(view.rgb, data[f"{name}_rgb"], **EXACT)
    torch.testing.assert_close(view.opacity, data[f"{name}_acc"], **EXACT)
    torch.testing.assert_close(view.depth, data[f"{name}_distance_mean_save"], **EXACT)


@pytest.mark.parametrize("case", golden_cases("render"))
def test_gradients_equal_upstream(case):
    data = golden("render", case)
    density, rgbs = data["density"].clone().requires_grad_(), data["rgbs"].clone().requires_grad_()
    view = composite(rgbs, density, data["t_vals"], data["directions"])
    by_rgb = torch.autograd.grad(
        (view.rgb * data["cot_rgb"]).sum(), (density, rgbs), retain_graph=True
    )
    torch.testing.assert_close(by_rgb[0], data["black_rgb_grad_density"], **EXACT)
    torch.testing.assert_close(by_rgb[1], data["black_rgb_grad_rgbs"], **EXACT)
    for ours, theirs in ((view.opacity, "acc"), (view.depth, "distance_mean_save")):
        (gradient,) = torch.autograd.grad(
            (ours * data["cot_scalar"]).sum(), density, retain_graph=True
        )
        torch.testing.assert_close(gradient, data[f"black_{theirs}_grad_density"], **EXACT)
