"""Sample-space annealing through nerfstudio's collider, which says where rays begin and end."""

from typing import Any

import torch
from torch import Tensor

from nerfreg.integrations.nerfstudio.spacing import spacing_to_t, t_to_spacing
from nerfreg.schedules import SampleSpaceAnnealing
from nerfreg.views import Cameras, focus_point

__all__ = ["ColliderAnnealing", "focus_distance"]


def focus_distance(cameras: Cameras[Tensor]) -> float:
    """Mean distance of the cameras from the point that they look at.

    Raises:
        ValueError: the cameras look in parallel, or away from that point.
    """
    focus = focus_point(cameras.c2w)
    ahead = ((focus - cameras.c2w[:, :, 3]) * cameras.c2w[:, :, 2]).sum(-1)
    if not bool((ahead > 0).all()):
        raise ValueError("annealing: the training cameras look away from their common focus")
    return float((focus - cameras.c2w[:, :, 3]).norm(dim=-1).mean())


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
        planes = tuple(getattr(collider, f"{name}_plane", None) for name in ("near", "far"))
        if None in planes:
            raise ValueError(
                "annealing needs a model with a near and a far plane (NearFarCollider), got"
                f" {type(collider).__name__}; set annealing_steps to 0"
            )
        self.collider, self.planes = collider, planes
        near, middle, far = t_to_spacing(torch.tensor([planes[0], focus, planes[1]])).tolist()
        if not near < middle < far:
            raise ValueError(f"annealing: the focus, at {focus:.3g}, is not between {planes}")
        self.ends = near, far
        mid = (middle - near) / (far - near)
        self.schedule = SampleSpaceAnnealing(n_steps, start, mid, form="released")

    def begin(self, step: int) -> None:
        """Set the planes of a step."""
        if step < self.schedule.n_steps:
            bounds = self.schedule(step, *self.ends)
            self._set(*spacing_to_t(torch.tensor(bounds)).tolist())

    def end(self) -> None:
        """Give the planes back."""
        self._set(*self.planes)

    def _set(self, near: float, far: float) -> None:
        self.collider.near_plane, self.collider.far_plane = near, far
