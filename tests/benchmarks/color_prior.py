"""What the colour prior costs, beside normflows' own RealNVP of as many couplings.

$ python tests/benchmarks/color_prior.py [--threads 2] [--weights FILE]

Both score the same patches and differentiate by their colours, weights frozen, taking turns in one
run. The stock flow is ``normflows.NormalizingFlow`` over ``MaskedAffineFlow`` with two
``normflows.nets.MLP`` each, bounded by ``output_fn="tanh"``, on alternating masks: what its
documentation builds; once with hidden layers as wide as ours, once with as many parameters.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import normflows
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from nerfreg import FlowColorPrior
from nerfreg.priors import RealNVP


def stock(like: RealNVP, width: int) -> normflows.NormalizingFlow:
    """Build normflows' RealNVP with the couplings and depth of ours."""
    c = like.config
    layers = [c.n_dims, *[width] * c.depth, c.n_dims]
    mask = torch.arange(c.n_dims) % 2
    flows = [
        normflows.flows.MaskedAffineFlow(
            (mask if i % 2 else 1 - mask).float(),
            normflows.nets.MLP(layers, init_zeros=True),
            normflows.nets.MLP(layers, output_fn="tanh", init_zeros=True),
        )
        for i in range(c.n_couplings)
    ]
    base = normflows.distributions.DiagGaussian(c.n_dims, trainable=False)
    return normflows.NormalizingFlow(base, flows).requires_grad_(False)


def size(model: torch.nn.Module) -> int:
    """Count the parameters."""
    return sum(p.numel() for p in model.parameters())


def milliseconds(runs: list[Callable[[], None]], times: int) -> list[float]:
    """Median time of each, taking turns."""
    found: list[list[float]] = [[] for _ in runs]
    for turn in range(times + 3):
        for run, times_of_run in zip(runs, found, strict=True):
            start = time.perf_counter()
            run()
            if turn >= 3:  # the first ones warm up
                times_of_run.append(1000 * (time.perf_counter() - start))
    return [statistics.median(f) for f in found]


def main() -> None:
    """Print one line a batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--weights", help="a prior's file; by default the shipped one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = options.weights
    prior = FlowColorPrior.from_file(given) if given else FlowColorPrior.from_pretrained()
    model = prior.model
    assert isinstance(model, RealNVP)
    widths = range(8, model.config.width)
    alike = min(widths, key=lambda width: abs(size(stock(model, width)) - size(model)))
    others = [stock(model, width) for width in (model.config.width, alike)]
    print(f"torch {torch.__version__}, {options.threads} threads; {size(model)} parameters")
    print("| patches | FlowColorPrior, ms | stock, as wide | stock, as big |")
    print("|---|---|---|---|")
    for n in (64, 512, 4096):
        rgb = torch.rand(n, 8, 8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()

        def ours(rgb: Tensor = rgb) -> None:
            torch.autograd.grad(prior(rgb), rgb)

        def theirs(other: normflows.NormalizingFlow, rgb: Tensor = rgb) -> None:
            torch.autograd.grad(-other.log_prob(rgb.flatten(1)).mean() / 192, rgb)

        own, *rest = milliseconds([ours, *(partial(theirs, o) for o in others)], options.repeat)
        found = (f"{ms:.2f} ms, {ms / own:.1f}×" for ms in rest)
        print(f"| {n} | {own:.2f} | {' | '.join(found)} |")
    print("stock: " + ", ".join(f"{size(o)} parameters" for o in others))


if __name__ == "__main__":
    main()
