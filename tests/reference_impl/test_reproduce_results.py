"""Result files, the lock, and how far jobs are."""

import errno
import io
import json
import os
from pathlib import Path

import pytest

from reference_impl.config import save_config
from reference_impl.reproduction.lock import locked
from reference_impl.reproduction.progress import Progress, Speeds, duration
from reference_impl.reproduction.results import JobFolder, is_disk_full, write_whole
from tests.reference_impl.tiny_jobs import finish, result_of, tiny_job


@pytest.fixture
def job():
    return tiny_job()


@pytest.fixture
def folder(job, tmp_path):
    finish(job, tmp_path)
    return JobFolder.of(job, tmp_path)


class TestResultFile:
    def test_says_what_was_written(self, job, folder):
        assert folder.read_result(job) == result_of(job)
        assert not list(folder.path.rglob(".*"))

    def test_of_a_job_that_has_not_run(self, job, tmp_path):
        assert JobFolder.of(job, tmp_path / "other").read_result(job) is None

    def test_edited_by_hand_is_named(self, job, folder):
        folder.result.write_text(folder.result.read_text().replace("20.0", "25.0"))
        with pytest.raises(
            ValueError, match=r"result\.json: changed since it was written .*delete"
        ):
            folder.read_result(job)

    def test_of_another_job_is_named(self, job, folder):
        with pytest.raises(ValueError, match=r"result\.json: of a job with the hash"):
            folder.read_result(tiny_job(seed=1))

    @pytest.mark.parametrize("content", ["{", "[]", "3", "{}", '{"checksum": "x"}'])
    def test_damaged_is_named(self, job, folder, content):
        folder.result.write_text(content)
        with pytest.raises(ValueError, match=r"result\.json: not a result"):
            folder.read_result(job)

    def test_a_result_makes_a_failure_forgotten(self, job, folder):
        folder.write_failure(job, "diverged")
        assert folder.read_failure() == "diverged"
        folder.write_result(result_of(job))
        assert folder.read_failure() is None

    def test_a_damaged_record_of_a_failure_is_a_failure(self, folder):
        folder.failure.write_text("{")
        assert "cannot be read" in folder.read_failure()


