"""What a run's field looks like from a free camera, a few rays at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impl.mipnerf import Renderer, Rendering, render_image
from reference_impl.ray_space import RaySpace
from reference_impl.scenes import Scene
from reference_impl.viewer.free_camera import FreeCamera, Sightlines


@dataclass(frozen=True)
class Field:
    """A run at one of its checkpoints: all that rendering needs."""

    renderer: Renderer
    scene: Scene
    space: RaySpace


@dataclass(frozen=True)
class Sight:
    """A rendered picture, or some columns of one.

    Attributes:
        rgb: (H, W, 3) in [0, 1].
        depth: (H, W) z-depth.
        opacity: (H, W) in [0, 1].
        truth: (H, W) exact z-depth, infinite where there is no surface; ``None``: not known.
    """

    rgb: Tensor
    depth: Tensor
    opacity: Tensor
    truth: Tensor | None


@torch.no_grad()
def look(
    field: Field,
    camera: FreeCamera,
    height: int,
    columns: slice = slice(None),
    chunk: Callable[[], int] = lambda: 4096,
) -> Iterator[int | Sight]:
    """Render a picture, giving way after every chunk.

    Args:
        field: to look at.
        camera: from where.
        height: rows of the picture.
        columns: of the picture; the others are not rendered.
        chunk: how many rays to render until the next pause.

    Yields:
        After each chunk the number of its rays; at the end the picture.
    """
    lines = Sightlines.of(camera, height, field.space, columns)
    flat = lines.rays[lines.shown]
    parts: list[Rendering] = []
    start = 0
    while start < len(flat.origins):
        stop = start + max(chunk(), 1)
        background = field.scene.background
        parts.append(
            render_image(
                field.renderer, flat[start:stop], lines.near, lines.far, background=background
            )
        )
        yield len(parts[-1].rgb)
        start = stop
    device = flat.origins.device
    rgb = torch.full((*lines.rays.shape, 3), float(field.scene.background), device=device)
    opacity = torch.zeros(lines.rays.shape, device=device)
    t = torch.full(lines.rays.shape, lines.far, device=device)
    if parts:
        rgb[lines.shown] = torch.cat([part.rgb for part in parts])
        opacity[lines.shown] = torch.cat([part.opacity for part in parts])
        t[lines.shown] = torch.cat([part.depth for part in parts])
    surface = field.scene.surface
    truth = None if surface is None else surface(lines.world.to("cpu"))
    yield Sight(rgb.clamp(0, 1).cpu(), lines.z_depth(t).cpu(), opacity.cpu(), truth)
