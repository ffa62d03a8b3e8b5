"""A run's folder as it grows: checkpoints as they come, and how far training is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from reference_impl import checkpoints
from reference_impl.run import Run
from reference_impl.run_folder import is_whole
from reference_impl.viewer.sight import Field

TAIL = 16_384  # bytes of the log that hold its last lines


@dataclass(frozen=True)
class Snapshot:
    """The field as of a checkpoint, and the random state that training went on with."""

    field: Field
    random_state: Tensor


class FollowedRun:
    """A run whose checkpoints stay in memory once seen, whatever becomes of their files.

    Args:
        folder: of the run, finished or still being written.
        device: that renders.

    Attributes:
        snapshots: by step.
        problem: what hindered reading the newest checkpoint; empty: nothing.

    Raises:
        ValueError: the folder is no run.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self.device = folder, device
        self.run = Run.open(folder)
        self.space = self.run.space(device)
        self.snapshots: Mapping[int, Snapshot] = {}
        self.problem = ""
        self.look()

    @property
    def label(self) -> str:
        """What the run is called on the page."""
        config = self.run.config
        return f"{self.folder.resolve().name}: {self.run.recipe.name}, seed {config.seed}"

    def look(self) -> bool:
        """Read the checkpoints that have come since the last look; tells whether there are any.

        One that cannot be read, because it is damaged or has just been dropped, is tried again at
        the next look.
        """
        self.problem, found = "", dict[int, Snapshot]()
        for checkpoint in checkpoints.saved(self.folder):
            if checkpoint.step in self.snapshots:
                continue
            try:
                found[checkpoint.step] = self._read(checkpoint)
            except ValueError as error:
                self.problem = str(error)
        self.snapshots = dict(sorted({**self.snapshots, **found}.items()))
        return bool(found)

    def _read(self, checkpoint: checkpoints.Checkpoint) -> Snapshot:
        model = self.run.model()
        checkpoints.load_model(checkpoint, model)
        model = model.to(self.device).eval()
        path = checkpoint.path / "optimizer.safetensors"
        with checkpoints.reading(path), safe_open(path, framework="pt") as file:
            random_state = file.get_tensor("generator")
        renderer = self.run.at_step(model, checkpoint.step)
        return Snapshot(Field(renderer, self.run.scene, self.space), random_state)

    def nearest(self, step: int) -> int | None:
        """The step in memory that is nearest to another; ``None`` where there is none yet."""
        return min(self.snapshots, key=lambda known: abs(known - step), default=None)

    def progress(self) -> str:
        """The last step and PSNR that training wrote down."""
        last: dict[str, Any] = {}
        for line in _tail(self.folder / "log.jsonl"):
            last = {**last, **line}
        steps = self.run.config.steps
        if "step" not in last:
            return f"step 0 of {steps}"
        psnr = f", PSNR {last['psnr']:.2f} dB on its rays" if "psnr" in last else ""
        return f"step {last['step']} of {steps}{psnr}"


def _tail(path: Path) -> list[dict[str, Any]]:
    """The last lines of a log that may still be written; the first and last may be torn."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - TAIL, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    values = [json.loads(line) for line in lines if is_whole(line)]
    return [value for value in values if isinstance(value, dict)]
