"""A NeRF with nerfacc's occupancy grid on the embedded scene: packed samples into nerfreg's losses.

Explained in docs/integrations/nerfacc.md.
"""

import argparse

import torch
from torch import nn
from torch.nn.functional import normalize, softplus

from nerfreg import DepthKL, DepthSmoothness, RayTermination, UnseenPatchSampler
from nerfreg.rays import z_depth_to_distance
from nerfreg.schedules import LogLinear
from nerfreg.views import Rays
from reference_impl.scenes import load_scene

try:
    from nerfacc import OccGridEstimator, accumulate_along_rays
except ImportError as error:
    raise ImportError("this example needs nerfacc: pip install 'nerfreg[nerfacc]'") from error

STEP, NEAR, FAR = 0.06, 0.5, 5.0  # distances
BOX = [-1.8, -1.2, -0.2, 1.8, 1.5, 1.7]  # of the embedded scene


class Field(nn.Module):
    """Colour and density of points."""

    def __init__(self, width=64, n_frequencies=6):
        super().__init__()
        self.register_buffer("frequencies", torch.pi / 4 * 2.0 ** torch.arange(n_frequencies))
        self.network = nn.Sequential(
            *(nn.Linear(3 + 6 * n_frequencies, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, 4),
        )

    def forward(self, x):
        """Evaluate at points (N, 3)."""
        waves = (x[..., None] * self.frequencies).flatten(-2)
        out = self.network(torch.cat([x, waves.sin(), waves.cos()], -1))
        return out[..., :3].sigmoid(), softplus(out[..., 3])


def march(grid, origins, directions):
    """Samples in occupied cells: (N,) rays, starts and ends, in distance along unit directions."""
    if origins.is_cuda:
        options = {"near_plane": NEAR, "far_plane": FAR, "render_step_size": STEP}
        return grid.sampling(origins, directions, stratified=True, **options)
    # nerfacc marches on CUDA alone. This is the same for a grid of one level, without its speed.
    starts = torch.arange(NEAR, FAR, STEP) + STEP * torch.rand(len(origins), 1)
    points = origins[:, None] + (starts + STEP / 2)[..., None] * directions[:, None]
    low, high = grid.aabbs[0, :3], grid.aabbs[0, 3:]
    cells = ((points - low) / (high - low) * grid.resolution).floor().long()
    inside = ((cells >= 0) & (cells < grid.resolution)).all(-1)
    x, y, z = cells.clamp(min=0).minimum(grid.resolution - 1).unbind(-1)
    occupied = inside & grid.binaries[0][x, y, z]
    return occupied.nonzero()[:, 0], starts[occupied], starts[occupied] + STEP


def render(field, grid, rays):
    """Colour of rays (R, 3), and where they stop, in distance."""
    origins, directions = rays.origins, normalize(rays.directions, dim=-1)
    ray_indices, starts, ends = march(grid, origins, directions)
    middle = ((starts + ends) / 2)[:, None]
    rgb, density = field(origins[ray_indices] + middle * directions[ray_indices])
    stops = RayTermination.from_density(
        density, starts, ends, ray_indices=ray_indices, n_rays=len(rays)
    )
    return accumulate_along_rays(stops.weights, rgb, ray_indices, len(rays)), stops


def main():
    """Read the options, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--width", type=int, default=48, help="of the photographs, pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--without-nerfreg", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    device = options.device
    scene = load_scene("embedded", 3, width=options.width)
    cameras, images = scene.cameras.to(device), scene.images.to(device) / 255
    rays = Rays.cat([cameras.image_rays(view).flatten() for view in scene.train])
    colors = images[scene.train].reshape(-1, 3)

    known = {view: keypoints.to(device) for view, keypoints in scene.keypoints.items()}
    index = {view: torch.tensor(view, device=device) for view in known}
    keypoint_rays = Rays.cat([cameras.rays(index[view], known[view].xy) for view in known])
    # A keypoint's depth is z-depth, nerfacc's t is distance. One factor a ray, for std as well.
    factor = z_depth_to_distance(
        torch.ones(len(keypoint_rays)).to(device), keypoint_rays.directions
    )
    keypoint_depth = factor * torch.cat([keypoints.depth for keypoints in known.values()])
    keypoint_std = factor * torch.cat([keypoints.std for keypoints in known.values()])
    size = (cameras.width, cameras.height)
    sampler = UnseenPatchSampler(
        scene.unseen.to(device), cameras.intrinsics[scene.train], image_size=size
    )
    depth_kl, smoothness = DepthKL(), DepthSmoothness()
    kl_weight = LogLinear(0.1, 0.003, options.steps)
    smoothness_weight = LogLinear(0.1, 0.001, options.steps)

    field, grid = Field().to(device), OccGridEstimator(BOX, resolution=32).to(device)
    optimizer = torch.optim.Adam(field.parameters(), lr=2e-3)
    for step in range(options.steps):
        grid.update_every_n_steps(step, lambda x: field(x)[1][:, None] * STEP)
        batch = torch.randint(len(colors), (256,), device=device)
        rgb, _ = render(field, grid, rays[batch])
        loss = (rgb - colors[batch]).square().mean()

        if not options.without_nerfreg:
            chosen = torch.randint(len(keypoint_depth), (64,), device=device)
            _, stops = render(field, grid, keypoint_rays[chosen])
            target = {"depth": keypoint_depth[chosen], "std": keypoint_std[chosen]}
            loss = loss + kl_weight(step) * depth_kl(**stops, **target)
            patches = sampler.sample(4).rays
            _, stops = render(field, grid, patches.flatten())
            depth = stops.expected_depth().reshape(patches.shape)
            opacity = stops.opacity().reshape(patches.shape)
            loss = loss + smoothness_weight(step) * smoothness(depth, opacity)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    psnr, depth_error = [], []
    with torch.no_grad():
        for view in scene.test:
            rays = cameras.image_rays(view)
            rgb, stops = render(field, grid, rays.flatten())
            psnr.append(-10 * (rgb - images[view].reshape(-1, 3)).square().mean().log10())
            z_depth = stops.expected_depth().cpu() / rays.directions.norm(dim=-1).flatten().cpu()
            depth_error.append((z_depth - scene.depth[view].flatten()).abs().mean())
    mean_psnr, mean_error = torch.stack(psnr).mean(), torch.stack(depth_error).mean()
    print(f"test views: {mean_psnr:.2f} dB, depth off by {mean_error:.3f}")


if __name__ == "__main__":
    main()
