"""What the options say to train on and to measure on."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain_flow.bank import PatchBank
from pretrain_flow.batches import Batches, MemoryBatches, StreamBatches
from pretrain_flow.config import Config
from pretrain_flow.embedded import LICENCES, embedded_photographs
from pretrain_flow.photo_sets import Named, Work, fit_into_memory, held_out_patches
from pretrain_flow.photographs import find
from pretrain_flow.shards import ShardReader, expand
from pretrain_flow.skipped import Skipped
from pretrain_flow.split import fraction_of, split_names
from pretrain_flow.stream import Position, Reader, Stream, read_file


@dataclass(frozen=True)
class Data:
    """Patches to train on, and held-out patches by photograph.

    Attributes:
        batches: for the training steps.
        heldout: (n, P, P, 3) uint8 by the photograph's name.
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
    if config.shards:
        train, measured = _shards(config)
    else:
        train, measured = _photographs(config)
    if config.heldout:
        measured = _sample(find(Path(config.heldout), "--heldout"), config)
    option = "--heldout" if config.heldout else "--shards" if config.shards else "--images"
    patches = dict[str, Tensor]()
    if heldout:
        patches = held_out_patches(
            measured,
            config.data,
            config.model.patch_size,
            config.seed,
            skipped,
            config.data.workers,
        )
        if not patches:
            raise ValueError(
                f"{option}: none of the {len(measured)} photographs to measure on can be used;"
                f" the first: {skipped.first() or 'there is none'}"
            )
    about: dict[str, Any] = {
        "photographs": len(train),
        "licences": count_licences([Path(folder) for folder in config.images]),
    }
    if config.shards:
        about = {"shards": len(train)}
        read = ShardReader(0.0 if config.heldout else config.data.heldout_fraction, config.seed)
        units = [name for name, _ in train]
        batches: Batches = _stream(config, units, read, process, skipped, device)
    elif config.images and not fit_into_memory(_paths(train), config.data):
        units = [str(path) for _, path in _paths(train)]
        batches = _stream(config, units, read_file, process, skipped, device)
    else:
        work = Work(train, config.data, config.model.patch_size, config.seed)
        copies = [arrays for _, arrays in work.done(config.data.workers, skipped)]
        if not copies:
            raise ValueError(
                f"{_named(config)}: none of the {len(train)} photographs to train on can be used;"
                f" the first: {skipped.first()}"
            )
        about["photographs"] = len(copies)
        bank = PatchBank.of(copies, device)
        size = config.model.patch_size
        batches = MemoryBatches(bank, config.batch, size, config.seed, process)
    if not (config.images or config.shards):
        about["licences"] = LICENCES
    about["kept in memory"] = isinstance(batches, MemoryBatches)
    return Data(batches, patches, skipped, about)


def _named(config: Config) -> str:
    """The option that names what to train on, as given."""
    if config.shards:
        return f"--shards {config.shards}"
    return f"--images {' '.join(config.images)}"


def _photographs(config: Config) -> tuple[list[Named], list[Named]]:
    """Photographs of folders, or embedded, to train on and to measure on."""
    if not config.images:
        train, measured = embedded_photographs()
        return [*train], [*measured]
    found = [pair for folder in config.images for pair in find(Path(folder), "--images")]
    if config.heldout:
        return [*found], []
    held = split_names([name for name, _ in found], config.data.heldout_fraction, config.seed)
    measured = [pair for pair in found if pair[0] in held]
    return [pair for pair in found if pair[0] not in held], _sample(measured, config)


def _sample(photographs: Sequence[tuple[str, Path]], config: Config) -> list[Named]:
    """As many photographs as are measured on, chosen by their names."""

    def key(pair: tuple[str, Path]) -> float:
        return fraction_of("measured", config.seed, pair[0])

    return [*sorted(photographs, key=key)[: config.data.heldout_photographs]]


def _shards(config: Config) -> tuple[list[Named], list[Named]]:
    """Shards to train on, and the first held-out photographs in them."""
    urls = expand(config.shards)
    measured = list[Named]()
    if not config.heldout:
        read = ShardReader(config.data.heldout_fraction, config.seed, held_out=True)
        for url in urls:
            for named in read(url):
                measured.append(named)
                if len(measured) == config.data.heldout_photographs:
                    return [(url, Path(url)) for url in urls], measured
    return [(url, Path(url)) for url in urls], measured


def _paths(photographs: Sequence[Named]) -> list[tuple[str, Path]]:
    return [(name, source) for name, source in photographs if isinstance(source, Path)]


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
            f"{_named(config)}: {len(units)} to read for {n_processes} processes; each needs one"
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
    return StreamBatches(stream, workers, skipped, device, _named(config))


def count_licences(folders: Sequence[Path]) -> dict[str, int]:
    """How many photographs have which licence, as far as a ``licences.csv`` beside them tells."""
    found = Counter[str]()
    for table in (folder / "licences.csv" for folder in folders):
        if table.is_file():
            with table.open(newline="") as lines:
                found.update(row["licence"] for row in csv.DictReader(lines))
    return dict(sorted(found.items()))
