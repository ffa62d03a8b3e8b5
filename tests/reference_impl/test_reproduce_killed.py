"""Whoever is killed, a rerun loses nothing and does nothing twice. Real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reference_impl import checkpoints
from reference_impl.config import LogConfig
from reference_impl.reproduction.results import JobFolder
from tests.reference_impl.tiny_jobs import tiny_job

ROOT = Path(__file__).resolve().parents[2]
STEPS = 1500
pytestmark = [pytest.mark.slow, pytest.mark.distributed]


def long_jobs():
    log = LogConfig(every=10, checkpoint_every=10, frames=0)
    return [tiny_job(seed=seed, steps=STEPS, log=log) for seed in (0, 1)]


@pytest.fixture
def jobs():
    return long_jobs()


@pytest.fixture
def reproduce(tmp_path):
    """Start the command on those jobs."""
    code = (
        "from tests.reference_impl.test_reproduce_killed import long_jobs;"
        "from tests.reference_impl.tiny_jobs import command;"
        "command(long_jobs())"
    )
    started = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-c", code, "--out", str(tmp_path), *options],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition, process, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def holder(folder):
    """Process that holds a job's folder."""
    return int((folder.path / ".lock").read_text().split()[1])


def parent(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def require_whole(jobs, out):
    """One result a job, each step logged once: nothing was lost, nothing done twice."""
    assert sorted(path.name for path in (out / "jobs").iterdir()) == sorted(j.name for j in jobs)
    for job in jobs:
        folder = JobFolder.of(job, out)
        assert folder.read_result(job)["metrics"]["step"] == STEPS
        assert [line["step"] for line in folder.log()] == list(range(10, STEPS + 1, 10))
    assert "2 of 2 jobs finished" in (out / "embedded-small" / "table.md").read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_command_takes_its_jobs_along_and_a_rerun_goes_on(
    number, jobs, reproduce, tmp_path
):
    first, folder = reproduce(), JobFolder.of(jobs[0], tmp_path)
    wait_for(lambda: checkpoints.any_saved(folder.run), first)
    trainer = holder(folder)
    first.send_signal(number)
    first.wait(timeout=60)
    assert first.returncode == (-number if number == signal.SIGKILL else 130)
    # It saves, and leaves, whether or not anybody waits for it.
    deadline = time.monotonic() + 60
    while not gone(trainer):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    reached = checkpoints.latest(folder.run).step
    assert 10 <= reached < STEPS
    assert f"stopped at step {reached}" in folder.output.read_text()
    second = reproduce()
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    require_whole(jobs, tmp_path)


def test_a_killed_job_is_recorded_and_the_other_runs(jobs, reproduce, tmp_path):
    first, folder = reproduce(), JobFolder.of(jobs[0], tmp_path)
    wait_for(lambda: checkpoints.any_saved(folder.run), first)
    os.kill(holder(folder), signal.SIGKILL)
    said, _ = first.communicate(timeout=300)
    assert first.returncode == 1
    assert "seed 0: failed: killed by SIGKILL" in said
    assert JobFolder.of(jobs[1], tmp_path).read_result(jobs[1]) is not None
    second = reproduce()
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert "2 jobs, 1 of them done" in said
    require_whole(jobs, tmp_path)


class TestRay:
    """A cluster of this machine."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("ray")

    def test_a_lost_worker_is_replaced_and_its_job_goes_on(self, jobs, reproduce, tmp_path):
        command, folder = reproduce("--engine", "ray"), JobFolder.of(jobs[0], tmp_path)
        wait_for(lambda: checkpoints.any_saved(folder.run), command)
        trainer = holder(folder)
        os.kill(parent(trainer), signal.SIGKILL)
        wait_for(lambda: gone(trainer), command)
        assert not folder.result.exists()
        said, _ = command.communicate(timeout=400)
        assert command.returncode == 0, said
        assert "seed 0: failed" not in said
        require_whole(jobs, tmp_path)

    def test_a_killed_trainer_goes_on(self, jobs, reproduce, tmp_path):
        """As where memory is short: the system kills what needs the most of it."""
        command, folder = reproduce("--engine", "ray"), JobFolder.of(jobs[0], tmp_path)
        wait_for(lambda: checkpoints.any_saved(folder.run), command)
        os.kill(holder(folder), signal.SIGKILL)
        said, _ = command.communicate(timeout=400)
        assert command.returncode == 0, said
        assert "seed 0: failed" not in said
        require_whole(jobs, tmp_path)

    def test_a_killed_driver_loses_nothing(self, jobs, reproduce, tmp_path):
        first, folder = reproduce("--engine", "ray"), JobFolder.of(jobs[0], tmp_path)
        wait_for(lambda: checkpoints.any_saved(folder.run), first)
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=60)
        second = reproduce("--engine", "ray")
        said, _ = second.communicate(timeout=400)
        assert second.returncode == 0, said
        require_whole(jobs, tmp_path)

    def test_a_cluster_that_is_there_is_used_and_one_too_small_is_told(self, reproduce):
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        where = ("--engine", "ray", "--address", cluster.address)
        try:
            for option, more in (("--cpus", "2"), ("--gpus", "1")):
                command = reproduce(*where, option, more)
                said, _ = command.communicate(timeout=120)
                assert command.returncode == 2, said
                assert f"error: {option} {more}" in said
                assert "the cluster has" in said
            command = reproduce(*where)
            said, _ = command.communicate(timeout=400)
            assert command.returncode == 0, said
            assert "done: " in said
        finally:
            cluster.shutdown()
