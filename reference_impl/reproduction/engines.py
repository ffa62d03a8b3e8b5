"""Where jobs run: here, a few at a time, or on a Ray cluster."""

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from reference_impl.reproduction import worker
from reference_impl.reproduction.jobs import Job
from reference_impl.reproduction.results import ROOT, JobFolder, is_disk_full
from reference_impl.reproduction.worker import Outcome

__all__ = ["Ended", "Look", "run_local", "run_ray"]

Ended = Generator[tuple[Job, Outcome], None, None]
# Called every now and then with the jobs that run.
Look = Callable[[Sequence[Job]], None]

WAIT = 0.2
# Times that a job on Ray is started again which was lost; it goes on from its checkpoint.
RETRIES = 3


def run_local(
    jobs: Sequence[Job], out: Path, *, look: Look, parallel: int = 1, threads: int = 0
) -> Ended:
    """Run jobs on this machine, and give each with its outcome as it ends.

    Args:
        jobs: to run.
        out: the command's folder.
        look: called while they run.
        parallel: how many at a time.
        threads: of each.
    """
    waiting = deque(jobs)
    running: dict[Job, Any] = {}
    gpus = _gpus() if parallel > 1 else []
    places: dict[Job, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job = waiting.popleft()
                taken = [places[other] for other in running if other in places]
                if gpus and job.config.device != "cpu":
                    places[job] = min(gpus, key=taken.count)
                running[job] = worker.start(
                    job, JobFolder.of(job, out), threads, gpu=places.get(job)
                )
            ended = [job for job, process in running.items() if process.poll() is not None]
            for job in ended:
                process = running.pop(job)
                worker.end([process])
                yield job, worker.outcome(job, JobFolder.of(job, out), process.returncode)
            if not ended:
                look(list(running))
                time.sleep(WAIT)
    finally:
        worker.end(list(running.values()))


def _gpus() -> list[str]:
    """Names of this machine's GPUs, as CUDA_VISIBLE_DEVICES has them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return visible.split(",")
    return [str(i) for i in range(torch.cuda.device_count())]


def run_ray(
    jobs: Sequence[Job],
    out: Path,
    *,
    look: Look,
    address: str = "",
    cpus: int = 1,
    gpus: float | None = None,
) -> Ended:
    """Run jobs on a Ray cluster, and give each with its outcome as it ends.

    Python, this project, the scenes and ``out`` must lie at the same paths on all of its nodes.

    Args:
        jobs: to run.
        out: the command's folder.
        look: called while they run.
        address: of the cluster; without one a cluster of this machine is started, and ended.
        cpus: for each job.
        gpus: for each job; ``None``: one where the cluster has any and the jobs may use it.

    Raises:
        ImportError: Ray is not installed.
        ValueError: there is no cluster, or it is smaller than one job.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
    except ImportError as error:
        raise ImportError('--engine ray needs: pip install "nerfreg[ray]"') from error
    # A cluster's nodes know nothing of this process's path.
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    here: dict[str, Any] = {} if address else {"include_dashboard": False}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or "local",
            runtime_env=environment,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **here,
        )
    except Exception as error:  # Ray raises bare ones, of many lines
        said = str(error).strip().splitlines() or [type(error).__name__]
        where = f"at {address}" if address else "on this machine"
        raise ValueError(f"--engine ray: no cluster {where}: {said[0]}") from error
    try:
        if on_sigterm is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in its place
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if gpus is None:
            gpus = float(any(node.get("GPU", 0) > 0 for node in nodes))
        # Ray would wait for what never comes.
        for option, kind, asked in (("cpus", "CPU", cpus), ("gpus", "GPU", gpus)):
            most = max((node.get(kind, 0) for node in nodes), default=0)
            if asked > most:
                raise ValueError(
                    f"--{option} {asked}: no node of the cluster has so many, {most:g} at most"
                )
        on_gpu = {job: gpus if job.config.device != "cpu" else 0 for job in jobs}
        task = ray.remote(max_retries=RETRIES)(_attempt)
        started = time.time()
        pending = {
            task.options(num_cpus=cpus, num_gpus=on_gpu[job], name=job.name).remote(
                job, out, cpus
            ): job
            for job in jobs
        }
        while pending:
            ready, _ = ray.wait(list(pending), timeout=1.0)
            for reference in ready:
                job = pending.pop(reference)
                try:
                    yield job, ray.get(reference)
                except RayTaskError as error:
                    cause = error.cause or error
                    reason = f"Ray: {type(cause).__name__}: {cause}".strip().splitlines()[-1]
                    yield job, Outcome(reason=reason, disk_full=is_disk_full(cause))
                except RayError as error:
                    said = str(error).strip().splitlines() or [type(error).__name__]
                    yield job, Outcome(reason=f"Ray: {said[0]}")
            look([job for job in pending.values() if _begun(JobFolder.of(job, out), started)])
    finally:
        ray.shutdown()


def _attempt(job: Job, out: Path, threads: int) -> Outcome:
    """Run a job from a worker of the cluster; a worker that dies takes the job's process along.

    Where the process alone is stopped from outside, for want of memory, say, it goes on here.
    """
    folder = JobFolder.of(job, out)
    retries = RETRIES
    while True:
        process = worker.start(job, folder, threads)
        try:
            process.wait()
        finally:
            worker.end([process])
        if not retries or not worker.was_stopped(process.returncode):
            return worker.outcome(job, folder, process.returncode)
        retries -= 1


def _begun(folder: JobFolder, since: float) -> bool:
    """Whether a job of the cluster runs, as far as its files can be seen from here."""
    try:
        return folder.output.stat().st_mtime >= since
    except OSError:
        return False
