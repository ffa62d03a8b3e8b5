"""A NeRF in plain torch on the embedded scene, with two regularizers dropped in.

Which lines are nerfreg's: docs/integrations/own_loop.md.
"""

import argparse
import math

import torch
from torch import nn
from torch.nn.functional import softplus

from nerfreg import DepthKL, DepthSmoothness, UnseenPatchSampler
from nerfreg.schedules import LogLinear
from nerfreg.views import Rays
from reference_impl.scenes import load_scene


class Field(nn.Module):
    """Colour and density of points."""

    def __init__(self, width=64, n_frequencies=6):
        super().__init__()
        self.register_buffer("frequencies", math.pi / 4 * 2.0 ** torch.arange(n_frequencies))
        self.network = nn.Sequential(
            *(nn.Linear(3 + 6 * n_frequencies, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, 4),
        )

    def forward(self, x):
        """Evaluate at points (…, 3)."""
        waves = (x[..., None] * self.frequencies).flatten(-2)
        out = self.network(torch.cat([x, waves.sin(), waves.cos()], -1))
        return out[..., :3].sigmoid(), softplus(out[..., 3] - 1)


def render(field, rays, near, far, n_samples=48):
    """Colour, depth and opacity of rays, and where they stop."""
    place = torch.arange(n_samples + 1) + torch.rand(*rays.shape, n_samples + 1) - 0.5
    edges = near + (far - near) * place / n_samples
    starts, ends = edges[..., :-1], edges[..., 1:]
    middle = (starts + ends) / 2
    rgb, density = field(rays.at(middle))
    thickness = density * (ends - starts) * rays.directions.norm(dim=-1, keepdim=True)
    weights = -torch.expm1(-thickness) * torch.exp(thickness - thickness.cumsum(-1))
    opacity = weights.sum(-1)
    depth = (weights * middle).sum(-1) / opacity.clamp(min=1e-6)
    return (weights[..., None] * rgb).sum(-2), depth, opacity, weights, starts, ends


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=800)
parser.add_argument("--width", type=int, default=48, help="of the photographs, pixels")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--without-nerfreg", action="store_true")
options = parser.parse_args()

torch.manual_seed(options.seed)
scene = load_scene("embedded", 3, width=options.width)
cameras, images, bounds = scene.cameras, scene.images / 255, (scene.near, scene.far)
rays = Rays.cat([cameras.image_rays(view).flatten() for view in scene.train])
colors = images[scene.train].reshape(-1, 3)
field = Field()
optimizer = torch.optim.Adam(field.parameters(), lr=2e-3)

known = scene.keypoints  # what structure-from-motion knows of each training view
keypoint_rays = Rays.cat([cameras.rays(torch.tensor(view), known[view].xy) for view in known])
keypoint_depth = torch.cat([keypoints.depth for keypoints in known.values()])
keypoint_std = torch.cat([keypoints.std for keypoints in known.values()])
size = (cameras.width, cameras.height)
sampler = UnseenPatchSampler(scene.unseen, cameras.intrinsics[scene.train], image_size=size)
depth_kl, smoothness = DepthKL(), DepthSmoothness()
kl_weight = LogLinear(0.1, 0.003, options.steps)
smoothness_weight = LogLinear(0.1, 0.001, options.steps)

for step in range(options.steps):
    batch = torch.randint(len(colors), (256,))
    rgb, *_ = render(field, rays[batch], *bounds)
    loss = (rgb - colors[batch]).square().mean()

    if not options.without_nerfreg:
        chosen = torch.randint(len(keypoint_depth), (64,))
        *_, weights, starts, ends = render(field, keypoint_rays[chosen], *bounds)
        target, std = keypoint_depth[chosen], keypoint_std[chosen]
        loss = loss + kl_weight(step) * depth_kl(weights, starts, ends, target, std)
        _, depth, opacity, *_ = render(field, sampler.sample(4).rays, *bounds)
        loss = loss + smoothness_weight(step) * smoothness(depth, opacity)

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    renders = [render(field, cameras.image_rays(view), *bounds)[:2] for view in scene.test]
rgb, depth = (torch.stack(x) for x in zip(*renders, strict=True))
mse = (rgb - images[scene.test]).square().mean((1, 2, 3))
psnr = (-10 * mse.log10()).mean()
depth_error = (depth - scene.depth[scene.test]).abs().mean()
print(f"test views: {psnr:.2f} dB, depth off by {depth_error:.3f}")
