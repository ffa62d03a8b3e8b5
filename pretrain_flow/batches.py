"""Where a training step's patches come from: photographs in memory, or a stream of them."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from nerfreg.priors import dequantize
from pretrain_flow.bank import PatchBank
from pretrain_flow.draws import torch_rng
from pretrain_flow.skipped import Skipped
from pretrain_flow.stream import Item, Position, Stream, loader


class Batches(Protocol):
    """Patches for the steps of one process.

    Attributes:
        waited: seconds that the trainer has waited for patches, but for the first.
        first_wait: seconds until the first patches were there.
    """

    waited: float
    first_wait: float

    def next(self, step: int) -> Tensor:
        """This process's patches of a step, (n, P, P, 3), dequantised; steps come in order."""
        ...

    def sample(self, n: int) -> Tensor:
        """About ``n`` patches to take mean and covariance from, alike in every process."""
        ...

    def close(self) -> None:
        """Let the processes go that decode."""
        ...

    @property
    def positions(self) -> Tensor:
        """Where to go on after the last step: whole numbers, none if the step says it all."""
        ...


class Timed:
    """Times how long the trainer waits."""

    def __init__(self) -> None:
        self.waited, self.first_wait = 0.0, -1.0

    def note(self, seconds: float) -> None:
        """Add one wait."""
        if self.first_wait < 0:
            self.first_wait = seconds
        else:
            self.waited += seconds

    def close(self) -> None:
        """There is nothing to let go of."""


class MemoryBatches(Timed):
    """Patches gathered from a bank.

    Every process draws the whole batch and keeps its share. So any number of processes trains on
    the same patches, and each step's are known from its number alone.
    """

    positions = torch.zeros(0, dtype=torch.int64)

    def __init__(
        self, bank: PatchBank, batch: int, size: int, seed: int, process: tuple[int, int]
    ) -> None:
        super().__init__()
        self.bank, self.batch, self.size, self.seed = bank, batch, size, seed
        self.process = process

    def next(self, step: int) -> Tensor:
        """This process's patches of a step."""
        started = time.perf_counter()
        process, n_processes = self.process
        patches = self._draw(self.batch, "step", step)[process::n_processes]
        self.note(time.perf_counter() - started)
        return patches

    def sample(self, n: int) -> Tensor:
        """Patches for the standardisation."""
        return self._draw(n, "standardize")

    def _draw(self, n: int, *purpose: object) -> Tensor:
        generator = torch_rng(self.bank.pixels.device, self.seed, *purpose)
        return dequantize(self.bank.draw(n, self.size, generator), generator)


class StreamBatches(Timed):
    """Patches from a stream, each process its own."""

    def __init__(
        self,
        stream: Stream,
        workers: int,
        skipped: Skipped,
        device: torch.device | str,
        option: str = "",
    ) -> None:
        super().__init__()
        self.stream, self.skipped, self.device = stream, skipped, device
        self.positions = torch.tensor(stream.positions)
        self._workers, self._option = workers, option
        self._items: Iterator[Item] | None = None

    def next(self, step: int) -> Tensor:
        """This process's patches of a step."""
        started = time.perf_counter()
        if self._items is None:  # now, and not before: a resumed run sets the positions first
            self._items = iter(loader(self.stream, self._workers))
        item = next(self._items)
        patches = self._take(item)
        self.positions[item.worker] = torch.tensor(item.position)
        generator = torch_rng(self.device, self.stream.seed, "noise", step, self.stream.process)
        patches = dequantize(patches, generator)
        self.note(time.perf_counter() - started)
        return patches

    def sample(self, n: int) -> Tensor:
        """Patches for the standardisation, from the beginning of what the first worker reads."""
        first = replace(self.stream, process=(0, 1), positions=[Position()])
        patches, found = list[Tensor](), 0
        for item in first.batches(0):
            patches.append(self._take(item))
            found += len(patches[-1])
            if found >= n:
                break
        generator = torch_rng(self.device, self.stream.seed, "standardize")
        return dequantize(torch.cat(patches), generator)

    def resume(self, step: int, positions: Tensor) -> None:
        """Go on at a step, from where the checkpoint says that the workers stood."""
        self.positions = positions.clone()
        starts = [Position(*row) for row in positions.tolist()]
        turn = step % len(starts)
        self.stream = replace(self.stream, positions=starts, turn=turn)

    def close(self) -> None:
        """Let the workers go: a loader's iterator ends them when nobody has it any more."""
        self._items = None

    def _take(self, item: Item) -> Tensor:
        self.skipped.add(item.skipped)
        if item.patches is None:
            raise ValueError(f"{self._option}: {item.error}; the first: {self.skipped.first()}")
        return item.patches.to(self.device)
