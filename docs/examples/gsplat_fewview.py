"""Gaussian splatting from three photographs: gsplat's rasterizer, nerfreg's losses.

What it does and how well: docs/integrations/gsplat.md.
"""

import argparse
import sys
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
from reference_impl.command_line import exit_code
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
    host, generator = (torch.Generator(d).manual_seed(options.seed) for d in ("cpu", device))
    splats = initial_splats(scene, options.splats, host).to(device)
    optimizer = splats.optimizer()
    cameras, photos = scene.cameras.to(device), scene.images.to(device) / 255

    dropout = OpacityDropout(options.steps)
    sampler = UnseenPatchSampler(
        scene.unseen.to(device),
        cameras.intrinsics[scene.train],
        image_size=(cameras.width, cameras.height),
    )
    huber = DepthMSE(penalty="huber", threshold=3.0)  # some keypoints are wrong matches
    objective = Objective(
        {
            "keypoints": (huber, LogLinear(0.01, 0.001, options.steps)),
            "smooth": (DepthSmoothness(), LogLinear(1.0, 0.1, options.steps)),
        }
    )
    for step in range(options.steps):
        view = scene.train[torch.randint(len(scene.train), (), generator=host)]
        opacities = splats.opacities()
        if not options.without_nerfreg:
            opacities = dropout(step, opacities, generator=generator)
        rgb, depth, _ = splats.render(rasterization, cameras[view], opacities)
        loss = (rgb[0] - photos[view]).abs().mean()

        if not options.without_nerfreg:
            patches = sampler.sample(4, generator)
            _, patch_depth, patch_opacity = splats.render(rasterization, patches, opacities)
            inputs = {"smooth": {"depth": patch_depth, "opacity": patch_opacity}}
            if view in scene.keypoints:
                known = scene.keypoints[view].to(device)
                rendered = at_pixels(depth[0], known.xy)
                inputs["keypoints"] = {"rendered": rendered, "depth": known.depth, "std": known.std}
            loss = loss + objective(step, inputs).total

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return splats


@torch.no_grad()
def measure(splats, scene, rasterization):
    """PSNR on the test views, and the error of their depth where it is known."""
    device = splats.means.device
    cameras, photos = scene.cameras.to(device), scene.images.to(device) / 255
    psnr, depth_error = [], []
    for view in scene.test:
        rgb, depth, _ = splats.render(rasterization, cameras[view], splats.opacities())
        psnr.append(-10 * (rgb[0] - photos[view]).square().mean().log10())
        if scene.depth is not None:
            depth_error.append((depth[0] - scene.depth[view].to(device)).abs().mean())
    return torch.stack(psnr).mean().item(), (
        torch.stack(depth_error).mean().item() if depth_error else None
    )


def main():
    """Read the options, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", default="embedded", help="or a folder that train.py reads")
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--width", type=int, default=32, help="of the photographs, pixels")
    parser.add_argument("--splats", type=int, default=400)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--without-nerfreg", action="store_true")
    parser.add_argument("--rasterizer", help="instead of gsplat's: module:function")
    options = parser.parse_args()
    if options.rasterizer:
        module, _, function = options.rasterizer.partition(":")
        try:
            rasterization = getattr(import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"--rasterizer {options.rasterizer}: {error}") from error
    else:
        rasterization = require_rasterization()
        if torch.device(options.device).type != "cuda":
            raise ValueError("gsplat renders on CUDA alone; on a CPU give another --rasterizer")
    scene = load_scene(options.scene, options.views, width=options.width)
    splats = train(scene, rasterization, options)
    psnr, depth_error = measure(splats, scene, rasterization)
    known = "" if depth_error is None else f", depth off by {depth_error:.3f}"
    print(f"test views: {psnr:.2f} dB{known}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
