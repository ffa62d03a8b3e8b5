"""A rasterizer of Gaussians in plain torch, as gsplat's but for its speed: for tests on a CPU.

It follows gsplat 1.5's conventions (projection, blending, what it leaves out), computes every pair
of pixel and Gaussian, and is differentiable in everything.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    eps2d: float = 0.3,
    packed: bool = True,
    backgrounds: Tensor | None = None,
    render_mode: Literal["RGB", "D", "ED", "RGB+D", "RGB+ED"] = "RGB",
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render N Gaussians with C cameras: (C, H, W, D), (C, H, W, 1) and what lies between.

    ``packed`` changes nothing, as in gsplat, where it is about memory alone.
    """
    del packed
    means2d, depths, conics = project(means, quats, scales, viewmats, Ks, width, height, eps2d)
    visible = (depths > near_plane) & (depths < far_plane)

    order = depths.argsort(-1)
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2).to(means)
    offset = pixels[:, None] - _take(means2d, order)[:, None]
    dx, dy = offset.unbind(-1)
    a, b, c = _take(conics, order)[:, None].unbind(-1)
    falloff = torch.exp(-(a * dx * dx + c * dy * dy) / 2 - b * dx * dy)
    strength = torch.where(visible, opacities, 0.0).gather(-1, order)
    alpha = (strength[:, None] * falloff).clamp(max=0.999)
    alpha = torch.where(alpha < 1 / 255, 0.0, alpha)
    through = torch.cumprod(1 - alpha, -1)
    before = torch.cat([torch.ones_like(through[..., :1]), through[..., :-1]], -1)
    weights = torch.where(through > 1e-4, alpha * before, 0.0)

    opacity = weights.sum(-1, keepdim=True)
    channels = []
    if "RGB" in render_mode:
        rgb = torch.einsum("cpn,cnd->cpd", weights, colors[order])
        channels += [rgb if backgrounds is None else rgb + (1 - opacity) * backgrounds[:, None]]
    if "D" in render_mode:
        depth = torch.einsum("cpn,cn->cp", weights, depths.gather(-1, order))[..., None]
        channels += [depth / opacity.clamp(min=1e-10) if "ED" in render_mode else depth]
    shape = (len(viewmats), height, width, -1)
    between = {"means2d": means2d, "depths": depths, "conics": conics}
    return torch.cat(channels, -1).reshape(shape), opacity.reshape(shape), between


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    eps2d: float = 0.3,
) -> tuple[Tensor, Tensor, Tensor]:
    """Centres in pixels (C, N, 2), z-depths (C, N), inverse covariances (C, N, 3) as xx, xy, yy."""
    w, x, y, z = normalize(quats, dim=-1).unbind(-1)
    rotation = torch.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ],
        -1,
    ).reshape(-1, 3, 3)
    axes = rotation * scales[:, None, :]
    to_camera = viewmats[:, :3, :3]
    centre = torch.einsum("cij,nj->cni", to_camera, means) + viewmats[:, None, :3, 3]
    focal = torch.stack([Ks[:, 0, 0], Ks[:, 1, 1]], -1)[:, None]
    principal = Ks[:, None, :2, 2]
    depths = centre[..., 2]
    slope = centre[..., :2] / depths[..., None]
    means2d = focal * slope + principal
    # The projection is linearised at the centre, which counts as no farther outside of the image
    # than 15 % of its size.
    size = means.new_tensor([width, height])
    margin = 0.15 * size / focal
    slope = slope.clamp(-principal / focal - margin, (size - principal) / focal + margin)
    zero = torch.zeros_like(depths)
    jacobian = torch.stack(
        [
            *(focal[..., 0] / depths, zero, -focal[..., 0] * slope[..., 0] / depths),
            *(zero, focal[..., 1] / depths, -focal[..., 1] * slope[..., 1] / depths),
        ],
        -1,
    ).unflatten(-1, (2, 3))
    spread = torch.einsum("cnij,cjk,nkl->cnil", jacobian, to_camera, axes)
    covariance = spread @ spread.mT + eps2d * torch.eye(2).to(means)
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    determinant = (xx * yy - xy * xy).clamp(min=1e-10)
    return means2d, depths, torch.stack([yy, -xy, xx], -1) / determinant[..., None]


def _take(values: Tensor, order: Tensor) -> Tensor:
    """Sort each camera's rows (C, N, k) by ``order`` (C, N)."""
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))
