"""What the options say to train on and to measure on."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
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
from pretrain_flow.photographs import UnusableError, find
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
        measured = _held_out_of_shards(config, shards, skipped)
    patches = _patches_to_measure_on(config, measured, skipped) if heldout else {}

    licences = read_licences([Path(folder) for folder in config.images])
    about: dict[str, Any] = {"shards": len(shards)} if shards else {}
    if shards:
        fraction = 0.0 if config.heldout else config.data.heldout_fraction
        read = ShardReader(fraction, config.seed)
        batches: Batches = _stream(config, shards, read, process, skipped, device)
    elif config.images and not fit_into_memory(train, config.data):
        paths = [str(path) for _, path in train]
        batches = _stream(config, paths, read_file, process, skipped, device)
    else:
        work = Work(train, config.data, config.model.patch_size, config.seed)
        copies = dict(work.done(config.data.workers, skipped))
        if not copies:
            raise ValueError(
                f"{_given(config)}: none of the {len(train)} photographs to train on can be used;"
                f" the first: {skipped.first()}"
            )
        train = [(name, path) for name, path in train if name in copies]
        bank = PatchBank.of([*copies.values()], device)
        size = config.model.patch_size
        batches = MemoryBatches(bank, config.batch, size, config.seed, process)
    if not shards:
        about["photographs"] = len(train)
        about["licences"] = (
            dict(sorted(Counter(licences[path] for _, path in train if path in licences).items()))
            if config.images
            else {name: LICENCES[name] for name, _ in train}
        )
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


def _held_out_of_shards(config: Config, shards: list[str], skipped: Skipped) -> list[Named]:
    """The first held-out photographs in shards, as many as are measured on."""
    read = ShardReader(config.data.heldout_fraction, config.seed, held_out=True)

    def photographs() -> Iterator[Named]:
        for name, source in (named for shard in shards for named in read(shard)):
            if isinstance(source, UnusableError):
                skipped.add([(name, str(source))])
            else:
                yield name, source

    return [*islice(photographs(), config.data.heldout_photographs)]


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


def read_licences(folders: Sequence[Path]) -> dict[Path, str]:
    """What the tables ``licences.csv`` in folders say: a photograph's path -> its licence.

    Raises:
        ValueError: a table is no UTF-8, or lacks a column; the message names both.
    """
    found = dict[Path, str]()
    for folder in folders:
        table = folder / "licences.csv"
        if not table.is_file():
            continue
        try:
            rows = csv.DictReader(io.StringIO(table.read_text("utf-8-sig"), newline=""))
        except UnicodeDecodeError as error:
            raise ValueError(f"{table}: not UTF-8: {error}") from error
        for column in ("file", "licence"):
            if column not in (rows.fieldnames or ()):
                raise ValueError(f"{table}: it has no column {column!r}")
        for row in rows:
            if row["file"] and row["licence"]:  # a short row lacks them
                found[folder / row["file"]] = row["licence"]
    return found
