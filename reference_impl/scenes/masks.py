"""Masks: which pixels of a photograph show the object that a protocol measures."""

from pathlib import Path

import torch
from torch import Tensor

from reference_impl.scenes.images import image_size, read_image, reduce_image
from reference_impl.scenes.scene import SceneError

__all__ = ["load_masks", "of_photographs"]


def of_photographs(folder: Path, n_photographs: int) -> dict[int, Path]:
    """Find the masks of photographs by their order, if there is such a folder.

    Raises:
        SceneError: there are more or fewer masks than photographs.
    """
    paths = sorted(folder.glob("*.png")) if folder.is_dir() else []
    if paths and len(paths) != n_photographs:
        raise SceneError(folder, f"{len(paths)} masks, but {n_photographs} photographs")
    return dict(enumerate(paths))


def load_masks(
    paths: dict[int, Path], size: tuple[int, int], width: int | None = None
) -> dict[int, Tensor]:
    """Read masks; a pixel is the object's where all of it is white.

    RegNeRF counts pixels whose mask is exactly 1, too. A reduced pixel counts where all the pixels
    that it covers do, so that no background is measured.

    Args:
        paths: of images, by view: white where the object is.
        size: (width, height) of the photographs as they lie on disk.
        width: that the photographs are reduced to, if they are.

    Returns:
        (H, W) bool by view, of the size that the photographs get.

    Raises:
        SceneError: a mask cannot be read, has another size than the photographs, or shows nothing.
    """
    masks: dict[int, Tensor] = {}
    for view, path in paths.items():
        if (got := image_size(path)) != size:
            sizes = f"a mask of {got[0]}×{got[1]} pixels for photographs of {size[0]}×{size[1]}"
            raise SceneError(path, sizes)
        white = (read_image(path) == 255).all(-1, keepdim=True)
        shown = 255 * white.to(torch.uint8).expand(-1, -1, 3)
        if width is not None:
            shown = reduce_image(shown, width)
        masks[view] = shown[..., 0] == 255
        if not masks[view].any():
            raise SceneError(path, "no object here: no pixel is white (255)")
    return masks
