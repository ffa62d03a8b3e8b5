"""Simpler densities of patches, beside which a flow's bits per dimension have a meaning.

Each is a density of dequantised patches, flattened, with colours in [0, 1], as the flow is. They
count in float64.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

NOISE = 1 / (12 * 255**2)
"""Variance that the dequantisation gives each number: no direction has less."""
BLOCK = 4096
"""Patches at a time: fewer would be slow, many would be new memory again and again."""


class IndependentPixels:
    """Every number on its own, by how often its channel has its level: a histogram.

    Args:
        levels: (n, P, P, 3) uint8. Each level is counted once more than it occurs.
    """

    def __init__(self, levels: Tensor) -> None:
        counts = torch.stack(
            [torch.bincount(levels[..., c].flatten().int(), minlength=256) for c in range(3)]
        )
        mass = (counts + 1.0).double()
        # A level is an interval 1/255 wide.
        self.log_density = (255 * mass / mass.sum(1, keepdim=True)).log()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density (n,) of patches (n, d)."""
        level = (x * 255 + 0.5).floor().long().clamp(0, 255)
        channel = torch.arange(x.shape[1], device=x.device) % 3
        return self.log_density[channel, level].sum(1)


class GaussianMixture:
    """Gaussians with full covariances, fitted by expectation maximisation; one is plain Gaussian.

    Args:
        x: (n, d) dequantised patches.
        components: number of Gaussians. They start from as many groups of equal size, from flat
            patches to rich ones: contrast is what patches differ in most.
        steps: of expectation maximisation, at most; it ends when a step gains less than 1e-4 nats
            per dimension.
    """

    def __init__(self, x: Tensor, components: int, steps: int = 40) -> None:
        x = x.double()
        n, d = x.shape
        detail = x.reshape(n, -1, 3)
        contrast = (detail - detail.mean(1, keepdim=True)).square().sum((1, 2))
        group = contrast.argsort().argsort() * components // n
        share = torch.nn.functional.one_hot(group, components).double()
        before = -math.inf
        for _ in range(steps if components > 1 else 1):
            self._maximise(x, share)
            joint = self._joint(x)
            total = torch.logsumexp(joint, 1)
            share = (joint - total[:, None]).exp()
            gain, before = total.mean().item() / d - before, total.mean().item() / d
            if gain < 1e-4:
                break

    def _maximise(self, x: Tensor, share: Tensor) -> None:
        weight = share.sum(0).clamp_min(1e-6)
        self.log_weight = (weight / weight.sum()).log()
        self.mean = (share.T @ x) / weight[:, None]
        factors = list[Tensor]()
        for k, mean in enumerate(self.mean):
            covariance = x.new_zeros(x.shape[1], x.shape[1])
            # Nearly every patch is nearly all one component's: the others' are left out.
            (members,) = (share[:, k] > 1e-9).nonzero(as_tuple=True)
            for part in members.split(BLOCK):
                centred = x[part] - mean
                covariance.addmm_((centred * share[part, k : k + 1]).T, centred)
            covariance /= weight[k]
            # A tenth of the noise keeps a component invertible that holds few patches.
            covariance.diagonal().add_(0.1 * NOISE)
            factors.append(torch.linalg.cholesky(covariance))
        self.factor = torch.stack(factors)

    def _joint(self, x: Tensor) -> Tensor:
        """Log of weight times density of each component, (n, components)."""
        return torch.cat([self._joint_of_block(part) for part in x.split(BLOCK)])

    def _joint_of_block(self, x: Tensor) -> Tensor:
        columns = list[Tensor]()
        for log_weight, mean, factor in zip(self.log_weight, self.mean, self.factor, strict=True):
            z = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
            log_det = factor.diagonal().log().sum()
            constant = log_weight - log_det - 0.5 * len(mean) * math.log(2 * math.pi)
            columns.append(constant - 0.5 * z.square().sum(0))
        return torch.stack(columns, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density (n,) of patches (n, d)."""
        return torch.logsumexp(self._joint(x.double()), 1)


def choose_components(x: Tensor, check: Tensor, numbers: Sequence[int]) -> int:
    """The number of Gaussians, of those given, that fits patches of other photographs best."""
    scores = {n: GaussianMixture(x, n).log_prob(check).mean().item() for n in numbers}
    return max(scores, key=scores.__getitem__)
