"""How far the jobs are, one line each, and how long the rest will take."""

import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from reference_impl.config import Config, load_config
from reference_impl.reproduction.jobs import Job
from reference_impl.reproduction.results import JobFolder

__all__ = ["Progress", "Speeds", "duration"]

# Share of a job after which its own pace says more than that of others.
OWN_PACE = 0.05
# Seconds between two reports: on a terminal, which draws over the last one, and in a file.
ON_TERMINAL, IN_FILE = 1.0, 60.0


class Speeds:
    """How long jobs take, learnt from finished ones: of the same kind, else of the same preset."""

    def __init__(self) -> None:
        # Of each job: steps, seconds of training, and of loading and measuring besides.
        self._known: dict[tuple[Any, ...], list[tuple[int, float, float]]] = {}

    @classmethod
    def of(cls, out: Path) -> "Speeds":
        """From all results in a command's folder, of whichever table."""
        speeds = cls()
        for path in sorted(out.glob("jobs/*/result.json")):
            try:
                config, result = load_config(JobFolder(path.parent).config), path.read_text()
                speeds.learn(config, json.loads(result))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # whether it is sound is asked where it is used
        return speeds

    def learn(self, config: Config, result: Mapping[str, Any]) -> None:
        """Remember how long a job took."""
        training = float(result["metrics"]["train_seconds"])
        besides = max(float(result.get("wall_seconds", training)) - training, 0.0)
        for kind in self._kinds(config):
            self._known.setdefault(kind, []).append((config.steps, training, besides))

    def seconds(self, job: Job) -> float | None:
        """What a whole job is expected to take; ``None``: nobody knows."""
        for kind in self._kinds(job.config):
            if kind in self._known:
                steps, training, besides = zip(*self._known[kind], strict=True)
                pace = sum(training) / sum(steps)
                return pace * job.config.steps + statistics.fmean(besides)
        return None

    @staticmethod
    def _kinds(c: Config) -> list[tuple[Any, ...]]:
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
        self._begun = {job: self._share(job) for job in self.left}
        # Of each running job: when it was first seen at which step, and when last at a new one.
        self._seen: dict[Job, tuple[float, int, float, int]] = {}

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
        pace: dict[Job, float] = {}
        reached: dict[Job, float] = {}
        for job in running:
            log = JobFolder.of(job, self.out).log()
            if log and log[-1]["seconds"]:
                reached[job] = log[-1]["step"] / job.config.steps
                pace[job] = self._pace(job, log[-1])
        total = 0.0
        for job in self.left:
            known = self.speeds.seconds(job)
            alike = [p for other, p in pace.items() if other.variant == job.variant]
            if reached.get(job, 0.0) > OWN_PACE or (known is None and job in pace):
                whole = pace[job] * job.config.steps
            elif known is not None:
                whole = known
            elif pace:
                whole = statistics.mean(alike or pace.values()) * job.config.steps
            else:
                return None
            total += whole * (1 - reached.get(job, self._begun.get(job, 0.0)))
        return total / max(len(running), 1)

    def _share(self, job: Job) -> float:
        """How much of a job is trained."""
        log = JobFolder.of(job, self.out).log()
        return log[-1]["step"] / job.config.steps if log else 0.0

    def _pace(self, job: Job, line: Mapping[str, Any]) -> float:
        """Seconds a step: by the clock, so with measuring on the way, once it was seen to move."""
        now, step = time.monotonic(), int(line["step"])
        began, first, moved, last = self._seen.setdefault(job, (now, step, now, step))
        if step < last:  # killed, and begun again from its checkpoint
            began, first, moved, last = self._seen[job] = now, step, now, step
        if step > last:
            moved, last = now, step
            self._seen[job] = began, first, moved, last
        if last > first:
            return (moved - began) / (last - first)
        return float(line["seconds"]) / step

    def _clear(self) -> None:
        if self.terminal and self.drawn:
            self.stream.write(f"\033[{self.drawn}F\033[J")
        self.drawn = 0


def duration(seconds: float) -> str:
    """For people: 45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
