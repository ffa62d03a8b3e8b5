"""Photos as tensors: reading, compositing, undistorting, reducing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import grid_sample

from reference_impl.scenes.scene import SceneError

__all__ = [
    "ENDINGS",
    "Distortion",
    "image_size",
    "list_images",
    "load_images",
    "read_image",
    "reduce_image",
]

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

# What Pillow raises for a header that claims more pixels than it dares to allocate; the second one
# only where warnings are errors.
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def list_images(folder: Path) -> list[Path]:
    """List a folder's photos, sorted by name.

    Raises:
        SceneError: the folder is missing or has no photo.
    """
    if not folder.is_dir():
        raise SceneError(folder, "no such folder; expected the scene's images")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not paths:
        raise SceneError(folder, f"no images; expected files ending in {' '.join(ENDINGS)}")
    return paths


def read_image(path: Path, background: float = 0.0, size: tuple[int, int] | None = None) -> Tensor:
    """Read one photo: colour or grey, 8 or 16 bits, with or without transparency.

    The pixels are taken as they are stored, because that is what cameras are estimated on; a
    rotation that the EXIF header asks for is applied only where ``size`` shows that the cameras saw
    it so.

    Args:
        path: of the file.
        background: grey level in [0, 1] under transparent pixels.
        size: expected (width, height), if known.

    Returns:
        (H, W, 3) uint8.

    Raises:
        SceneError: the file is missing, unreadable, truncated or too large.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if size is not None and image.size != size and image.size[::-1] == size:
                image = ImageOps.exif_transpose(image)
            return _to_rgb(image, background)
    except FileNotFoundError:
        raise SceneError(path, "no such image") from None
    except UnidentifiedImageError:
        raise SceneError(path, "not an image that can be read") from None
    except TOO_LARGE as error:
        raise SceneError(path, f"damaged or too large an image ({error})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise SceneError(path, f"damaged or truncated image ({error})") from error


def _to_rgb(image: Image.Image, background: float) -> Tensor:
    if image.mode.startswith("I"):  # grey, 16 bits a pixel
        grey = np.asarray(image, dtype=np.float64) / 257
        return torch.from_numpy(np.round(grey).clip(0, 255).astype(np.uint8))[..., None].repeat(
            1, 1, 3
        )
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = torch.from_numpy(np.array(image.convert("RGBA"))).float()
        alpha = rgba[..., 3:] / 255
        return (rgba[..., :3] * alpha + 255 * background * (1 - alpha)).round().to(torch.uint8)
    return torch.from_numpy(np.array(image.convert("RGB")))


def image_size(path: Path) -> tuple[int, int]:
    """Read a photo's stored (width, height) without decoding it.

    Raises:
        SceneError: the file is missing, unreadable or too large.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise SceneError(path, "no such image") from None
    except TOO_LARGE as error:
        raise SceneError(path, f"damaged or too large an image ({error})") from None
    except (OSError, ValueError) as error:
        raise SceneError(path, f"not an image that can be read ({error})") from None


def load_images(
    paths: list[Path],
    width: int | None = None,
    background: float = 0.0,
    undistort: Callable[[int, Tensor], Tensor] = lambda i, image: image,
) -> Tensor:
    """Read photos of one size, undistort them and reduce them to ``width``.

    Args:
        paths: of the N files.
        width: in pixels, at most that of the photos; ``None`` keeps their size.
        background: grey level in [0, 1] under transparent pixels.
        undistort: called with a photo's index in ``paths`` and its pixels.

    Returns:
        (N, H, W, 3) uint8.

    Raises:
        SceneError: a photo cannot be read, has another size than the first or is smaller than
            ``width``.
    """
    size = image_size(paths[0])
    if width is not None and not 1 <= width <= size[0]:
        raise SceneError(paths[0], f"width must be in 1…{size[0]} (the photo's), got {width}")
    photos: list[Tensor] = []
    for i, path in enumerate(paths):
        photo = read_image(path, background, size)
        if (got := (photo.shape[1], photo.shape[0])) != size:
            sizes = f"{got[0]}×{got[1]} pixels, but {paths[0].name} has {size[0]}×{size[1]}"
            raise SceneError(path, f"{sizes}; all images of a scene must have one size")
        photo = undistort(i, photo)
        # Reduced one by one: sixty large photos at once would fill the memory.
        photos.append(photo if width is None else reduce_image(photo, width))
    return torch.stack(photos)


def reduce_image(image: Tensor, width: int) -> Tensor:
    """Reduce a photo to ``width`` pixels, each new pixel the mean of the area it covers.

    Args:
        image: (H, W, 3) uint8.
        width: at most W; the height keeps the aspect ratio as well as whole pixels can.

    Returns:
        (height, width, 3) uint8.
    """
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    rows, columns = _area_mean(image.shape[0], height), _area_mean(image.shape[1], width)
    reduced = torch.einsum("hr,rcx,wc->hwx", rows, image.float(), columns)
    return reduced.round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=4)
def _area_mean(n: int, reduced: int) -> Tensor:
    """The (reduced, n) matrix of the share that each of n pixels has in each of the new ones."""
    edges = torch.linspace(0, n, reduced + 1, dtype=torch.float64)
    pixels = torch.arange(n, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (overlap.clamp_min(0) * reduced / n).float()


@dataclass(frozen=True)
class Distortion:
    """Brown's lens distortion, COLMAP's OPENCV model: radial k1, k2 and tangential p1, p2.

    Of a ray through (x, y, 1), with r² = x² + y²:
    x' = x (1 + k1 r² + k2 r⁴) + 2 p1 x y + p2 (r² + 2 x²), and likewise y'.
    """

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def is_none(self) -> bool:
        """Whether the lens is a perfect pinhole."""
        return self == Distortion()

    def distort(self, xy: Tensor) -> Tensor:
        """Map normalised pinhole coordinates (…, 2) to those where the lens puts them."""
        x, y = xy.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + self.k1 * r2 + self.k2 * r2 * r2
        xd = x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x)
        yd = y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y
        return torch.stack([xd, yd], -1)

    def undistort(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Show what a pinhole camera of the same intrinsics would have seen.

        Bilinear; where the pinhole looks past the photo's border, the border's colour is repeated.

        Args:
            image: (H, W, 3) uint8.
            intrinsics: (3, 3), pixels; (0.5, 0.5) is the top-left pixel's centre.

        Returns:
            (H, W, 3) uint8.
        """
        if self.is_none:
            return image
        height, width = image.shape[:2]
        intrinsics = intrinsics.double()
        focal, centre = intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2]
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5,
            torch.arange(width, dtype=torch.float64) + 0.5,
            indexing="ij",
        )
        source = self.distort((torch.stack([x, y], -1) - centre) / focal) * focal + centre
        grid = 2 * source / torch.tensor([width, height]) - 1
        sampled = grid_sample(
            image.permute(2, 0, 1)[None].float(),
            grid[None].float(),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        return sampled[0].permute(1, 2, 0).round().to(torch.uint8)
