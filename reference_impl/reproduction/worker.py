"""A job in a process of its own: a crash, a signal or a divergence ends it and nothing else."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reference_impl import checkpoints
from reference_impl.command_line import exit_code
from reference_impl.config import Config, load_config, save_config
from reference_impl.reproduction.jobs import Job
from reference_impl.reproduction.lock import locked
from reference_impl.reproduction.results import (
    ROOT,
    JobFolder,
    code_fingerprint,
    collect,
    is_disk_full,
)
from reference_impl.train import train
from reference_impl.watch import NonFiniteLossError

__all__ = ["Outcome", "end", "outcome", "start", "was_stopped"]

NON_FINITE, DISK_FULL, STOPPED = 3, 4, 130
# Options that say where a job finds what it reads.
INPUTS = ("scene", "keypoints_cache", "lpips", "lpips_weights")
# Seconds that an orphan has for its last checkpoint.
LAST_WORDS = 60


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        result: for its result file; ``None``: it failed.
        reason: why it failed.
        disk_full: whether for want of space, which no other job would have either.
    """

    result: dict[str, Any] | None = None
    reason: str = ""
    disk_full: bool = False


def start(
    job: Job, folder: JobFolder, threads: int, *, gpu: str | None = None
) -> "subprocess.Popen[bytes]":
    """Start a job's process. It ends, saved, when its standard input does: with its parent.

    Args:
        job: to run, or to go on with.
        folder: of the job.
        threads: for each job; 0: as many as torch likes.
        gpu: the only one that it is to see; ``None``: all.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    save_config(replace(job.config, out=str(folder.run.resolve())), folder.config)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Unbuffered, so that the last line is what was said last, on whichever stream.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    with folder.output.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "reference_impl.reproduction.worker", str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C is the parent's to pass on, once
        )


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Have processes save and leave, and wait for it."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    for process in processes:
        process.wait()


def was_stopped(code: int) -> bool:
    """Whether a process with this exit code was killed, or told to stop, from outside."""
    return code in (-signal.SIGKILL, -signal.SIGTERM, STOPPED)


def outcome(job: Job, folder: JobFolder, code: int) -> Outcome:
    """What a process that has ended with an exit code leaves behind."""
    if code == 0:
        try:
            return Outcome(collect(job, folder))
        except (OSError, ValueError, KeyError) as error:
            return Outcome(reason=f"no readable result: {error}")
    if code < 0:
        name = signal.Signals(-code).name
        return Outcome(reason=f"killed by {name}; see {folder.output}")
    if code == STOPPED:
        return Outcome(reason="told to stop; the same command goes on with it")
    lines = folder.output.read_text(errors="replace").replace("\r", "\n").split("\n")
    said = [line.strip() for line in lines if line.strip()] or [f"exit code {code}"]
    return Outcome(reason=said[-1].removeprefix("error: "), disk_full=code == DISK_FULL)


def work(folder: JobFolder) -> None:
    """Train, or go on from the last checkpoint."""
    config, begun = load_config(folder.config), time.monotonic()
    resumed = checkpoints.any_saved(folder.run)
    session: dict[str, Any] = {"code": code_fingerprint()}
    earlier = folder.read_sessions() if resumed else []
    folder.write_sessions([*earlier, session])
    if resumed:
        # What decides nothing of the training may be other by now: where the data lie, or whether
        # LPIPS is measured.
        path = folder.run / "config.json"
        save_config(
            replace(load_config(path), **{name: getattr(config, name) for name in INPUTS}), path
        )
        train(Config(resume=str(folder.run), device=config.device))
    elif folder.result.is_file():
        raise ValueError(
            f"{folder.run}: its checkpoints are gone, so no more can be measured of it; delete"
            f" {folder.path} to have it trained again"
        )
    else:
        # A run killed before its first checkpoint begins again: nothing in it is worth keeping.
        if folder.run.exists():
            shutil.rmtree(folder.run)
        train(config)
    session["seconds"] = round(time.monotonic() - begun, 1)
    folder.write_sessions([*earlier, session])


def _leave_with_parent() -> None:
    """Wait for standard input to end, then have the training save and stop."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_WORDS)
    os._exit(1)


def main() -> int:
    """Run from the command line: 0 done, 2 bad input, 3 diverged, 4 disk full, 130 stopped."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    folder = JobFolder(Path(sys.argv[1]))
    try:
        # An orphan of a killed command may still be saving.
        with locked(folder.path, wait=True):
            return exit_code(lambda: _unless_full(folder))
    except KeyboardInterrupt as stopped:
        _say(f"error: {stopped}")
        return STOPPED
    except NonFiniteLossError as error:
        _say(f"error: diverged: {error}")
        return NON_FINITE
    except _DiskFullError as error:
        _say(f"error: {error}")
        return DISK_FULL


def _say(text: str) -> None:
    """Print, or not: on a full disk the exit code has to do."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class _DiskFullError(Exception):
    """There is no space left."""


def _unless_full(folder: JobFolder) -> None:
    try:
        work(folder)
    except Exception as error:
        if is_disk_full(error):
            raise _DiskFullError(str(error)) from error
        raise


if __name__ == "__main__":
    sys.exit(main())
