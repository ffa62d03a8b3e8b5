"""What the options say to train on and to measure on."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain_flow.bank import PatchBank
from pretrain_flow.batches import Batches, MemoryBatches, StreamBatches
from pretrain_flow.config import Config
from pretrain_flow.draws import fraction_of
from pretrain_flow.embedded import LICENCES, embedded_photographs
from pretrain_flow.photo_sets import Named, Work, fit_into_memory, held_out_patches
from pretrain_flow.photographs import find
from pretrain_flow.shards import ShardReader, expand
from pretrain_flow.skipped import Skipped
from pretrain_flow.split import split_names
from pretrain_flow.stream import Position, Reader, Stream, read_file

Files = list[tuple[str, Path]]


@dataclass(frozen=True)
class Data:
    """Patches to train on, and held-out patches by photograph.

    Attributes:
        batches: for the training steps.
        heldout: (n, P, P, 3) uint8 by the photograph's name; empty where none is measured.
        skipped: files that could not be used.
        about: what was read, as JSON can hold it.
    """

    batches: Batches
    heldout: dict[str, Tensor]
    skipped: Skipped
    about: dict[str, Any]


def open_data(
    config: Config, process: tuple[int, int], device: torch.device, *, heldout: bool
) -> Data:
    """Find and read photographs.

    Args:
        config: whose ``data.workers`` is a number of processes.
        process: this process and the number of them.
        device: where patches are wanted.
        heldout: whether this process measures.

    Raises:
        ValueError: there is nothing to train or to measure on; the message names the option.
    """
    skipped = Skipped()
    shards = expand(config.shards) if config.shards else []
    train, held_out = ([], []) if shards else _split(config)
    measured: Sequence[Named] = held_out
    if config.heldout:
        measured = find(Path(config.heldout), "--heldout")
    elif shards and heldout:
        measured = _held_out_of_shards(config, shards)
    patches = _patches_to_measure_on(config, measured, skipped) if heldout else {}

    about: dict[str, Any] = {"shards": len(shards)} if shards else {"photographs": len(train)}
    if not shards:
        folders = [Path(folder) for folder in config.images]
        about["licences"] = count_licences(folders) if folders else LICENCES
    if shards:
        fraction = 0.0 if config.heldout else config.data.heldout_fraction
        read = ShardReader(fraction, config.seed)
        batches: Batches = _stream(config, shards, read, process, skipped, device)
    elif config.images and not fit_into_memory(train, config.data):
        paths = [str(path) for _, path in train]
        batches = _stream(config, paths, read_file, process, skipped, device)
    else:
        work = Work(train, config.data, config.model.patch_size, config.seed)
        copies = [arrays for _, arrays in work.done(config.data.workers, skipped)]
        if not copies:
            raise ValueError(
                f"{_given(config)}: none of the {len(train)} photographs to train on can be used;"
                f" the first: {skipped.first()}"
            )
        about["photographs"] = len(copies)
        bank = PatchBank.of(copies, device)
        size = config.model.patch_size
        batches = MemoryBatches(bank, config.batch, size, config.seed, process)
    about["kept in memory"] = isinstance(batches, MemoryBatches)
    return Data(batches, patches, skipped, about)


def _given(config: Config) -> str:
    """The option that says what to train on, as given."""
    if config.shards:
        return f"--shards {config.shards}"
    return f"--images {' '.join(config.images)}"


def _split(config: Config) -> tuple[Files, Files]:
    """Photographs of folders, or embedded, to train on and to measure on."""
    if not config.images:
        return embedded_photographs()
    folders = [find(Path(folder), "--images") for folder in config.images]
    held = set[str]()
    if not config.heldout:
        names = [name for folder in folders for name, _ in folder]
        held = split_names(names, config.data.heldout_fraction, config.seed)
    train, measured = Files(), Files()
    for number, folder in enumerate(folders, 1):
        for name, path in folder:  # which may be in another folder as well
            unique = f"{number}/{name}" if len(folders) > 1 else name
            (measured if name in held else train).append((unique, path))
    return train, measured


def _held_out_of_shards(config: Config, shards: list[str]) -> list[Named]:
    """The first held-out photographs in shards, as many as are measured on."""
    read = ShardReader(config.data.heldout_fraction, config.seed, held_out=True)
    photographs = (named for shard in shards for named in read(shard))
    return [*islice(photographs, config.data.heldout_photographs)]


def _patches_to_measure_on(
    config: Config, photographs: Sequence[Named], skipped: Skipped
) -> dict[str, Tensor]:
    """Patches of some of the photographs, chosen by their names."""

    def key(named: Named) -> float:
        return fraction_of("measured", config.seed, named[0])

    data = config.data
    chosen = sorted(photographs, key=key)[: data.heldout_photographs]
    patches = held_out_patches(
        chosen, data, config.model.patch_size, config.seed, skipped, data.workers
    )
    if not patches:
        option = f"--heldout {config.heldout}" if config.heldout else _given(config)
        raise ValueError(
            f"{option}: none of the {len(chosen)} photographs to measure on can be used; the"
            f" first: {skipped.first() or 'there is none'}"
        )
    return patches


def _stream(
    config: Config,
    units: list[str],
    read: Reader,
    process: tuple[int, int],
    skipped: Skipped,
    device: torch.device,
) -> StreamBatches:
    _, n_processes = process
    if len(units) < n_processes:
        raise ValueError(
            f"{_given(config)}: {len(units)} to read for {n_processes} processes; each needs one"
            " of its own"
        )
    workers = min(config.data.workers, len(units) // n_processes)
    stream = Stream(
        units,
        read,
        n=config.batch // n_processes,
        size=config.model.patch_size,
        factors=(config.data.min_downscale, config.data.max_downscale),
        per_photograph=config.data.patches_per_photograph,
        mixed=config.data.mixed_photographs,
        greyscale=config.data.greyscale,
        seed=config.seed,
        process=process,
        positions=[Position()] * max(workers, 1),
    )
    return StreamBatches(stream, workers, skipped, device, _given(config))


def count_licences(folders: Sequence[Path]) -> dict[str, int]:
    """How many photographs have which licence, as far as a ``licences.csv`` beside them tells."""
    found = Counter[str]()
    for table in (folder / "licences.csv" for folder in folders):
        if table.is_file():
            with table.open(newline="") as lines:
                found.update(row["licence"] for row in csv.DictReader(lines))
    return dict(sorted(found.items()))
