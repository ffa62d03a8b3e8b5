"""Losses that stop being finite are noticed, named, and never saved."""

import math
from pathlib import Path

import torch
from torch import Tensor

from reference_impl import checkpoints


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite."""


class Watch:
    """Notes on the device, without waiting for it, at which step a term first was not finite."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}

    def record(self, step: int, values: dict[str, Tensor]) -> None:
        """Look at every term's value of one step."""
        for name, value in values.items():
            first = self.first.setdefault(name, torch.full_like(value, math.inf))
            self.first[name] = torch.where(torch.isfinite(value), first, first.clamp_max(step))

    def check(self, run: Path) -> None:
        """Raise if any term was not finite so far."""
        bad = {
            n: int(v) for n, v in ((n, float(v)) for n, v in self.first.items()) if math.isfinite(v)
        }
        if not bad:
            return
        name = min(bad, key=bad.__getitem__)
        try:
            good = f"the last good checkpoint is {checkpoints.latest(run).path}"
        except ValueError:
            good = "there is no checkpoint yet"
        raise NonFiniteLossError(f"term {name!r} became non-finite at step {bad[name]}; {good}")
