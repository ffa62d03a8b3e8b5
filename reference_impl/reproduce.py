"""Reproduce a table or a figure of the papers: many trainings, one command.

$ python reference_impl/reproduce.py                                     the embedded scene, no data
$ python reference_impl/reproduce.py --table llff3 --data FOLDER         on scenes below FOLDER
$ python reference_impl/reproduce.py --table ablation --scenes embedded --dry-run
$ python reference_impl/reproduce.py --table llff3 --data FOLDER --preset paper --engine ray
"""

import os
import signal
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import tyro

from reference_impl.command_line import exit_code
from reference_impl.perceptual import SMALLEST
from reference_impl.reproduction import engines, figures
from reference_impl.reproduction.jobs import Job, Plan, Request, in_words, plan
from reference_impl.reproduction.lock import locked
from reference_impl.reproduction.pace import seconds_a_step
from reference_impl.reproduction.progress import Progress, Speeds, duration
from reference_impl.reproduction.results import JobFolder, is_disk_full, write_whole
from reference_impl.reproduction.summary import Summary
from reference_impl.reproduction.tables import TABLES, Table


@dataclass(frozen=True)
class Options:
    """Reproduce a table or a figure of the papers."""

    table: str = "embedded"
    """embedded, llff3, llff6, llff9, dtu3, dtu6, dtu9, dsnerf-llff, dsnerf-dtu, dsnerf-redwood,
    blender8, ablation, intent, recipes, data-efficiency, data-efficiency-dtu or convergence."""
    preset: Literal["small", "paper"] = "small"
    """small: minutes a job on a CPU. paper: RegNeRF's network, batch and steps, for a GPU."""
    seeds: int = 3
    """Runs of each setting; 3 are those with seeds 0, 1 and 2."""
    data: Path | None = None
    """Folder with the scenes' folders in it, at most two folders deep."""
    out: Path = Path("runs/reproduced")
    """Folder for jobs and tables; one serves for all tables, which share their jobs."""
    scenes: str = ""
    """Only these scenes: NAME or NAME,NAME; others than the table's are welcome."""
    steps: int = 0
    """Optimisation steps of each job; 0: the preset's."""
    keypoints: Literal["model", "triangulate", "none"] = "model"
    """Where jobs have keypoints from. model: what lies beside a scene, which may know of unseen
    views (the table says so); triangulate: the training views alone; none: no keypoints."""
    lpips_weights: Path | None = None
    """Measure LPIPS, too, as the papers do (vgg), with this file of convert_lpips.py."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where each job trains."""
    engine: Literal["local", "ray"] = "local"
    """local: on this machine. ray: on a Ray cluster (extra: ray)."""
    address: str = ""
    """Of the Ray cluster; without one a cluster of this machine is started."""
    parallel: int = 1
    """Jobs at a time, engine local; each has one of the GPUs there are, in turn."""
    cpus: int = 0
    """Processor threads of each job; 0: one with Ray, else those there are, shared evenly."""
    gpus: float | None = None
    """GPUs of each job, engine ray: 1, a part of one, or 0; by default 1 where the cluster has any.
    A job trains on one; on several: train.py --devices."""
    dry_run: bool = False
    """List the jobs, what is done of them, and how long the rest may take."""

    def request(self) -> Request:
        """What of the table to run."""
        scenes = tuple(name.strip() for name in self.scenes.split(",") if name.strip())
        return Request(
            preset=self.preset,
            seeds=self.seeds,
            data=self.data,
            scenes=scenes,
            steps=self.steps,
            keypoints=self.keypoints,
            lpips_weights=self.lpips_weights,
            device=self.device,
        )


