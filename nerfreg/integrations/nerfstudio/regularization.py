"""One step's regularizers: draw, render, evaluate, all a function of the seed and the step."""

import contextlib
import hashlib
from collections.abc import Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nerfreg import UnseenPatchSampler
from nerfreg.integrations.nerfstudio.annealing import ColliderAnnealing, focus_distance
from nerfreg.integrations.nerfstudio.cameras import to_nerfreg
from nerfreg.integrations.nerfstudio.keypoints import (
    KeypointRays,
    find_model,
    keypoint_rays,
    view_names,
)
from nerfreg.integrations.nerfstudio.options import RegularizersConfig
from nerfreg.integrations.nerfstudio.rendering import (
    is_gaussian,
    render_gaussian_patches,
    render_keypoints,
    render_patches,
)
from nerfreg.integrations.nerfstudio.spacing import t_to_spacing
from nerfreg.integrations.nerfstudio.terms import PATCH_TERMS, make_objective
from nerfreg.objective import ObjectiveValue
from nerfreg.supervision import read_colmap
from nerfreg.views import (
    AroundFocusPoses,
    Cameras,
    ForwardFacingPoses,
    HemispherePoses,
    InterpolatedPoses,
    PoseDistribution,
)

__all__ = ["Regularization"]

Inputs = dict[str, Mapping[str, Tensor | None]]

# z-depths between which a forward-facing capture's content is taken to lie, nerfstudio's world
# units: its cameras lie in [−1, 1]³. They choose how far ahead unseen cameras look, no more.
FORWARD_FACING_RANGE = 0.5, 10.0


class Regularization:
    """The regularizers of a training; no module, so that no prior gets into checkpoints.

    Args:
        options: what acts.
        model: to regularize, not wrapped for distribution.
        datamanager: whose training cameras are measured.
        seed: of everything drawn.

    Raises:
        ValueError: the options do not fit the model or the data; the message says which.
        FileNotFoundError: there is no COLMAP model where the options say.
    """

    def __init__(
        self, options: RegularizersConfig, model: Any, datamanager: Any, seed: int
    ) -> None:
        self.options, self.model, self.seed = options, model, seed
        self.gaussian = is_gaussian(model)
        self.objective = make_objective(options)
        if not self.objective.terms and not options.annealing_steps:
            raise ValueError("--pipeline.regularizers: every term is switched off")
        if self.gaussian:
            _require_full_resolution(model)
        device = model.device
        for loss, _ in self.objective.terms.values():
            if isinstance(loss, nn.Module):
                loss.to(device)
        cameras = to_nerfreg(datamanager.train_dataset.cameras)
        if options.patch_size > min(cameras.width, cameras.height):
            raise ValueError(
                f"--pipeline.regularizers.patch-size {options.patch_size}: does not fit into images"
                f" of {cameras.width}×{cameras.height} pixels"
            )
        self.annealing = self._annealing(cameras)
        self.keypoints = self._keypoints(cameras, datamanager)
        self.patches = UnseenPatchSampler(
            _poses(options.unseen_poses, cameras.to(device)),
            cameras.intrinsics.to(device),
            options.patch_size,
            image_size=(cameras.width, cameras.height),
        )

    def __call__(self, step: int) -> ObjectiveValue | None:
        """Draw and render what the terms look at, and evaluate them; ``None`` where none acts."""
        if not self.objective.terms:
            return None
        with self._draws_of(step) as generator:
            inputs = self._of_patches(generator) | self._of_keypoints(generator)
        with torch.autocast(self.model.device.type, enabled=False):
            return self.objective(step, inputs)

    def _of_patches(self, generator: torch.Generator) -> Inputs:
        acting = {k: asked for k, asked in PATCH_TERMS.items() if k in self.objective.terms}
        if not acting:
            return {}
        patches = self.patches.sample(self.options.patches, generator)
        render = render_gaussian_patches if self.gaussian else render_patches
        rendered = render(self.model, patches)
        rendered["depth"] = t_to_spacing(rendered["depth"])
        return {name: {key: rendered[key] for key in asked} for name, asked in acting.items()}

    def _of_keypoints(self, generator: torch.Generator) -> Inputs:
        if self.keypoints is None:
            return {}
        drawn = self.keypoints.draw(self.options.keypoint_rays, generator)
        if self.annealing is not None:
            self.annealing.end()
        known = {"depth": drawn.distance, "std": drawn.std}
        return {"keypoints": render_keypoints(self.model, drawn) | known}

    @contextlib.contextmanager
    def _draws_of(self, step: int) -> Generator[torch.Generator, None, None]:
        """Draw for one step, and leave the training's own random numbers as they were.

        The step's numbers come from the seed and the step alone: a resumed training draws what it
        would have drawn, and one without regularizers sees the same photographs' rays.
        """
        device = self.model.device
        number = seed_of_step(self.seed, step)
        of_torch: Any = torch.random
        with of_torch.fork_rng([device] if device.type == "cuda" else []):
            of_torch.manual_seed(number)  # for what the model itself draws
            yield torch.Generator(device).manual_seed(number)

    def _annealing(self, cameras: Cameras[Tensor]) -> ColliderAnnealing | None:
        options = self.options
        if not options.annealing_steps:
            return None
        return ColliderAnnealing(
            self.model.collider,
            options.annealing_steps,
            options.annealing_start,
            focus_distance(cameras),
        )

    def _keypoints(self, cameras: Cameras[Tensor], datamanager: Any) -> KeypointRays | None:
        if self.options.colmap is None or "keypoints" not in self.objective.terms:
            return None
        if self.gaussian:
            raise ValueError(
                "--pipeline.regularizers.colmap: Gaussian models render no rays, so keypoints"
                " cannot supervise them; leave it out"
            )
        outputs = datamanager.train_dataparser_outputs
        data = datamanager.get_datapath()
        found = keypoint_rays(
            read_colmap(find_model(self.options.colmap, data)),
            view_names(list(outputs.image_filenames), data),
            cameras.to("cpu"),
            outputs.dataparser_transform,
            float(outputs.dataparser_scale),
        )
        return found.to(self.model.device)


def seed_of_step(seed: int, step: int) -> int:
    """Mix a training's seed and a step into 32 bits: PyTorch's generator for CPUs keeps no more."""
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def _poses(kind: str, cameras: Cameras[Tensor]) -> PoseDistribution:
    if kind == "forward-facing":
        return ForwardFacingPoses.from_cameras(cameras, *FORWARD_FACING_RANGE)
    measured = {
        "around-focus": AroundFocusPoses,
        "hemisphere": HemispherePoses,
        "interpolated": InterpolatedPoses,
    }[kind]
    try:
        return measured.from_cameras(cameras)
    except ValueError as error:
        raise ValueError(
            f"--pipeline.regularizers.unseen-poses {kind}: {error}; forward-facing needs no focus"
        ) from error


def _require_full_resolution(model: Any) -> None:
    if model.config.num_downscales != 0:
        raise ValueError(
            f"--pipeline.model.num-downscales {model.config.num_downscales}: photographs would be"
            " rendered at reduced resolution at first, unseen patches at full resolution always,"
            " and the Gaussians fitted at two scales at once; set it to 0"
        )
