"""Sparse depth from structure-from-motion: keypoints with a depth and a standard deviation."""

from nerfreg.supervision.keypoints import Keypoints

__all__ = ["Keypoints"]
