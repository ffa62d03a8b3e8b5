"""Photographs as 8-bit RGB, whatever kind of file they come in."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset(
    {".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"},
)


class UnusableError(Exception):
    """Why one file cannot be used; training goes on without it."""


def find(folder: Path, option: str) -> list[tuple[str, Path]]:
    """Find the image files below a folder, by suffix: names relative to it, and paths, in order.

    Raises:
        ValueError: there is no such folder, or no image in it; the message names the option.
    """
    if not folder.is_dir():
        raise ValueError(f"{option} {folder}: no such folder")
    found = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not found:
        known = ", ".join(sorted(SUFFIXES))
        raise ValueError(f"{option} {folder}: no image in it or below (looked for {known})")
    return sorted((p.relative_to(folder).as_posix(), p) for p in found)


def decode(source: Path | bytes, greyscale: str = "keep") -> np.ndarray:
    """Decode a photograph upright, to uint8 (H, W, 3).

    The EXIF orientation is applied, transparency composited on white, CMYK converted without its
    colour profile, and of 16 bits the upper eight are kept. Greyscale is repeated to three channels
    or, with ``greyscale="skip"``, refused.

    Raises:
        UnusableError: the file is damaged or has no agreed range of values.
    """
    try:
        with (
            warnings.catch_warnings(),
            Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image,
        ):
            warnings.simplefilter("ignore")  # Pillow's, of oddities that it copes with
            if greyscale == "skip" and image.mode in ("1", "L", "LA", "I", "I;16", "I;16B"):
                raise UnusableError("greyscale")
            return np.array(_rgb(ImageOps.exif_transpose(image)))
    except UnusableError:
        raise
    except Exception as error:  # what a damaged file raises depends on its format
        raise UnusableError(f"unreadable: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnusableError("32-bit integers, whose range is unknown")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UnusableError("floating-point values, whose range is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
