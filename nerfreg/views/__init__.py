"""Where to look: cameras, their rays, and the unseen poses and patches that regularizers need."""

from nerfreg.views.around_focus import AroundFocusPoses
from nerfreg.views.axes import (
    colmap_to_opencv,
    opencv_to_colmap,
    opencv_to_opengl,
    opengl_to_opencv,
)
from nerfreg.views.cameras import Cameras
from nerfreg.views.distribution import PoseDistribution
from nerfreg.views.forward_facing import ForwardFacingPoses, focus_depth
from nerfreg.views.hemisphere import HemispherePoses
from nerfreg.views.interpolated import InterpolatedPoses
from nerfreg.views.ndc import depth_to_ndc, ndc_rays, ndc_scale, ndc_to_depth, to_ndc
from nerfreg.views.patches import PatchRays, UnseenPatchSampler, patch_pixels
from nerfreg.views.paths import orbit_path, spiral_path
from nerfreg.views.pinhole import pinhole, pinhole_rays, pixel_centres, project_points
from nerfreg.views.poses import (
    average_pose,
    compose_poses,
    focus_point,
    invert_pose,
    look_at,
    recenter_poses,
    to_unit_hemisphere,
    view_matrix,
)
from nerfreg.views.quaternion import quaternion_to_rotation, rotation_to_quaternion, slerp
from nerfreg.views.rays import Rays, plane_parameter, shift_origins

__all__ = [
    "AroundFocusPoses",
    "Cameras",
    "ForwardFacingPoses",
    "HemispherePoses",
    "InterpolatedPoses",
    "PatchRays",
    "PoseDistribution",
    "Rays",
    "UnseenPatchSampler",
    "average_pose",
    "colmap_to_opencv",
    "compose_poses",
    "depth_to_ndc",
    "focus_depth",
    "focus_point",
    "invert_pose",
    "look_at",
    "ndc_rays",
    "ndc_scale",
    "ndc_to_depth",
    "opencv_to_colmap",
    "opencv_to_opengl",
    "opengl_to_opencv",
    "orbit_path",
    "patch_pixels",
    "pinhole",
    "pinhole_rays",
    "pixel_centres",
    "plane_parameter",
    "project_points",
    "quaternion_to_rotation",
    "recenter_poses",
    "rotation_to_quaternion",
    "shift_origins",
    "slerp",
    "spiral_path",
    "to_ndc",
    "to_unit_hemisphere",
    "view_matrix",
]
