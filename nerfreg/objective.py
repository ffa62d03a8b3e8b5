"""Named losses and their weight schedules, summed into the scalar that an optimiser sees."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Objective", "ObjectiveValue"]

Schedule = Callable[[int | Tensor], float | Tensor]


@dataclass(frozen=True)
class ObjectiveValue:
    """What one step of training saw.

    Attributes:
        total: Σ weight · value, the scalar to call ``backward`` on.
        values: each evaluated term's value *before* its weight, detached.
        weights: each evaluated term's weight at this step.
        weighted: each evaluated term's value times its weight, attached to the graph: what
            :func:`nerfreg.gradient_shares` measures; 0 where the weight is the float 0.
    """

    total: Tensor
    values: dict[str, Tensor]
    weights: dict[str, float | Tensor]
    weighted: dict[str, Tensor]


class Objective:
    r"""Sum named losses, each times its weight at this step.

    .. math:: \mathrm{total} = \sum_i w_i(\mathrm{step})\,\ell_i

    A term is any callable that returns a scalar tensor; a weight is a number or any function of the
    step (:mod:`nerfreg.schedules`). There is nothing to register or to inherit from.

    Args:
        terms: name -> (loss, weight). The weight may be a float.
        grace: number of calls after which every term with a non-zero weight must have received its
            input once; one ``UserWarning`` names those that did not. The silent loss that never ran
            is the commonest bug of the published trainers. Calls inside ``torch.compile`` are not
            watched; no other result depends on their number.

    Raises:
        TypeError: a term is not a pair, its loss is not callable, its weight neither number nor
            callable.

    Numerics: a term whose weight is the float 0 is evaluated for the log and left out of the sum,
    so that its NaN cannot spread (0 · NaN = NaN). Nothing here waits for the device.

    Example:
        >>> import torch
        >>> from nerfreg import DepthSmoothness, Objective
        >>> from nerfreg.schedules import Linear
        >>> objective = Objective({"smooth": (DepthSmoothness(), Linear(400.0, 0.1, 512))})
        >>> depth = torch.tensor([[[1.0, 2.0], [1.0, 1.0]]], requires_grad=True)
        >>> value = objective(512, {"smooth": {"depth": depth}})
        >>> round(value.total.item(), 4), value.values["smooth"].item(), value.weights["smooth"]
        (0.1, 1.0, 0.1)
    """

    def __init__(
        self,
        terms: Mapping[str, tuple[Callable[..., Tensor], float | Schedule]],
        *,
        grace: int = 100,
    ) -> None:
        self.terms: dict[str, tuple[Callable[..., Tensor], float | Schedule]] = {}
        for name, term in terms.items():
            if not (isinstance(term, tuple) and len(term) == 2):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(
                    f"Objective: term {name!r} must be a pair (loss, weight), got {term!r}"
                )
            loss, weight = term
            if not callable(loss):
                raise TypeError(
                    f"Objective: the loss of term {name!r} must be callable, got {loss!r}"
                )
            if not callable(weight) and not isinstance(weight, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(
                    f"Objective: the weight of term {name!r} must be a number or a function of"
                    f" the step, got {weight!r}"
                )
            self.terms[name] = (loss, weight)
        self.grace = grace
        self._received: set[str] = set()
        self._calls = 0

    def weight(self, name: str, step: int | Tensor) -> float | Tensor:
        """The weight of one term at a step."""
        weight = self.terms[name][1]
        return weight(step) if callable(weight) else float(weight)

    def describe(self, step: int = 0) -> str:
        """One line a term: its name, its loss, its weight and how that changes."""
        width = max((len(name) for name in self.terms), default=0)
        return "\n".join(
            f"{name:<{width}}  weight {float(self.weight(name, step)):<8.4g}"
            f" {weight if callable(weight) else 'constant'}  {getattr(loss, '__name__', loss)}"
            for name, (loss, weight) in self.terms.items()
        )

    def starved(self) -> list[str]:
        """Names of the terms that never received their input so far."""
        return [name for name in self.terms if name not in self._received]

    def __call__(
        self, step: int | Tensor, inputs: Mapping[str, Mapping[str, Tensor | None]]
    ) -> ObjectiveValue:
        """Evaluate the terms whose inputs are given.

        Args:
            step: the optimiser's step, from 0.
            inputs: term's name -> keyword arguments of its loss. Terms left out are not evaluated.

        Raises:
            TypeError: a term's loss returned something else than a tensor.
            KeyError: ``inputs`` names a term that this objective does not have.
            ValueError: a term's loss returned something else than a scalar, or a value without
                gradient for an input that has one; or no term received input.
        """
        unknown = [name for name in inputs if name not in self.terms]
        if unknown:
            raise KeyError(f"Objective: no term named {unknown}, only {list(self.terms)}")
        if not inputs:
            raise ValueError(f"Objective: no term received input; the terms are {list(self.terms)}")
        values: dict[str, Tensor] = {}
        weights: dict[str, float | Tensor] = {}
        weighted: dict[str, Tensor] = {}
        summands: list[Tensor] = []
        for name, arguments in inputs.items():
            loss, _ = self.terms[name]
            value: Any = loss(**arguments)
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"Objective: term {name!r} must return a torch.Tensor, got"
                    f" {type(value).__name__}; losses alone take JAX and NumPy arrays"
                )
            if value.ndim != 0:
                raise ValueError(
                    f"Objective: term {name!r} must return a scalar, got shape"
                    f' {tuple(value.shape)}; use reduction="mean" or "sum"'
                )
            if not value.requires_grad and any(
                x is not None and x.requires_grad for x in arguments.values()
            ):
                raise ValueError(
                    f"Objective: term {name!r} returned a value without gradient although its input"
                    " has one: it would train nothing"
                )
            weight = self.weight(name, step)
            values[name], weights[name] = value.detach(), weight
            if isinstance(weight, Tensor) or weight != 0.0:
                weighted[name] = weight * value
                summands.append(weighted[name])
            else:
                weighted[name] = torch.zeros_like(values[name])
        if not torch.compiler.is_compiling():
            self._watch(step, inputs)
        if not summands:
            summands = list(weighted.values())
        return ObjectiveValue(torch.stack(summands).sum(), values, weights, weighted)

    def _watch(self, step: int | Tensor, inputs: Iterable[str]) -> None:
        """Warn once of terms that should have received input by now."""
        self._received.update(inputs)
        if self._calls == self.grace:
            return
        self._calls += 1
        starved = self.starved() if self._calls == self.grace else []
        starved = [name for name in starved if float(self.weight(name, step)) != 0.0]
        if starved:
            warnings.warn(
                f"Objective: {', '.join(starved)} never received input in {self.grace} calls,"
                " so training runs without",
                stacklevel=3,
            )
