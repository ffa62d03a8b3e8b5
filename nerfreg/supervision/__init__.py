"""Sparse depth from structure-from-motion: keypoints with a depth and a standard deviation."""

from nerfreg.supervision.colmap import keypoints_from_colmap, read_colmap
from nerfreg.supervision.keypoints import Keypoints
from nerfreg.supervision.model import SparseModel, SupervisionWarning
from nerfreg.supervision.uncertainty import depth_std, reprojection_weight

__all__ = [
    "Keypoints",
    "SparseModel",
    "SupervisionWarning",
    "depth_std",
    "keypoints_from_colmap",
    "read_colmap",
    "reprojection_weight",
]
