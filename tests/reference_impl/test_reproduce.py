"""The command: jobs in processes of their own, what is skipped, what goes on, what is told."""

import errno
import json
import os
import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_impl import reproduce
from reference_impl.config import LogConfig, OptimizerConfig, load_config, save_config
from reference_impl.reproduce import Options
from reference_impl.reproduction import engines, worker
from reference_impl.reproduction.jobs import Plan
from reference_impl.reproduction.lock import locked
from reference_impl.reproduction.pace import seconds_a_step
from reference_impl.reproduction.results import JobFolder
from reference_impl.reproduction.worker import DISK_FULL, Outcome, outcome, work
from reference_impl.session import SESSIONS
from reference_impl.train import train
from tests.reference_impl.tiny_jobs import finish, result_of, tiny_job
from tests.script import run_script

DIVERGES = OptimizerConfig(lr_start=1e30, lr_end=1e30, warmup_steps=0)


@pytest.fixture
def jobs(monkeypatch):
    """Two jobs instead of a table's."""
    jobs = tiny_job(), tiny_job(seed=1)
    monkeypatch.setattr(reproduce, "plan", lambda table, request: Plan(jobs, {}))
    return jobs


@pytest.fixture
def instead(monkeypatch):
    """Let jobs end, in this order, with these outcomes and without any process."""

    def install(*outcomes):
        def run(jobs, out, **options):
            ran.extend(jobs)
            yield from zip(jobs, outcomes, strict=False)

        ran = []
        monkeypatch.setattr(engines, "run_local", run)
        return ran

    return install


def test_a_job_that_diverges_is_recorded_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    good, bad = tiny_job(), tiny_job(seed=1, optimizer=DIVERGES)
    monkeypatch.setattr(reproduce, "plan", lambda table, request: Plan((bad, good), {}))
    options = Options(out=tmp_path, parallel=2)
    assert reproduce.reproduce(options) == 1
    said = capsys.readouterr().out
    assert "seed 1: failed: diverged: term" in said
    assert "seed 0: PSNR" in said
    reason = json.loads(JobFolder.of(bad, tmp_path).failure.read_text())["reason"]
    assert "became non-finite at step" in reason
    table = tmp_path / "embedded-small"
    assert {p.name for p in table.iterdir()} == {
        "images-embedded.png",
        *(f"table.{kind}" for kind in ("md", "csv", "json")),
    }
    assert "1 of 2 jobs finished" in (table / "table.md").read_text()
    assert f"- failed: {bad.title}: diverged" in (table / "table.md").read_text()

    reproduce.reproduce(replace(options, dry_run=True))
    said = capsys.readouterr().out
    assert "seed 1, 6 steps: failed, will be tried again: diverged" in said
    assert "seed 0, 6 steps: done, PSNR" in said
    assert "1 of 2 jobs done; about" in said


def test_what_is_finished_is_skipped(tmp_path, jobs, instead, capsys):
    finish(jobs[0], tmp_path)
    ran = instead(Outcome(result_of(jobs[1], 22.0)))
    assert reproduce.reproduce(Options(out=tmp_path)) == 0
    assert ran == [jobs[1]]
    assert "21.000 ± 1.414" in capsys.readouterr().out
    assert reproduce.reproduce(Options(out=tmp_path)) == 0
    assert ran == [jobs[1]], "now all are"


