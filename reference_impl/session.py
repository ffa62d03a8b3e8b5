"""With what a run was made: command, versions, commit, machine; a line for each start."""

import json
import platform
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nerfreg import __version__

__all__ = ["SESSIONS", "add_session", "command_line", "commit"]

SESSIONS = "sessions.jsonl"
ROOT = Path(__file__).resolve().parent.parent


def add_session(folder: Path, *, step: int, device: str, command: str) -> None:
    """Append what this process is to a run's sessions.jsonl.

    Args:
        folder: of the run.
        step: that it starts or goes on from.
        device: that trains.
        command: as typed; empty where a program called.
    """
    session: dict[str, Any] = {
        "step": step,
        "command": command,
        "nerfreg": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
    }
    with (folder / SESSIONS).open("a") as file:
        file.write(json.dumps(session) + "\n")


def command_line(arguments: Sequence[str]) -> str:
    """The command with which a program was called, without the folders that it lies in."""
    program, *options = arguments
    path = Path(program).resolve()
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return shlex.join(["python", name, *options])


def commit() -> str:
    """The commit of the code that runs, ``unknown`` outside of a checkout."""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    """The processor's name, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
