"""The folder of a run: a free name for it, and its log after a stop."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


def name_run(asked: str, default: str, ignored: Collection[str] = ()) -> Path:
    """The run's folder: as asked (then it must be free), or the first free default name in runs/.

    Args:
        asked: the folder that ``--out`` names, or nothing.
        default: the name to take otherwise.
        ignored: names of files that may lie in a free folder.

    Raises:
        ValueError: the folder asked for already holds something.
    """
    if asked:
        out = Path(asked)
        if not is_free(out, ignored):
            advice = (
                f"use --resume {out} to go on"
                if (out / "config.json").is_file()
                else "choose another"
            )
            raise ValueError(f"--out {out}: already exists and is not empty; {advice}")
        return out
    out, copy = Path("runs") / default, 2
    while not is_free(out, ignored):
        out, copy = Path("runs") / f"{default}-{copy}", copy + 1
    return out


def is_free(folder: Path, ignored: Collection[str] = ()) -> bool:
    """Whether nothing lies there but, perhaps, what is ignored."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(path.name in ignored for path in folder.iterdir())


def trim_log(path: Path, step: int) -> None:
    """Drop what a killed run wrote after its last checkpoint: it will be written again."""
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if is_whole(line)]
        kept = "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step)
        with written_whole(path) as partial:
            partial.write_text(kept)


def picture_stem(name: str) -> str:
    """What a view's pictures are called: its whole name, so that left/1 and right/1 differ."""
    return str(PurePosixPath(name).with_suffix("")).replace("/", "_")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to, renamed at the end: all of it or nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "x.json"
        ...     with written_whole(path) as partial:
        ...         n = partial.write_text("{}")
        ...     path.read_text()
        '{}'
    """
    partial = path.with_name(f".{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def is_whole(line: str) -> bool:
    """Whether a line of the log was written to its end."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
