"""The regularizers as one would write them down: dense, by their formula, without a second thought.

Each takes arguments of the function of its name, as torch tensors, and answers the mean over rays,
patches or maps, with the default options (and two things that losses need, by sample or ray).
"""

import math

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional


def depth_kl(weights: Tensor, starts: Tensor, ends: Tensor, depth: Tensor, std: Tensor) -> Tensor:
    target = Normal(depth[:, None], std[:, None])
    q = target.cdf(ends) - target.cdf(starts)
    q = torch.cat([q, 1 - q.sum(-1, keepdim=True)], dim=-1) + 1e-6
    p = torch.cat([weights, 1 - weights.sum(-1, keepdim=True)], dim=-1) + 1e-6
    return (q * (q.log() - p.log())).sum(-1).mean()


def line_of_sight(
    weights: Tensor, starts: Tensor, ends: Tensor, depth: Tensor, std: Tensor
) -> Tensor:
    kernel, reach = Normal(depth[:, None], std[:, None]), 3 * std[:, None]
    nearest, farthest = depth[:, None] - reach, depth[:, None] + reach
    h = weights / (ends - starts)
    before = torch.minimum(ends, farthest) - torch.minimum(starts, farthest)
    low, high = (x.clamp(nearest, farthest) for x in (starts, ends))
    norm = math.erf(3 / math.sqrt(2))
    mass = (kernel.cdf(high) - kernel.cdf(low)) / norm
    kernel_squared = math.erf(3) / (2 * math.sqrt(math.pi) * norm**2) / std
    return ((h**2 * before - 2 * h * mass).sum(-1) + kernel_squared).mean()


