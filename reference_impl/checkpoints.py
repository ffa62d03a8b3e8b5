"""Checkpoints: safetensors for tensors, JSON for the rest, written whole or not at all."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FORMAT = "nerfreg-mipnerf-1"
KEEP = 2


def fingerprint(model: nn.Module) -> str:
    """A hash of every parameter's name and shape: what must agree for weights to fit."""
    text = json.dumps([(name, list(p.shape)) for name, p in model.state_dict().items()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies and which step comes next."""

    path: Path
    step: int


def save(
    run: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    seconds: float,
    keep: int = KEEP,
) -> Checkpoint:
    """Write a checkpoint under a temporary name, rename it, then drop all but the newest ``keep``.

    Nothing is dropped where ``keep`` is 0.
    """
    folder = run / "checkpoints"
    target, partial = folder / f"step_{step:07d}", folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    metadata = {"format": FORMAT, "fingerprint": fingerprint(model)}
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        partial / "model.safetensors",
        metadata,
    )
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {"generator": generator.get_state().cpu()}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            tensors[f"{index}.{key}"] = torch.as_tensor(value).cpu().contiguous()
    save_file(tensors, partial / "optimizer.safetensors", metadata)
    (partial / "state.json").write_text(
        json.dumps(
            {
                "step": step,
                "seconds": seconds,
                "device": generator.device.type,
                "param_groups": state["param_groups"],
            },
            indent=2,
        )
        + "\n"
    )
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
    for old in saved(run)[:-keep] if keep else []:
        shutil.rmtree(old.path)
    return Checkpoint(target, step)


def latest(run: Path) -> Checkpoint:
    """The newest checkpoint of a run.

    Raises:
        ValueError: the folder holds none.
    """
    found = saved(run)
    if not found:
        raise ValueError(f"{run}: no checkpoint in {run / 'checkpoints'}")
    return found[-1]


def any_saved(run: Path) -> bool:
    """Whether a run has a checkpoint."""
    return bool(saved(run))


def saved(run: Path) -> list[Checkpoint]:
    """Find the checkpoints of a run, oldest first; other things may lie beside them."""
    folder = run / "checkpoints"
    steps = {path: path.name.removeprefix("step_") for path in folder.glob("step_*")}
    found = [Checkpoint(path, int(step)) for path, step in steps.items() if step.isdecimal()]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into one error that names it."""
    try:
        yield
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a readable checkpoint: {error}") from error


def load_model(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Fill a model from a checkpoint.

    Raises:
        ValueError: the file is unreadable, of another format, or of another architecture.
    """
    path = checkpoint.path / "model.safetensors"
    with reading(path):
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        tensors = load_file(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: format {metadata.get('format')!r}, expected {FORMAT!r}")
    if metadata.get("fingerprint") != fingerprint(model):
        given = {name: tuple(value.shape) for name, value in tensors.items()}
        own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        differ = [
            f"{n}: {given.get(n)} in the file, {own.get(n)} here"
            for n in own | given
            if given.get(n) != own.get(n)
        ]
        raise ValueError(f"{path}: weights of another architecture ({'; '.join(differ[:3])}, …)")
    model.load_state_dict(tensors)


def load_training(
    checkpoint: Checkpoint,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> tuple[int, float]:
    """Restore model, optimiser and random state.

    Returns:
        The step to go on with, and the seconds that training took so far.

    Raises:
        ValueError: as :func:`load_model`, or another of the checkpoint's files is damaged.
    """
    load_model(checkpoint, model)
    path = checkpoint.path / "state.json"
    with reading(path):
        state: dict[str, Any] = json.loads(path.read_text())
        step, seconds = int(state["step"]), float(state["seconds"])
        device, groups = state["device"], state["param_groups"]
    path = checkpoint.path / "optimizer.safetensors"
    with reading(path):
        tensors = load_file(path)
        random_state = tensors.pop("generator")
    if device == generator.device.type:
        generator.set_state(random_state)
    else:
        generator.manual_seed(generator.initial_seed() + 7_919 * step)
        warnings.warn(
            f"{checkpoint.path}: saved on {device}, resumed on {generator.device.type}: random"
            " draws differ from those of a run that was never stopped",
            stacklevel=2,
        )
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
    return step, seconds