def test_a_result_without_the_lpips_asked_for_is_not_finished(
    tmp_path, monkeypatch, instead, capsys
):
    """It is measured on the model that is there."""
    job = tiny_job(lpips="vgg")
    monkeypatch.setattr(reproduce, "plan", lambda table, request: Plan((job,), {}))
    large = result_of(job)
    large["metrics"]["size"] = [48, 36]
    folder = JobFolder.of(job, tmp_path)
    folder.write_result(large)
    folder.run.mkdir()
    (folder.run / "log.jsonl").write_text('{"step": 6, "seconds": 6.0}')
    reproduce.reproduce(Options(out=tmp_path, dry_run=True))
    said = capsys.readouterr().out
    assert "trained, LPIPS to be measured" in said
    assert "0 of 1 jobs done; about 0 s" in said
    instead(Outcome(reason="killed"))
    assert reproduce.reproduce(Options(out=tmp_path)) == 1
    table = (tmp_path / "embedded-small" / "table.md").read_text()
    assert "1 of 1 jobs finished" in table, "what is measured stays"
    assert f"failed: {job.title}: killed" in table
    small = result_of(job)
    ran = instead(Outcome(small))
    assert reproduce.reproduce(Options(out=tmp_path)) == 0
    assert ran == [job]
    reproduce.reproduce(Options(out=tmp_path))
    assert ran == [job], "what images are too small for will never come"


def test_a_stopped_command_leaves_the_table_of_what_is_done(tmp_path, jobs, monkeypatch):
    def stopped(jobs, out, **options):
        yield jobs[0], Outcome(result_of(jobs[0]))
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "run_local", stopped)
    with pytest.raises(KeyboardInterrupt):
        reproduce.reproduce(Options(out=tmp_path))
    text = (tmp_path / "embedded-small" / "table.md").read_text()
    assert "1 of 2 jobs finished" in text
    assert "- 1 of 2 jobs have not run yet" in text


def test_numbers_are_written_even_if_a_figure_cannot_be_drawn(tmp_path, jobs, monkeypatch):
    for job in jobs:
        finish(job, tmp_path)

    def fail(*given):
        raise OSError("no such folder")

    monkeypatch.setattr(reproduce.figures, "draw", fail)
    with pytest.raises(OSError, match="no such folder"):
        reproduce.reproduce(Options(out=tmp_path))
    assert "2 of 2 jobs finished" in (tmp_path / "embedded-small" / "table.md").read_text()


def test_a_disk_that_is_full_for_the_command_itself_is_told(tmp_path, jobs, instead, monkeypatch):
    def full(self, job, reason):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(JobFolder, "write_failure", full)
    instead(Outcome(reason="killed"))
    with pytest.raises(ValueError, match=r"the disk is full .* give the same command again"):
        reproduce.reproduce(Options(out=tmp_path))


def test_a_failed_job_is_tried_again(tmp_path, jobs, instead):
    instead(Outcome(result_of(jobs[0])), Outcome(reason="killed"))
    assert reproduce.reproduce(Options(out=tmp_path)) == 1
    ran = instead(Outcome(result_of(jobs[1])))
    assert reproduce.reproduce(Options(out=tmp_path)) == 0
    assert ran == [jobs[1]]
    assert JobFolder.of(jobs[1], tmp_path).read_failure() is None


def test_a_dry_run_writes_nothing(tmp_path, jobs, capsys):
    reproduce.reproduce(Options(out=tmp_path / "out", dry_run=True))
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().out
    assert said.count("to do") == 2
    assert re.search(
        r"0 of 2 jobs done; about \d+ s, one after another, judging by a few steps", said
    )


def test_an_estimate_that_memory_does_not_allow_says_so(tmp_path, jobs, monkeypatch, capsys):
    def full(job):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(reproduce, "seconds_a_step", full)
    reproduce.reproduce(Options(out=tmp_path / "out", dry_run=True))
    assert f"no estimate: {jobs[0].title}: CUDA out of memory" in capsys.readouterr().out


def test_an_estimate_that_cannot_be_had_says_why(tmp_path, monkeypatch, capsys):
    job = tiny_job(recipe="dietnerf")
    monkeypatch.setattr(reproduce, "plan", lambda table, request: Plan((job,), {}))
    reproduce.reproduce(Options(out=tmp_path / "out", dry_run=True))
    assert "no estimate: embedded, dietnerf, 3 views, seed 0: --recipe dietnerf: needs" in (
        capsys.readouterr().out
    )


