"""How much each term of an objective has to say: the norms of their gradients, compared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

__all__ = ["GradientShares", "gradient_shares"]


@dataclass(frozen=True)
class GradientShares:
    """The length of each term's gradient, alone and against the others.

    Attributes:
        norms: name -> ‖∂(weight · value)/∂θ‖₂ over all parameters together, a 0-d tensor.
        shares: name -> norm / Σ norms, in [0, 1] with sum 1; all 0 where no term has a gradient.
    """

    norms: dict[str, Tensor]
    shares: dict[str, Tensor]

    def relative_to(self, name: str) -> dict[str, Tensor]:
        """Divide each norm by that of one term, usually the colour loss.

        Returns:
            name -> norm / norm of ``name``: 1 pulls as strongly as the photographs; infinite or NaN
            where that term has no gradient.

        Raises:
            KeyError: there is no term of this name.
        """
        if name not in self.norms:
            raise KeyError(f"GradientShares: no term named {name!r}, only {list(self.norms)}")
        return {term: norm / self.norms[name] for term, norm in self.norms.items()}


def gradient_shares(
    terms: Mapping[str, Tensor], parameters: Iterable[Tensor], *, retain_graph: bool = True
) -> GradientShares:
    r"""Measure how strongly each term of a loss pulls at the parameters.

    .. math:: \mathrm{norm}_i = \Big\|\frac{\partial\,w_i \ell_i}{\partial\theta}\Big\|_2, \qquad
        \mathrm{share}_i = \frac{\mathrm{norm}_i}{\sum_j \mathrm{norm}_j}

    Values of losses cannot be compared (nats, squared colours, scene units); what they do to the
    same parameters can. Look every few hundred steps, before ``backward``.

    Args:
        terms: name -> scalar *with* its weight, still attached to its graph:
            :attr:`ObjectiveValue.weighted <nerfreg.ObjectiveValue>`, and the colour loss if it is
            summed outside. A term that depends on no parameter has norm 0.
        parameters: what is trained, or any tensors of the graph with a gradient: rendered depth,
            say. Their ``grad`` is neither read nor written.
        retain_graph: keep the graph for the ``backward`` that follows.

    Returns:
        Norms and shares, detached, on the terms' device. Norms do not add up: terms that pull in
        opposite directions have large ones, and hardly move the parameters.

    Raises:
        TypeError: a term or a parameter is not a tensor.
        ValueError: there is no term; a term is no scalar; no parameter has a gradient.

    Numerics: float32 or better. Gradients are divided by their largest entry before they are
    squared, so neither 1e-30 nor 1e30 is lost. Where one term's gradient is not finite, all shares
    are NaN and its norm tells which. One backward pass a term; nothing waits for the device.
    Optimisers that scale each parameter (Adam) see the same gradients but take steps of other
    sizes.

    Example:
        >>> import torch
        >>> from nerfreg import Objective
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> objective = Objective({"first": (torch.sum, 3.0), "second": (torch.sum, 1.0)})
        >>> value = objective(0, {"first": {"input": x[:1]}, "second": {"input": x[1:]}})
        >>> found = gradient_shares(value.weighted, [x])
        >>> {name: share.item() for name, share in found.shares.items()}
        {'first': 0.75, 'second': 0.25}
        >>> found.relative_to("second")["first"].item()
        3.0
    """
    if not terms:
        raise ValueError("gradient_shares: terms must hold at least one, got none")
    for name, value in terms.items():
        if not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"gradient_shares: term {name!r} must be a torch.Tensor, got {type(value).__name__}"
            )
        if value.ndim != 0:
            raise ValueError(
                f"gradient_shares: term {name!r} must be a scalar, got shape {tuple(value.shape)}"
            )
    trained: list[Tensor] = []
    for parameter in parameters:
        if not isinstance(parameter, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                "gradient_shares: parameters must be tensors, got"
                f" {type(parameter).__name__}; pass module.parameters()"
            )
        if parameter.requires_grad:
            trained.append(parameter)
    if not trained:
        raise ValueError("gradient_shares: none of the parameters requires a gradient")
    attached = [name for name, value in terms.items() if value.requires_grad]
    norms: dict[str, Tensor] = {}
    for name, value in terms.items():
        if not value.requires_grad:
            norms[name] = torch.zeros_like(value, dtype=torch.float32)
            continue
        keep = retain_graph or name != attached[-1]
        gradients = cast(
            "tuple[Tensor | None, ...]",
            torch.autograd.grad(value, trained, retain_graph=keep, allow_unused=True),
        )
        stored = [g.coalesce().values() if g.is_sparse else g for g in gradients if g is not None]
        norms[name] = _norm(value, [g for g in stored if g.numel()])
    total = torch.stack([*norms.values()]).sum()
    divisor = torch.where(total == 0, torch.ones_like(total), total)
    return GradientShares(norms, {name: norm / divisor for name, norm in norms.items()})


def _norm(term: Tensor, gradients: list[Tensor]) -> Tensor:
    """The length of all gradients as one vector, by way of their largest entry."""
    if not gradients:
        return torch.zeros_like(term, dtype=torch.float32).detach()
    double = any(g.dtype == torch.float64 for g in gradients)
    wide = [g.to(torch.float64 if double else torch.float32) for g in gradients]
    largest = torch.stack([g.abs().max() for g in wide]).max()
    scale = torch.where(largest == 0, torch.ones_like(largest), largest)
    return scale * torch.stack([(g / scale).square().sum() for g in wide]).sum().sqrt()
