"""The one place that turns one value per ray or patch into the number an optimiser sees."""

import math
from typing import Any, Literal

from nerfreg.arrays import clip, namespace
from nerfreg.checks import require_choice, require_mask

__all__ = ["Reduction", "fill_invalid", "reduce"]

Reduction = Literal["mean", "sum", "none"]
"""Over what is valid: the mean, the sum, or none: one value per natural unit (ray, patch)."""


def fill_invalid(value: Any, valid: Any, filling: float) -> Any:
    """Put a harmless number where ``valid`` is false, so that what lies there spoils no gradient.

    Masking a *result* is not enough: the backward pass multiplies its 0 with the derivative at the
    masked input, and 0 · NaN is NaN.
    """
    return value if valid is None else namespace(value).where(valid, value, filling)


def reduce(
    values: Any, reduction: Reduction, valid: Any = None, *, function: str = "reduce"
) -> Any:
    """Reduce one value per natural unit (ray, patch) over the units that count.

    Args:
        values: one value per unit.
        reduction: ``"mean"`` over valid units, ``"sum"`` over valid units, or ``"none"``: the
            values themselves, 0 where invalid.
        valid: boolean, shaped as ``values``; ``None`` means all.
        function: name of the public function, for the messages.

    Returns:
        A scalar, or ``values``' shape for ``"none"``. With nothing valid: a differentiable 0.

    Raises:
        ValueError: ``reduction`` is none of the three; ``valid`` is not boolean or not shaped as
            ``values``.
    """
    require_choice(function, "reduction", reduction, ("mean", "sum", "none"))
    require_mask(function, values.shape, valid)
    values = fill_invalid(values, valid, 0.0)
    if reduction == "none":
        return values
    xp = namespace(values)
    if reduction == "sum":
        return xp.sum(values)
    if valid is None:
        return xp.sum(values) / max(math.prod(values.shape), 1)
    count = xp.sum(xp.astype(valid, xp.int32))
    return xp.sum(values) / xp.astype(clip(count, 1), values.dtype)
