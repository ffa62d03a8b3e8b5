"""The viewer: a page that shows a run's scene, its cameras and its field."""

import importlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reference_impl.report import Pixels
from reference_impl.viewer.controls import Controls, Settings
from reference_impl.viewer.drawn_patches import patches_before
from reference_impl.viewer.followed_run import FollowedRun
from reference_impl.viewer.free_camera import FreeCamera
from reference_impl.viewer.landmarks import Landmarks
from reference_impl.viewer.layers import Colors
from reference_impl.viewer.progressive import Progressive
from reference_impl.viewer.sight import Field, Sight, look
from reference_impl.viewer.stage import MIDDLE, Stage, vertical_fov

LOOK_SECONDS = 1.0  # between two looks at a run that is training


@dataclass(frozen=True, eq=False)
class Wish:
    """A picture that somebody is to see: one field, or two beside each other."""

    camera: FreeCamera
    fields: tuple[Field, ...]
    settings: Settings


@dataclass(frozen=True)
class Picture:
    """A painted picture and its z-depth, which hides what lies behind."""

    pixels: Pixels
    depth: NDArray[np.float32]


def import_viser() -> Any:
    """The package that serves the page.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module("viser")
    except ImportError as error:
        raise ImportError('view.py needs viser: pip install "nerfreg[viewer]"') from error


def draw(wish: Wish, height: int, chunk: Callable[[], int], colors: Colors) -> Iterator[Any]:
    """Render a picture chunk by chunk: yields the rays of each, and at the end the picture."""
    width = wish.camera.cameras(height).width
    cut = round(wish.settings.split * width) if len(wish.fields) > 1 else width
    pixels: list[Pixels] = []
    depth: list[NDArray[np.float32]] = []
    for field, columns in zip(wish.fields, (slice(cut), slice(cut, width)), strict=False):
        if columns.start == width or columns.stop == 0:
            continue
        for part in look(field, wish.camera, height, columns, chunk):
            if isinstance(part, Sight):
                pixels.append(colors.pixels(part, wish.settings.layer))
                depth.append(part.depth.numpy())
            else:
                yield part
    joined = np.concatenate(pixels, 1)
    if 0 < cut < width and height > 100:
        joined[:, cut] = 255
    yield Picture(joined, np.concatenate(depth, 1))


class Viewer:
    """Serve the page of one run, or of two on the same scene.

    Args:
        runs: one or two.
        host: address to listen at.
        port: to listen at; if it is taken, the next free one.
        live: look for new checkpoints every second.

    Raises:
        ImportError: viser is not installed.
        ValueError: the runs' cameras differ, so that one picture cannot show both.
        OSError: the address cannot be had.
    """

    def __init__(
        self,
        runs: Sequence[FollowedRun],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        live: bool = False,
    ) -> None:
        viser = import_viser()
        # A browser may be closed at any moment, also between asking for it and writing to it.
        warnings.filterwarnings("ignore", "Queued a .* on a closed connection")
        require_same_cameras(runs)
        self.runs, scene = runs, runs[0].run.scene
        self.stage, self.colors = Stage.of(scene), Colors.of(scene)
        self.cameras: dict[int, FreeCamera] = {}
        with redirect_stdout(io.StringIO()):  # viser's own greeting, in a box
            self.server = viser.ViserServer(host=host, port=port, label="nerfreg", verbose=False)
        self.server.gui.configure_theme(
            control_width="large", show_share_button=False, show_logo=False
        )
        self._enter(self.stage.entrance)
        self._closed = threading.Event()
        self._patches = ThreadPoolExecutor(1, "patches")
        self._step = -1
        self.pictures = Progressive[Wish, Picture](
            lambda wish, height, chunk: draw(wish, height, chunk, self.colors),
            self._show,
            self._failed,
        )
        self.landmarks = Landmarks(self.server.scene, scene, self.stage, self.jump)
        self.controls = Controls(
            self.server.gui, runs, self.landmarks, self.colors, self.refresh, self.jump
        )
        self.server.on_client_connect(self._connected)
        self.server.on_client_disconnect(self._disconnected)
        self.refresh()
        self._follower = threading.Thread(target=self._follow, name="follower", daemon=True)
        if live:
            self._follower.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.server.get_host()}:{self.server.get_port()}"

    def close(self) -> None:
        """Stop serving."""
        self._closed.set()
        self.pictures.close()
        self._patches.shutdown(cancel_futures=True)
        if self._follower.is_alive():
            self._follower.join()
        self.server.stop()

    def wait(self) -> None:
        """Serve until somebody interrupts."""
        self._closed.wait()

    def refresh(self) -> None:
        """Draw everybody's picture anew."""
        step = self.runs[0].nearest(self.controls.settings.step) or 0
        if step != self._step:
            self._step = step
            self._patches.submit(self._draw_patches, step)
        for watcher, camera in list(self.cameras.items()):
            self._ask(watcher, camera)

    def jump(self, client: Any, view: int) -> None:
        """Put a browser where a camera of the scene stood."""
        scene = self.runs[0].run.scene
        c2w = scene.cameras.c2w[view].cpu()
        position = self.stage.place(c2w[:, 3])
        with client.atomic():
            client.camera.up_direction = tuple((-c2w[:, 1]).tolist())
            client.camera.position = tuple(position.tolist())
            client.camera.look_at = tuple((position + MIDDLE * c2w[:, 2].numpy()).tolist())
            client.camera.fov = vertical_fov(scene, view)

    def _enter(self, camera: FreeCamera) -> None:
        start, position = self.server.initial_camera, self.stage.place(camera.c2w[:, 3])
        start.position = tuple(position.tolist())
        start.look_at = tuple((position + MIDDLE * camera.c2w[:, 2].numpy()).tolist())
        start.up = tuple(self.stage.up.tolist())
        start.fov = camera.fov

    def _connected(self, client: Any) -> None:
        client.camera.on_update(lambda _: self._moved(client))
        self._moved(client)

    def _disconnected(self, client: Any) -> None:
        self.cameras.pop(client.client_id, None)
        self.pictures.forget(client.client_id)

    def _moved(self, client: Any) -> None:
        c = client.camera
        camera = self.stage.camera(c.wxyz, c.position, c.fov, c.aspect)
        if client.client_id not in self.server.get_clients():
            return
        self.cameras[client.client_id] = camera
        self.landmarks.uncover(eye.c2w[:, 3] for eye in list(self.cameras.values()))
        self._ask(client.client_id, camera)

    def _ask(self, watcher: int, camera: FreeCamera) -> None:
        settings = self.controls.settings
        steps = [run.nearest(settings.step) for run in self.runs]
        fields = tuple(
            run.snapshots[step].field
            for run, step in zip(self.runs, steps, strict=True)
            if step is not None
        )
        if len(fields) == len(self.runs):
            self.pictures.ask(
                watcher, Wish(camera, fields, settings), settings.height, camera.aspect
            )

    def _show(self, watcher: int, picture: Picture, height: int, whole: int) -> None:
        if self.controls.failure:
            self.controls.failure = ""
            self.controls.refresh()
        client = self.server.get_clients().get(watcher)
        if client is not None:
            client.scene.set_background_image(
                picture.pixels,
                format="jpeg",
                jpeg_quality=90,
                depth=self.stage.place(torch.from_numpy(picture.depth)),
            )

    def _failed(self, error: Exception) -> None:
        self.controls.failure = f"the picture could not be drawn: {error}"
        self.controls.refresh()

    def _draw_patches(self, step: int) -> None:
        if step != self._step:  # another checkpoint has been chosen since
            return
        run = self.runs[0]
        states = {known: snapshot.random_state for known, snapshot in run.snapshots.items()}
        try:
            patches = patches_before(run.run, step, states)
            self.landmarks.draw_patches(patches)
        except Exception as error:  # nobody waits for this thread: the panel has to say it
            self.controls.patches.content = f"⚠ patches could not be drawn: {error}"
            return
        text = (
            "no unseen patches in this recipe" if patches is None else f"patches: {patches.origin}"
        )
        self.controls.patches.content = text

    def _follow(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            new = [run.look() for run in self.runs]
            self.controls.refresh()
            if any(new):
                self.refresh()


def require_same_cameras(runs: Sequence[FollowedRun]) -> None:
    """Refuse two runs whose cameras differ: no browser's camera could stand in both worlds.

    Raises:
        ValueError: they differ; the message names the scenes.
    """
    first, *others = (run.run.scene for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        a, b = first.cameras.c2w, other.cameras.c2w
        if a.shape != b.shape or not torch.allclose(a, b, atol=1e-4):
            raise ValueError(
                f"{run.folder}: its scene {other.name} has other cameras than {first.name} of"
                f" {runs[0].folder}; two runs side by side must show one scene"
            )
