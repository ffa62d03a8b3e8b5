"""Depth maps that the user gives for training photographs, as a monocular network makes them."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from reference_impl.scenes.scene import Scene, SceneError

__all__ = ["DepthMapKind", "load_depth_maps"]

DepthMapKind = Literal["depth", "disparity"]
ENDINGS = (".npy", ".png", ".tif", ".tiff")


def load_depth_maps(folder: str | Path, scene: Scene, kind: DepthMapKind) -> dict[int, Tensor]:
    """Read one depth map for each training view, found by the photograph's name.

    Args:
        folder: with ``NAME.npy`` (H, W), or a grey ``NAME.png`` or ``NAME.tif`` of 8, 16 or 32
            bits, for a photograph ``NAME.jpg``. Any size of about the photograph's shape.
        scene: whose training views need maps.
        kind: ``"depth"``: larger is farther. ``"disparity"``: larger is nearer, as MiDaS and DPT
            answer.

    Returns:
        View -> (H, W) float32 of the photographs' size, from 1 (nearest) to 2 (farthest) in each
        map, so that a share of a depth means something everywhere; NaN where the file has NaN,
        infinity or, of a ``"depth"``, 0 and less.

    Raises:
        SceneError: a map is missing, damaged, of another shape, or has no two different numbers.
        ValueError: ``kind`` is unknown.
    """
    if kind not in get_args(DepthMapKind):
        raise ValueError(f"--depth-maps-kind {kind}: expected depth or disparity")
    folder = Path(folder)
    if not folder.is_dir():
        raise SceneError(folder, "no such folder; expected depth maps of the training views")
    size = scene.cameras.height, scene.cameras.width
    return {view: _load(folder, scene.names[view], size, kind) for view in scene.train}


def _load(folder: Path, photograph: str, size: tuple[int, int], kind: DepthMapKind) -> Tensor:
    stem = Path(photograph).stem
    found = [path for end in ENDINGS if (path := folder / f"{stem}{end}").is_file()]
    if len(found) != 1:
        names = ", ".join(f"{stem}{end}" for end in ENDINGS)
        got = f"{len(found)} of them" if found else "none"
        raise SceneError(folder, f"expected one of {names} for training view {photograph}, {got}")
    path = found[0]
    values = _read(path)
    height, width = size
    if abs(values.shape[1] / values.shape[0] * height / width - 1.0) > 0.05:
        got = f"{values.shape[1]}×{values.shape[0]}"
        raise SceneError(path, f"a map of {got} pixels for a photograph of {width}×{height}")
    values = values.where(values.isfinite(), torch.nan)
    if kind == "depth":
        values = values.where(values > 0, torch.nan)
    # Whole pixels are taken over: a mean across an edge is a depth that is nowhere.
    values = interpolate(values[None, None], size, mode="nearest-exact")[0, 0]
    known = values[values.isfinite()]
    if not len(known) or known.min() == known.max():
        raise SceneError(path, "a depth map without two different numbers orders nothing")
    share = (values - known.min()) / (known.max() - known.min())
    return (1.0 + share if kind == "depth" else 2.0 - share).float()


def _read(path: Path) -> Tensor:
    """Read a map as (H, W) float64."""
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as image:
                values = np.asarray(image)
    except (OSError, ValueError, EOFError, SyntaxError, UnidentifiedImageError) as error:
        raise SceneError(path, f"not a depth map that can be read ({error})") from error
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        raise SceneError(path, f"expected (H, W) numbers, got {values.dtype} {values.shape}")
    return torch.from_numpy(values.astype(np.float64))
