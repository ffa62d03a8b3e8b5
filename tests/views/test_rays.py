import pytest
import torch

from nerfreg.views import Rays, plane_parameter, shift_origins


def some_rays(*batch: int) -> Rays:
    d = torch.randn(*batch, 3)
    return Rays(torch.randn(*batch, 3), d, d / d.norm(dim=-1, keepdim=True), torch.rand(*batch, 1))


def test_indexing_reaches_batch_axes_alone() -> None:
    rays = some_rays(4, 5, 6)
    assert rays.shape == (4, 5, 6)
    assert len(rays) == 4
    assert rays[1].shape == (5, 6)
    assert rays[1:3, ..., 0].shape == (2, 5)
    assert torch.equal(rays[..., 2].origins, rays.origins[:, :, 2])
    assert rays[torch.tensor([0, 0, 3])].shape == (3, 5, 6)
    mask = torch.rand(4, 5, 6) < 0.5
    assert torch.equal(rays[mask].radii, rays.radii[mask])
    with pytest.raises(TypeError, match="without a batch axis has no length"):
        len(rays[0, 0, 0])


def test_flatten_keeps_row_major_order() -> None:
    rays = some_rays(2, 3)
    flat = rays.flatten()
    assert flat.shape == (6,)
    assert torch.equal(flat[4].directions, rays[1, 1].directions)
    assert some_rays().flatten().shape == (1,)


def test_cat_joins_all_fields() -> None:
    a, b = some_rays(2), some_rays(3)
    joined = Rays.cat([a, b])
    for field in ("origins", "directions", "viewdirs", "radii"):
        expected = torch.cat([getattr(a, field), getattr(b, field)])
        assert torch.equal(getattr(joined, field), expected)


def test_to_converts_all_fields() -> None:
    rays = some_rays(2).to(dtype=torch.float64)
    assert {x.dtype for x in vars(rays).values()} == {torch.float64}
    assert some_rays(2).to("meta").radii.device.type == "meta"


def test_points_at_t() -> None:
    rays = some_rays(4)
    t = torch.rand(4, 7)
    points = rays.at(t)
    assert points.shape == (4, 7, 3)
    torch.testing.assert_close(rays.at(t[:, 2]), points[:, 2])
    torch.testing.assert_close(
        points[1, 3], rays.origins[1] + t[1, 3] * rays.directions[1], rtol=0, atol=0
    )


@pytest.mark.parametrize("shape", [(7,), (7, 4), (4, 7, 1), ()])
def test_points_at_t_of_another_shape(unhooked: None, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Rays\.at: t must be \(4,\) or"):
        some_rays(4).at(torch.rand(shape))


def test_shifting_origins_keeps_the_line() -> None:
    rays = some_rays(100).to(dtype=torch.float64)
    shifted = shift_origins(rays, 0.7)
    torch.testing.assert_close(shifted.origins[:, 2], torch.full((100,), 0.7).double())
    assert torch.equal(shifted.directions, rays.directions)
    t = torch.rand(100).double()
    torch.testing.assert_close(shifted.at(t - plane_parameter(rays, 0.7)), rays.at(t))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_ray_parallel_to_the_plane_stays_finite(dtype: torch.dtype) -> None:
    d = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, -0.0]], dtype=dtype, requires_grad=True)
    o = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    shifted = shift_origins(Rays(o, d, d, torch.ones(2, 1, dtype=dtype)), 0.0)
    shifted.origins.sum().backward()
    assert shifted.origins.isfinite().all()
    assert o.grad is not None
    assert d.grad is not None
    assert o.grad.isfinite().all()
    assert d.grad.isfinite().all()
