"""Measure a prior on photographs that it has not seen, beside simpler densities.

$ python pretrain_flow/evaluate.py --weights RUN/prior.safetensors --images DIR
$ python pretrain_flow/evaluate.py --images DIR       the weights that nerfreg ships
"""

import io
import json
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("pretrain_flow")  # which says what is not installed

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from nerfreg.priors import RealNVP, dequantize, load_prior
from pretrain_flow.bank import PatchBank
from pretrain_flow.baselines import GaussianMixture, IndependentPixels, choose_components
from pretrain_flow.config import DataConfig, resolve_workers
from pretrain_flow.draws import torch_rng
from pretrain_flow.embedded import embedded_photographs
from pretrain_flow.photo_sets import Work, held_out_patches
from pretrain_flow.photographs import find
from pretrain_flow.scores import bits, bits_by_kind, mean_over_photographs, tell_apart
from pretrain_flow.skipped import Skipped
from pretrain_flow.split import split_names
from reference_impl.command_line import exit_code
from reference_impl.config import resolve_device
from reference_impl.run_folder import written_whole

FLOW = "RealNVP"


@dataclass(frozen=True)
class Evaluation:
    """What to measure on what."""

    weights: str = ""
    """File of weights that train.py wrote; by default the one that nerfreg ships."""
    images: str = ""
    """Folder of photographs to measure on; by default those held out of the embedded ones."""
    train_images: str = ""
    """Folder of photographs that the simpler densities are fitted to; by default the embedded
    ones. For a fair comparison, those that the prior was trained on."""
    patches: int = 256
    """Patches from each photograph measured on."""
    fit_patches: int = 60000
    """Patches that the simpler densities are fitted to."""
    components: tuple[int, ...] = (8, 16, 32)
    """Numbers of Gaussians to try in the mixture; a fifth of the photographs that the densities
    are fitted to decides."""
    min_downscale: float = 1.0
    """Photographs are made smaller by random factors, at least this."""
    max_downscale: float = 3.0
    """At most this."""
    seed: int = 0
    """Of the patches and of the dequantisation."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    out: str = ""
    """Folder of evaluation.json and evaluation.md; by default that of the weights if it is a run's,
    otherwise the current one."""


def evaluate(evaluation: Evaluation) -> dict[str, Any]:
    """Measure, write ``evaluation.json`` and ``evaluation.md``, and return what the former holds.

    Raises:
        ValueError: an option cannot be used; the message names it.
    """
    if not 1 <= evaluation.min_downscale <= evaluation.max_downscale:
        raise ValueError("--min-downscale must be from 1 to --max-downscale")
    least = {
        "patches": evaluation.patches,
        "fit-patches": evaluation.fit_patches,
        "components": min(evaluation.components, default=0),
    }
    for name, value in least.items():
        if value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    device = torch.device(resolve_device(evaluation.device))
    flow, told = load_prior(evaluation.weights) if evaluation.weights else load_shipped()
    flow.to(device)
    size, seed, skipped = flow.patch_size, evaluation.seed, Skipped()
    data = DataConfig(
        min_downscale=evaluation.min_downscale,
        max_downscale=evaluation.max_downscale,
        heldout_patches=evaluation.patches,
    )
    workers = resolve_workers(data.workers)
    if evaluation.images:
        measured = find(Path(evaluation.images), "--images")
    else:
        _, measured = embedded_photographs()
    if evaluation.train_images:
        train = find(Path(evaluation.train_images), "--train-images")
    else:
        train, _ = embedded_photographs()

    photographs = held_out_patches(measured, data, size, seed, skipped, workers)
    if not photographs:
        raise ValueError(
            f"--images {evaluation.images}: none of the {len(measured)} photographs can be used;"
            f" the first: {skipped.first()}"
        )
    levels = torch.cat([*photographs.values()])
    copies = dict(Work(train, data, size, seed).done(workers, skipped))
    if not copies:
        raise ValueError(
            f"--train-images {evaluation.train_images}: none of the {len(train)} photographs can"
            f" be used; the first: {skipped.first()}"
        )

    densities = {FLOW: flow.log_prob, **fit(copies, evaluation, size, device)}
    rows = {
        name: mean_over_photographs(bits(log_prob, levels, seed, device), photographs)
        for name, log_prob in densities.items()
    }
    rows["PNG, whole photographs"] = png_bits(
        dict(Work(measured, data, size, seed).done(workers, skipped))
    )
    result = {
        "weights": evaluation.weights or "shipped",
        "step": told.get("step"),
        "images": evaluation.images or "embedded",
        "train_images": evaluation.train_images or "embedded",
        "fit_patches": evaluation.fit_patches,
        "photographs": len(photographs),
        "patches": len(levels),
        "skipped": skipped.reasons,
        "bits_per_dim": rows,
        "told_apart": tell_apart(bits_by_kind(flow.log_prob, levels, seed, device)),
    }
    out = Path(evaluation.out) if evaluation.out else default_out(evaluation.weights)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("evaluation.json", json.dumps(result, indent=2) + "\n"),
        ("evaluation.md", table(result)),
    ):
        with written_whole(out / name) as partial:
            partial.write_text(text)
    return result


def load_shipped() -> tuple[RealNVP, dict[str, Any]]:
    """What :meth:`nerfreg.FlowColorPrior.from_pretrained` loads, and what its file says."""
    shipped = resources.files("nerfreg.priors") / "weights" / "natural_8x8.safetensors"
    with resources.as_file(shipped) as path:
        return load_prior(path)


def default_out(weights: str) -> Path:
    """The weights' folder if it is a run's; others, as an installed package's, are left alone."""
    beside = Path(weights).parent
    return beside if weights and (beside / "config.json").is_file() else Path()


