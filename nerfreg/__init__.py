"""Drop-in regularizers for few-view radiance fields: losses, samplers, schedules, sparse depth.

The words used in every signature:

- ``origins``, ``directions``: x(t) = o + t·d; t is the ray parameter, distance is t·‖d‖
- ``starts``, ``ends``: bounds of each sample's interval, shaped as ``weights``; there may be gaps
- ``weights``: (…, S) probability that the ray stops in the interval; their sum is the opacity
- packed: samples of all rays on one axis (N,), with sorted ``ray_indices`` and ``n_rays``
- ``depth``: expected t, divided by the opacity unless said otherwise
- patch: (…, P, P), contiguous pixels, row by row
- ``c2w``: camera-to-world, OpenCV axes: right, down, forward
- pixel centre: (0.5, 0.5) is the centre of the top-left pixel
- ``std``: a standard deviation, in the unit of the depth beside it
- ``valid``: which rays, pixels or patches count
- ``step``: the optimiser's step, from 0
"""

from nerfreg.checks import check_values
from nerfreg.gradient_shares import GradientShares, gradient_shares
from nerfreg.losses import (
    CoRegularization,
    DepthContinuity,
    DepthKL,
    DepthMSE,
    DepthRanking,
    DepthSmoothness,
    Distortion,
    EdgeAwareSmoothness,
    Emptiness,
    FlowColorPrior,
    InformationGain,
    Interlevel,
    LineOfSight,
    MixtureNLL,
    NormalSmoothness,
    Occlusion,
    PatchNormalizedDepth,
    PearsonDepth,
    RayEntropy,
    ScaleShiftInvariantDepth,
    SecondOrderSmoothness,
    SemanticConsistency,
    TotalVariation,
    co_regularization,
    depth_continuity,
    depth_kl,
    depth_mse,
    depth_ranking,
    depth_smoothness,
    distortion,
    edge_aware_smoothness,
    emptiness,
    flow_color_prior,
    information_gain,
    interlevel,
    line_of_sight,
    mixture_nll,
    normal_smoothness,
    occlusion,
    patch_normalized_depth,
    pearson_depth,
    ray_entropy,
    scale_shift_invariant_depth,
    second_order_smoothness,
    semantic_consistency,
    total_variation,
)
from nerfreg.objective import Objective, ObjectiveValue
from nerfreg.rays import RayTermination, scale_gradients_by_distance
from nerfreg.schedules import (
    FrequencyMask,
    OpacityDropout,
    PrefilterAnnealing,
    SampleSpaceAnnealing,
)
from nerfreg.views import Cameras, Rays, UnseenPatchSampler

__version__ = "0.1.0"

__all__ = [
    "Cameras",
    "CoRegularization",
    "DepthContinuity",
    "DepthKL",
    "DepthMSE",
    "DepthRanking",
    "DepthSmoothness",
    "Distortion",
    "EdgeAwareSmoothness",
    "Emptiness",
    "FlowColorPrior",
    "FrequencyMask",
    "GradientShares",
    "InformationGain",
    "Interlevel",
    "LineOfSight",
    "MixtureNLL",
    "NormalSmoothness",
    "Objective",
    "ObjectiveValue",
    "Occlusion",
    "OpacityDropout",
    "PatchNormalizedDepth",
    "PearsonDepth",
    "PrefilterAnnealing",
    "RayEntropy",
    "RayTermination",
    "Rays",
    "SampleSpaceAnnealing",
    "ScaleShiftInvariantDepth",
    "SecondOrderSmoothness",
    "SemanticConsistency",
    "TotalVariation",
    "UnseenPatchSampler",
    "check_values",
    "co_regularization",
    "depth_continuity",
    "depth_kl",
    "depth_mse",
    "depth_ranking",
    "depth_smoothness",
    "distortion",
    "edge_aware_smoothness",
    "emptiness",
    "flow_color_prior",
    "gradient_shares",
    "information_gain",
    "interlevel",
    "line_of_sight",
    "mixture_nll",
    "normal_smoothness",
    "occlusion",
    "patch_normalized_depth",
    "pearson_depth",
    "ray_entropy",
    "scale_gradients_by_distance",
    "scale_shift_invariant_depth",
    "second_order_smoothness",
    "semantic_consistency",
    "total_variation",
]
