"""The regularizers: one a file, each a pure function and, under it, its ``nn.Module`` twin.

All take plain tensors, compute in float32 or better, and answer one value per natural unit (ray,
patch), which ``reduction`` turns into one number; means are over what is ``valid``, and nothing
valid is a differentiable 0.
"""

from nerfreg.losses.co_regularization import CoRegularization, co_regularization
from nerfreg.losses.depth_continuity import DepthContinuity, depth_continuity
from nerfreg.losses.depth_kl import DepthKL, depth_kl
from nerfreg.losses.depth_mse import DepthMSE, depth_mse
from nerfreg.losses.depth_ranking import DepthRanking, depth_ranking
from nerfreg.losses.depth_smoothness import DepthSmoothness, depth_smoothness
from nerfreg.losses.distortion import Distortion, distortion
from nerfreg.losses.edge_aware_smoothness import EdgeAwareSmoothness, edge_aware_smoothness
from nerfreg.losses.emptiness import Emptiness, emptiness
from nerfreg.losses.flow_color_prior import FlowColorPrior, flow_color_prior
from nerfreg.losses.information_gain import InformationGain, information_gain
from nerfreg.losses.interlevel import Interlevel, interlevel
from nerfreg.losses.line_of_sight import LineOfSight, line_of_sight
from nerfreg.losses.mixture_nll import MixtureNLL, mixture_nll
from nerfreg.losses.normal_smoothness import NormalSmoothness, normal_smoothness
from nerfreg.losses.occlusion import Occlusion, occlusion
from nerfreg.losses.patch_normalized_depth import PatchNormalizedDepth, patch_normalized_depth
from nerfreg.losses.pearson_depth import PearsonDepth, pearson_depth
from nerfreg.losses.ray_entropy import RayEntropy, ray_entropy
from nerfreg.losses.reduction import Reduction, reduce
from nerfreg.losses.scale_shift_invariant_depth import (
    ScaleShiftInvariantDepth,
    scale_shift_invariant_depth,
)
from nerfreg.losses.second_order_smoothness import SecondOrderSmoothness, second_order_smoothness
from nerfreg.losses.semantic_consistency import SemanticConsistency, semantic_consistency
from nerfreg.losses.total_variation import TotalVariation, total_variation

__all__ = [
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
    "InformationGain",
    "Interlevel",
    "LineOfSight",
    "MixtureNLL",
    "NormalSmoothness",
    "Occlusion",
    "PatchNormalizedDepth",
    "PearsonDepth",
    "RayEntropy",
    "Reduction",
    "ScaleShiftInvariantDepth",
    "SecondOrderSmoothness",
    "SemanticConsistency",
    "TotalVariation",
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
    "information_gain",
    "interlevel",
    "line_of_sight",
    "mixture_nll",
    "normal_smoothness",
    "occlusion",
    "patch_normalized_depth",
    "pearson_depth",
    "ray_entropy",
    "reduce",
    "scale_shift_invariant_depth",
    "second_order_smoothness",
    "semantic_consistency",
    "total_variation",
]
