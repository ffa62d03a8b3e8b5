"""How natural patches seen from unseen poses look, under a density trained on photographs."""

import os
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nerfreg.arrays import at_least_float32, is_array, is_traced
from nerfreg.checks import (
    require_arrays,
    require_finite,
    require_floating,
    require_mask,
    require_number,
    require_one_device,
    value_checks,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["FlowColorPrior", "PatchDensity", "flow_color_prior"]


@runtime_checkable
class PatchDensity(Protocol):
    """Anything that knows the log-density of patches: a flow, a Gaussian, one's own."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """From flattened patches (n, 3·P²), colours in [0, 1], to log-densities (n,) in nats."""
        ...


def flow_color_prior(
    rgb: Float[Tensor, "*patches height width 3"],
    *,
    model: PatchDensity,
    patch_size: int | None = None,
    stride: int | None = None,
    max_gradient: float | None = 50.0,
    valid: Bool[Tensor, "*patches"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Penalise patches that look like nothing on a photograph.

    .. math:: -\frac{1}{d}\log p(\mathrm{rgb}) = -\frac{1}{d}\Big(\log\mathcal N(\phi(\mathrm{rgb}))
        + \log|\det \partial\phi/\partial\,\mathrm{rgb}|\Big),\qquad d = 3P^2

    Args:
        rgb: patches of contiguous pixels, channels last, in [0, 1], gamma-encoded as photographs
            are. Patches larger than the model's, up to whole images, are covered by windows.
        model: the density p: usually :class:`nerfreg.priors.RealNVP`; anything with
            ``log_prob(x: (n, d)) -> (n,)``. It is not trained here: freeze it, or take
            :class:`FlowColorPrior`, which does.
        patch_size: P of the model; ``None``: what the model's ``patch_size`` says.
        stride: pixels between windows, of patches larger than P; ``None``: P/2. The last window
            ends with the patch.
        max_gradient: a bound c, in nats per dimension and unit of colour, on the norm of each
            patch's gradient: longer ones are shortened to c, the value is untouched. ``None``: no
            bound. Under the shipped weights 24 of 25 patches of photographs stay below 50, and
            noise, as an untrained field renders it, far below; another model may be steep there.
        valid: which patches count. Others may hold anything, NaN included.
        reduction: over valid patches.

    Returns:
        One value a patch (the mean of its windows), or its reduction, in nats per dimension:
        negative for likely patches, without a lower bound. Bits per dimension are
        ``value / ln 2 + log2(255)``.

    Raises:
        TypeError: ``rgb`` is not a floating-point tensor; ``model`` has no ``log_prob``.
        ValueError: ``rgb`` is not (…, H, W, 3) or smaller than P×P; P is not known; ``model``
            answers with another shape than (n,), or is on another device; an option is out of
            range; while values are checked, a valid colour or an answer is not finite, or most
            colours are far from [0, 1], as 8-bit levels are.

    Numerics: in the model's own precision, float32 for the shipped one, outside of autocast.
    Colours beyond [−1, 2] count as that, with gradient 0: a saturated, constant or noisy patch and
    one scaled by 3 give finite values and gradients. With ``max_gradient`` the gradient's
    direction is exact, its length not that of the value's slope; one that is not finite becomes 0.
    All windows are scored at once: at a stride of P/2 a pixel is held four times, and an image of
    378×504 pixels takes 0.6 GB, its gradient included. ``torch.func`` transforms do not know the
    bound's operator.

    Source: Niemeyer et al. 2022 (RegNeRF), appearance regularisation. *Differs from upstream in:*
    the printed formula shows no log|det|; here the change of variables is complete. Nothing of
    RegNeRF's model was released: architecture, training data and all numbers are ours. Torch only.

    Example:
        >>> import torch
        >>> grey = torch.distributions.Normal(0.5, 0.1).expand([48])
        >>> model = torch.distributions.Independent(grey, 1)
        >>> flow_color_prior(torch.full((1, 4, 4, 3), 0.5), model=model, patch_size=4).item()
        -1.3836...
    """
    name = "flow_color_prior"
    size = _patch_size(name, model, patch_size)
    step = max(size // 2, 1) if stride is None else stride
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{name}: stride must be a whole number >= 1, got {stride!r}")
    if max_gradient is not None:
        require_number(name, "max_gradient", max_gradient, "> 0", lambda x: x > 0.0)
    if valid is not None and is_array(valid):
        require_arrays(name, rgb=rgb, valid=valid)
    require_floating(name, rgb=rgb)
    if not isinstance(rgb, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{name}: rgb must be a torch tensor, got {type(rgb).__name__}")
    if rgb.ndim < 3 or rgb.shape[-1] != 3 or min(rgb.shape[-3:-1]) < size:
        raise ValueError(
            f"{name}: rgb must be (…, H, W, 3), channels last, at least {size}x{size} pixels as the"
            f" model's patches, got {tuple(rgb.shape)}"
        )
    patches = rgb.shape[:-3]
    require_mask(name, patches, valid, rgb)
    require_finite(name, valid, rgb=rgb)
    if valid is not None:
        rgb = fill_invalid(rgb, valid[..., None, None, None], 0.5)
    (rgb,) = at_least_float32(rgb)
    _require_colors(name, rgb, valid)
    windows = _windows(rgb, size, step)
    x = windows.reshape(-1, 3 * size**2).to(_precision(name, model, rgb)).clamp(-1.0, 2.0)
    token = x.new_zeros(len(x))
    if max_gradient is not None:
        x, token = _shorten_gradient(x, float(max_gradient))
    with torch.autocast(rgb.device.type, enabled=False):
        log_prob = model.log_prob(x)
    if not isinstance(log_prob, Tensor) or tuple(log_prob.shape) != (len(x),):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(
            f"{name}: model.log_prob must answer one log-density a patch, {(len(x),)}, got"
            f" {tuple(getattr(log_prob, 'shape', ()))}"
        )
    values = (token - log_prob / (3 * size**2)).reshape(*windows.shape[:-3])
    values = values.flatten(len(patches)).mean(-1)
    require_finite(name, valid, values=values)
    return reduce(values, reduction, valid, function=name)


def _require_colors(function: str, rgb: Tensor, valid: Tensor | None) -> None:
    """Raise ``ValueError`` for 8-bit levels and the like, if value checks are on.

    The clamp would make one flat and likely colour of them, silently. Some colours out of range are
    no mistake: a field may answer with them.
    """
    if not value_checks() or is_traced(rgb):
        return
    rgb = rgb if valid is None else rgb[valid]
    if not rgb.numel():
        return
    share = ((rgb < -1.0) | (rgb > 2.0)).float().mean().item()
    if share > 0.5:
        raise ValueError(
            f"{function}: rgb must be colours in [0, 1], but {share:.0%} of the values lie"
            f" beyond [-1, 2] and would be clamped to it (largest: {rgb.max().item():g}); divide"
            " 8-bit levels by 255"
        )


def _windows(rgb: Tensor, size: int, stride: int) -> Tensor:
    """Cut (…, H, W, 3) into (…, windows down, windows across, P, P, 3) that cover every pixel."""
    height, width = rgb.shape[-3:-1]
    within = torch.arange(size, device=rgb.device)
    rows, columns = (
        # The last window is pushed back into the image.
        (torch.arange(0, n - size + stride, stride, device=rgb.device)).clamp_max(n - size)[:, None]
        + within
        for n in (height, width)
    )
    return rgb[..., rows[:, None, :, None], columns[None, :, None, :], :]


def _patch_size(name: str, model: Any, patch_size: int | None) -> int:
    if not callable(getattr(model, "log_prob", None)):
        raise TypeError(
            f"{name}: model must have a method log_prob (n, d) -> (n,), got {type(model).__name__}"
        )
    own = getattr(model, "patch_size", None)
    size = own if patch_size is None else patch_size
    if size is None:
        raise ValueError(
            f"{name}: patch_size must be given, as {type(model).__name__} does not say its own"
        )
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"{name}: patch_size must be a whole number >= 1, got {size!r}")
    if own is not None and size != own:
        raise ValueError(f"{name}: patch_size must be the model's, {own}, got {size}")
    return size


def _precision(name: str, model: Any, rgb: Tensor) -> torch.dtype:
    """What the model computes in; its weights must lie where the patches do."""
    if not isinstance(model, nn.Module):
        return rgb.dtype
    for weight in model.parameters():
        require_one_device(name, rgb=rgb, model=weight)
        return weight.dtype
    return rgb.dtype


# An operator, not an autograd.Function: Dynamo warns of its own use of the latter.
@torch.library.custom_op("nerfreg::shorten_gradient", mutates_args=())
def _shorten_gradient(x: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    """Pass patches (n, d) on; shorten each one's gradient to at most a norm.

    The second output is a 0 for each patch, to be added to the patch's value: its gradient is then
    the weight with which that value counts in the total, so the bound is on the value's own slope.
    """
    return x.clone(), x.new_zeros(len(x))


@_shorten_gradient.register_fake  # pyright: ignore[reportUnknownMemberType]
def _(x: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(len(x))


def _remember(ctx: Any, inputs: tuple[Tensor, float], output: Any) -> None:
    ctx.longest = inputs[1]


def _shorten(ctx: Any, grad: Tensor, weight: Tensor) -> tuple[Tensor, None]:
    # Divided by its largest entry first, as a square could overflow. An infinite gradient has no
    # direction any more: it is dropped.
    largest = grad.abs().amax(-1, keepdim=True)
    usable = torch.isfinite(largest)
    grad = torch.where(usable, grad, 0.0)
    unit = grad / torch.where(usable, largest, 1.0).clamp_min(1e-37)
    unit_length = unit.square().sum(-1, keepdim=True).sqrt()
    longest = ctx.longest * weight.abs()[:, None]
    is_long = largest * unit_length > longest
    return torch.where(is_long, unit * (longest / unit_length.clamp_min(1.0)), grad), None


_shorten_gradient.register_autograd(  # pyright: ignore[reportUnknownMemberType]
    _shorten, setup_context=_remember
)


def _at_least_float32(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Move and cast as asked, but to no less than float32."""
    moved = fn(x)
    if not x.is_floating_point() or moved.dtype.itemsize >= 4:
        return moved
    return x.to(moved.device)


class FlowColorPrior(nn.Module):
    """Penalise patches that look like nothing on a photograph: :func:`flow_color_prior`.

    Made by :meth:`from_pretrained`, :meth:`from_file` or :meth:`from_model`. The model is no child
    of this module. It follows ``.to(…)``, but stays in float32 or better; no optimiser finds it,
    ``train()`` does not reach it, and a host's ``state_dict`` does not carry it.

    Args:
        model: the density; a module is frozen and put into ``eval()``.
        patch_size: P of the model; ``None``: what the model's ``patch_size`` says.
        stride: pixels between windows; ``None``: P/2.
        max_gradient: bound on the norm of each patch's gradient; ``None``: none.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> prior = FlowColorPrior.from_pretrained(reduction="none")
        >>> wall, noise = torch.full((8, 8, 3), 0.5), torch.rand(8, 8, 3)
        >>> values = prior(torch.stack([wall, noise]))
        >>> bool(values[0] < values[1])
        True
    """

    model: PatchDensity

    def __init__(
        self,
        *,
        model: PatchDensity,
        patch_size: int | None = None,
        stride: int | None = None,
        max_gradient: float | None = 50.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _patch_size("FlowColorPrior", model, patch_size)
        if isinstance(model, nn.Module):
            model.requires_grad_(False).eval()
        object.__setattr__(self, "model", model)  # past nn.Module, which would adopt it
        self.patch_size = patch_size
        self.stride = stride
        self.max_gradient = max_gradient
        self.reduction: Reduction = reduction

    @classmethod
    def from_pretrained(cls, **options: Any) -> "FlowColorPrior":
        """Load the weights that nerfreg ships: RealNVP on 8×8 patches of photographs.

        Args:
            **options: as of the class, but for ``model``.
        """
        shipped = resources.files("nerfreg.priors") / "weights" / "natural_8x8.safetensors"
        with resources.as_file(shipped) as path:
            return cls.from_file(path, **options)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> "FlowColorPrior":
        """Load weights that ``pretrain_flow/train.py`` or :func:`~nerfreg.priors.save_prior` wrote.

        Args:
            path: of the ``.safetensors`` file.
            **options: as of the class, but for ``model``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such file, or damaged.
        """
        from nerfreg.priors import load_prior  # the flow's library, only where a flow is used

        return cls(model=load_prior(path)[0], **options)

    @classmethod
    def from_model(cls, model: PatchDensity, **options: Any) -> "FlowColorPrior":
        """Take a density of one's own.

        Args:
            model: anything with ``log_prob(x: (n, 3·P²)) -> (n,)``.
            **options: as of the class, but for ``model``.
        """
        return cls(model=model, **options)

    def forward(
        self,
        rgb: Float[Tensor, "*patches height width 3"],
        *,
        valid: Bool[Tensor, "*patches"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Compute the loss."""
        if isinstance(self.model, nn.Module) and self.model.training:
            self.model.eval()  # somebody else who has it trained it since
        return flow_color_prior(
            rgb,
            model=self.model,
            patch_size=self.patch_size,
            stride=self.stride,
            max_gradient=self.max_gradient,
            valid=valid,
            reduction=self.reduction,
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FlowColorPrior":
        if isinstance(self.model, nn.Module):
            # A host in half precision does not take the model along: log-densities need float32.
            self.model._apply(partial(_at_least_float32, fn), recurse)  # pyright: ignore[reportUnknownMemberType]
        return super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]

    def extra_repr(self) -> str:
        """Show the options; of a network its name alone."""
        shown = type(self.model).__name__ if isinstance(self.model, nn.Module) else repr(self.model)
        return (
            f"model={shown}, patch_size={self.patch_size},"
            f" stride={self.stride}, max_gradient={self.max_gradient},"
            f" reduction={self.reduction!r}"
        )
