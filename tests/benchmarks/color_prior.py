"""What the colour prior costs, beside normflows' own RealNVP of as many couplings and as wide.

python tests/benchmarks/color_prior.py [--threads 2] [--weights FILE]

Both score the same patches and differentiate by their colours, weights frozen, taking turns in one
run. The stock flow is ``normflows.NormalizingFlow`` over ``MaskedAffineFlow`` with two
``normflows.nets.MLP`` each, bounded by ``output_fn="tanh"``, on alternating masks: what its
documentation builds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import normflows
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from nerfreg import FlowColorPrior
from nerfreg.priors import RealNVP


def stock(like: RealNVP) -> normflows.NormalizingFlow:
    """Build normflows' RealNVP with the couplings, width and depth of ours."""
    c = like.config
    layers = [c.n_dims, *[c.width] * c.depth, c.n_dims]
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
    other = stock(model)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (model, other)]
    print(
        f"torch {torch.__version__}, {options.threads} threads; {sizes[0]}, {sizes[1]} parameters"
    )
    print("| patches | FlowColorPrior, ms | normflows' stock, ms | ratio |\n|---|---|---|---|")
    for n in (64, 512, 4096):
        rgb = torch.rand(n, 8, 8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()

        def ours(rgb: Tensor = rgb) -> None:
            torch.autograd.grad(prior(rgb), rgb)

        def theirs(rgb: Tensor = rgb) -> None:
            torch.autograd.grad(-other.log_prob(rgb.flatten(1)).mean() / 192, rgb)

        a, b = milliseconds([ours, theirs], options.repeat)
        print(f"| {n} | {a:.2f} | {b:.2f} | {b / a:.1f}× |")


if __name__ == "__main__":
    main()
