"""Gaussian splatting from three photographs: gsplat's rasterizer, nerfreg's losses.

What it does and how well: docs/integrations/gsplat.md.
"""

import argparse
from importlib import import_module

import torch
from torch import nn

from nerfreg import DepthMSE, DepthSmoothness, Objective, OpacityDropout, UnseenPatchSampler
from nerfreg.integrations.gsplat import (
    at_pixels,
    require_rasterization,
    rgb_depth_opacity,
    splat_cameras,
)
from nerfreg.schedules import LogLinear
from reference_impl.scenes import load_scene


class Splats(nn.Module):
    """Gaussians, one colour each."""

    def __init__(self, means, colors, scales):
        super().__init__()
        self.means = nn.Parameter(means)
        self.quats = nn.Parameter(means.new_tensor([1.0, 0, 0, 0]).repeat(len(means), 1))
        self.log_scales = nn.Parameter(scales.log()[:, None].repeat(1, 3))
        self.opacity_logits = nn.Parameter(torch.full_like(scales, -0.5))
        self.color_logits = nn.Parameter(colors.clamp(0.02, 0.98).logit())

    def optimizer(self):
        """Adam with a rate for each kind of parameter."""
        rates = {"means": 3e-3, "quats": 5e-3, "log_scales": 1e-2}
        rates |= {"opacity_logits": 5e-2, "color_logits": 2e-2}
        parameters = self.named_parameters()
        return torch.optim.Adam([{"params": [p], "lr": rates[name]} for name, p in parameters])

    def opacities(self):
        """In [0, 1]."""
        return self.opacity_logits.sigmoid()

    def render(self, rasterization, views, opacities):
        """Colour, z-depth and opacity of cameras or of patches."""
        return rgb_depth_opacity(
            *rasterization(
                self.means,
                self.quats,
                self.log_scales.exp(),
                opacities,
                self.color_logits.sigmoid(),
                **splat_cameras(views),
                render_mode="RGB+ED",
                packed=True,
            )[:2]
        )


def initial_splats(scene, n_splats, generator):
    """Start from keypoints, at most half of all, and from pixels at random depth."""
    cameras, photos = scene.cameras, scene.images / 255
    size = torch.tensor([cameras.width, cameras.height])
    n = n_splats // len(scene.train)
    means, colors, scales = [], [], []
    for view in scene.train:
        xy, share = torch.rand(n, 2, generator=generator) * size, torch.rand(n, generator=generator)
        depth = 1 / (share / scene.near + (1 - share) / scene.far)
        if view in scene.keypoints:
            known = scene.keypoints[view]
            some = torch.randperm(len(known), generator=generator)[: n // 2]
            xy[: len(some)], depth[: len(some)] = known.xy[some], known.depth[some]
        column, row = xy.long().clamp(min=0).minimum(size - 1).unbind(-1)
        means.append(cameras.rays(torch.tensor(view), xy).at(depth))
        colors.append(photos[view, row, column])
        scales.append(1.5 * depth / cameras.intrinsics[view, 0, 0])
    return Splats(torch.cat(means), torch.cat(colors), torch.cat(scales))


def train(scene, rasterization, options):
    """Fit splats to the training views."""
    device = torch.device(options.device)
    generator = torch.Generator(device).manual_seed(options.seed)
    splats = initial_splats(scene, options.splats, torch.Generator().manual_seed(options.seed))
    optimizer = splats.to(device).optimizer()
    cameras, photos = scene.cameras.to(device), scene.images.to(device) / 255
    known = {view: keypoints.to(device) for view, keypoints in scene.keypoints.items()}

    sampler = UnseenPatchSampler(
        scene.unseen.to(device),
        cameras.intrinsics[scene.train],
        patch_size=options.patch_size,
        image_size=(cameras.width, cameras.height),
    )
    dropout = OpacityDropout(options.steps, rate=options.dropout)
    objective = Objective(
        {
            "keypoints": (
                DepthMSE(penalty="huber", threshold=3.0),
                LogLinear(options.k0, options.k1, options.steps),
            ),
            "smooth": (
                DepthSmoothness(options.norm),
                LogLinear(options.s0, options.s1, options.steps),
            ),
        }
    )
    views = torch.randint(
        len(scene.train), (options.steps,), generator=torch.Generator().manual_seed(options.seed)
    )
    for step, choice in enumerate(views.tolist()):
        view = scene.train[choice]
        opacities = splats.opacities()
        if not options.without_nerfreg:
            opacities = dropout(step, opacities, generator=generator)
        rgb, depth, _ = splats.render(rasterization, cameras[view], opacities)
        loss = (rgb[0] - photos[view]).abs().mean()

        if not options.without_nerfreg:
            patches = sampler.sample(options.patches, generator)
            _, patch_depth, patch_opacity = splats.render(rasterization, patches, opacities)
            keypoints = known[view]
            inputs = {
                "keypoints": {
                    "rendered": at_pixels(depth[0], keypoints.xy),
                    "depth": keypoints.depth,
                    "std": keypoints.std,
                },
                "smooth": {"depth": patch_depth, "opacity": patch_opacity},
            }
            loss = loss + objective(step, inputs).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return splats


@torch.no_grad()
def measure(splats, scene, rasterization):
    """PSNR and error of depth on the test views."""
    device = splats.means.device
    cameras, photos = scene.cameras.to(device), scene.images.to(device) / 255
    psnr, depth_error = [], []
    for view in scene.test:
        rgb, depth, _ = splats.render(rasterization, cameras[view], splats.opacities())
        psnr.append(-10 * (rgb[0] - photos[view]).square().mean().log10())
        depth_error.append((depth[0] - scene.depth[view].to(device)).abs().mean())
    return torch.stack(psnr).mean().item(), torch.stack(depth_error).mean().item()


def main():
    """Read the options, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--splats", type=int, default=600, help="at random depth, at the start")
    parser.add_argument("--width", type=int, default=48, help="of the photographs, pixels")
    parser.add_argument("--patches", type=int, default=4)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--k0", type=float, default=0.01)
    parser.add_argument("--k1", type=float, default=0.001)
    parser.add_argument("--s0", type=float, default=1.0)
    parser.add_argument("--s1", type=float, default=0.1)
    parser.add_argument("--norm", default="l2")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--without-nerfreg", action="store_true")
    parser.add_argument("--rasterizer", default="", help="another than gsplat's: module:function")
    options = parser.parse_args()
    if options.rasterizer:
        module, _, function = options.rasterizer.partition(":")
        rasterization = getattr(import_module(module), function)
    else:
        rasterization = require_rasterization()
    scene = load_scene("embedded", 3, width=options.width)
    psnr, depth_error = measure(train(scene, rasterization, options), scene, rasterization)
    print(f"test views: {psnr:.2f} dB, depth off by {depth_error:.3f}")


if __name__ == "__main__":
    main()
