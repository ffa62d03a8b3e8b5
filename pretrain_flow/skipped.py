"""The list of files that could not be used."""

from pathlib import Path


class Skipped:
    """Files that could not be used and why, each once; in a file of the run's folder."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self._file: Path | None = None

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, skipped: list[tuple[str, str]]) -> None:
        """Note files, and write down those that are new."""
        new = {name: reason for name, reason in skipped if name not in self.reasons}
        self.reasons.update(new)
        if new and self._file is not None:
            with self._file.open("a") as file:
                file.writelines(f"{name}: {reason}\n" for name, reason in new.items())

    def write_to(self, path: Path) -> None:
        """Keep the list in a file from now on, after what a run that was stopped left there."""
        found, self.reasons, self._file = self.reasons, {}, path
        if path.exists():
            for line in path.read_text().splitlines():
                name, _, reason = line.partition(": ")
                self.reasons[name] = reason
        self.add([*found.items()])

    def first(self) -> str:
        """One of them, for a message."""
        return next((f"{name}: {reason}" for name, reason in self.reasons.items()), "")
