"""The options' regularizers as an objective."""

from typing import Any

from nerfreg import DepthKL, DepthSmoothness, FlowColorPrior, Objective
from nerfreg.integrations.nerfstudio.options import RegularizersConfig
from nerfreg.objective import Schedule
from nerfreg.schedules import Linear, LogLinear

__all__ = ["PATCH_TERMS", "make_objective"]

# The smallest number that a training can do with: one pixel has no neighbour, and nerfstudio's
# camera optimizer squeezes a single ray's axis away.
LEAST = {"fade_steps": 0, "patches": 1, "patch_size": 2, "keypoint_rays": 2}

# What each loss on patches is given.
PATCH_TERMS = {"smoothness": ("depth", "opacity"), "color_prior": ("rgb",)}


def make_objective(options: RegularizersConfig) -> Objective:
    """Collect the terms whose weights are not 0.

    Raises:
        ValueError: a weight is negative, a number too small, or patches are too small for the
            color prior.
    """
    _require_numbers(options)
    terms = dict[str, tuple[Any, Schedule]]()
    if _acts("smoothness", options.smoothness):
        terms["smoothness"] = (DepthSmoothness(), _fade(options.smoothness, options.fade_steps))
    if _acts("color_prior", options.color_prior):
        prior = FlowColorPrior.from_pretrained()
        flow: Any = prior.model
        size: int = flow.patch_size
        if options.patch_size < size:
            raise ValueError(
                f"--pipeline.regularizers.patch-size {options.patch_size}: the color prior needs"
                f" patches of at least {size} pixels; or switch it off (color_prior 0 0)"
            )
        terms["color_prior"] = (prior, _fade(options.color_prior, options.fade_steps))
    if options.colmap is not None and _acts("keypoints", options.keypoints):
        terms["keypoints"] = (DepthKL(), _fade(options.keypoints, options.fade_steps))
    return Objective(terms)


def _require_numbers(options: RegularizersConfig) -> None:
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value < least:
            flag = name.replace("_", "-")
            raise ValueError(f"--pipeline.regularizers.{flag} {value}: must be at least {least}")


def _acts(name: str, weights: tuple[float, float]) -> bool:
    if min(weights) < 0:
        flag = name.replace("_", "-")
        raise ValueError(f"--pipeline.regularizers.{flag} {weights}: weights must be ≥ 0")
    return max(weights) > 0


def _fade(weights: tuple[float, float], n_steps: int) -> Schedule:
    return (LogLinear if min(weights) > 0 else Linear)(*weights, n_steps)
