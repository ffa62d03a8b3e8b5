"""How arrays enter nerfreg: torch tensors, JAX arrays, NumPy arrays, and one mathematics for all.

Functions ask :func:`namespace` for the library of their arguments and compute with its functions
(the array API standard, through array-api-compat), so they answer in kind. torch comes first: its
tensors are recognised without a look at any other library, which also keeps compiled graphs free of
foreign code. What the standard does not have (erf, stopping a gradient) is dispatched here, by
hand. JAX is never imported: whoever hands a JAX array in has done so.
"""

import math
import sys
from typing import Any, TypeVar

import array_api_compat
import array_api_compat.torch as torch_namespace
import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Array",
    "as_like",
    "at_least_float32",
    "clip",
    "detach",
    "erfc",
    "in_double",
    "is_array",
    "is_float16",
    "is_floating",
    "is_jax",
    "is_traced",
    "like",
    "log_ndtr",
    "namespace",
    "on_device_of",
    "squared_difference",
    "take",
    "take_along",
    "to_numpy",
    "within",
]


Array = TypeVar("Array", bound=Any)
"""An array of torch, JAX or NumPy; a function of several answers with one of the same library."""


def namespace(*arrays: Any) -> Any:
    """Find the library that all arguments belong to, as an array-API namespace; ``None`` passes.

    Raises:
        TypeError: the arguments come from several libraries, or one is no array.

    Example:
        >>> import numpy as np
        >>> namespace(np.ones(2), None).__name__
        'array_api_compat.numpy'
    """
    given = [x for x in arrays if x is not None]
    if all(isinstance(x, Tensor) for x in given):
        return torch_namespace
    return array_api_compat.array_namespace(*given)


def is_array(x: object) -> bool:
    """Tell a torch, JAX or NumPy array (or any other of the standard) from everything else."""
    return isinstance(x, Tensor) or bool(array_api_compat.is_array_api_obj(x))  # pyright: ignore


def is_jax(x: object) -> bool:
    """Tell JAX arrays, traced ones too, from all others, without importing JAX."""
    return "jax" in sys.modules and array_api_compat.is_jax_array(x)


def is_traced(x: object) -> bool:
    """Tell whether ``x`` is only a name at the moment: in ``jax.jit``, or while torch compiles.

    It then has no value to look at.
    """
    if torch.compiler.is_compiling():
        return True
    return is_jax(x) and isinstance(x, sys.modules["jax"].core.Tracer)


def is_floating(x: Any) -> bool:
    """Tell whether an array holds real floating-point numbers."""
    return x.is_floating_point() if isinstance(x, Tensor) else _is_real(x)


def _is_real(x: Any) -> bool:
    return bool(namespace(x).isdtype(x.dtype, "real floating"))


def is_float16(x: Any) -> bool:
    """Tell float16, whose gradients cannot hold the inverse of a small ε, from wider numbers."""
    return float(namespace(x).finfo(x.dtype).max) < 1e5


def at_least_float32(*arrays: Any) -> tuple[Any, ...]:
    """Convert half-precision arrays to float32; leave float32 and float64 alone.

    Squares of depths and logarithms of small weights leave the range of float16, so losses compute,
    and answer, in float32 or better even under autocast.

    Example:
        >>> import torch
        >>> [x.dtype for x in at_least_float32(torch.ones(1).half(), torch.ones(1).double())]
        [torch.float32, torch.float64]
    """
    return tuple(_lift(x) for x in arrays)


