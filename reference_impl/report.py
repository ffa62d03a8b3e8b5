"""Pictures of a run: test views beside the truth, depth in false colour, a closing flight."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from reference_impl.mipnerf import Renderer, render_image
from reference_impl.ray_space import RaySpace
from reference_impl.run_folder import picture_stem, written_whole
from reference_impl.scenes import Scene

if TYPE_CHECKING:
    from reference_impl.evaluate import Picture

Pixels = NDArray[np.uint8]
LABEL = 14


def to_pixels(image: Tensor) -> Pixels:
    """Colour (H, W, 3) in [0, 1] to 8 bits."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def depth_pixels(depth: Tensor, near: float, far: float) -> Pixels:
    """False colours of z-depth: uniform in disparity, near is bright."""
    disparity = (1 / depth.clamp(near, far) - 1 / far) / (1 / near - 1 / far)
    return (colormaps["magma"](disparity.numpy())[..., :3] * 255).round().astype(np.uint8)


def error_pixels(depth: Tensor, truth: Tensor, full_scale: float) -> Pixels:
    """False colours of |depth − truth|: black 0, yellow ``full_scale`` and more."""
    error = ((depth - truth).abs() / full_scale).clamp(0, 1)
    return (colormaps["inferno"](error.numpy())[..., :3] * 255).round().astype(np.uint8)


def depth_range(scene: Scene, pictures: Mapping[int, "Picture"]) -> tuple[float, float]:
    """The range that depth pictures share.

    That of exact depth, else of keypoints, else as rendered, else the scene's bounds.
    """
    if scene.depth is not None:
        values = scene.depth[scene.test].flatten()
    elif any(len(k.depth) for k in scene.keypoints.values()):
        values = torch.cat([k.depth for k in scene.keypoints.values()])
    elif pictures:
        values = torch.cat([p.depth.flatten() for p in pictures.values()])
    else:
        return scene.near, scene.far
    low, high = torch.quantile(
        values.float()[:: max(len(values) // 100_000, 1)], torch.tensor([0.01, 0.99])
    )
    return max(float(low), scene.near * 0.5), max(float(high), float(low) * 1.01)


def tiles(rows: list[list[Pixels]], titles: list[str], labels: list[str]) -> Image.Image:
    """A grid of equally large pictures, a title over each column and a label under each row."""
    h, w = rows[0][0].shape[:2]
    zoom = max(1, round(200 / w))
    h, w = h * zoom, w * zoom
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    letters = max(int(w / pen.textlength("n")), 1)
    wrapped = ["\n".join(wrap(title, letters)) for title in titles]
    header = LABEL * max(title.count("\n") + 1 for title in wrapped)
    height = header + len(rows) * (h + LABEL)
    sheet = Image.new("RGB", (len(titles) * (w + 4) - 4, height), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(wrapped):
        pen.text((column * (w + 4) + 2, 1), title, fill="black")
    for r, (row, label) in enumerate(zip(rows, labels, strict=True)):
        top = header + r * (h + LABEL)
        for column, pixels in enumerate(row):
            sheet.paste(
                Image.fromarray(pixels).resize((w, h), Image.Resampling.NEAREST),
                (column * (w + 4), top),
            )
        pen.text((2, top + h + 1), label, fill="black")
    return sheet


def save_image(image: Image.Image | Pixels, path: Path) -> None:
    """Write a PNG whole or not at all."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    with written_whole(path) as partial:
        picture.save(partial, format="PNG")


def write_pictures(folder: Path, scene: Scene, pictures: Mapping[int, "Picture"]) -> None:
    """Each test view as PNGs: NAME_rgb, _truth, _depth and, where depth is known, _depth_error."""
    folder.mkdir(parents=True, exist_ok=True)
    near, far = depth_range(scene, pictures)
    for view, picture in pictures.items():
        name = picture_stem(scene.names[view])
        save_image(to_pixels(picture.rgb), folder / f"{name}_rgb.png")
        save_image(scene.images[view].numpy(), folder / f"{name}_truth.png")
        save_image(depth_pixels(picture.depth, near, far), folder / f"{name}_depth.png")
        if scene.depth is not None:
            error = error_pixels(picture.depth, scene.depth[view], (far - near) / 4)
            save_image(error, folder / f"{name}_depth_error.png")


def write_sheet(
    path: Path,
    scene: Scene,
    pictures: Mapping[int, "Picture"],
    values: Mapping[str, Mapping[str, float]],
) -> None:
    """Truth, rendering and depth of up to eight test views, one a row."""
    near, far = depth_range(scene, pictures)
    titles = ["photograph", "rendered", "depth"] + (
        ["depth error"] if scene.depth is not None else []
    )
    rows: list[list[Pixels]] = []
    labels: list[str] = []
    for view in list(pictures)[:8]:
        picture = pictures[view]
        row = [
            scene.images[view].numpy(),
            to_pixels(picture.rgb),
            depth_pixels(picture.depth, near, far),
        ]
        if scene.depth is not None:
            row.append(error_pixels(picture.depth, scene.depth[view], (far - near) / 4))
        rows.append(row)
        name = scene.names[view]
        labels.append(
            f"{name}: PSNR {values[name]['psnr']:.2f} dB, SSIM {values[name]['ssim']:.3f}"
        )
    save_image(tiles(rows, titles, labels), path)


def flight_poses(c2w: Tensor, frames: int) -> Tensor:
    """A closed path (frames, 3, 4) past the training poses: there and back, eased."""
    n = len(c2w)
    phase = 0.5 - 0.5 * torch.cos(torch.linspace(0, 2 * torch.pi, frames + 1)[:-1])
    position = phase * (n - 1)
    low = position.floor().long().clamp(0, max(n - 2, 0))
    share = (position - low)[:, None, None].to(c2w)
    blend = (1 - share) * c2w[low] + share * c2w[(low + 1).clamp_max(n - 1)]
    u, _, vh = torch.linalg.svd(blend[:, :, :3])
    return torch.cat([u @ vh, blend[:, :, 3:]], -1)


@torch.no_grad()
def write_flight(path: Path, model: Renderer, scene: Scene, space: RaySpace, frames: int) -> None:
    """Render a flight past the training views, colour beside depth, as a GIF."""
    from dataclasses import replace

    train = scene.cameras[torch.tensor(scene.train)]
    order = train.c2w[:, :, 3].sub(train.c2w[:, :, 3].mean(0))
    # Along the direction in which the training cameras spread most.
    axis = torch.linalg.svd(order)[2][0]
    sequence = (order @ axis).argsort()
    poses = flight_poses(train.c2w[sequence], frames).to(space.cameras.c2w)
    intrinsics = train.intrinsics[:1].expand(frames, 3, 3).to(poses)
    flown = replace(space, cameras=replace(space.cameras, c2w=poses, intrinsics=intrinsics))
    near, far = depth_range(scene, {})
    images: list[Pixels] = []
    for frame in tqdm(range(frames), path.name, unit="frame", disable=None, leave=False):
        index, xy = flown.image_grid(frame)
        rendered = render_image(
            model, flown.rays(index, xy), space.near, space.far, background=scene.background
        )
        depth = flown.z_depth(rendered.depth, index, xy)
        images.append(
            np.concatenate([to_pixels(rendered.rgb.cpu()), depth_pixels(depth.cpu(), near, far)], 1)
        )
    with written_whole(path) as partial:
        iio.imwrite(partial, np.stack(images), extension=".gif", duration=60, loop=0)
