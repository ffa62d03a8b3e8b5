"""What a model of nerfstudio renders where nobody took a photograph."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nerfreg.integrations.nerfstudio.cameras import to_patch_camera
from nerfreg.integrations.nerfstudio.installation import nerfstudio
from nerfreg.integrations.nerfstudio.keypoints import KeypointRays
from nerfreg.rays import distance_to_z_depth
from nerfreg.vectors import length
from nerfreg.views import PatchRays, Rays

__all__ = [
    "evaluation_mode",
    "is_gaussian",
    "render_gaussian_patches",
    "render_keypoints",
    "render_patches",
]

# Names under which models of nerfstudio give what they render, the first found counts. «depth» is a
# median without gradient in some models.
DEPTHS = ("expected_depth", "depth", "depth_fine")
OPACITIES = ("accumulation", "accumulation_fine")
COLORS = ("rgb", "rgb_fine")


@contextmanager
def evaluation_mode(model: nn.Module) -> Generator[None, None, None]:
    """Put a model into evaluation mode, and each of its modules back into its own.

    In evaluation mode nothing is jittered or dropped, appearance is the mean of the training
    views', and no learned correction of a training camera is applied. The collider stays in
    training: in evaluation it moves the near plane to 0.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    collider = getattr(model, "collider", None)
    if collider is not None:
        collider.train()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def is_gaussian(model: Any) -> bool:
    """Whether a model renders cameras (splatfacto and its kin) and not rays."""
    return isinstance(model, nerfstudio("models.splatfacto").SplatfactoModel)


def render_patches(model: Any, patches: PatchRays) -> dict[str, Tensor]:
    """Render patches ray by ray.

    Args:
        model: in any mode, not wrapped for distribution.
        patches: in nerfstudio's world.

    Returns:
        z-``depth`` and ``opacity`` (n, P, P), ``rgb`` (n, P, P, 3), all in float32.

    Raises:
        ValueError: the model gives no depth that has a gradient, or no opacity or colour.
    """
    shape = patches.rays.shape
    rays = patches.rays.flatten()
    norm: Tensor = length(rays.directions, keepdim=True)
    unit = Rays(rays.origins, rays.viewdirs, rays.viewdirs, rays.radii / norm)
    view = torch.zeros(len(rays), dtype=torch.long, device=norm.device)
    with evaluation_mode(model):
        outputs = model(_bundle(unit, norm, view))
    distance, opacity, rgb = _read(model, outputs)
    depth = distance_to_z_depth(distance.reshape(-1), rays.directions)
    return {
        "depth": depth.reshape(shape),
        "opacity": opacity.reshape(shape),
        "rgb": rgb.reshape(*shape, 3),
    }


def render_gaussian_patches(model: Any, patches: PatchRays) -> dict[str, Tensor]:
    """Render patches as small cameras, one after the other.

    Call it before the training view is rendered: after the step, densification reads what the
    last rendering left behind. That is put back here all the same.

    Args, returns and errors are those of :func:`render_patches`; depth is the z-depth of the
    Gaussians' centres.
    """
    module = nerfstudio("cameras.cameras")
    left = {name: getattr(model, name) for name in ("info", "last_size") if hasattr(model, name)}
    box, model.crop_box = model.crop_box, None  # a viewer's
    views: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        with evaluation_mode(model):
            for i in range(len(patches.c2w)):
                outputs = model.get_outputs(to_patch_camera(module, patches, i))
                views.append(_read(model, outputs))
    finally:
        model.crop_box = box
        for name, value in left.items():
            setattr(model, name, value)
    depth, opacity, rgb = (torch.stack(each) for each in zip(*views, strict=True))
    return {"depth": depth[..., 0], "opacity": opacity[..., 0], "rgb": rgb}


def render_keypoints(model: Any, keypoints: KeypointRays) -> dict[str, Tensor]:
    """Render rays of training views in training mode, and tell where they stop.

    The collider's planes must not be annealed: targets would fall outside of the samples.

    Args:
        model: in training mode, not wrapped for distribution.
        keypoints: in nerfstudio's world.

    Returns:
        ``weights``, ``starts`` and ``ends`` (R, S) in distance from the camera, float32.

    Raises:
        ValueError: the model does not give the samples of its rays.
    """
    bundle = _bundle(keypoints.rays, torch.ones_like(keypoints.rays.radii), keypoints.view)
    outputs = model(bundle)
    missing = [name for name in ("weights_list", "ray_samples_list") if name not in outputs]
    if missing:
        raise ValueError(
            f"{type(model).__name__} gives no {', '.join(missing)} while training, so it cannot be"
            " told where rays through keypoints stop; expected a model such as nerfacto's"
        )
    frustums = outputs["ray_samples_list"][-1].frustums
    samples = outputs["weights_list"][-1], frustums.starts, frustums.ends
    return {
        name: x[..., 0].float()
        for name, x in zip(("weights", "starts", "ends"), samples, strict=True)
    }


def _bundle(rays: Rays[Tensor], norm: Tensor, view: Tensor) -> Any:
    """Make a ``RayBundle`` of rays with unit directions."""
    return nerfstudio("cameras.rays").RayBundle(
        origins=rays.origins,
        directions=rays.directions,
        # A pixel at distance 1: √3 times the cone's radius along each side.
        pixel_area=3 * rays.radii.square(),
        camera_indices=view[:, None],
        metadata={"directions_norm": norm},
    )


def _read(model: Any, outputs: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Pick depth, opacity and colour out of a model's outputs."""
    picked = list[Tensor]()
    for what, names in (("depth", DEPTHS), ("opacity", OPACITIES), ("color", COLORS)):
        found = [x for x in map(outputs.get, names) if x is not None]
        usable = [x for x in found if x.requires_grad]
        if not usable:
            problem = f"its {what} has no gradient" if found else f"it renders no {what}"
            raise ValueError(
                f"{type(model).__name__} cannot be regularized in unseen views: {problem}; expected"
                f" an output named {' or '.join(names)} with one, got {', '.join(outputs)}"
            )
        picked.append(usable[0].float())
    return picked[0], picked[1], picked[2]
