"""What nerfacc returns goes into the losses as it is."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nerfreg import DepthKL, Distortion, RayTermination, depth_kl
from nerfreg.rays import weights_from_alpha, weights_from_density

nerfacc: Any = pytest.importorskip("nerfacc")
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nerfacc_packed.py"


def samples(device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Density, starts and ends of 5 rays with 7 samples, with gaps."""
    draw = torch.Generator().manual_seed(0)
    lengths = 0.1 + torch.rand(5, 14, generator=draw)
    bounds = lengths.cumsum(-1).to(device)
    density = torch.rand(5, 7, generator=draw).to(device).requires_grad_()
    return density, bounds[:, ::2], bounds[:, 1::2]


def gradient(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of, retain_graph=True)[0]


def test_dense_weights_are_ours() -> None:
    density, starts, ends = samples()
    theirs, _, alpha = nerfacc.render_weight_from_density(starts, ends, density)
    ours = weights_from_density(density, starts, ends)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(weights_from_alpha(alpha), theirs)
    target = {"depth": starts.mean(-1), "std": torch.full((5,), 0.1)}
    losses = [depth_kl(weights, starts, ends, **target) for weights in (ours, theirs)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(gradient(loss, density) for loss in losses))


def test_rendering_gives_what_losses_take() -> None:
    """nerfacc.rendering's depth is ours, its extras hold the weights."""
    density, starts, ends = samples()
    rgb = torch.rand(5, 7, 3)
    _, opacity, depth, extras = nerfacc.rendering(
        starts, ends, rgb_sigma_fn=lambda *_: (rgb, density)
    )
    rays = RayTermination(extras["weights"], starts, ends)
    torch.testing.assert_close(rays.opacity(), opacity[..., 0])
    torch.testing.assert_close(rays.expected_depth(), depth[..., 0])
    loss = Distortion()(**rays) + DepthKL()(
        **rays, depth=starts.mean(-1), std=torch.full((5,), 0.1)
    )
    assert gradient(loss, density).abs().min() > 0


def test_packed_weights_accumulate_as_ours_do() -> None:
    density, starts, ends = samples()
    keep = torch.rand(5, 7) > 0.4
    keep[2] = False  # an empty ray
    ray_indices = keep.nonzero()[:, 0]
    rays = RayTermination.from_density(
        density[keep], starts[keep], ends[keep], ray_indices=ray_indices, n_rays=5
    )
    middle = ((rays.starts + rays.ends) / 2)[:, None]
    theirs = nerfacc.accumulate_along_rays(rays.weights, middle, ray_indices, 5)[:, 0]
    torch.testing.assert_close(rays.expected_depth(normalize=False), theirs)
    assert theirs[2] == 0


def test_on_a_cpu_nerfacc_has_no_packed_weights() -> None:
    """Why the example takes them from nerfreg; when this fails, the page is to be changed."""
    density, starts, ends = (x.flatten() for x in samples())
    layout = {"ray_indices": torch.arange(5).repeat_interleave(7), "n_rays": 5}
    with pytest.raises(NotImplementedError, match="cuda"):
        nerfacc.render_weight_from_density(starts, ends, density, **layout)


def test_the_examples_march_meets_the_occupied_cells() -> None:
    """Each sample lies in an occupied cell, and along a ray nothing occupied is left out."""
    example = runpy.run_path(str(EXAMPLE))
    grid = nerfacc.OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], resolution=4)
    grid.binaries = torch.rand(grid.binaries.shape) > 0.5
    origins, directions = rays_through_the_box()
    ray_indices, starts, ends = example["march"](grid, origins, directions)
    assert (ray_indices.diff() >= 0).all()
    torch.testing.assert_close(ends - starts, torch.full_like(starts, example["STEP"]))
    points = origins[ray_indices] + ((starts + ends) / 2)[:, None] * directions[ray_indices]
    x, y, z = ((points + 1) * 2).long().unbind(-1)
    assert points.abs().max() <= 1
    assert grid.binaries[0][x, y, z].all()
    full = nerfacc.OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], resolution=4)
    full.binaries = torch.ones_like(grid.binaries)
    every, _, _ = example["march"](full, origins, directions)
    through_the_middle = torch.bincount(every, minlength=6)[0] * example["STEP"]
    torch.testing.assert_close(through_the_middle, torch.tensor(2.0), atol=0.06, rtol=0)
    assert 0 < len(ray_indices) < len(every)


def rays_through_the_box(device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Six rays; the first along the box's axis, 2 units of way inside."""
    draw = torch.Generator().manual_seed(0)
    origins = torch.tensor([0.1, 0.1, -3.0]).expand(6, 3)
    towards = torch.tensor([0.1, 0.1, 0.0]) + 0.8 * torch.rand(6, 3, generator=draw)
    towards[0] = torch.tensor([0.1, 0.1, 0.0])
    directions = torch.nn.functional.normalize(towards - origins, dim=-1)
    return origins.to(device), directions.to(device)


@pytest.mark.gpu
def test_packed_samples_of_the_grid_go_into_the_losses_on_cuda() -> None:
    """Sampling, weights and their gradient: nerfacc's against ours."""
    grid = nerfacc.OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], resolution=4).cuda()
    grid.binaries = torch.rand(grid.binaries.shape, device="cuda") > 0.5
    origins, directions = rays_through_the_box("cuda")
    ray_indices, starts, ends = grid.sampling(origins, directions, render_step_size=0.06)
    density = torch.rand_like(starts).requires_grad_()
    layout = {"ray_indices": ray_indices, "n_rays": len(origins)}
    theirs, _, _ = nerfacc.render_weight_from_density(starts, ends, density, **layout)
    ours = weights_from_density(density, starts, ends, **layout)
    torch.testing.assert_close(ours, theirs)
    target = {"depth": torch.full((6,), 3.0).cuda(), "std": torch.full((6,), 0.1).cuda()}
    losses = [depth_kl(w, starts, ends, **target, **layout) for w in (ours, theirs)]
    torch.testing.assert_close(*(gradient(loss, density) for loss in losses))