def fit(
    copies: dict[str, list[np.ndarray]], evaluation: Evaluation, size: int, device: torch.device
) -> dict[str, Any]:
    """The simpler densities' log-probabilities by name, fitted to photographs."""

    def draw(names: list[str], n: int, purpose: str) -> tuple[Tensor, Tensor]:
        generator = torch_rng(device, evaluation.seed, purpose)
        bank = PatchBank.of([copies[name] for name in names], device)
        patches = bank.draw(n, size, generator)
        return patches, dequantize(patches, generator).flatten(1)

    levels, x = draw([*copies], evaluation.fit_patches, "fit")
    numbers = evaluation.components
    n = numbers[0]
    if len(numbers) > 1 and len(copies) > 1:
        held = split_names([*copies], 0.2, evaluation.seed)
        _, others = draw([c for c in copies if c not in held], evaluation.fit_patches, "choose")
        _, check = draw([*held], max(evaluation.fit_patches // 5, 1), "check")
        n = choose_components(others, check, numbers)
    return {
        "independent pixels": IndependentPixels(levels).log_prob,
        "one Gaussian": GaussianMixture(x, 1).log_prob,
        f"mixture of {n} Gaussians": GaussianMixture(x, n).log_prob,
    }


def png_bits(photographs: dict[str, list[np.ndarray]]) -> dict[str, float]:
    """Bits per number of photographs as PNG, which knows whole pictures and not only patches."""
    spent = dict[str, Tensor]()
    for name, copies in photographs.items():
        each = list[float]()
        for copy in copies:
            file = io.BytesIO()
            Image.fromarray(copy).save(file, "png", optimize=True)
            each.append(8 * len(file.getvalue()) / copy.size)
        spent[name] = torch.tensor(each)
    return mean_over_photographs(torch.cat([*spent.values()]), spent)


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = [
        f"{result['photographs']} photographs ({result['images']}), {result['patches']} patches;"
        f" simpler densities fitted to {result['fit_patches']} patches of:"
        f" {result['train_images']}.",
        "",
        "| density | bits per dimension | standard error over photographs |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['mean']:.3f} | {row['standard_error']:.3f} |"
        for name, row in result["bits_per_dim"].items()
    ]
    lines += [
        "",
        f"| told from natural patches by {FLOW} | AUC | worse than before |",
        "|---|---|---|",
    ]
    for group, values in result["told_apart"].items():
        note = "" if group == "unnatural" else ", where a likelihood misleads"
        lines += [
            f"| {name}{note} | {value['auc']:.3f} | {value['paired']:.3f} |"
            for name, value in values.items()
        ]
    return "\n".join([*lines, ""])


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    return exit_code(
        lambda: print(table(evaluate(tyro.cli(Evaluation, args=sys.argv[1:], description=__doc__))))
    )


if __name__ == "__main__":
    sys.exit(main())
