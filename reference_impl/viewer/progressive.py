"""Pictures that come coarse at once and get finer while nothing new is asked for."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
Picture = TypeVar("Picture")

FIRST_SECONDS = 0.08  # what the first picture may take, of the 0.2 s that feel immediate
PAUSE_SECONDS = 0.04  # until a new wish is noticed
SMALLEST = 8  # rows


@dataclass
class _Job(Generic[Wish]):
    wish: Wish
    height: int
    aspect: float
    heights: list[int]  # still to draw


class Progressive(Generic[Wish, Picture]):
    """One thread that draws for everybody who watches, the coarsest picture still owed first.

    Args:
        draw: (wish, height, chunk): yields the rays of each chunk that it has rendered, and at
            the end the picture; ``chunk()`` says how many rays to render until the next pause.
        show: (watcher, picture, height, full height): called with every picture.
        failed: called with an error that drawing raised; the next wish is drawn all the same.
    """

    def __init__(
        self,
        draw: Callable[[Wish, int, Callable[[], int]], Iterator[int | Picture]],
        show: Callable[[int, Picture, int, int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.draw, self.show, self.failed = draw, show, failed
        self.rays_per_second = 4000.0
        self._jobs: dict[int, _Job[Wish]] = {}
        self._owed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)
        self._thread.start()

    def ask(self, watcher: int, wish: Wish, height: int, aspect: float) -> None:
        """Draw this for a watcher from now on, instead of what was asked before."""
        with self._owed:
            heights = levels(height, aspect, self.rays_per_second * FIRST_SECONDS)
            self._jobs[watcher] = _Job(wish, height, aspect, heights)
            self._owed.notify()

    def forget(self, watcher: int) -> None:
        """Draw nothing more for a watcher."""
        with self._owed:
            self._jobs.pop(watcher, None)

    def close(self) -> None:
        """Stop drawing."""
        with self._owed:
            self._closed = True
            self._owed.notify()
        self._thread.join()

    def chunk(self) -> int:
        """Rays to render until somebody's new wish may be noticed."""
        return max(int(self.rays_per_second * PAUSE_SECONDS), 16)

    def _next(self) -> tuple[int, _Job[Wish]] | None:
        """The watcher who waits for the coarsest picture."""
        owed = [(watcher, job) for watcher, job in self._jobs.items() if job.heights]
        if self._closed or not owed:
            return None
        return min(owed, key=lambda item: item[1].heights[0] ** 2 * item[1].aspect)

    def _run(self) -> None:
        while True:
            with self._owed:
                self._owed.wait_for(lambda: self._closed or self._next() is not None)
                turn = self._next()
            if turn is None:
                return
            watcher, job = turn
            height = job.heights[0]
            try:
                picture = self._drawn(job, height)
                if picture is not None:
                    job.heights.pop(0)
                    self.show(watcher, picture, height, job.height)
            except Exception as error:  # one picture that fails must not end all later ones
                job.heights.clear()
                self.failed(error)

    def _drawn(self, job: _Job[Wish], height: int) -> Picture | None:
        """One picture; nothing if something else is more urgent by now."""
        started = time.perf_counter()
        for part in self.draw(job.wish, height, self.chunk):
            if not isinstance(part, int):
                return part
            now = time.perf_counter()
            speed = part / max(now - started, 1e-6)
            self.rays_per_second += 0.3 * (speed - self.rays_per_second)
            started = now
            with self._owed:
                turn = self._next()
            if turn is None or turn[1] is not job:
                return None
        return None


def levels(height: int, aspect: float, first_rays: float) -> list[int]:
    """Heights to draw one after another: each twice the last, ending with the whole.

    Args:
        height: of the last, in rows.
        aspect: width over height.
        first_rays: what the first may cost, in rays.

    Example:
        >>> levels(240, 4 / 3, 2000)
        [30, 60, 120, 240]
    """
    heights = [height]
    while heights[0] ** 2 * aspect > first_rays and heights[0] // 2 >= SMALLEST:
        heights.insert(0, heights[0] // 2)
    return heights
