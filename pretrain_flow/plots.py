"""Pictures of a pretraining, with matplotlib (extra: plot)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reference_impl.run_folder import written_whole


def pyplot() -> Any:
    """Import matplotlib, to draw without a screen, or raise one clear error."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('the pictures of a run need: pip install "nerfreg[plot]"') from error
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def draw_loss(lines: list[dict[str, Any]], path: Path) -> None:
    """Bits per dimension against steps: of the batches, and of held-out photographs."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for key, label in (("bits_per_dim", "training batch"), ("heldout", "held-out photographs")):
        points = [(line["step"], line[key]) for line in lines if key in line]
        axes.plot(*zip(*points, strict=True), label=label, marker="." if key == "heldout" else None)
    # The first steps are so bad that nothing else would be seen.
    later = [line["bits_per_dim"] for line in lines if "bits_per_dim" in line]
    low, high = min(later), float(np.quantile(later, 0.95))
    axes.set_ylim(low - 0.2 * (high - low) - 0.02, high + 0.5 * (high - low) + 0.02)
    axes.set(xlabel="step", ylabel="bits per dimension")
    axes.legend()
    save(figure, path)


def draw_samples(samples: Tensor, natural: Tensor, path: Path) -> None:
    """Patches (n, P, P, 3) in [0, 1] that the model drew, beside those of held-out photographs."""
    plt = pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained")
    for axis, patches, title in zip(
        axes, (samples, natural), ("samples", "held-out patches"), strict=True
    ):
        axis.imshow(sheet(patches), interpolation="nearest")
        axis.set_title(title)
        axis.axis("off")
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a picture, whole or not at all."""
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=120, format="png")
    pyplot().close(figure)


def sheet(patches: Tensor) -> np.ndarray:
    """Patches in rows and columns on white, as nearly square as their number allows."""
    n, size = len(patches), patches.shape[1]
    columns = max(int(n**0.5), 1)
    rows = n // columns
    framed = torch.ones(rows * columns, size + 1, size + 1, 3)
    framed[:, :size, :size] = patches[: rows * columns].clamp(0, 1).cpu()
    grid = framed.reshape(rows, columns, size + 1, size + 1, 3).permute(0, 2, 1, 3, 4)
    return grid.reshape(rows * (size + 1), columns * (size + 1), 3).numpy()


def draw_kinds(kinds: dict[str, Tensor], misleading: set[str], path: Path) -> None:
    """Histograms of bits per dimension: natural patches, and each kind of corrupted ones."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    every = torch.cat([*kinds.values()]).numpy()
    low, high = max(float(every.min()), 0.25), float(np.quantile(every, 0.98))
    # A logarithm: noise costs hundreds of bits where a photograph costs four.
    bins = np.geomspace(low, high, 120)
    for name, values in kinds.items():
        label = f"{name} (a likelihood misleads here)" if name in misleading else name
        style = {"linestyle": "--" if name in misleading else "-", "linewidth": 1.2}
        fill = name == "natural"
        axes.hist(
            values.clamp(low, high).numpy(),
            bins,
            histtype="stepfilled" if fill else "step",
            alpha=0.5 if fill else 1.0,
            label=label,
            **style,
        )
    axes.set_xscale("log")
    axes.set(xlabel="negative log-likelihood, bits per dimension", ylabel="patches")
    axes.legend(fontsize=8)
    save(figure, path)
