"""What a job leaves behind: one file, whole or not there, that notices when somebody edits it."""

import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_impl.compare import read_metrics
from reference_impl.config import load_config
from reference_impl.reproduction.jobs import Job
from reference_impl.session import SESSIONS

__all__ = ["JobFolder", "code_fingerprint", "collect", "is_disk_full", "write_whole"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class JobFolder:
    """Where the files of a job lie."""

    path: Path

    @classmethod
    def of(cls, job: Job, out: Path) -> "JobFolder":
        """The folder of a job below the command's."""
        return cls(out / "jobs" / job.name)

    @property
    def config(self) -> Path:
        """What the trainer is told."""
        return self.path / "job.json"

    @property
    def run(self) -> Path:
        """The trainer's own folder: log, checkpoints, pictures, metrics."""
        return self.path / "run"

    @property
    def output(self) -> Path:
        """What the trainer printed."""
        return self.path / "output.txt"

    @property
    def sessions(self) -> Path:
        """With which code each attempt trained, and for how long if it came to its end."""
        return self.path / "sessions.json"

    @property
    def result(self) -> Path:
        """Of a finished job."""
        return self.path / "result.json"

    @property
    def failure(self) -> Path:
        """Why the last attempt failed."""
        return self.path / "failed.json"

    def read_result(self, job: Job) -> dict[str, Any] | None:
        """The job's result; ``None`` where there is none yet.

        Raises:
            ValueError: the file was changed since it was written, or is another job's.
        """
        if not self.result.is_file():
            return None
        advice = (
            "delete the file to have the job measured again, its folder to have it trained again"
        )
        try:
            result: dict[str, Any] = json.loads(self.result.read_text())
            checksum, found = result.pop("checksum"), result["hash"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.result}: not a result ({error!r}); {advice}") from error
        if checksum != _checksum(result):
            raise ValueError(
                f"{self.result}: changed since it was written (its content has the checksum"
                f" {_checksum(result)[:12]}…, and it says {str(checksum)[:12]}…); {advice}"
            )
        if found != job.hash:
            raise ValueError(
                f"{self.result}: of a job with the hash {found[:12]}…, expected {job.hash[:12]}…;"
                f" {advice}"
            )
        return result

    def write_result(self, result: dict[str, Any]) -> None:
        """Keep a result, and forget earlier failures."""
        content = {**result, "checksum": _checksum(result)}
        write_whole(self.result, json.dumps(content, indent=2) + "\n")
        self.failure.unlink(missing_ok=True)

    def read_sessions(self) -> list[dict[str, Any]]:
        """Attempts so far: ``code`` of each, and ``seconds`` of those that came to their end."""
        try:
            return list(json.loads(self.sessions.read_text()))
        except (OSError, ValueError, TypeError):
            return []

    def write_sessions(self, sessions: list[dict[str, Any]]) -> None:
        """Keep the attempts."""
        write_whole(self.sessions, json.dumps(sessions, indent=2) + "\n")

    def read_failure(self) -> str | None:
        """Why the last attempt failed; ``None`` where it did not."""
        try:
            return str(json.loads(self.failure.read_text())["reason"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return f"unknown: {self.failure} cannot be read"

    def write_failure(self, job: Job, reason: str) -> None:
        """Record why a job failed."""
        record = {"job": job.title, "hash": job.hash, "reason": reason}
        write_whole(self.failure, json.dumps(record, indent=2) + "\n")

    def log(self) -> list[dict[str, Any]]:
        """Whole lines of the trainer's log so far."""
        try:
            lines = (self.run / "log.jsonl").read_text().splitlines()
        except OSError:
            return []
        found: list[dict[str, Any]] = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:  # half written
                continue
        return found


def collect(job: Job, folder: JobFolder) -> dict[str, Any]:
    """The result of a training that has ended well.

    Raises:
        ValueError: its files are not there or damaged.
    """
    metrics, config = read_metrics(folder.run), load_config(folder.run / "config.json")
    log = folder.log()
    if not log:
        raise ValueError(f"{folder.run / 'log.jsonl'}: empty or not there")
    measured = f"{config.evaluate_on}_psnr"
    curve = [[line["step"], line["seconds"], line[measured]] for line in log if measured in line]
    output = folder.output.read_text(errors="replace") if folder.output.is_file() else ""
    last = [config.steps, log[-1]["seconds"], metrics["mean"]["psnr"]]
    attempts = folder.read_sessions()
    codes = [attempt["code"] for attempt in attempts] or [code_fingerprint()]
    lengths = [float(attempt["seconds"]) for attempt in attempts if "seconds" in attempt]
    whole = bool(attempts) and len(lengths) == len(attempts)
    return {
        "job": job.title,
        "hash": job.hash,
        "code": " + ".join(dict.fromkeys(codes)),
        "preset": config.preset,
        "device": config.device,
        "precision": config.precision,
        **_machine(folder.run, config.steps),
        # From start to end, with loading and measuring; of a job that was never cut short.
        **({"wall_seconds": round(sum(lengths), 1)} if whole else {}),
        # Keypoints that test views helped to place, for instance.
        "warnings": sorted(set(re.findall(r"SupervisionWarning: (.+)", output))),
        "metrics": {**metrics, "scene": job.scene, "recipe": job.variant.name},
        # [step, seconds of training, PSNR]
        "curve": [*curve, last],
    }


def _machine(run: Path, steps: int) -> dict[str, str]:
    """What a run was trained with and on; several, where it went on elsewhere."""
    path = run / SESSIONS
    lines = path.read_text().splitlines() if path.is_file() else []
    sessions = [json.loads(line) for line in lines]
    # The others only measured.
    sessions = [session for session in sessions if session["step"] < steps] or sessions
    return {
        name: " + ".join(dict.fromkeys(str(session[name]) for session in sessions))
        for name in ("torch", "processor", "threads")
    }


def code_fingerprint() -> str:
    """Hash of the code that trains and measures.

    No part of a job's hash, or a comment's change would throw results away; the table says where
    its results were made by different code.
    """
    digest = hashlib.sha256()
    for package in ("nerfreg", "reference_impl"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "reproduce.py" and path.parent != Path(__file__).parent:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it; leave nothing behind where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    try:
        partial.write_text(text)
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether there was no space left, or no more of one's own; some libraries use words alone."""
    return any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT))


def _checksum(result: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()
