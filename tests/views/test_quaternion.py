import math

import pytest
import torch
from hypothesis import given

from nerfreg.views import quaternion_to_rotation, rotation_to_quaternion, slerp
from tests.views.scenes import rotations, seeds


@given(seed=seeds)
def test_round_trip(seed: int) -> None:
    rotation = rotations(20, seed)
    quaternion = rotation_to_quaternion(rotation)
    torch.testing.assert_close(quaternion_to_rotation(quaternion), rotation)
    assert (quaternion[:, 0] >= 0).all()
    torch.testing.assert_close(quaternion.norm(dim=-1), torch.ones(20).double())


@pytest.mark.parametrize("axis", [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (1.0, -2.0, 3.0)])
@pytest.mark.parametrize("angle", [0.0, 1e-9, math.pi - 1e-9, math.pi])
def test_angles_where_other_formulas_lose_precision(
    axis: tuple[float, float, float], angle: float
) -> None:
    unit = torch.nn.functional.normalize(torch.tensor(axis).double(), dim=0)
    half = torch.tensor(angle / 2).double()
    quaternion = torch.cat([half.cos()[None], half.sin() * unit])
    rotation = quaternion_to_rotation(quaternion)
    found = rotation_to_quaternion(rotation)
    # ±q are one rotation.
    assert min((found - quaternion).norm(), (found + quaternion).norm()) < 1e-12


def test_slerp_turns_at_constant_speed_the_short_way() -> None:
    def about_z(angle: float) -> torch.Tensor:
        return torch.tensor([math.cos(angle / 2), 0, 0, math.sin(angle / 2)]).double()

    for w in (0.0, 0.25, 0.5, 1.0):
        between = slerp(about_z(0.2), about_z(1.4), torch.tensor(w).double())
        torch.testing.assert_close(between, about_z(0.2 + 1.2 * w))
        # The same rotation with the other sign: still the short way.
        flipped = slerp(-about_z(0.2), about_z(1.4), torch.tensor(w).double())
        torch.testing.assert_close(flipped, about_z(0.2 + 1.2 * w))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [0.0, 1e-30, 1e-8, 2e-4, 3e-4, 1e-2, 3.0])
def test_slerp_and_its_gradient_are_finite_and_exact(angle: float, dtype: torch.dtype) -> None:
    first = torch.tensor([1.0, 0, 0, 0], dtype=dtype, requires_grad=True)
    half = torch.tensor(angle / 2, dtype=dtype)
    second = torch.stack([half.cos(), half.sin(), 0 * half, 0 * half])
    between = slerp(first, second, torch.tensor(0.25, dtype=dtype))
    between.sum().backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()
    expected = torch.tensor([math.cos(angle / 8), math.sin(angle / 8), 0, 0], dtype=dtype)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(between, expected, rtol=0, atol=tolerance)
