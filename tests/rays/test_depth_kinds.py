"""z-depth and distance: what they are, and that one leads back to the other."""

import math

import numpy as np
import pytest
import torch

import nerfreg
from nerfreg.rays import distance_to_z_depth, z_depth_to_distance


def test_the_corner_of_a_right_angled_view_is_root_three_away() -> None:
    corner = torch.tensor([1.0, -1.0, 1.0])
    assert z_depth_to_distance(torch.tensor(2.0), corner).item() == pytest.approx(2 * math.sqrt(3))
    assert distance_to_z_depth(torch.tensor(2 * math.sqrt(3)), corner).item() == pytest.approx(2.0)


def test_distance_is_what_a_ruler_measures_in_any_frame() -> None:
    directions = torch.cat([torch.randn(5, 4, 2), torch.ones(5, 4, 1)], dim=-1).double()
    rotation, _ = torch.linalg.qr(torch.randn(3, 3).double())
    z = 1.0 + torch.rand(5, 4).double()
    origin = torch.randn(3).double()
    points = origin + z[..., None] * directions @ rotation.T
    distance = z_depth_to_distance(z, directions @ rotation.T)
    torch.testing.assert_close(distance, (points - origin).norm(dim=-1))
    torch.testing.assert_close(distance_to_z_depth(distance, directions), z)


@pytest.mark.parametrize("function", [z_depth_to_distance, distance_to_z_depth])
def test_gradcheck(function) -> None:
    depth = torch.rand(3, dtype=torch.float64, requires_grad=True)
    directions = (torch.rand(3, 3, dtype=torch.float64) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(function, (depth, directions))


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("function", "name"), [(z_depth_to_distance, "z_depth"), (distance_to_z_depth, "distance")]
)
def test_says_what_is_wrong(function, name) -> None:
    message = rf"directions must have shape \(4, 3\), one for each {name}, got \(3,\)"
    with pytest.raises(ValueError, match=f"^{function.__name__}: {message}"):
        function(torch.ones(4), torch.ones(3))
    with pytest.raises(ValueError, match=r"must have shape \(4, 1, 3\)"):
        function(torch.ones(4, 1), torch.ones(4, 3))
    with pytest.raises(TypeError, match=f"{name} must be floating point"):
        function(torch.ones(4).int(), torch.ones(4, 3))


@pytest.mark.parametrize("function", [z_depth_to_distance, distance_to_z_depth])
@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.half(), lambda x: x.numpy()])
def test_unit_directions_would_change_nothing_and_are_refused_under_checks(
    function, convert
) -> None:
    on_the_plane = torch.cat([torch.randn(6, 2), torch.ones(6, 1)], dim=-1)
    unit = torch.nn.functional.normalize(on_the_plane, dim=-1)
    depth = convert(torch.ones(6))
    assert np.allclose(function(depth, convert(unit)), 1.0, atol=2e-3)
    with nerfreg.check_values():
        function(depth, convert(on_the_plane))
        with pytest.raises(ValueError, match=rf"^{function.__name__}: .* camera z = 1, got unit"):
            function(depth, convert(unit))
        unit[0] = 0.0  # padding says nothing
        with pytest.raises(ValueError, match="got unit"):
            function(depth, convert(unit))
        # Around the axis the plane has unit length, too.
        for width in (0.0, 0.003, 0.03):
            near = torch.cat([width * torch.randn(6, 2), torch.ones(6, 1)], dim=-1)
            function(depth, convert(near))
