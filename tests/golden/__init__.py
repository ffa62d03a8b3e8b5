"""Upstream's numbers: inputs, outputs and gradients of the published implementations, as data."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["GOLDEN", "golden", "golden_cases"]

GOLDEN = Path(__file__).parent


def golden(family: str, case: int | None = None) -> dict[str, Tensor | np.ndarray]:
    """Load one case of a family by name, e.g. ``golden("dsnerf_sigma_loss", 1)``.

    Numbers come as CPU tensors of their stored dtype, text as NumPy arrays. ``case=None`` is for
    the files without numbered cases: ``golden("colmap_gappy")``.
    """
    one_file_a_case = GOLDEN / "regnerf" / f"{family}_case{case}.npz"
    path, prefix = (
        (one_file_a_case, "")
        if one_file_a_case.exists()
        else (GOLDEN / "losses" / f"{family}.npz", "" if case is None else f"case{case}_")
    )
    with np.load(path) as arrays:
        found = {
            name.removeprefix(prefix): arrays[name]
            for name in arrays.files
            if name.startswith(prefix) and name != "num_cases"
        }
    if not found:
        raise KeyError(f"{path.name} has no case {case}")
    return {
        name: torch.from_numpy(array) if array.dtype.kind in "biuf" else array
        for name, array in found.items()
    }


def golden_cases(family: str) -> list[int]:
    """List the numbers of a family's cases, for ``pytest.mark.parametrize``."""
    files = list((GOLDEN / "regnerf").glob(f"{family}_case*.npz"))
    if files:
        return sorted(int(file.stem.rpartition("_case")[2]) for file in files)
    with np.load(GOLDEN / "losses" / f"{family}.npz") as arrays:
        return sorted({int(n[4 : n.index("_")]) for n in arrays.files if n.startswith("case")})
