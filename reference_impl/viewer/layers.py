"""The layers of a picture in colours, and the legends that say what the colours mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from reference_impl.report import Pixels, depth_pixels, depth_range, error_pixels, to_pixels
from reference_impl.scenes import Scene
from reference_impl.viewer.sight import Sight

Layer = Literal["colour", "depth", "opacity", "depth error"]
UNKNOWN = 0.35  # grey where there is no surface to compare with


def layers_of(scene: Scene) -> list[Layer]:
    """What can be shown of a scene: the depth error needs exact depth from everywhere."""
    return [x for x in get_args(Layer) if x != "depth error" or scene.surface is not None]


@dataclass(frozen=True)
class Colors:
    """How numbers become colours, alike for every picture of a scene.

    Attributes:
        near: z-depth with the brightest colour.
        far: z-depth with the darkest.
    """

    near: float
    far: float

    @classmethod
    def of(cls, scene: Scene) -> "Colors":
        """The colours of a scene's pictures on disk."""
        return cls(*depth_range(scene, {}))

    @property
    def full_error(self) -> float:
        """The depth error with the brightest colour."""
        return (self.far - self.near) / 4

    def pixels(self, sight: Sight, layer: Layer) -> Pixels:
        """Draw one layer of a picture."""
        if layer == "depth":
            return depth_pixels(sight.depth, self.near, self.far)
        if layer == "opacity":
            return to_pixels(sight.opacity[..., None].expand(-1, -1, 3))
        if layer == "depth error" and sight.truth is not None:
            known = sight.truth.isfinite()
            truth = torch.where(known, sight.truth, sight.depth)
            pixels = error_pixels(sight.depth, truth, self.full_error)
            pixels[~known.numpy()] = round(255 * UNKNOWN)
            return pixels
        return to_pixels(sight.rgb)

    def legend(self, layer: Layer) -> Pixels | None:
        """The colour bar of a layer; colours themselves need none."""
        if layer == "depth":
            shares = (1.0, 0.75, 0.5, 0.25, 0.0)
            ticks = [(s, 1 / (s / self.near + (1 - s) / self.far)) for s in shares]
            return color_bar("magma", ticks, "z-depth, scene units")
        if layer == "opacity":
            return color_bar("gray", [(s, s) for s in (0.0, 0.5, 1.0)], "opacity")
        if layer == "depth error":
            ticks = [(s, s * self.full_error) for s in (0.0, 0.5, 1.0)]
            return color_bar("inferno", ticks, "|depth − exact|, scene units")
        return None


@dataclass(frozen=True)
class StdColors:
    """How standard deviations of keypoints become colours: logarithmic, certain is dark.

    Attributes:
        low: standard deviation with the darkest colour.
        high: that with the brightest.
    """

    low: float
    high: float

    @classmethod
    def of(cls, std: Tensor) -> "StdColors":
        """The range that most of ``std`` (n,) lie in."""
        low, high = torch.quantile(std.float(), torch.tensor([0.02, 0.98])).tolist()
        return cls(low, max(high, low * 1.01))

    def pixels(self, std: Tensor) -> Pixels:
        """The colours (n, 3) of ``std`` (n,)."""
        share = (std / self.low).log() / np.log(self.high / self.low)
        rgb = colormaps["viridis"](share.clamp(0, 1).numpy())[..., :3]
        return (rgb * 255).round().astype(np.uint8)

    def legend(self) -> Pixels:
        """The colour bar."""
        shares = (0.0, 0.5, 1.0)
        ticks = [(s, self.low * (self.high / self.low) ** s) for s in shares]
        return color_bar("viridis", ticks, "keypoint std, scene units")


def color_bar(name: str, ticks: Sequence[tuple[float, float]], title: str) -> Pixels:
    """A colour map with numbers under it: ``ticks`` are (place in [0, 1], number)."""
    figure = Figure(figsize=(3.4, 0.62), dpi=200)
    canvas = FigureCanvasAgg(figure)
    axis = figure.add_axes((0.06, 0.42, 0.88, 0.2))
    axis.imshow(np.linspace(0, 1, 256)[None], cmap=name, aspect="auto", extent=(0, 1, 0, 1))
    axis.set_yticks([])
    axis.set_xticks([place for place, _ in ticks], [f"{number:.3g}" for _, number in ticks])
    axis.tick_params(labelsize=8, length=2)
    axis.set_title(title, fontsize=8.5, pad=3)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