def _lift(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    xp = namespace(x)
    return xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits < 32 else x


def in_double(x: Any) -> Any:
    """Convert to float64, which in JAX stays float32 unless 64 bits are switched on."""
    if isinstance(x, Tensor):
        return x.double()
    xp = namespace(x)
    return xp.astype(x, float if is_jax(x) else xp.float64)


def like(x: Any) -> dict[str, Any]:
    """Give the arguments with which an array is made to go with ``x``: its device and dtype.

    Example:
        >>> import numpy as np
        >>> np.eye(2, **like(np.ones(3, dtype=np.float32))).dtype
        dtype('float32')
    """
    return on_device_of(x) | {"dtype": x.dtype}


def on_device_of(x: Any) -> dict[str, Any]:
    """Give the argument with which an array is made on the device of ``x``, of any dtype."""
    # JAX moves its arrays itself, and a traced one is nowhere yet.
    return {"device": x.device} if isinstance(x, Tensor) else {}


def as_like(x: Any, other: Any) -> Any:
    """Convert ``x`` to the dtype, and a tensor to the device, of another array of its library."""
    if isinstance(x, Tensor):
        return x.to(other)
    return namespace(x).astype(x, other.dtype, copy=False)


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """Keep an array within bounds: numbers, arrays or ``None``; at a bound the gradient passes.

    In torch its own ``clamp``: the standard's function looks at the bounds in Python, which a
    compiler that takes constants for variables cannot follow.
    """
    return x.clamp(low, high) if isinstance(x, Tensor) else namespace(x).clip(x, low, high)


def within(x: Any, low: float, high: float = math.inf) -> Any:
    """Keep an array within two numbers that it is not meant to meet; there the gradient is 0.

    In torch one pass forward and one back, where :func:`clip` takes four back.
    """
    if isinstance(x, Tensor):
        return torch.nn.functional.hardtanh(x, low, high)
    return namespace(x).clip(x, low, high)


def squared_difference(x: Any, y: Any) -> Any:
    """Square the differences of two arrays of one shape; in torch one pass forward and one back."""
    if isinstance(x, Tensor):
        return torch.nn.functional.mse_loss(x, y, reduction="none")
    return (x - y) ** 2


def take(x: Any, index: Any) -> Any:
    """Take entries of the first axis, at indices ≥ 0.

    In torch its own function: the standard's goes over all indices first, to turn negative ones.
    """
    if isinstance(x, Tensor):
        return x.index_select(0, index)
    return namespace(x).take(x, index, axis=0)


def take_along(x: Any, index: Any) -> Any:
    """Take entries along the last axis, at indices ≥ 0 of each row; as :func:`take`."""
    if isinstance(x, Tensor):
        return x.gather(-1, index.long())
    return namespace(x).take_along_axis(x, index, axis=-1)


def detach(x: Any) -> Any:
    """Hold an array fixed: the same numbers, through which no gradient flows."""
    if isinstance(x, Tensor):
        return x.detach()
    return sys.modules["jax"].lax.stop_gradient(x) if is_jax(x) else x


def to_numpy(x: Any) -> Any:
    """Copy numbers to the host as float64, to look at them: the gradient and the device stay."""
    if isinstance(x, Tensor):
        return x.detach().cpu().double().numpy()  # NumPy knows no bfloat16
    return np.asarray(x, dtype=np.float64)


def erfc(x: Any) -> Any:
    r"""Evaluate :math:`1 - \mathrm{erf}(x)`, precise where it is small."""
    if isinstance(x, Tensor):
        return torch.erfc(x)
    if is_jax(x):
        import jax.scipy.special  # pyright: ignore  # only reached with a JAX array in hand

        return jax.scipy.special.erfc(x)  # pyright: ignore
    return _one_by_one(math.erfc, x)


def log_ndtr(x: Any) -> Any:
    r"""Evaluate :math:`\log\Phi(x)`, Φ the normal distribution function, precise in both tails.

    Libraries have it too, with a gradient exp(−x²/2 − log Φ): a difference of large numbers, which
    in float32 is some percent off at x = −1000, and infinite or 0 further out, instead of −x.
    """
    xp = namespace(x)
    far, right = x < -12.0, x > 0.0
    # Each branch is given only what it can bear: an unused branch's NaN would reach the gradient.
    inside = xp.where(far, -12.0, x)
    tail = 0.5 * erfc(xp.where(right, inside, -inside) * math.sqrt(0.5))
    near = xp.where(right, xp.log1p(-tail), xp.log(xp.where(right, 1.0, tail)))
    z = xp.where(far, x, -12.0)
    y = 1.0 / (z * z)
    # The asymptotic series of Φ(z)·|z|·√(2π)·exp(z²/2) − 1; its next term is below 5e-15 here.
    series = 0.0
    for odd in range(21, 0, -2):
        series = -odd * y * (1.0 + series)
    asymptote = -0.5 * z * z - xp.log(-z * math.sqrt(2.0 * math.pi)) + xp.log1p(series)
    return xp.where(far, asymptote, near)


def _one_by_one(function: Any, x: Any) -> Any:
    """Apply a function of :mod:`math` to each number: the readable reference, not the fast one."""
    values = np.vectorize(function, otypes=[np.float64])(np.asarray(x)) if x.size else np.asarray(x)
    xp = namespace(x)
    return xp.asarray(values, dtype=x.dtype)
