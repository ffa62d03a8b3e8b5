"""The one place that turns one value per ray or patch into the number an optimiser sees."""

from typing import Literal

import torch
from torch import Tensor

from nerfreg.checks import require_choice

__all__ = ["Reduction", "reduce"]

Reduction = Literal["mean", "sum", "none"]


def reduce(
    values: Tensor, reduction: Reduction, valid: Tensor | None = None, *, function: str = "reduce"
) -> Tensor:
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
    if valid is not None:
        if valid.shape != values.shape or valid.dtype != torch.bool:
            raise ValueError(
                f"{function}: valid must be boolean of shape {tuple(values.shape)},"
                f" got {valid.dtype} {tuple(valid.shape)}"
            )
        values = torch.where(valid, values, 0.0)
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    count = values.numel() if valid is None else valid.sum()
    return values.sum() / (count.clamp_min(1) if isinstance(count, Tensor) else max(count, 1))
