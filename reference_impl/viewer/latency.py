"""How long a browser waits for pictures, measured without one."""

import statistics
import threading
import time
from dataclasses import dataclass, field

import torch

from reference_impl.report import flight_poses
from reference_impl.viewer.controls import Settings
from reference_impl.viewer.followed_run import FollowedRun
from reference_impl.viewer.free_camera import FreeCamera
from reference_impl.viewer.layers import Colors
from reference_impl.viewer.progressive import Progressive
from reference_impl.viewer.stage import vertical_fov
from reference_impl.viewer.viewer import Picture, Wish, draw

MOVES, REST_SECONDS, HEIGHT = 40, 0.15, 240


@dataclass
class _Stopwatch:
    started: float = 0.0
    first: float = 0.0
    rows: int = 0
    move: int = 0
    error: Exception | None = None
    came: threading.Event = field(default_factory=threading.Event)
    whole: threading.Event = field(default_factory=threading.Event)

    def start(self, move: int) -> None:
        self.came.clear()
        self.whole.clear()
        self.move, self.started = move, time.perf_counter()

    def show(self, watcher: int, picture: Picture, height: int, whole: int) -> None:
        del picture
        if watcher != self.move:  # of the move before, finished late
            return
        if not self.came.is_set():
            self.first, self.rows = time.perf_counter() - self.started, height
            self.came.set()
        if height == whole:
            self.whole.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.came.set()
        self.whole.set()


def measure(run: FollowedRun) -> str:
    """Move a camera past the training views, each move into the refinement of the one before.

    Returns:
        The time from a move to its first picture, and from the last move to the finest one.
    """
    scene, step = run.run.scene, max(run.snapshots)
    settings = Settings("colour", step, 1.0, HEIGHT)
    watch, colors = _Stopwatch(), Colors.of(scene)
    pictures = Progressive[Wish, Picture](
        lambda wish, height, chunk: draw(wish, height, chunk, colors), watch.show, watch.fail
    )
    seconds: list[float] = []
    rows: list[int] = []
    poses = flight_poses(scene.cameras.c2w[scene.train].float().cpu(), MOVES)
    for move, pose in enumerate(poses):
        camera = FreeCamera(pose, vertical_fov(scene), 4 / 3)
        watch.start(move)
        pictures.forget(move - 1)
        pictures.ask(move, Wish(camera, (run.snapshots[step].field,), settings), HEIGHT, 4 / 3)
        watch.came.wait()
        seconds.append(watch.first)
        rows.append(watch.rows)
        time.sleep(REST_SECONDS)
    watch.whole.wait()
    whole = time.perf_counter() - watch.started
    pictures.close()
    if watch.error is not None:
        raise watch.error
    ordered = sorted(seconds[MOVES // 4 :])  # the first ones learn how fast the machine is
    return (
        f"first picture after a move: median {statistics.median(ordered):.3f} s, 90 % within"
        f" {ordered[int(0.9 * len(ordered))]:.3f} s, {min(rows)} to {max(rows)} rows,"
        f" {torch.get_num_threads()} threads\nfinest picture ({HEIGHT} rows) {whole:.1f} s after"
        " the last move"
    )
