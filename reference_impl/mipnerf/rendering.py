"""What a ray sees: densities and colours along it, composited."""

from dataclasses import dataclass

from torch import Tensor

from nerfreg.rays import expected_depth, opacity, weights_from_density

__all__ = ["Rendering", "composite"]


@dataclass(frozen=True)
class Rendering:
    """A batch of rendered rays.

    Attributes:
        rgb: (R, 3) in [0, 1], background included (±``rgb_padding``).
        opacity: (R,) in [0, 1].
        depth: (R,) expected t, normalised by opacity; ``near`` where nothing was hit.
        weights: (R, S) probability that the ray stops in each interval.
        edges: (R, S+1) the intervals' bounds in t. No gradient flows into them.
        density: (R, S) ≥ 0, per world length.
    """

    rgb: Tensor
    opacity: Tensor
    depth: Tensor
    weights: Tensor
    edges: Tensor
    density: Tensor


def composite(
    rgb: Tensor,
    density: Tensor,
    edges: Tensor,
    directions: Tensor,
    background: float | Tensor = 0.0,
) -> Rendering:
    """Composite samples front to back over a background.

    Args:
        rgb: (R, S, 3), colour of each interval.
        density: (R, S) ≥ 0, per world length.
        edges: (R, S+1), in t.
        directions: (R, 3), not normalised: an interval's length is its Δt times their norm.
        background: colour that shines through where opacity is below 1.
    """
    starts, ends = edges[..., :-1], edges[..., 1:]
    weights = weights_from_density(density, starts, ends, directions.norm(dim=-1))
    seen = opacity(weights)
    colour = (weights[..., None] * rgb).sum(-2) + background * (1 - seen)[..., None]
    depth = expected_depth(weights, starts, ends)
    return Rendering(colour, seen, depth, weights, edges, density)