def test_a_step_is_timed_without_leaving_anything_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    began = time.perf_counter()
    assert 0 < seconds_a_step(tiny_job()) < time.perf_counter() - began
    assert not list(tmp_path.iterdir())


def test_of_slow_steps_one_is_timed(monkeypatch):
    clock = iter(range(0, 100, 10))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    assert seconds_a_step(tiny_job()) == 10.0
    assert next(clock) == 20, "two readings, so one step"


def test_a_result_edited_by_hand_stops_the_command(tmp_path, jobs):
    finish(jobs[0], tmp_path)
    path = JobFolder.of(jobs[0], tmp_path).result
    path.write_text(path.read_text().replace("20.0", "30.0"))
    for dry_run in (True, False):
        with pytest.raises(ValueError, match=rf"{jobs[0].name}/result\.json: changed since"):
            reproduce.reproduce(Options(out=tmp_path, dry_run=dry_run))


def test_a_second_command_is_told(tmp_path, jobs, instead):
    ran = instead()
    with locked(tmp_path), pytest.raises(ValueError, match=rf"in use by process {os.getpid()}"):
        reproduce.reproduce(Options(out=tmp_path))
    assert not ran


def test_where_all_jobs_fail_the_table_says_why(tmp_path, jobs, instead):
    instead(Outcome(reason="diverged: this"), Outcome(reason="diverged: that"))
    assert reproduce.reproduce(Options(out=tmp_path)) == 2
    text = (tmp_path / "embedded-small" / "table.md").read_text()
    assert f"- failed: {jobs[1].title}: diverged: that" in text
    assert json.loads((tmp_path / "embedded-small" / "table.json").read_text())["rows"] == []


def test_pictures_of_what_is_there_no_more_go(tmp_path, jobs):
    for job in jobs:
        finish(job, tmp_path)
    folder = tmp_path / "embedded-small"
    folder.mkdir()
    (folder / "images-fern.png").touch()
    reproduce.reproduce(Options(out=tmp_path))
    assert not list(folder.glob("*.png"))


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, ["0", "1", "0"]), ("5,7,8", ["5", "7", "5"])]
)
def test_jobs_at_a_time_share_the_gpus_out(tmp_path, monkeypatch, visible, expected):
    """The third begins where the first has ended."""

    class Ended:
        returncode = 0

        def poll(self):
            return 0 if self is started[0] or len(started) == 3 else None

    def start(job, folder, threads, *, gpu):
        given.append(gpu)
        started.append(Ended())
        return started[-1]

    given, started = [], []
    monkeypatch.setattr(worker, "start", start)
    monkeypatch.setattr(worker, "end", lambda processes: None)
    monkeypatch.setattr(worker, "outcome", lambda *_: Outcome())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    jobs = [tiny_job(seed=seed, device="auto") for seed in range(3)]
    ended = engines.run_local(jobs, tmp_path, look=lambda jobs: None, parallel=2)
    assert len(list(ended)) == 3
    assert given == expected


@pytest.mark.parametrize(
    ("codes", "started"), [([0], 1), ([2, 0], 1), ([-9, 0], 2), ([130, -15, 0], 3), ([-9] * 9, 4)]
)
def test_a_job_that_is_killed_on_a_cluster_is_started_again(tmp_path, monkeypatch, codes, started):
    """Three times; one that fails by itself would fail again."""

    class Process:
        def __init__(self, code):
            self.returncode = code

        def wait(self):
            ended.append(self.returncode)

    ended = []
    processes = iter([Process(code) for code in codes])
    monkeypatch.setattr(worker, "start", lambda job, folder, threads: next(processes))
    monkeypatch.setattr(worker, "end", lambda processes: None)
    monkeypatch.setattr(worker, "outcome", lambda job, folder, code: code)
    assert engines._attempt(tiny_job(), tmp_path, 1) == codes[started - 1]
    assert ended == codes[:started]


