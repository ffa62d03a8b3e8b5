"""What a recipe is: a paper's settings as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from nerfreg.objective import Schedule
from nerfreg.schedules import FrequencyMask, SampleSpaceAnnealing

__all__ = ["Recipe"]

Term = tuple[nn.Module, float | Schedule]


@dataclass(frozen=True)
class Recipe:
    """The regularizers of one method, when they act, how strongly, and the rays they need.

    A recipe holds no model and no optimiser: it says what to add to the colour loss of whatever
    trains.

    Attributes:
        name: what users type.
        source: the paper, and where its numbers were read.
        keypoint_terms: name -> (loss, weight) of losses on rays through keypoints; a
            :class:`~nerfreg.DepthMSE` is called with ``rendered, depth``, any other with
            ``weights, starts, ends, depth, std``, as a :class:`~nerfreg.DepthKL`.
        patch_terms: name -> (loss, weight) of losses on depth patches seen from unseen poses;
            called with ``depth, opacity``.
        coarse_weights: name -> weight of the same loss on the coarse level of a two-level sampler;
            a loss not named acts on the fine level alone.
        annealing: of the sample space of colour and patch rays; ``None``: off. Keypoint rays are
            never annealed: their target would fall outside of the samples.
        frequency_mask: of the position's encoding; ``None``: all octaves from the first step.
        keypoint_share: share of the colour rays' budget spent on keypoint rays, where a view has
            keypoints.
        unseen_share: rays of unseen patches per colour ray.
        opacity_weighting: pass the (detached) opacity to patch losses.
        patch_size: side of a patch in pixels.
        coordinates: of forward-facing scenes: ``"ndc"`` or ``"metric"``; other scenes are always
            metric.
        encoding: ``"integrated"`` (mip-NeRF) or ``"positional"`` (NeRF).
    """

    name: str
    source: str
    keypoint_terms: Mapping[str, Term] = field(default_factory=dict[str, Term])
    patch_terms: Mapping[str, Term] = field(default_factory=dict[str, Term])
    coarse_weights: Mapping[str, float | Schedule] = field(
        default_factory=dict[str, float | Schedule]
    )
    annealing: SampleSpaceAnnealing | None = None
    frequency_mask: FrequencyMask | None = None
    keypoint_share: float = 0.0
    unseen_share: float = 0.0
    opacity_weighting: bool = True
    patch_size: int = 8
    coordinates: Literal["ndc", "metric"] = "ndc"
    encoding: Literal["integrated", "positional"] = "integrated"
