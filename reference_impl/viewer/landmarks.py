"""What stands in the scene beside the field: cameras, photographs, keypoints, unseen patches."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nerfreg.views import rotation_to_quaternion
from reference_impl.report import Pixels, picture_stem
from reference_impl.scenes import Scene
from reference_impl.viewer.drawn_patches import DrawnPatches
from reference_impl.viewer.layers import StdColors
from reference_impl.viewer.stage import MIDDLE, Stage, vertical_fov

BLUE, GREEN, ORANGE = (56, 132, 255), (40, 170, 80), (255, 140, 20)
FRUSTUM = 0.28  # browser units from a camera to its photograph
PHOTO_WIDTH = 256
# What can be shown and hidden: its one colour, if it has one, and what it is.
GROUPS = {
    "training": (BLUE, "cameras and photographs that train"),
    "test": (GREEN, "cameras whose photographs are kept for measuring"),
    "unseen": (ORANGE, "poses that took no photograph"),
    "patches": (None, "frusta of the patches that training looks at from unseen poses"),
    "keypoints": (None, "points of known depth in the training views"),
}


class Landmarks:
    """The nodes of the page's 3D scene.

    Args:
        scene: viser's.
        content: what to show.
        stage: where it stands.
        jump: called with a client and a view when a camera is clicked.

    Attributes:
        std_colors: of the keypoints; ``None`` where there are none.
    """

    def __init__(
        self, scene: Any, content: Scene, stage: Stage, jump: Callable[[Any, int], None]
    ) -> None:
        self.scene, self.content, self.stage = scene, content, stage
        scene.set_up_direction(tuple(stage.up.tolist()))
        self.groups: dict[str, Any] = {
            group: scene.add_frame(f"/{group}", show_axes=False) for group in GROUPS
        }
        self.cameras: dict[int, Any] = {}
        for view in content.train:
            self._camera("training", view, BLUE, photo=True).on_click(_jumper(jump, view))
        for view in content.test:
            self._camera("test", view, GREEN, photo=False).on_click(_jumper(jump, view))
        self.std_colors = self._keypoints()

    def show(self, group: str, visible: bool) -> None:
        """Show or hide one of :data:`GROUPS`."""
        self.groups[group].visible = visible

    def uncover(self, positions: Iterable[Tensor]) -> None:
        """Hide cameras that somebody looks through: their photographs would cover the picture."""
        eyes = [position * self.stage.scale for position in positions]
        for view, node in self.cameras.items():
            centre = self.content.cameras.c2w[view, :, 3].cpu() * self.stage.scale
            free = all(float((eye - centre).norm()) > FRUSTUM / 2 for eye in eyes)
            if node.visible != free:
                node.visible = free

    def draw_patches(self, patches: DrawnPatches | None) -> None:
        """Replace the unseen poses and the frusta of their patches."""
        if patches is None:
            return
        eyes = patches.poses[:, None, :, 3].expand(-1, 4, 3)
        corners = eyes + patches.corners * MIDDLE / self.stage.scale
        edges = torch.stack([eyes, corners], -2)
        outline = torch.stack([corners, corners.roll(-1, 1)], -2)
        segments = torch.cat([edges, outline], 1).reshape(-1, 2, 3)
        self.scene.add_line_segments(
            "/patches/frusta",
            self.stage.place(segments),
            ORANGE,
            thickness=0.75,
            thickness_units="screen",
        )
        self.scene.add_point_cloud(
            "/unseen/poses",
            self.stage.place(eyes[:, 0]),
            ORANGE,
            point_size=0.014,
            point_shape="circle",
            precision="float32",
        )

    def _camera(self, group: str, view: int, color: tuple[int, int, int], *, photo: bool) -> Any:
        scene, c2w = self.content, self.content.cameras.c2w[view].cpu()
        stem = picture_stem(scene.names[view])
        node = self.scene.add_camera_frustum(
            f"/{group}/{stem}",
            fov=vertical_fov(scene, view),
            aspect=scene.cameras.width / scene.cameras.height,
            scale=FRUSTUM if photo else FRUSTUM / 2,
            thickness=2.0,
            thickness_units="screen",
            color=color,
            image=_small(scene.images[view].numpy()) if photo else None,
            wxyz=rotation_to_quaternion(c2w[:, :3].double()).numpy(),
            position=self.stage.place(c2w[:, 3]),
            cast_shadow=False,
            receive_shadow=False,
        )
        self.cameras[view] = node
        return node

    def _keypoints(self) -> StdColors | None:
        points = [
            (self.content.cameras.rays(torch.full((len(k),), view), k.xy.float()).at(k.depth), k)
            for view, k in self.content.keypoints.items()
            if len(k)
        ]
        if not points:
            return None
        std = torch.cat([k.std for _, k in points]).float()
        colors = StdColors.of(std)
        self.scene.add_point_cloud(
            "/keypoints/points",
            self.stage.place(torch.cat([xyz for xyz, _ in points])),
            colors.pixels(std),
            point_size=0.02,
            point_shape="circle",
            precision="float32",
        )
        return colors


def _jumper(jump: Callable[[Any, int], None], view: int) -> Callable[[Any], None]:
    def clicked(event: Any) -> None:
        jump(event.client, view)

    return clicked


def _small(photo: Pixels) -> Pixels:
    """A photograph of the size that a frustum shows."""
    height, width = photo.shape[:2]
    if width <= PHOTO_WIDTH:
        return photo
    size = (PHOTO_WIDTH, max(round(height * PHOTO_WIDTH / width), 1))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
