"""Where rays stop: weights from densities, their opacity and depth, and the kinds of depth.

A ray is cut into intervals [``starts``, ``ends``]; ``weights`` holds the probability that it stops
in each. Samples are dense (…, S), or packed (N,) with ``ray_indices`` and ``n_rays``.
"""

from nerfreg.rays.depth import expected_depth, median_depth
from nerfreg.rays.depth_agreement import DepthAgreement, check_depth_agreement
from nerfreg.rays.depth_kinds import distance_to_z_depth, z_depth_to_distance
from nerfreg.rays.gradient_scaling import scale_gradients_by_distance
from nerfreg.rays.intervals import edges_to_intervals
from nerfreg.rays.normals import normals_from_depth
from nerfreg.rays.termination import RayTermination
from nerfreg.rays.weights import opacity, weights_from_alpha, weights_from_density

__all__ = [
    "DepthAgreement",
    "RayTermination",
    "check_depth_agreement",
    "distance_to_z_depth",
    "edges_to_intervals",
    "expected_depth",
    "median_depth",
    "normals_from_depth",
    "opacity",
    "scale_gradients_by_distance",
    "weights_from_alpha",
    "weights_from_density",
    "z_depth_to_distance",
]
