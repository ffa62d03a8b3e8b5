"""How many processes train together: torchrun's word counts where it started them."""

import os

__all__ = ["processes", "under_torchrun"]


def under_torchrun() -> bool:
    """Whether torchrun started this process, and others with it."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def processes(devices: int) -> tuple[int, int]:
    """Processes of this machine, and machines.

    Args:
        devices: as asked for, which counts where torchrun has no say.
    """
    if not under_torchrun():
        return devices, 1
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return here, int(os.environ["WORLD_SIZE"]) // here
