"""A figure to draw on, from matplotlib, which is imported here and nowhere else."""

from typing import Any

__all__ = ["new_figure"]


def new_figure(function: str, width: float, height: float) -> Any:
    """Make an empty figure that belongs to no window, so that nobody has to close it.

    Args:
        function: name of the public function, for the message.
        width: inches.
        height: inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'{function} needs matplotlib: pip install "nerfreg[plot]"') from error
    return Figure(figsize=(width, height), layout="constrained")