def test_a_full_disk_is_one_line_and_finished_jobs_are_kept(tmp_path, jobs, instead):
    full = Outcome(reason="No space left on device", disk_full=True)
    instead(Outcome(result_of(jobs[0])), full)
    with pytest.raises(ValueError, match=r"the disk is full .* give the same command again"):
        reproduce.reproduce(Options(out=tmp_path))
    assert JobFolder.of(jobs[0], tmp_path).read_result(jobs[0]) is not None
    assert not JobFolder.of(jobs[1], tmp_path).path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(table="llff4"), "--table llff4: unknown, choose one of embedded, llff3"),
        (Options(parallel=0), "--parallel must be at least 1, got 0"),
        (Options(cpus=-1), "--cpus must be at least 0, got -1"),
        (Options(address="auto"), "--address: .* needs --engine ray"),
        (Options(gpus=1), "--gpus: .* needs --engine ray"),
        (Options(engine="ray", gpus=2), "--gpus must be between 0 and 1, .* got 2"),
        (Options(engine="ray", parallel=2), "--parallel: Ray runs as many"),
    ],
)
def test_bad_options_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        reproduce.reproduce(replace(options, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_ray_that_is_not_there_is_told(tmp_path, jobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "nerfreg\[ray\]"'):
        reproduce.reproduce(Options(out=tmp_path, engine="ray"))


class TestWork:
    """What a job's process does."""

    @pytest.fixture
    def job(self):
        return tiny_job()

    @pytest.fixture
    def folder(self, job, tmp_path):
        folder = JobFolder.of(job, tmp_path)
        folder.path.mkdir(parents=True)
        save_config(replace(job.config, out=str(folder.run)), folder.config)
        return folder

    def steps(self, folder):
        return [line["step"] for line in folder.log()]

    def test_goes_on_from_a_checkpoint(self, job, folder):
        train(replace(job.config, out=str(folder.run)))
        whole = outcome(job, folder, 0).result
        # As after a kill between steps 3 and 6.
        later = folder.run / "checkpoints" / "step_0000006"
        for file in later.iterdir():
            file.unlink()
        later.rmdir()
        (folder.run / "metrics.json").unlink()
        work(folder)
        assert self.steps(folder) == [2, 4, 6]
        assert outcome(job, folder, 0).result["metrics"]["mean"] == whole["metrics"]["mean"]

    def test_goes_on_where_the_data_lie_now(self, job, folder, tmp_path):
        train(replace(job.config, out=str(folder.run)))
        moved = replace(job.config, out=str(folder.run), lpips_weights=str(tmp_path / "moved"))
        save_config(moved, folder.config)
        work(folder)
        assert load_config(folder.run / "config.json").lpips_weights == str(tmp_path / "moved")

    def test_lpips_that_is_asked_for_later_costs_no_training(self, job, folder, monkeypatch):
        work(folder)
        before = outcome(job, folder, 0).result
        save_config(replace(job.config, out=str(folder.run), lpips="vgg"), folder.config)
        networks = {"vgg": lambda image, truth, *, scaled=True: 0.25}, {}
        monkeypatch.setattr("reference_impl.perceptual.load_networks", lambda *_: networks)
        work(folder)
        after = outcome(job, folder, 0).result
        assert after["metrics"]["mean"]["lpips_vgg"] == 0.25
        assert after["metrics"]["mean"]["psnr"] == before["metrics"]["mean"]["psnr"]
        assert self.steps(folder) == [2, 4, 6]
        assert after["curve"] == before["curve"]

    def test_what_can_be_measured_no_more_is_not_trained_again(self, job, folder):
        work(folder)
        folder.write_result(outcome(job, folder, 0).result)
        shutil.rmtree(folder.run / "checkpoints")
        with pytest.raises(ValueError, match=r"its checkpoints are gone.* delete .* trained again"):
            work(folder)
        assert (folder.run / "metrics.json").is_file()

    def test_who_only_measured_is_not_who_trained(self, job, folder):
        work(folder)
        line = (folder.run / SESSIONS).read_text()
        other = {**json.loads(line), "step": 6, "processor": "another"}
        (folder.run / SESSIONS).write_text(line + json.dumps(other) + "\n")
        assert "another" not in outcome(job, folder, 0).result["processor"]

    def test_says_which_code_trained_it_and_on_what(self, job, folder, monkeypatch):
        for code in ("old", "new"):
            monkeypatch.setattr(worker, "code_fingerprint", lambda code=code: code)
            work(folder)
        result = outcome(job, folder, 0).result
        assert result["code"] == "old + new"
        assert result["threads"] == str(torch.get_num_threads())
        assert result["processor"]
        assert result["wall_seconds"] >= result["metrics"]["train_seconds"]

    def test_begins_again_where_there_is_no_checkpoint(self, job, folder):
        folder.run.mkdir()
        (folder.run / "config.json").write_text('{"half')
        work(folder)
        assert self.steps(folder) == [2, 4, 6]

    def test_points_on_the_way_are_in_the_result(self, tmp_path):
        job = tiny_job(log=LogConfig(every=2, checkpoint_every=6, evaluate_every=2, frames=0))
        folder = JobFolder.of(job, tmp_path)
        train(replace(job.config, out=str(folder.run)))
        curve = outcome(job, folder, 0).result["curve"]
        assert [step for step, *_ in curve] == [2, 4, 6]
        assert sorted(seconds for _, seconds, _ in curve) == [seconds for _, seconds, _ in curve]

    def test_a_full_disk_is_known(self, folder, monkeypatch, capsys):
        def full(config):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "log.jsonl")

        monkeypatch.setattr(worker, "train", full)
        monkeypatch.setattr("sys.argv", ["worker", str(folder.path)])
        monkeypatch.setattr(worker, "_leave_with_parent", lambda: None)
        assert worker.main() == DISK_FULL
        assert capsys.readouterr().err.count("\n") == 1

    def test_a_warning_about_keypoints_is_kept(self, job, folder):
        train(replace(job.config, out=str(folder.run)))
        folder.output.write_text("sfm.py:3: SupervisionWarning: test views helped\n  warn(\n" * 2)
        assert outcome(job, folder, 0).result["warnings"] == ["test views helped"]

    @pytest.mark.parametrize(
        ("code", "output", "reason"),
        [
            (2, "read\nerror: no such scene\n\n", "no such scene"),
            (1, "Traceback\n  File\nTypeError: that\n", "TypeError: that"),
            (3, "50%\rerror: diverged: term", "diverged: term"),
            (1, "", "exit code 1"),
            (-9, "50%", "killed by SIGKILL; see .*output.txt"),
            (130, "error: stopped at step 3; go on with --resume x", "told to stop; the same"),
            (0, "", "no readable result: .*is the run finished"),
        ],
    )
    def test_a_failure_has_a_reason(self, job, folder, code, output, reason):
        folder.output.write_text(output)
        found = outcome(job, folder, code)
        assert found.result is None
        assert not found.disk_full
        assert re.match(reason, found.reason)


def test_the_command_as_people_give_it(tmp_path):
    """A real table's jobs, from a shell, in processes of their own, to the table and back."""
    script = Path(reproduce.__file__)
    numbers = {"steps": 2, "seeds": 1, "parallel": 2, "cpus": 1}
    options = [word for name, n in numbers.items() for word in (f"--{name}", str(n))]

    def run():
        where = "--device", "cpu", "--out", "out"
        done = run_script(str(script), *options, *where, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run()
    folder = tmp_path / "out" / "embedded-small-steps-2-seeds-1-cpu"
    assert f"done: {folder.relative_to(tmp_path) / 'table.md'}" in said
    assert "4 of 4 jobs finished" in (folder / "table.md").read_text()
    rows = json.loads((folder / "table.json").read_text())["rows"]
    assert {row["recipe"] for row in rows} == {"mipnerf", "regnerf", "dsnerf", "fewview"}
    assert (folder / "images-embedded.png").is_file()
    assert "4 jobs, 4 of them done" in run()
