"""mip-NeRF: one field, looked at twice along each ray."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerfreg.arrays import at_least_float32
from nerfreg.views import Rays
from reference_impl.mipnerf.cones import RayShape, cast
from reference_impl.mipnerf.encoding import encode_gaussian, encode_point
from reference_impl.mipnerf.field import Field
from reference_impl.mipnerf.rendering import Rendering, composite
from reference_impl.mipnerf.sampling import Spacing, even_edges, resample, stratify

__all__ = ["Draws", "MipNerf", "MipNerfConfig", "Renderer", "render_image"]

# A MipNerf, compiled or not, or a function that calls one.
Renderer = Callable[..., list[Rendering]]


@dataclass(frozen=True)
class MipNerfConfig:
    """What a mip-NeRF is made of. The defaults are RegNeRF's.

    Attributes:
        width: channels of each trunk layer.
        depth: number of trunk layers.
        view_width: channels of the layer that sees the view direction.
        skip: the encoding enters again after this trunk layer (from 0), where the trunk is that
            deep.
        n_samples: intervals a ray, in each level.
        min_degree: first octave of the position's encoding.
        max_degree: one past its last octave.
        view_degree: octaves of the direction's encoding.
        encoding: ``"integrated"`` over the cone, or ``"positional"``: its centre only, as in NeRF.
        append_position: put the position itself before its sines (as NeRF does and mip-NeRF does
            not).
        ray_shape: ``"cone"``, or ``"cylinder"`` in normalised device coordinates.
        density_noise: standard deviation of the noise on the raw density while training.
        density_bias: added to the raw density before the softplus.
        rgb_padding: colours span [−padding, 1 + padding], so that a sigmoid can reach 0 and 1.
        resample_padding: weight that the second level gives to where the first saw nothing.
        spacing: of the first level's intervals: even in t (``"linear"``) or in 1/t
            (``"disparity"``).
    """

    width: int = 256
    depth: int = 8
    view_width: int = 128
    skip: int = 4
    n_samples: int = 128
    min_degree: int = 0
    max_degree: int = 16
    view_degree: int = 4
    encoding: Literal["integrated", "positional"] = "integrated"
    append_position: bool = False
    ray_shape: RayShape = "cone"
    density_noise: float = 1.0
    density_bias: float = -1.0
    rgb_padding: float = 0.001
    resample_padding: float = 0.01
    spacing: Spacing = "linear"

    @property
    def n_octaves(self) -> int:
        """Octaves of the position's encoding."""
        return self.max_degree - self.min_degree


@dataclass(frozen=True)
class Draws:
    """All that is random in one training pass, drawn beforehand: a compiled model only reads it.

    Attributes:
        edges: per level (R, S+1), uniform in [0, 1): where within its reach each interval bound
            lies.
        noise: per level (R, S), standard normal: the density noise.
    """

    edges: tuple[Tensor, Tensor]
    noise: tuple[Tensor, Tensor]


