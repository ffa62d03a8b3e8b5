"""What a density of patches is worth: bits on held-out photographs, and what it tells apart."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nerfreg.priors import bits_per_dim, dequantize
from pretrain_flow.corruptions import MISLEADING, UNNATURAL
from pretrain_flow.draws import torch_rng

LogProb = Callable[[Tensor], Tensor]


@torch.no_grad()
def bits(log_prob: LogProb, levels: Tensor, seed: int, device: torch.device | str) -> Tensor:
    """Bits per dimension of patches (n, P, P, 3) uint8, (n,), on the CPU.

    The noise of the dequantisation is drawn from the seed alone: the same for every density.
    """
    generator = torch_rng(device, seed, "noise of measurements")
    found = list[Tensor]()
    for part in levels.split(4096):
        x = dequantize(part.to(device), generator).flatten(1)
        found.append(bits_per_dim(log_prob(x), x.shape[1]).cpu())
    return torch.cat(found)


def mean_over_photographs(values: Tensor, photographs: dict[str, Tensor]) -> dict[str, float]:
    """Mean and standard error over photographs: patches of one photograph are alike."""
    each = [part.mean() for part in values.split([len(p) for p in photographs.values()])]
    means = torch.stack(each).double()
    error = means.std().item() / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return {"mean": means.mean().item(), "standard_error": error}


def auc(natural: Tensor, other: Tensor) -> float:
    """Probability that a patch of the others has more bits than a natural one; equal: half."""
    ordered = natural.sort().values
    below = torch.searchsorted(ordered, other) + torch.searchsorted(ordered, other, right=True)
    return (below.double().mean() / 2 / len(natural)).item()


def bits_by_kind(
    log_prob: LogProb, levels: Tensor, seed: int, device: torch.device | str
) -> dict[str, Tensor]:
    """Bits per dimension of natural patches and of the same patches after each corruption."""
    kinds = {"natural": bits(log_prob, levels, seed, device)}
    for name, corrupt in {**UNNATURAL, **MISLEADING}.items():
        spoiled = corrupt(levels, torch_rng(levels.device, seed, name))
        kinds[name] = bits(log_prob, spoiled, seed, device)
    return kinds


def tell_apart(kinds: dict[str, Tensor]) -> dict[str, dict[str, dict[str, float]]]:
    """How well each kind is told from natural patches.

    Returns:
        By group and kind: ``auc``, against the natural patches of all photographs; ``paired``, the
        share of patches that have more bits after the corruption than the same patch before it.
    """
    natural = kinds["natural"]
    return {
        group: {
            name: {
                "auc": auc(natural, kinds[name]),
                "paired": (kinds[name] > natural).double().mean().item(),
            }
            for name in names
        }
        for group, names in (("unnatural", UNNATURAL), ("misleading", MISLEADING))
    }
