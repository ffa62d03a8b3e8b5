"""Everything a pretraining can be told, one dataclass a subject."""

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from nerfreg.priors import RealNVPConfig


@dataclass(frozen=True)
class DataConfig:
    """From photographs to patches."""

    min_downscale: float = 1.0
    """Photographs are made smaller by a random factor, at least this."""
    max_downscale: float = 3.0
    """At most this; the larger, the less is left of JPEG's traces."""
    sizes: int = 4
    """Random sizes that each photograph is kept at, where photographs are kept in memory."""
    heldout_fraction: float = 0.1
    """Share of the photographs held out, chosen by a hash of their names; without --heldout."""
    heldout_photographs: int = 128
    """Held-out photographs to measure on, at most."""
    heldout_patches: int = 256
    """Patches from each of them."""
    greyscale: Literal["keep", "skip"] = "keep"
    """keep: greyscale becomes three equal channels; skip: it teaches nothing about colour."""
    memory_gb: float = 2.0
    """Photographs that fit into this much memory are decoded once and kept, else streamed."""
    workers: int = -1
    """Processes that decode for each device; 0: none but the trainer; -1: as many as there are
    processors for them, at most 8."""
    patches_per_photograph: int = 64
    """Streaming: patches cut from a photograph each time that it is decoded."""
    mixed_photographs: int = 64
    """Streaming: photographs whose patches are shuffled together."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, its learning rate, and when to stop."""

    lr: float = 1e-3
    """Learning rate after the warm-up."""
    lr_end: float = 1e-5
    """Learning rate at the last step; half a cosine between."""
    warmup_steps: int = 200
    """Steps over which the rate rises from zero in a line."""
    clip_norm: float = 1.0
    """The norm of all gradients is clipped to this; 0: off."""
    ema_decay: float = 0.998
    """Decay a step of the running average of the weights, which is what is measured and saved."""
    patience: int = 10
    """Stop after so many measurements on held-out photographs without a better one; 0: never."""


@dataclass(frozen=True)
class LogConfig:
    """What is written while training."""

    every: int = 50
    """Steps between lines of log.jsonl, the only moments at which the host waits for the device."""
    evaluate_every: int = 250
    """Steps between measurements on held-out photographs."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""


@dataclass(frozen=True)
class Config:
    """Train a RealNVP on patches of photographs: the colour prior."""

    images: tuple[str, ...] = ()
    """Folders of photographs, searched with what is below them; none: the photographs that ship
    inside scikit-image and scikit-learn."""
    heldout: str = ""
    """Folder of photographs to measure on; by default a share of the others."""
    shards: str = ""
    """Tar files of photographs, 'path/{000..999}.tar' (extra: shards), instead of --images."""
    steps: int = 2500
    """Optimisation steps."""
    batch: int = 1024
    """Patches a step, in all processes together."""
    seed: int = 0
    """Of the weights and of every random draw."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    devices: int = 1
    """Devices (processes) of this machine; torchrun's own number under torchrun."""
    out: str = ""
    """Folder of the run; by default runs/prior-DATA-sSEED."""
    resume: str = ""
    """Folder of a run to continue from its last checkpoint; its own configuration is used."""
    model: RealNVPConfig = field(default_factory=RealNVPConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    log: LogConfig = field(default_factory=LogConfig)


def check(config: Config) -> None:
    """Refuse values that no training could use, before anything is loaded or written.

    Raises:
        ValueError: an option is out of its range, or two exclude each other; the message names it.
    """
    ranges: dict[str, tuple[float, float]] = {
        "steps": (1, float("inf")),
        "batch": (1, float("inf")),
        "devices": (1, float("inf")),
        "data.min-downscale": (1, config.data.max_downscale),
        "data.sizes": (1, 64),
        "data.heldout-fraction": (1e-6, 0.9),
        "data.heldout-photographs": (1, float("inf")),
        "data.heldout-patches": (2, float("inf")),
        "data.memory-gb": (0, float("inf")),
        "data.workers": (-1, 1024),
        "data.patches-per-photograph": (1, float("inf")),
        "data.mixed-photographs": (1, float("inf")),
        "optimizer.lr": (1e-12, float("inf")),
        "optimizer.lr-end": (0, config.optimizer.lr),
        "optimizer.warmup-steps": (0, float("inf")),
        "optimizer.clip-norm": (0, float("inf")),
        "optimizer.ema-decay": (0, 1 - 1e-9),
        "optimizer.patience": (0, float("inf")),
        "log.every": (1, float("inf")),
        "log.evaluate-every": (1, float("inf")),
        "log.checkpoint-every": (1, float("inf")),
    }
    for name, (least, most) in ranges.items():
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part.replace("-", "_"))
        if not least <= value <= most:
            raise ValueError(f"--{name} must be from {least:g} to {most:g}, got {value}")
    if config.images and config.shards:
        raise ValueError("--images and --shards: give one of them")
    if config.heldout and not (config.images or config.shards):
        raise ValueError("--heldout: only together with --images or --shards")


def resolve_workers(workers: int, trainers: int = 1) -> int:
    """Number of decoding processes of each trainer: as asked, or its share of the processors."""
    if workers >= 0:
        return workers
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(max((ours or 1) // trainers, 1), 8)
