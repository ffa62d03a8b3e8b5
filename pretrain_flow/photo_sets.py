"""Photographs that are decoded at once, in worker processes, because all of them are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pretrain_flow.bank import bytes_needed
from pretrain_flow.config import DataConfig
from pretrain_flow.cuts import cut_at_sizes, reduced
from pretrain_flow.draws import numpy_rng
from pretrain_flow.photographs import UnusableError, decode
from pretrain_flow.skipped import Skipped
from pretrain_flow.stream import Source, as_it_is

Named = tuple[str, Source]


@dataclass(frozen=True)
class Work(Dataset[tuple[str, list[np.ndarray], str]]):
    """What a worker does with a photograph.

    Attributes:
        photographs: names, and what to decode.
        config: sizes and what to do with greyscale.
        size: side of a patch.
        seed: of the random sizes and, of held-out photographs, the places of patches.
        patches: patches to cut from each; 0: keep the photograph, at several sizes.
    """

    photographs: Sequence[Named]
    config: DataConfig
    size: int
    seed: int
    patches: int = 0

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> tuple[str, list[np.ndarray], str]:
        """A photograph's name, its copies or its patches, and why there are none."""
        if index >= len(self):
            raise IndexError
        name, source = self.photographs[index]
        config, factors = self.config, (self.config.min_downscale, self.config.max_downscale)
        rng = numpy_rng(self.seed, "kept", name)
        try:
            if isinstance(source, UnusableError):
                raise source
            photograph = decode(source, config.greyscale)
            if not self.patches:
                return name, reduced(photograph, config.sizes, factors, rng, self.size), ""
            return name, [cut_at_sizes(photograph, self.patches, factors, rng, self.size)], ""
        except UnusableError as error:
            return name, [], str(error)

    def done(self, workers: int, skipped: Skipped) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Each usable photograph's name, and its copies or patches; the others are noted."""
        workers = min(workers, len(self) // 16)  # starting a process costs more than a few photos
        results = (
            DataLoader(self, batch_size=None, collate_fn=as_it_is, num_workers=workers)
            if workers
            else self
        )
        for name, arrays, reason in results:
            if reason:
                skipped.add([(name, reason)])
            else:
                yield name, arrays


def held_out_patches(
    photographs: Sequence[Named],
    config: DataConfig,
    size: int,
    seed: int,
    skipped: Skipped,
    workers: int,
) -> dict[str, Tensor]:
    """Patches (n, size, size, 3) uint8 of each photograph: the same in every run of a seed."""
    work = Work(photographs, config, size, seed, config.heldout_patches)
    return {name: torch.from_numpy(cut) for name, (cut,) in work.done(workers, skipped)}


def fit_into_memory(photographs: Sequence[tuple[str, Path]], config: DataConfig) -> bool:
    """Whether all photographs at all their sizes fit the budget, as far as their headers tell."""
    left = config.memory_gb * 1e9
    factors = (config.min_downscale, config.max_downscale)
    for _, path in photographs:
        try:
            with Image.open(path) as image:
                width, height = image.size
                left -= bytes_needed(width, height, config.sizes, factors)
        except Exception:  # unreadable: counted and named when it is decoded
            continue
        if left < 0:
            return False
    return True
