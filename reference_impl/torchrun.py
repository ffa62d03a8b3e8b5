"""How many processes train together: torchrun's word counts where it started them."""

import os

import torch

__all__ = ["processes", "require_gpus"]


def processes(devices: int) -> tuple[int, int]:
    """Processes of this machine, and machines.

    Args:
        devices: as asked for, which counts where torchrun has no say.
    """
    if not _under_torchrun():
        return devices, 1
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return here, int(os.environ["WORLD_SIZE"]) // here


def require_gpus(devices: int) -> None:
    """Require a GPU for each of this machine's processes.

    Raises:
        ValueError: there are fewer.
    """
    there = torch.cuda.device_count()
    if devices > there:
        asked = f"torchrun's {devices} processes" if _under_torchrun() else f"--devices {devices}"
        raise ValueError(f"{asked}: there are {there} GPUs")


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ
