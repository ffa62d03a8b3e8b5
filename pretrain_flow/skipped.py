"""The list of files that could not be used."""

from pathlib import Path


class Skipped:
    """Files that could not be used and why, each once; in the run's folder as ``skipped.txt``."""

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

    def write_to(self, folder: Path) -> None:
        """Keep the list in a run's folder from now on."""
        self._file, so_far = folder / "skipped.txt", self.reasons
        if so_far:
            self._file.write_text("".join(f"{name}: {why}\n" for name, why in so_far.items()))

    def first(self) -> str:
        """One of them, for a message."""
        return next((f"{name}: {reason}" for name, reason in self.reasons.items()), "")
