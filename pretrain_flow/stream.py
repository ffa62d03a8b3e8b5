"""Photographs that do not fit into memory: decoded in worker processes, one after the other.

The units of a stream are the files of a folder, or shards (tar files) that are read from their
beginning. Each worker takes every n-th unit of an order that is shuffled anew each epoch. It
decodes ``mixed`` photographs, cuts the same number of patches from each, shuffles them together,
and hands them out in batches. With each batch comes the worker's position: where the photographs
that it is mixed from begin, and which batch of them is next. A stream that starts there goes on
with exactly the same batches.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pretrain_flow.cuts import cut_at_sizes
from pretrain_flow.draws import numpy_rng
from pretrain_flow.photographs import UnusableError, decode

Source = Path | bytes | UnusableError
Reader = Callable[[str], Iterable[tuple[str, Source]]]


class Position(NamedTuple):
    """Where a worker stands: at a sample of a unit of its epoch, before a batch of a mixture."""

    epoch: int = 0
    unit: int = 0
    sample: int = 0
    batch: int = 0


class Item(NamedTuple):
    """What a worker hands over: a batch, or why there is none, and the files it could not use."""

    patches: Tensor | None
    worker: int
    position: Position
    skipped: list[tuple[str, str]]
    error: str


@dataclass(frozen=True)
class Stream(IterableDataset[Item]):
    """Batches of patches (n, size, size, 3), uint8, without end.

    Attributes:
        units: what ``read`` takes.
        read: the photographs of a unit: names, and what to decode.
        n: patches in a batch.
        size: side of a patch.
        factors: range of the random factor by which photographs are made smaller.
        per_photograph: patches from each photograph.
        mixed: photographs whose patches are shuffled together.
        greyscale: what to do with it, as in :func:`decode`.
        seed: of the order and the places of patches.
        process: this process and the number of them.
        positions: where each worker begins; as many as there are workers.
        turn: the worker whose batch comes first.
    """

    units: list[str]
    read: Reader
    n: int
    size: int
    factors: tuple[float, float]
    per_photograph: int
    mixed: int
    greyscale: str
    seed: int
    process: tuple[int, int]
    positions: list[Position]
    turn: int = 0

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        # The loader asks its workers in turn, from the first; after a stop another one is next.
        worker = ((info.id if info else 0) + self.turn) % len(self.positions)
        return self.batches(worker)

    def batches(self, worker: int) -> Iterator[Item]:
        """The batches of one worker, until it has tried every unit in vain.

        Its share is another one each epoch, so that one of unusable files alone ends nothing.
        """
        skip, skipped = self.positions[worker].batch, list[tuple[str, str]]()
        start = self.positions[worker]._replace(batch=0)
        mixture, tried = list[np.ndarray](), set[int]()
        # Of an epoch that is gone on with, what lies behind is not known to be unusable.
        usable = 1 if start.unit or start.sample else 0
        wanted = max(self.mixed, -(-self.n // self.per_photograph))
        for after, name, source in self.samples(worker, start):
            if source is None:
                tried = set() if usable else tried.union(self.share(worker, after.epoch - 1))
                if len(tried) == len(self.units):
                    error = f"none of the {len(self.units)} files is a usable photograph"
                    yield Item(None, worker, start, skipped, error)
                    return
                usable = 0
                continue
            try:
                mixture.append(self.patches(name, source, after.epoch))
            except UnusableError as error:
                skipped.append((name, str(error)))
                continue
            usable += 1
            if len(mixture) < wanted:
                continue
            patches = np.concatenate(mixture)
            order = numpy_rng(self.seed, "mix", self.process, worker, start).permutation(
                len(patches)
            )
            for batch in range(skip, len(patches) // self.n):
                chosen = order[batch * self.n : (batch + 1) * self.n]
                position = start._replace(batch=batch + 1)
                yield Item(torch.from_numpy(patches[chosen]), worker, position, skipped, "")
                skipped = []
            start, skip, mixture = after, 0, []

    def samples(
        self, worker: int, start: Position
    ) -> Iterator[tuple[Position, str, Source | None]]:
        """From a position on, each photograph after which comes which position.

        The end of an epoch, where nothing is to decode, comes as a ``None``.
        """
        epoch, unit, sample = start.epoch, start.unit, start.sample
        while True:
            order = self.share(worker, epoch)
            for at in range(unit, len(order)):
                for i, (name, source) in enumerate(self.read(self.units[order[at]])):
                    if i >= sample:  # before it, only read: nothing is decoded twice
                        yield Position(epoch, at, i + 1), name, source
                sample = 0
            epoch, unit = epoch + 1, 0
            yield Position(epoch), "", None

    def share(self, worker: int, epoch: int) -> list[int]:
        """Which units are a worker's in an epoch, in order."""
        process, n_processes = self.process
        turn, n_turns = process * len(self.positions) + worker, n_processes * len(self.positions)
        order = numpy_rng(self.seed, "order", epoch).permutation(len(self.units))
        return order[turn::n_turns].tolist()

    def patches(self, name: str, source: Source, epoch: int) -> np.ndarray:
        """A photograph's patches of this epoch."""
        if isinstance(source, UnusableError):
            raise source
        rng = numpy_rng(self.seed, "patches", name, epoch)
        photograph = decode(source, self.greyscale)
        n, size = self.per_photograph, self.size
        return cut_at_sizes(photograph, n, self.factors, rng, size, flip=True, n_sizes=1)


def loader(stream: Stream, workers: int) -> DataLoader[Item]:
    """A loader whose workers are the stream's; with none, the trainer decodes itself."""
    return DataLoader(
        stream,
        batch_size=None,
        collate_fn=as_it_is,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=outlive_signals,
    )


def outlive_signals(worker: int) -> None:
    """Let a worker live on for a while after a Ctrl-C or SIGTERM that reaches all processes.

    The trainer may be waiting for its batch, to finish the step and save.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(30))  # whose default is to end it


def as_it_is(item: Any) -> Any:
    """What a worker hands over needs no collating."""
    return item


def read_file(path: str) -> list[tuple[str, Source]]:
    """A folder's unit: one file."""
    return [(path, Path(path))]