class TestFullDisk:
    def test_leaves_nothing_half_written(self, tmp_path, monkeypatch):
        path = tmp_path / "table.md"
        write_whole(path, "before")

        def full(self, text):
            with self.open("w") as file:
                file.write(text[:2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, "after")
        assert [p.name for p in tmp_path.iterdir()] == ["table.md"]
        assert path.read_text() == "before"

    def test_is_known_by_its_words(self):
        """Some libraries wrap the system's error."""
        assert is_disk_full(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        assert is_disk_full(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))
        assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
        assert not is_disk_full(OSError(errno.EACCES, os.strerror(errno.EACCES)))


class TestLock:
    def test_the_second_is_told_who_is_first(self, tmp_path):
        out = tmp_path / "out"
        with (
            locked(out),
            pytest.raises(ValueError, match=rf"in use by process {os.getpid()} on .*"),
            locked(out),
        ):
            pass
        with locked(out):
            pass

    def test_what_a_killed_process_wrote_does_not_hold_it(self, tmp_path):
        (tmp_path / ".lock").write_text("process 1 on elsewhere since 1970-01-01\n")
        with locked(tmp_path):
            assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()


class TestProgress:
    def log(self, job, out, *lines):
        path = JobFolder.of(job, out).run / "log.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"half')

    def test_a_line_says_step_and_psnr_so_far(self, job, tmp_path):
        progress = Progress([job], tmp_path, Speeds())
        assert progress.line(job) == "  embedded, mipnerf, 3 views, seed 0: starting"
        self.log(
            job,
            tmp_path,
            {"step": 2, "psnr": 11.0, "seconds": 2.0},
            {"step": 2, "test_psnr": 12.0, "seconds": 2.0},
            {"step": 4, "psnr": 13.0, "seconds": 4.0},
        )
        assert progress.line(job).endswith("seed 0: step 4/6, batch PSNR 13.00, test PSNR 12.00")

    def test_nobody_knows_how_long_it_takes_at_first(self, job, tmp_path):
        progress = Progress([job], tmp_path, Speeds())
        assert progress.overall([]) == "  1 of 1 jobs left, ETA unknown yet"

    def test_running_jobs_tell_their_own_speed(self, job, tmp_path):
        other = tiny_job(seed=1)
        progress = Progress([job, other], tmp_path, Speeds())
        self.log(job, tmp_path, {"step": 2, "psnr": 11.0, "seconds": 20.0})
        assert progress.remaining([job]) == pytest.approx(40 + 60)

    def test_finished_jobs_tell_the_speed_of_their_kind(self, job, tmp_path):
        other, speeds = tiny_job(recipe="fewview"), Speeds()
        assert speeds.seconds(job) is None
        speeds.learn(job.config, result_of(job))
        assert speeds.seconds(job) == 6.0
        assert speeds.seconds(tiny_job(recipe="fewview", steps=12)) == 12.0, (
            "the best that is known"
        )
        slow = result_of(other)
        slow["metrics"]["train_seconds"] = 60.0
        speeds.learn(other.config, slow)
        assert (speeds.seconds(job), speeds.seconds(other)) == (6.0, 60.0)
        assert speeds.seconds(tiny_job(preset="paper")) is None
        assert Progress([job, other], tmp_path, speeds).remaining([]) == 66.0

    def test_a_job_well_under_way_tells_its_own_speed(self, job, tmp_path):
        """It may take far longer than others of its preset."""
        speeds, slow = Speeds(), tiny_job(recipe="fewview")
        speeds.learn(job.config, result_of(job))
        self.log(slow, tmp_path, {"step": 2, "psnr": 11.0, "seconds": 20.0})
        assert Progress([slow, job], tmp_path, speeds).remaining([slow]) == pytest.approx(40 + 6)

    def test_a_speed_by_the_clock_counts_measuring_on_the_way(self, job, tmp_path, monkeypatch):
        """The log's seconds are of training alone."""
        clock = iter([100.0, 130.0])
        monkeypatch.setattr("time.monotonic", lambda: next(clock))
        progress = Progress([job], tmp_path, Speeds())
        self.log(job, tmp_path, {"step": 2, "psnr": 11.0, "seconds": 2.0})
        assert progress.remaining([job]) == pytest.approx(4)
        JobFolder.of(job, tmp_path).run.joinpath("log.jsonl").write_text(
            json.dumps({"step": 4, "psnr": 11.0, "seconds": 4.0}) + "\n"
        )
        assert progress.remaining([job]) == pytest.approx(30 / 2 * 2)

    def test_a_job_that_begins_again_from_its_checkpoint_is_timed_anew(
        self, job, tmp_path, monkeypatch
    ):
        clock = iter([0.0, 10.0, 12.0])
        monkeypatch.setattr("time.monotonic", lambda: next(clock))
        progress = Progress([job], tmp_path, Speeds())
        self.log(job, tmp_path, {"step": 4, "psnr": 11.0, "seconds": 4.0})
        log = JobFolder.of(job, tmp_path).run / "log.jsonl"
        progress.remaining([job])
        for step, left in ((3, 3.0), (5, 1.0)):
            log.write_text(json.dumps({"step": step, "psnr": 11.0, "seconds": float(step)}) + "\n")
            assert progress.remaining([job]) == pytest.approx(left)

    def test_what_was_trained_before_is_not_to_be_done(self, job, tmp_path):
        speeds = Speeds()
        speeds.learn(job.config, result_of(job))
        self.log(job, tmp_path, {"step": 4, "psnr": 11.0, "seconds": 4.0})
        assert Progress([job], tmp_path, speeds).remaining([]) == pytest.approx(2.0)

    def test_loading_and_measuring_take_no_longer_with_more_steps(self, job):
        speeds, short = Speeds(), tiny_job(steps=2)
        result = result_of(short, wall_seconds=21.0)
        result["metrics"]["train_seconds"] = 1.0
        speeds.learn(short.config, result)
        assert speeds.seconds(tiny_job(steps=100)) == pytest.approx(50 + 20)

    def test_speeds_are_those_of_all_results_in_the_folder(self, job, tmp_path):
        """Another table's jobs are as good; a damaged file is not asked."""
        for recipe in ("mipnerf", "fewview"):
            other = tiny_job(recipe=recipe)
            finish(other, tmp_path)
            save_config(other.config, JobFolder.of(other, tmp_path).config)
        JobFolder.of(other, tmp_path).result.write_text("{")
        assert Speeds.of(tmp_path).seconds(job) == 6.0
        assert Speeds.of(tmp_path / "nothing").seconds(job) is None

    def test_a_report_fits_the_terminal(self, job, tmp_path, monkeypatch):
        """Or it would wrap, and not be drawn over whole."""
        monkeypatch.setenv("COLUMNS", "20")
        stream = io.StringIO()
        stream.isatty = lambda: True
        Progress([job], tmp_path, Speeds(), stream).look([job])
        assert all(len(line) < 20 for line in stream.getvalue().splitlines())

    def test_on_a_terminal_the_last_report_is_drawn_over(self, job, tmp_path):
        stream = io.StringIO()
        stream.isatty = lambda: True
        progress = Progress([job], tmp_path, Speeds(), stream)
        progress.look([job])
        assert progress.drawn == 2
        progress.look([job])  # too early for another
        assert stream.getvalue().count("starting") == 1
        progress.ended(job, "PSNR 20.00 dB")
        assert stream.getvalue().endswith(
            "\033[2F\033[J[1/1] embedded, mipnerf, 3 views, seed 0: PSNR 20.00 dB\n"
        )

    @pytest.mark.parametrize(
        ("seconds", "words"), [(45, "45 s"), (720, "12 min"), (12240, "3.4 h")]
    )
    def test_durations_are_for_people(self, seconds, words):
        assert duration(seconds) == words
