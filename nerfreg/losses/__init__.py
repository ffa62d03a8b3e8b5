"""The regularizers: one a file, each a pure function and, under it, its ``nn.Module`` twin.

All take plain tensors, compute in float32 or better, and answer one value per natural unit (ray,
patch), which ``reduction`` turns into one number; means are over what is ``valid``, and nothing
valid is a differentiable 0.
"""

from nerfreg.losses.depth_kl import DepthKL, depth_kl
from nerfreg.losses.depth_mse import DepthMSE, depth_mse
from nerfreg.losses.depth_smoothness import DepthSmoothness, depth_smoothness
from nerfreg.losses.reduction import Reduction, reduce

__all__ = [
    "DepthKL",
    "DepthMSE",
    "DepthSmoothness",
    "Reduction",
    "depth_kl",
    "depth_mse",
    "depth_smoothness",
    "reduce",
]
