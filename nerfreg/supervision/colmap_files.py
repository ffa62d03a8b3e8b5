"""Is a COLMAP model whole? Asked before pycolmap sees it.

pycolmap trusts the counts in a file: of a truncated binary model it reads some silently as if
whole, and on others it loops over garbage for minutes (seen with 3.13 and 4.2). So each file is
first walked along its own counts, without interpreting it, and must end where they say.
"""

import struct
from collections.abc import Callable
from pathlib import Path

__all__ = ["check_model_files"]

REQUIRED = ("cameras", "images", "points3D")
# rigs and frames came with COLMAP 3.12; older models lack them.
OPTIONAL = ("rigs", "frames")

# Number of parameters of each camera model, by COLMAP's model id.
_CAMERA_PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16)


class _Walk:
    """A position in a binary file that never leaves it."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.position = path, path.read_bytes(), 0

    def skip(self, n: int) -> None:
        if n > len(self.data) - self.position:
            raise ValueError(
                f"{self.path}: truncated or not a COLMAP file: {n} bytes are due at byte"
                f" {self.position}, but the file ends at {len(self.data)}"
            )
        self.position += n

    def read(self, form: str) -> int:
        """Read one little-endian integer: ``"i"``, ``"I"`` 4 bytes, ``"B"`` 1, ``"Q"`` 8."""
        start = self.position
        self.skip(struct.calcsize(form))
        (value,) = struct.unpack_from("<" + form, self.data, start)
        return value

    def skip_text(self) -> None:
        end = self.data.find(b"\0", self.position)
        self.skip((end if end >= 0 else len(self.data)) + 1 - self.position)


def _camera(walk: _Walk) -> None:
    walk.skip(4)
    model = walk.read("i")
    if not 0 <= model < len(_CAMERA_PARAMETERS):
        raise ValueError(
            f"{walk.path}: not a COLMAP file, or a camera model unknown here: id {model}"
        )
    walk.skip(16 + 8 * _CAMERA_PARAMETERS[model])


def _image(walk: _Walk) -> None:
    walk.skip(4 + 7 * 8 + 4)
    walk.skip_text()
    walk.skip(24 * walk.read("Q"))


def _point(walk: _Walk) -> None:
    walk.skip(8 + 3 * 8 + 3 + 8)
    walk.skip(8 * walk.read("Q"))


def _rig(walk: _Walk) -> None:
    walk.skip(4)
    sensors = walk.read("I")
    if sensors:
        walk.skip(8)
    for _ in range(sensors - 1):
        walk.skip(8)
        walk.skip(56 * walk.read("B"))


def _frame(walk: _Walk) -> None:
    walk.skip(8 + 7 * 8)
    walk.skip(16 * walk.read("I"))


_ENTRIES: dict[str, Callable[[_Walk], None]] = {
    "cameras": _camera,
    "images": _image,
    "points3D": _point,
    "rigs": _rig,
    "frames": _frame,
}


def _check_binary(path: Path) -> None:
    walk = _Walk(path)
    for _ in range(walk.read("Q")):
        _ENTRIES[path.stem](walk)
    if walk.position != len(walk.data):
        extra = len(walk.data) - walk.position
        raise ValueError(f"{path}: not a COLMAP file: {extra} bytes follow its last entry")


def _check_text(path: Path) -> None:
    """Check what pycolmap reads past: values missing from a line, lines missing from the file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a COLMAP text file: {error}") from None
    announced = next(
        (
            line.partition("# Number of ")[2].partition(":")[2]
            for line in lines
            if "# Number of " in line
        ),
        "",
    ).split(",")[0]
    rows = [line.split() for line in lines if not line.startswith("#")]
    if path.stem == "images":
        # Two lines an image, the second one empty where an image has no keypoints.
        while rows and not rows[-1] and len(rows) % 2:
            rows.pop()
        heads, tails = rows[::2], rows[1::2]
        whole = len(heads) == len(tails) and all(len(head) >= 10 for head in heads)
        whole = whole and all(len(tail) % 3 == 0 for tail in tails)
        whole = whole and all(_is_id(word) for tail in tails for word in tail[2::3])
        found = len(heads)
    else:
        rows = [row for row in rows if row]
        least = {"cameras": 7, "points3D": 8, "rigs": 2, "frames": 10}[path.stem]
        whole = all(len(row) >= least for row in rows)
        if path.stem == "points3D":
            whole = whole and all(len(row) % 2 == 0 for row in rows)
        found = len(rows)
    if not whole:
        raise ValueError(f"{path}: truncated or not a COLMAP file: a line lacks values")
    if announced.strip().isdigit() and int(announced) != found:
        raise ValueError(
            f"{path}: truncated: it announces {announced.strip()} entries and has {found}"
        )


def _is_id(word: str) -> bool:
    return word.removeprefix("-").isdigit()


def check_model_files(folder: Path) -> None:
    """Raise unless ``folder`` holds a whole COLMAP model, binary or text.

    Raises:
        FileNotFoundError: the folder or one of its three files is missing; the message names it.
        ValueError: a file is truncated or is none of COLMAP's; the message names it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected a COLMAP model")
    for ending, check in ((".bin", _check_binary), (".txt", _check_text)):
        present = [name for name in REQUIRED if (folder / (name + ending)).is_file()]
        if len(present) == len(REQUIRED):
            for name in REQUIRED + OPTIONAL:
                if (path := folder / (name + ending)).is_file():
                    check(path)
            return
    wanted = " or ".join(
        ", ".join(name + ending for name in REQUIRED) for ending in (".bin", ".txt")
    )
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(f"{folder}: not a COLMAP model: expected {wanted}; found {found}")
