"""How far the jobs are, one line each, and how long the rest will take."""

import shutil
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from reference_impl.reproduction.jobs import Job
from reference_impl.reproduction.results import JobFolder

__all__ = ["Progress", "Speeds", "duration"]

# Seconds between two reports: on a terminal, which draws over the last one, and in a file.
ON_TERMINAL, IN_FILE = 1.0, 60.0


class Speeds:
    """Seconds a step, learnt from finished jobs: of the same kind, else of the same preset."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], list[float]] = {}

    def learn(self, job: Job, result: Mapping[str, Any]) -> None:
        """Remember how long a job took, with loading and measuring where that is known."""
        whole = result.get("wall_seconds", result["metrics"]["train_seconds"])
        speed = whole / job.config.steps
        for kind in self._kinds(job):
            self._known.setdefault(kind, []).append(speed)

    def seconds(self, job: Job) -> float | None:
        """What a whole job is expected to take; ``None``: nobody knows."""
        for kind in self._kinds(job):
            if kind in self._known:
                return statistics.mean(self._known[kind]) * job.config.steps
        return None

    @staticmethod
    def _kinds(job: Job) -> list[tuple[Any, ...]]:
        c = job.config
        often = c.preset, c.width, c.log.evaluate_every > 0
        return [(*often, c.recipe, c.without), often, (c.preset,)]


class Progress:
    """Reports on running jobs and on what is left.

    Args:
        jobs: that are to run.
        out: the command's folder.
        speeds: of finished jobs.
        stream: to write to.
    """

    def __init__(
        self, jobs: Iterable[Job], out: Path, speeds: Speeds, stream: TextIO | None = None
    ) -> None:
        self.left, self.out, self.speeds = list(jobs), out, speeds
        self.total = len(self.left)
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        self.drawn, self.reported = 0, -float("inf")

    def look(self, running: Sequence[Job]) -> None:
        """Report, if it is time."""
        now = time.monotonic()
        if now - self.reported < (ON_TERMINAL if self.terminal else IN_FILE):
            return
        self.reported = now
        self._clear()
        lines = [self.line(job) for job in running]
        lines.append(self.overall(running))
        if self.terminal:  # a line that wraps would not be drawn over
            width = shutil.get_terminal_size().columns - 1
            lines = [line[:width] for line in lines]
        print("\n".join(lines), file=self.stream, flush=True)
        self.drawn = len(lines)

    def ended(self, job: Job, said: str) -> None:
        """Report the end of a job, which stays to be read."""
        self._clear()
        self.left.remove(job)
        done = self.total - len(self.left)
        print(f"[{done}/{self.total}] {job.title}: {said}", file=self.stream, flush=True)

    def line(self, job: Job) -> str:
        """How far a job is."""
        log = JobFolder.of(job, self.out).log()
        if not log:
            return f"  {job.title}: starting"
        train = [line["psnr"] for line in log if "psnr" in line]
        test = [value for line in log for name, value in line.items() if name.endswith("_psnr")]
        shown = [f"{name} PSNR {v[-1]:.2f}" for name, v in (("batch", train), ("test", test)) if v]
        return f"  {job.title}: step {log[-1]['step']}/{job.config.steps}, {', '.join(shown)}"

    def overall(self, running: Sequence[Job]) -> str:
        """What is left, and for how long."""
        seconds = self.remaining(running)
        eta = "unknown yet" if seconds is None else duration(seconds)
        return f"  {len(self.left)} of {self.total} jobs left, ETA {eta}"

    def remaining(self, running: Sequence[Job]) -> float | None:
        """Seconds until all is done, with as many at a time as now."""
        pace: list[float] = []  # seconds a step of those that run, where nothing has finished yet
        reached: dict[Job, int] = {}
        for job in running:
            log = JobFolder.of(job, self.out).log()
            if log and log[-1]["seconds"]:
                reached[job] = log[-1]["step"]
                pace.append(log[-1]["seconds"] / log[-1]["step"])
        total = 0.0
        for job in self.left:
            whole = self.speeds.seconds(job)
            if whole is None:
                if not pace:
                    return None
                whole = statistics.mean(pace) * job.config.steps
            total += whole * (1 - reached.get(job, 0) / job.config.steps)
        return total / max(len(running), 1)

    def _clear(self) -> None:
        if self.terminal and self.drawn:
            self.stream.write(f"\033[{self.drawn}F\033[J")
        self.drawn = 0


def duration(seconds: float) -> str:
    """For people: 45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
