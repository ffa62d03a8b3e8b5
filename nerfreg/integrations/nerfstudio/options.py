"""What can be set on nerfstudio's command line: ``--pipeline.regularizers.…``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["RegularizersConfig"]

# nerfstudio reads the comment under a field as its help.
Fade = tuple[float, float]


@dataclass
class RegularizersConfig:
    """Which regularizers act, when and how strongly.

    A pair of weights is that of step 0 and that from ``fade_steps`` on, with equal factors between;
    ``0 0`` switches the term off. Everything is a function of the step alone, so that a resumed
    training goes on as if it had not stopped.
    """

    fade_steps: int = 30_000
    """Steps in which weights go from the first of their pair to the second."""
    smoothness: Fade = (10.0, 0.1)
    """Weights of depth smoothness in patches of unseen views (RegNeRF). Depth is compared in
    nerfacto's own spacing (t/2 up to t = 1, then 1 - 1/(2t)), so that the far background does not
    drown the rest. Between RegNeRF's 400 to 0.1 and its released 0.1; chosen at small size, see
    docs/integrations/nerfstudio.md."""
    color_prior: Fade = (0.0, 0.0)
    """Weights of the color prior on patches of unseen views (RegNeRF's normalizing flow, nats per
    dimension), which needs patches of at least 8x8."""
    patches: int = 64
    """Patches of unseen views a step (RegNeRF: 64). Gaussian models render one after the other."""
    patch_size: int = 8
    """Pixels along a patch's side (RegNeRF: 8)."""
    unseen_poses: Literal["around-focus", "forward-facing", "hemisphere", "interpolated"] = (
        "around-focus"
    )
    """Where unseen views are drawn from: the box of the training cameras, facing their focus; the
    same box, facing ahead; the upper half of a sphere; between two training cameras."""
    annealing_steps: int = 0
    """Steps until the whole ray is sampled; before, samples stay around what the training cameras
    look at (RegNeRF: 256 to 512). 0 switches it off. Models with a near and a far plane only."""
    annealing_start: float = 0.5
    """Share of the ray that is sampled at step 0 (RegNeRF on DTU: 0.5)."""
    colmap: Path | None = None
    """Folder of a COLMAP model, alone or below the data: keypoints of the training views supervise
    the depth of the rays through them (DS-NeRF), each with its own standard deviation. Best a model
    of the training views alone."""
    keypoints: Fade = (0.1, 0.003)
    """Weights of the keypoints' divergence KL[N(depth, std^2) || where the ray stops], where there
    is a COLMAP model (DS-NeRF: 0.1; fading as in nerfreg's recipe «fewview»)."""
    keypoint_rays: int = 1024
    """Rays through keypoints a step, in addition to the batch (DS-NeRF: as many as color rays); at
    least 2. Keypoints are switched off by their weights."""