def distortion(weights: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    middle = (starts + ends) / 2
    apart = (middle[:, :, None] - middle[:, None, :]).abs()
    between = (weights[:, :, None] * weights[:, None, :] * apart).sum((-2, -1))
    return (between + (weights**2 * (ends - starts)).sum(-1) / 3).mean()


def interlevel(
    weights: Tensor,
    starts: Tensor,
    ends: Tensor,
    proposal_weights: Tensor,
    proposal_starts: Tensor,
    proposal_ends: Tensor,
) -> Tensor:
    meets = proposal_starts[:, None, :] <= ends[:, :, None]
    meets = meets & (proposal_ends[:, None, :] > starts[:, :, None])
    bound = (meets * proposal_weights[:, None, :]).sum(-1)
    return ((weights - bound).clamp_min(0) ** 2 / (weights + 2.0**-23)).sum(-1).mean()


def information_gain(
    weights: Tensor,
    starts: Tensor,
    ends: Tensor,
    neighbor_weights: Tensor,
    neighbor_starts: Tensor,
    neighbor_ends: Tensor,
) -> Tensor:
    first = torch.maximum(starts[:, :, None], neighbor_starts[:, None, :])
    last = torch.minimum(ends[:, :, None], neighbor_ends[:, None, :])
    share = (last - first).clamp_min(0) / (neighbor_ends - neighbor_starts)[:, None, :]
    opacity, neighbor_opacity = weights.sum(-1), neighbor_weights.sum(-1)
    p = weights / opacity[:, None]
    q = (share * neighbor_weights[:, None, :]).sum(-1) / neighbor_opacity[:, None]
    p = torch.cat([p, torch.zeros_like(p[:, :1])], dim=-1) + 1e-6
    q = torch.cat([q, 1 - q.sum(-1, keepdim=True)], dim=-1) + 1e-6
    values = (p * (p.log() - q.log())).sum(-1)
    return (values * ((opacity > 0.1) & (neighbor_opacity > 0.1))).mean()


def ray_entropy(weights: Tensor, opacity: Tensor) -> Tensor:
    p = weights / (weights.sum(-1, keepdim=True) + 1e-10)
    entropy = -(p * torch.log2(p + 1e-10)).sum(-1)
    return (entropy * (opacity > 0.1)).mean()


def occlusion(density: Tensor) -> Tensor:
    near = torch.arange(density.shape[-1], device=density.device) < 10
    return (density * near).mean()


def emptiness(weights: Tensor, uncertainty: Tensor) -> Tensor:
    return torch.log(1 + 2 * uncertainty[:, None] * weights).mean(-1).mean()


def mixture_nll(weights: Tensor, rgb: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    share = weights + 1e-6
    share = share / share.sum(-1, keepdim=True)
    component = torch.distributions.Laplace(rgb, scale).log_prob(target[:, None, :]).sum(-1)
    return -torch.logsumexp(share.log() + component, dim=-1).mean()


def opacity(weights: Tensor) -> Tensor:
    return weights.sum(-1)


def weights_from_density(density: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    thickness = density * (ends - starts)
    before = thickness.cumsum(-1) - thickness
    return torch.exp(-before) * (1 - torch.exp(-thickness))


def depth_mse(rendered: Tensor, depth: Tensor) -> Tensor:
    return ((rendered - depth) ** 2).mean()


def depth_ranking(rendered: Tensor, depth: Tensor) -> Tensor:
    order = torch.sign(depth[:, 1] - depth[:, 0])
    wrong = (order * (rendered[:, 0] - rendered[:, 1]) + 1e-4).clamp_min(0)
    return wrong[order != 0].mean()


def depth_continuity(rendered: Tensor, depth: Tensor) -> Tensor:
    joined = (depth[:, 0] - depth[:, 1]).abs() <= 0.01 * depth.abs().amax(-1)
    gap = ((rendered[:, 0] - rendered[:, 1]).abs() - 1e-4).clamp_min(0)
    return gap[joined].mean()


def pearson_depth(rendered: Tensor, depth: Tensor) -> Tensor:
    x, y = rendered.flatten(1), depth.flatten(1)
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    return (1 - (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))).mean()


def patch_normalized_depth(rendered: Tensor, depth: Tensor) -> Tensor:
    def normalized(x: Tensor) -> Tensor:
        patches = functional.unfold(x[:, None], 8, stride=8)  # (maps, pixels, patches)
        whole = patches.std((1, 2), correction=0, keepdim=True)
        std = patches.std(1, correction=0, keepdim=True) + 0.01 * whole
        return (patches - patches.mean(1, keepdim=True)) / std

    error = normalized(rendered) - normalized(depth)
    return torch.where(error.abs() > 2.5e-4, error**2, 0.0).mean((1, 2)).mean()


def scale_shift_invariant_depth(rendered: Tensor, depth: Tensor) -> Tensor:
    x, y = rendered.flatten(1), depth.flatten(1)
    ones = torch.ones_like(x)
    fit = torch.linalg.solve(
        torch.stack([x * x, x, x, ones]).mean(-1).T.reshape(-1, 2, 2),
        torch.stack([x * y, y]).mean(-1).T,
    )
    error = fit[:, 0, None, None] * rendered + fit[:, 1, None, None] - depth
    values = (error**2).mean((1, 2)) / 2
    for k in range(4):
        e = error[:, :: 2**k, :: 2**k]
        across, down = (e[:, :, 1:] - e[:, :, :-1]).abs(), (e[:, 1:] - e[:, :-1]).abs()
        values = values + 0.5 * (across.sum((1, 2)) + down.sum((1, 2))) / e[0].numel()
    return values.mean()


def depth_smoothness(depth: Tensor, opacity: Tensor) -> Tensor:
    corner = depth[:, :-1, :-1]
    rough = (corner - depth[:, :-1, 1:]) ** 2 + (corner - depth[:, 1:, :-1]) ** 2
    return (rough * opacity[:, :-1, :-1].detach()).mean()


def second_order_smoothness(depth: Tensor) -> Tensor:
    across, down = depth[:, :, 1:] - depth[:, :, :-1], depth[:, 1:] - depth[:, :-1]
    xx, yy = across[:, :, 1:] - across[:, :, :-1], down[:, 1:] - down[:, :-1]
    xy = across[:, 1:] - across[:, :-1]
    return (xx**2).mean() + (yy**2).mean() + 2 * (xy**2).mean()


def edge_aware_smoothness(depth: Tensor, rgb: Tensor) -> Tensor:
    rgb = rgb.detach()
    across, down = depth[:, :, 1:] - depth[:, :, :-1], depth[:, 1:] - depth[:, :-1]
    edge_across = (rgb[:, :, 1:] - rgb[:, :, :-1]).abs().mean(-1)
    edge_down = (rgb[:, 1:] - rgb[:, :-1]).abs().mean(-1)
    across, down = across.abs() * torch.exp(-edge_across), down.abs() * torch.exp(-edge_down)
    return across.mean() + down.mean()


def normal_smoothness(normals: Tensor) -> Tensor:
    across = 1 - (normals[:, :, 1:] * normals[:, :, :-1]).sum(-1)
    down = 1 - (normals[:, 1:] * normals[:, :-1]).sum(-1)
    return across.mean() + down.mean()


def total_variation(rgb: Tensor) -> Tensor:
    across, down = rgb[:, :, 1:] - rgb[:, :, :-1], rgb[:, 1:] - rgb[:, :-1]
    return across.abs().mean() + down.abs().mean()


def semantic_consistency(rgb: Tensor, target: Tensor, *, embed) -> Tensor:
    return (1 - functional.cosine_similarity(embed(rgb), target.detach(), dim=-1)).mean()


def co_regularization(rgb: Tensor, other: Tensor) -> Tensor:
    other = other.detach()
    at = torch.arange(11.0, device=rgb.device) - 5
    window = torch.exp(-(at**2) / (2 * 1.5**2))
    window = window / window.sum()
    window = (window[:, None] * window).expand(3, 1, 11, 11).contiguous()

    def blurred(x: Tensor) -> Tensor:
        return functional.conv2d(x.movedim(-1, 1), window, groups=3)

    a, b = blurred(rgb), blurred(other)
    aa, bb, ab = blurred(rgb**2) - a**2, blurred(other**2) - b**2, blurred(rgb * other) - a * b
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * a * b + c1) * (2 * ab + c2) / ((a**2 + b**2 + c1) * (aa + bb + c2))
    return 0.8 * (rgb - other).abs().mean() + 0.2 * (1 - ssim.mean())
