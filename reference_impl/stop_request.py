"""A polite end: the loop finishes its step and saves before the program leaves."""

import signal
from types import FrameType

import torch
from lightning_fabric import Fabric


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a flag that the loop reads between two steps.

    A second one stops at once. Outside of the ``with`` block signals act as they always do.
    """

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> "StopRequest":
        self._before = {n: signal.signal(n, self._set) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, fabric: Fabric, *, look: bool) -> bool:
        """Whether to stop after this step: all processes together, or gradients would not meet.

        Several processes ask each other only where ``look`` says so.
        """
        if fabric.world_size == 1:
            return bool(self.signal)
        if not look:
            return False
        flag = torch.tensor(float(self.signal > 0), device=fabric.device)
        return bool(fabric.all_reduce(flag, reduce_op="max"))

    def _set(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt("stopped at once; --resume goes on from the last checkpoint")
        self.signal = number
