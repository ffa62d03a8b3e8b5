"""What every scene is, whatever format it was read from."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from nerfreg.supervision import Keypoints
from nerfreg.views import Cameras, PoseDistribution, Rays
from reference_impl.scenes.splits import validation

__all__ = ["Scene", "SceneError"]


class SceneError(ValueError):
    """A scene cannot be used; the message names the file, what was found and what was expected."""

    def __init__(self, path: str | Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


@dataclass(frozen=True)
class Scene:
    """Photos with known cameras, split into the few to train on and those to test on.

    Attributes:
        name: for reports, usually the folder's name.
        images: (N, H, W, 3) uint8 on the CPU; transparent pixels are already composited on
            ``background``.
        cameras: the N cameras, undistorted pinholes, in the scene's own world (recentred, scaled).
        names: the N file names.
        train: indices of the training views.
        test: indices of the views to measure on; none of them is a training view. After
            :meth:`for_validation` they are the validation views.
        near: z-depth in front of which nothing lies, over the training views.
        far: z-depth behind which nothing lies, over the training views.
        unseen: distribution of plausible poses between and around the training views.
        split: the rule that chose the views, in words, for printing.
        ndc_near: near plane (z-depth) of normalised device coordinates where the scene allows them:
            every camera looks along the world's −z. ``None`` where it does not.
        background: colour of empty space: 0 black, 1 white.
        keypoints: sparse depth of training views, from those views alone; may lack views, may be
            empty.
        points: structure-from-motion points seen in views that do not train: for evaluation, never
            for training.
        depth: (N, H, W) exact z-depth where it is known (synthetic scenes), else ``None``.
        surface: parameter t of the first surface along rays in the world, where it is known from
            everywhere (synthetic scenes), else ``None``.
        masks: (H, W) bool of views, True where the object is that the protocol measures; may lack
            views.
        depth_maps: (H, W) of training views, given by the user, from 1 (nearest) to 2 (farthest),
            NaN where unknown: an order more than a measure.
    """

    name: str
    images: Tensor
    cameras: Cameras
    names: list[str]
    train: list[int]
    test: list[int]
    near: float
    far: float
    unseen: PoseDistribution
    split: str
    ndc_near: float | None = None
    background: float = 0.0
    keypoints: dict[int, Keypoints] = field(default_factory=dict)
    points: dict[int, Keypoints] = field(default_factory=dict)
    depth: Tensor | None = None
    surface: Callable[[Rays], Tensor] | None = None
    depth_maps: dict[int, Tensor] = field(default_factory=dict)
    masks: dict[int, Tensor] = field(default_factory=dict)

    def for_validation(self) -> "Scene":
        """The same scene, measured on views that neither train nor test.

        Raises:
            SceneError: there is no such view.
        """
        views = validation(len(self.names), [*self.train, *self.test])
        if not views:
            raise SceneError(
                self.name, "every view trains or tests; none is left for --evaluate-on validation"
            )
        split = f"{self.split}; {len(views)} of the others validate"
        return replace(self, test=views, split=split)

    def __post_init__(self) -> None:
        n, height, width = self.images.shape[:3]
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            got = f"{self.images.dtype} {tuple(self.images.shape)}"
            raise SceneError(self.name, f"images must be uint8 (N, H, W, 3), got {got}")
        if not n == len(self.cameras) == len(self.names):
            counts = f"{n} images, {len(self.cameras)} cameras, {len(self.names)} names"
            raise SceneError(self.name, f"every image needs one camera and one name, got {counts}")
        if (width, height) != (self.cameras.width, self.cameras.height):
            size = f"{self.cameras.width}×{self.cameras.height}"
            raise SceneError(self.name, f"images are {width}×{height} pixels but cameras {size}")
        outside = [i for i in (*self.train, *self.test) if not 0 <= i < n]
        if outside:
            raise SceneError(self.name, f"views {outside} do not exist: the scene has {n} images")
        if not self.train:
            raise SceneError(self.name, "there is no training view")
        if not self.test:
            raise SceneError(self.name, "there is no test view")
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise SceneError(self.name, f"views {both} are both for training and for testing")
        if not 0 < self.near < self.far:
            raise SceneError(
                self.name, f"expected 0 < near < far, got near {self.near}, far {self.far}"
            )
        leaked = sorted(set(self.keypoints) - set(self.train))
        if leaked:
            raise SceneError(
                self.name, f"keypoints of views {leaked}, which are not training views"
            )
        for view, known in self.keypoints.items():
            if not bool((known.std > 0).all()):
                least = float(known.std.min())
                raise SceneError(
                    self.name, f"keypoints of {self.names[view]}: std must be > 0, got {least}"
                )
        for view, mask in self.masks.items():
            if mask.dtype != torch.bool or mask.shape != (height, width) or not mask.any():
                got = f"{mask.dtype} {tuple(mask.shape)}, {int(mask.sum())} pixels"
                raise SceneError(
                    self.name,
                    f"the mask of {self.names[view]} must be bool ({height}, {width}) and show the"
                    f" object somewhere, got {got}",
                )
        if self.depth is not None and self.depth.shape != (n, height, width):
            expected = (n, height, width)
            raise SceneError(self.name, f"depth must be {expected}, got {tuple(self.depth.shape)}")
