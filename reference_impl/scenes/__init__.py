"""Scenes: photos with known cameras, split into training and test views."""

from reference_impl.scenes.scene import PoseDistribution, Scene, SceneError

__all__ = ["PoseDistribution", "Scene", "SceneError"]
