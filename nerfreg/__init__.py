"""Drop-in regularizers for few-view radiance fields: losses, samplers, schedules, sparse depth.

The words used in every signature:

==================  ================================================================================
origins, directions x(t) = o + t·d; t is the ray parameter, distance is t·‖d‖
starts, ends        bounds of each sample's interval, shaped as ``weights``; intervals may have gaps
weights             (…, S) probability that the ray stops in the interval; their sum is the opacity
depth               expected t, divided by the opacity unless said otherwise
patch               (…, P, P): contiguous pixels, row by row
c2w                 camera-to-world, OpenCV axes: right, down, forward
pixel centre        (0.5, 0.5) is the centre of the top-left pixel
std                 a standard deviation, in the unit of the depth beside it
valid               which rays, pixels or patches count
step                the optimiser's step, from 0
==================  ================================================================================
"""

from nerfreg.checks import check_values
from nerfreg.losses import (
    DepthKL,
    DepthMSE,
    DepthSmoothness,
    depth_kl,
    depth_mse,
    depth_smoothness,
)
from nerfreg.objective import Objective, ObjectiveValue
from nerfreg.schedules import FrequencyMask, SampleSpaceAnnealing
from nerfreg.views import Cameras, Rays, UnseenPatchSampler

__version__ = "0.1.0"

__all__ = [
    "Cameras",
    "DepthKL",
    "DepthMSE",
    "DepthSmoothness",
    "FrequencyMask",
    "Objective",
    "ObjectiveValue",
    "Rays",
    "SampleSpaceAnnealing",
    "UnseenPatchSampler",
    "check_values",
    "depth_kl",
    "depth_mse",
    "depth_smoothness",
]
