"""Depth compared patch by patch, without its scale and shift (DNGaussian)."""

from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, namespace
from nerfreg.checks import require_choice, require_number
from nerfreg.losses.maps import cut, mean, require_maps, require_patch_size, root, unit_range
from nerfreg.losses.reduction import Reduction, reduce

__all__ = ["PatchNormalizedDepth", "patch_normalized_depth"]

Std = Literal["local", "global"]
Form = Literal["mean", "released"]

GLOBAL_SHARE = 1e-2


def patch_normalized_depth(
    rendered: Float[Array, "*maps height width"],
    depth: Float[Array, "*maps height width"],
    *,
    patch_size: int | None = 8,
    margin: float = 2.5e-4,
    std: Std = "local",
    form: Form = "mean",
    valid: Bool[Array, "*maps height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Compare depths after taking off each patch's mean and dividing by how far it spreads.

    .. math:: \mathrm{mean}\big(e^2\,[\,|e| > \mathrm{margin}\,]\big), \qquad
        e = \frac{\mathrm{rendered} - \mu_P}{s} - \frac{\mathrm{depth} - \mu_P}{s}, \qquad
        s = \sigma_P + 10^{-2}\sigma \text{ or } \sigma

    with μ_P and σ_P the mean and standard deviation of the pixel's patch, σ that of its map, each
    term with its own.

    Args:
        rendered: the renderer's depth maps.
        depth: given depth of the same pixels, up to scale and shift. Both must be of one kind,
            z-depth or distance: monocular networks give z-depth or inverse z-depth (negate that:
            within a patch it is nearly linear in depth); gsplat renders z-depth, nerfacto distance.
        patch_size: side of the square patches, which tile a map from its top left (what is left
            over at the right and bottom does not count); ``None`` takes the map for one patch.
            Draw it anew now and then, so that borders move: upstream draws it from 5 to 17 for LLFF
            and from 17 to 53 for DTU.
        margin: ≥ 0, up to which \|e\| nothing is penalised: monocular depth is not more precise.
        std: ``"local"`` divides by the patch's own spread (and 1 % of the map's, so that flat
            patches do not turn to noise), and sees small shapes; ``"global"`` divides by the map's,
            and sees how large the shapes are beside each other.
        form: ``"mean"`` averages over all valid pixels; ``"released"``, as upstream, only over
            those beyond the margin, so the fewer they are, the harder each is pulled.
        valid: which pixels count; others may hold anything, NaN included.
        reduction: over maps with a valid pixel.

    Returns:
        One value a map, or its reduction; without unit, ≥ 0, with 0 where no pixel differs by more
        than the margin: where each patch of ``rendered`` is an increasing linear function of that
        of ``depth`` (with ``"global"``: the same for all).

    Raises:
        TypeError: ``rendered`` or ``depth`` is not a floating-point array.
        ValueError: shapes differ, or are not (…, H, W); ``patch_size`` is below 2, or larger than
            the maps; ``margin`` is negative; ``std``, ``form`` or ``reduction`` is unknown; while
            values are checked, a valid ``depth`` is not finite.

    Numerics: float32 or better, O(H·W). Standard deviations divide by the number of pixels, and
    gradients flow through them. Maps whose depths differ by no more than a millionth of the
    largest, or than 1e-12 (2⁻¹⁰ for float16), are constant and normalise to 0 with gradient 0. No ε
    is added, so the loss does not depend on the unit of either depth.

    Source: Li et al. 2024 (DNGaussian), global-local depth normalization. *Differs from upstream
    in:* 0 where no pixel is beyond the margin, NaN upstream; ``form``; σ over n, n − 1 upstream;
    ``"global"``'s gradient flows through σ.

    Example:
        >>> import torch
        >>> depth = torch.rand(16, 16)
        >>> halves = torch.cat([depth[:8], 3.0 * depth[8:] + 1.0])  # linear, patch by patch
        >>> patch_normalized_depth(halves, depth, margin=0.1).item()
        0.0
    """
    name = "patch_normalized_depth"
    require_choice(name, "std", std, ("local", "global"))
    require_choice(name, "form", form, ("mean", "released"))
    require_number(name, "margin", margin, ">= 0", lambda x: x >= 0)
    require_maps(name, rendered, depth, valid)
    require_patch_size(name, patch_size, depth)

    rendered, depth, valid = (cut(x, patch_size) for x in (rendered, depth, valid))
    error = _normalized(rendered, valid, std) - _normalized(depth, valid, std)
    xp = namespace(error)
    beyond = xp.abs(error) > margin
    squared = xp.where(beyond, error, 0.0) ** 2
    counted = valid
    if form == "released":
        counted = beyond if valid is None else valid & beyond
    per_map = mean(squared, counted, (-2, -1))[..., 0, 0]
    any_valid = None if valid is None else xp.any(valid, axis=(-2, -1))
    return reduce(per_map, reduction, any_valid, function=name)


def _normalized(x: Any, valid: Any, std: Std) -> Any:
    """Take off each patch's mean and divide by the spread of the patch or of the map."""
    x, _ = unit_range(x, valid, (-2, -1))
    centred = x - mean(x, valid, -1)
    spread = root(mean((x - mean(x, valid, (-2, -1))) ** 2, valid, (-2, -1)))
    if std == "local":
        spread = root(mean(centred**2, valid, -1)) + GLOBAL_SHARE * spread
    return centred / namespace(x).where(spread > 0, spread, 1.0)


class PatchNormalizedDepth(nn.Module):
    """Compare depths without each patch's scale and shift: :func:`patch_normalized_depth`.

    Args:
        patch_size: side of the patches; ``None``: the whole map.
        margin: up to which normalised difference nothing is penalised.
        std: ``"local"`` or ``"global"``.
        form: ``"mean"`` or ``"released"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> depth = torch.rand(64, 8, 8)
        >>> round(PatchNormalizedDepth()(2.0 * depth + 1.0, depth).item(), 4)
        0.0
    """

    def __init__(
        self,
        *,
        patch_size: int | None = 8,
        margin: float = 2.5e-4,
        std: Std = "local",
        form: Form = "mean",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.margin = margin
        self.std: Std = std
        self.form: Form = form
        self.reduction: Reduction = reduction

    def forward(
        self,
        rendered: Float[Array, "*maps height width"],
        depth: Float[Array, "*maps height width"],
        *,
        valid: Bool[Array, "*maps height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return patch_normalized_depth(
            rendered,
            depth,
            patch_size=self.patch_size,
            margin=self.margin,
            std=self.std,
            form=self.form,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"patch_size={self.patch_size}, margin={self.margin}, std={self.std!r},"
            f" form={self.form!r}, reduction={self.reduction!r}"
        )
