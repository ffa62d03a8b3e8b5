"""Gradient scaling (Floaters No More): what is near the camera learns more slowly."""

from jaxtyping import Float

from nerfreg.arrays import Array, clip, detach, namespace
from nerfreg.checks import require_floating, require_number, require_one_device

__all__ = ["scale_gradients_by_distance"]


def scale_gradients_by_distance(
    values: Float[Array, "..."], distance: Float[Array, "*samples"], *, unit: float = 1.0
) -> Float[Array, "..."]:
    r"""Leave values as they are, and multiply their gradients by the squared distance, up to 1.

    .. math:: \frac{\partial\,\mathrm{result}}{\partial\,\mathrm{values}} =
        \mathrm{clip}\Big(\frac{\mathrm{distance}}{\mathrm{unit}},\ 0,\ 1\Big)^2

    A camera's rays are dense in front of it and thin out with the square of the distance, so
    matter near a camera receives far more gradient than matter anywhere else, and false matter
    forms there first. This takes the imbalance back.

    Args:
        values: what the field answers at each sample, density or colour: (…, S) or (…, S, C),
            packed (N,) or (N, C).
        distance: of each sample from its camera's centre, (…, S) or packed (N,): t·‖d‖, not the ray
            parameter t where directions are not of unit length. It receives no gradient.
        unit: distance from which on gradients pass whole, > 0; as far away as the nearest surface
            that should learn at full speed. The authors' 1 does nothing in a scene measured in
            millimetres, and slows all of one that fits into a unit.

    Returns:
        ``values``, with another derivative.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: ``distance`` has not the shape of ``values``, nor that without the last axis;
            ``unit`` is not positive.

    Numerics: the value is exact for finite ``values``. Distances are cut before they are squared,
    so any finite one is good, 1e10 and float16 included. NumPy has no gradients: nothing happens.

    Source: Philip & Deschaintre 2023 (Floaters No More): clip(distance², 0, 1), as in the code on
    their page. *Differs from upstream in:* ``unit``. nerfstudio squares t, which is the distance
    where directions have unit length.

    Example:
        >>> import torch
        >>> density = torch.ones(1, 3, requires_grad=True)
        >>> distance = torch.tensor([[0.1, 0.5, 4.0]])
        >>> scale_gradients_by_distance(density, distance).sum().backward()
        >>> density.grad
        tensor([[0.0100, 0.2500, 1.0000]])
    """
    name = "scale_gradients_by_distance"
    require_floating(name, values=values, distance=distance)
    require_number(name, "unit", unit, "> 0", lambda x: x > 0)
    require_one_device(name, values=values, distance=distance)
    if tuple(distance.shape) not in (tuple(values.shape), tuple(values.shape)[:-1]):
        raise ValueError(
            f"{name}: values must be (…, S) or (…, S, C) for distance (…, S), got values"
            f" {tuple(values.shape)} and distance {tuple(distance.shape)}"
        )
    xp = namespace(values)
    scale = xp.astype(clip(detach(distance) / unit, 0.0, 1.0) ** 2, values.dtype)
    if len(scale.shape) < len(values.shape):
        scale = scale[..., None]
    held = detach(values)
    return held + scale * (values - held)