def reproduce(options: Options) -> int:
    """Run what is not done yet, then make the table; returns how many jobs failed."""
    if options.table not in TABLES:
        raise ValueError(f"--table {options.table}: unknown, choose one of {', '.join(TABLES)}")
    for name, least in (("parallel", 1), ("cpus", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(options, name)}")
    if options.engine != "ray":
        for name, unset in (("address", ""), ("gpus", None)):
            if getattr(options, name) != unset:
                raise ValueError(f"--{name}: of a Ray cluster, so it needs --engine ray")
    elif options.parallel > 1:
        raise ValueError("--parallel: Ray runs as many jobs as --cpus and --gpus leave room for")
    if options.gpus is not None and not 0 <= options.gpus <= 1:
        raise ValueError(
            f"--gpus must be between 0 and 1, as a job trains on one, got {options.gpus:g}"
        )
    table, request = TABLES[options.table], options.request()
    planned = _plan(table, request)
    if options.dry_run:
        _list_jobs(planned, options.out, _finished(planned, options.out))
        return 0
    with locked(options.out):
        results = _finished(planned, options.out)
        failures: dict[Job, str] = {}
        try:
            try:
                _run(planned, results, failures, options)
            finally:  # stopped half-way, there is a table of what is done
                if results or failures:
                    _write(Summary(table, request, planned, results, failures), options.out)
        except OSError as error:
            if is_disk_full(error):
                raise _disk_full(options.out, str(error)) from error
            raise
        for job, reason in failures.items():
            print(f"failed: {job.title}: {reason}")
        return len(failures)


def _disk_full(out: Path, reason: str) -> ValueError:
    return ValueError(
        f"{out}: the disk is full ({reason}); make room and give the same command again: what is"
        " finished is kept"
    )


def _plan(table: Table, request: Request) -> Plan:
    planned = plan(table, request)
    for reason in in_words(planned.missing):
        print(f"left out: {reason}")
    return planned


def _finished(planned: Plan, out: Path) -> dict[Job, dict[str, Any]]:
    """Results that are there already."""
    found = {job: JobFolder.of(job, out).read_result(job) for job in planned.jobs}
    return {job: result for job, result in found.items() if result is not None}


def _left(planned: Plan, results: dict[Job, dict[str, Any]]) -> list[Job]:
    """Jobs without a result, or whose result lacks what was asked for."""
    return [j for j in planned.jobs if j not in results or _lacks_lpips(j, results[j])]


def _lacks_lpips(job: Job, result: dict[str, Any]) -> bool:
    """Whether LPIPS is to be measured and was not; for too small an image it never can be."""
    name, metrics = f"lpips_{job.config.lpips}", result["metrics"]
    wanted = bool(job.config.lpips) and min(metrics["size"]) >= SMALLEST
    return wanted and name not in metrics["mean"]


def _list_jobs(planned: Plan, out: Path, results: dict[Job, dict[str, Any]]) -> None:
    """Print the jobs, and what is known of their time."""
    speeds, reached = Speeds.of(out), dict.fromkeys(planned.jobs, 0.0)
    for job in planned.jobs:
        folder = JobFolder.of(job, out)
        failure, log = folder.read_failure(), folder.log()
        if log:
            reached[job] = log[-1]["step"] / job.config.steps
        if job in results and _lacks_lpips(job, results[job]):
            state = "trained, LPIPS to be measured"
        elif job in results:
            state = f"done, PSNR {results[job]['metrics']['mean']['psnr']:.2f}"
        elif failure:
            state = f"failed, will be tried again: {failure}"
        elif log:
            state = f"begun, step {log[-1]['step']}"
        else:
            state = "to do"
        print(f"{job.title}, {job.config.steps} steps: {state}")
    left = {job: 0.0 if job in results else 1 - reached[job] for job in _left(planned, results)}
    estimate = f"; {_estimate(left, speeds)}" if left else ""
    print(f"{len(planned.jobs) - len(left)} of {len(planned.jobs)} jobs done{estimate}")


def _estimate(left: dict[Job, float], speeds: Speeds) -> str:
    """How long jobs will take, in words, judging by finished ones, else by a few steps of each."""
    by = "judging by finished jobs"
    timed: dict[str, float] = {}
    total = 0.0
    for job, share in left.items():
        whole, recipe = speeds.seconds(job), job.config.recipe
        if whole is None and share:
            by = "judging by a few steps of each recipe, timed now; measuring comes on top"
            if recipe not in timed:
                try:
                    timed[recipe] = seconds_a_step(job)
                except (ValueError, ImportError, OSError, RuntimeError) as error:
                    return f"no estimate: {job.title}: {error}"
            whole = timed[recipe] * job.config.steps
        total += (whole or 0.0) * share
    return f"about {duration(total)}, one after another, {by}"


def _run(
    planned: Plan,
    results: dict[Job, dict[str, Any]],
    failures: dict[Job, str],
    options: Options,
) -> None:
    """Run the jobs without a result, and add what they leave to the results or the failures."""
    out = options.out
    left = _left(planned, results)
    done = len(planned.jobs) - len(left)
    print(f"{len(planned.jobs)} jobs, {done} of them done; they lie in {out / 'jobs'}")
    if not left:
        return
    speeds = Speeds.of(out)
    progress = Progress(left, out, speeds)
    if options.engine == "ray":
        ended = engines.run_ray(
            left,
            out.resolve(),
            look=progress.look,
            address=options.address,
            cpus=options.cpus or 1,
            gpus=options.gpus,
        )
    else:
        threads = options.cpus
        if options.parallel > 1 and not threads:
            threads = max((os.cpu_count() or 1) // options.parallel, 1)
        ended = engines.run_local(
            left, out, look=progress.look, parallel=options.parallel, threads=threads
        )
    with closing(ended):
        for job, outcome in ended:
            folder = JobFolder.of(job, out)
            if outcome.disk_full:
                raise _disk_full(out, outcome.reason)
            if outcome.result is None:
                failures[job] = outcome.reason
                folder.write_failure(job, outcome.reason)
                progress.ended(job, f"failed: {outcome.reason}")
                continue
            folder.write_result(outcome.result)
            results[job] = outcome.result
            speeds.learn(job.config, outcome.result)
            psnr = outcome.result["metrics"]["mean"]["psnr"]
            seconds = outcome.result["metrics"]["train_seconds"]
            progress.ended(job, f"PSNR {psnr:.2f} dB, {duration(seconds)} of training")


def _write(summary: Summary, out: Path) -> None:
    """Table, data and figures, in a folder of what was asked for."""
    folder = out / summary.request.folder_of(summary.table)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "table.csv", summary.csv())
    write_whole(folder / "table.json", summary.json())
    write_whole(folder / "table.md", summary.markdown())  # should drawing fail
    drawn = figures.draw(summary, out, folder)
    write_whole(folder / "table.md", summary.markdown(drawn))
    for picture in folder.glob("*.png"):  # of results that are there no more
        if picture.name not in drawn:
            picture.unlink()
    print(summary.markdown().split("\n## Metrics")[0])
    print(f"done: {folder / 'table.md'}")


def main() -> int:
    """Run from the command line: 0 done, 1 some job failed, 2 bad input, 130 stopped."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    failed = 0

    def program() -> None:
        nonlocal failed
        failed = reproduce(tyro.cli(Options, description=__doc__))

    try:
        return exit_code(program) or int(failed > 0)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where this one was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
