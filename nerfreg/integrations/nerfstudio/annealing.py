"""Sample-space annealing through nerfstudio's collider, which says where rays begin and end."""

from typing import Any

import torch
from torch import Tensor

from nerfreg.integrations.nerfstudio.spacing import spacing_to_t, t_to_spacing
from nerfreg.schedules import SampleSpaceAnnealing
from nerfreg.vectors import length
from nerfreg.views import Cameras, focus_point

__all__ = ["ColliderAnnealing", "focus_distance"]


def focus_distance(cameras: Cameras[Tensor]) -> float:
    """Mean distance of the cameras from the point that they look at.

    Raises:
        ValueError: the cameras look in parallel, or away from that point.
    """
    try:
        focus = focus_point(cameras.c2w)
    except ValueError as error:
        raise ValueError(f"annealing: {error}; set annealing_steps to 0") from None
    ahead = ((focus - cameras.c2w[:, :, 3]) * cameras.c2w[:, :, 2]).sum(-1)
    if not bool((ahead > 0).all()):
        raise ValueError(
            "annealing: the training cameras look away from their common focus; set"
            " annealing_steps to 0"
        )
    return float(torch.mean(length(focus - cameras.c2w[:, :, 3])))


class ColliderAnnealing:
    """Move a ``NearFarCollider``'s planes towards the focus at first, and back with the step.

    The planes are the model's own again after every step, so that nothing but the training's rays
    ever sees others.

    Args:
        collider: the model's.
        n_steps: until the planes are the model's own.
        start: share of the ray that is sampled at step 0, in nerfacto's spacing.
        focus: distance to begin around, world units.

    Raises:
        ValueError: the collider has no near and far plane, or the focus is not between them.
    """

    def __init__(self, collider: Any, n_steps: int, start: float, focus: float) -> None:
        if not hasattr(collider, "near_plane") or not hasattr(collider, "far_plane"):
            raise ValueError(
                "annealing needs a model with a near and a far plane (NearFarCollider), got"
                f" {type(collider).__name__}; set annealing_steps to 0"
            )
        self.collider = collider
        self.planes: tuple[float, float] = collider.near_plane, collider.far_plane
        near, middle, far = (
            float(t_to_spacing(torch.tensor(t))) for t in (self.planes[0], focus, self.planes[1])
        )
        if not near < middle < far:
            raise ValueError(f"annealing: the focus, at {focus:.3g}, is not between {self.planes}")
        self.ends = near, far
        mid = (middle - near) / (far - near)
        self.schedule = SampleSpaceAnnealing(n_steps, start, mid, form="released")

    def begin(self, step: int) -> None:
        """Set the planes of a step."""
        if step < self.schedule.n_steps:
            near, far = self.schedule(step, *self.ends)
            self._set(*(float(spacing_to_t(torch.tensor(s))) for s in (near, far)))

    def end(self, step: int | None = None) -> None:
        """Give the planes back; nerfstudio's callbacks are called with the step."""
        del step
        self._set(*self.planes)

    def _set(self, near: float, far: float) -> None:
        self.collider.near_plane, self.collider.far_plane = near, far