class MipNerf(nn.Module):
    """Render rays of a scene that one MLP holds, coarsely and then finely.

    Args:
        config: sizes and switches; the defaults are RegNeRF's.

    Numerics: runs in the precision of the rays. Under autocast only the MLP's products change
    precision; encoding, sampling and compositing stay as they were, for a phase of 2¹⁵·x has no
    meaning in bfloat16.

    Source: Barron et al., "Mip-NeRF" (2021); Niemeyer et al., "RegNeRF" (2022).
    """

    def __init__(self, config: MipNerfConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MipNerfConfig()
        self.field = Field(
            6 * config.n_octaves + 3 * config.append_position,
            6 * config.view_degree + 3,
            width=config.width,
            depth=config.depth,
            skip=config.skip,
            view_width=config.view_width,
        )

    def draw(
        self, n_rays: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> Draws:
        """Draw what one training pass over ``n_rays`` rays needs, on the generator's device."""
        n = self.config.n_samples
        kind = {"generator": generator, "device": generator.device, "dtype": dtype}
        coarse, fine = (
            (torch.rand(n_rays, n + 1, **kind), torch.randn(n_rays, n, **kind)) for _ in "12"
        )
        return Draws((coarse[0], fine[0]), (coarse[1], fine[1]))

    def forward(
        self,
        rays: Rays,
        near: float | Tensor,
        far: float | Tensor,
        *,
        generator: torch.Generator | None = None,
        draws: Draws | None = None,
        background: float | Tensor = 0.0,
        octaves: Tensor | None = None,
        view_octaves: Tensor | None = None,
    ) -> list[Rendering]:
        """Render a flat batch of rays.

        Args:
            rays: batch (R,).
            near: where rays begin, in t: a number, a 0-d tensor, (R,) or (R, 1). Pass tensors to a
                compiled model, which would be compiled again for each new number.
            far: where rays end, likewise.
            generator: for training: intervals are jittered and the density gets noise. Without it
                (or ``draws``) the result is deterministic.
            draws: the same, drawn beforehand by :meth:`draw`; for
                ``torch.compile(fullgraph=True)``.
            background: colour behind everything.
            octaves: (n_octaves,) how visible each octave of the position's encoding is, in [0, 1];
                by default all of them.
            view_octaves: (view_degree,) the same of the view direction's encoding.

        Returns:
            The coarse and the fine rendering.
        """
        if generator is not None:
            if draws is not None:
                raise ValueError("MipNerf: give generator or draws, not both")
            draws = self.draw(len(rays.origins), generator, rays.origins.dtype)
        config = self.config
        view = encode_point(rays.viewdirs, 0, config.view_degree, append_identity=True)
        if view_octaves is not None:
            view = view * torch.cat((view.new_ones(3), _columns(view_octaves, view)))
        edges = even_edges(
            _column(near, rays), _column(far, rays), config.n_samples, config.spacing
        )
        edges = edges.expand(len(rays.origins), -1)
        if draws is not None:
            edges = stratify(edges, draws.edges[0])
        coarse = self._look(
            rays, view, edges, None if draws is None else draws.noise[0], background, octaves
        )
        edges = resample(
            coarse.edges,
            coarse.weights.detach(),
            config.n_samples,
            padding=config.resample_padding,
            uniform=None if draws is None else draws.edges[1],
        )
        fine = self._look(
            rays, view, edges, None if draws is None else draws.noise[1], background, octaves
        )
        return [coarse, fine]

    def _look(
        self,
        rays: Rays,
        view: Tensor,
        edges: Tensor,
        noise: Tensor | None,
        background: float | Tensor,
        octaves: Tensor | None,
    ) -> Rendering:
        """Render the rays with the intervals given."""
        config = self.config
        rgb, density = at_least_float32(*self.field(self._encode(rays, edges, octaves), view))
        if noise is not None:
            density = density + config.density_noise * noise
        density = F.softplus(density + config.density_bias)
        rgb = torch.sigmoid(rgb) * (1 + 2 * config.rgb_padding) - config.rgb_padding
        return composite(rgb, density, edges, rays.directions, background)

    def _encode(self, rays: Rays, edges: Tensor, octaves: Tensor | None) -> Tensor:
        """Turn each interval into features (R, S, position_dim)."""
        config = self.config
        mean, variance = cast(rays, edges, config.ray_shape)
        degrees = config.min_degree, config.max_degree
        if config.encoding == "positional":
            features = encode_point(mean, *degrees)
        else:
            features = encode_gaussian(mean, variance, *degrees)
        if octaves is not None:
            features = features * _columns(octaves, features)
        return torch.cat((mean, features), -1) if config.append_position else features


def _columns(octaves: Tensor, features: Tensor) -> Tensor:
    """One weight a column of an encoding: x y z of each octave, first all sines, then cosines."""
    return octaves.to(features.dtype).repeat_interleave(3).repeat(2)


def _column(bound: float | Tensor, rays: Rays) -> Tensor:
    """Bring a bound of any allowed form to (R, 1) or (1, 1), like the rays."""
    if isinstance(bound, Tensor):
        return bound.to(rays.origins).reshape(-1, 1)
    return rays.origins.new_full((1, 1), bound)  # filled on the device: nothing is copied to it


@torch.no_grad()
def render_image(
    model: Renderer,
    rays: Rays,
    near: float | Tensor,
    far: float | Tensor,
    *,
    chunk: int = 4096,
    background: float | Tensor = 0.0,
) -> Rendering:
    """Render a whole image, deterministically and without gradients.

    Args:
        model: that renders a flat batch.
        rays: batch (H, W), or any other.
        near: where rays begin, in t: a number or a 0-d tensor.
        far: where rays end, likewise.
        chunk: rays at a time; bounds memory.
        background: colour behind everything.

    Returns:
        The fine level, each attribute with the batch shape of ``rays``. ``weights``, ``edges``
        and ``density`` are empty: (…, 0).
    """
    flat = rays.flatten()
    parts: list[Rendering] = []
    for start in range(0, len(flat.origins), chunk):
        fine = model(flat[start : start + chunk], near, far, background=background)[-1]
        nothing = fine.weights[:, :0]
        parts.append(replace(fine, weights=nothing, edges=nothing, density=nothing))
    joined = (
        torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Rendering)
    )
    return Rendering(*(x.reshape(*rays.shape, *x.shape[1:]) for x in joined))
