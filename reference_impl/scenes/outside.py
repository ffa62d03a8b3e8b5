"""What a scene reads beside its own folder."""

import json
from pathlib import Path

from reference_impl.scenes.dtu import calibration_folder, is_scan, mask_folder

__all__ = ["outside"]


def outside(folder: Path) -> list[Path]:
    """Files and folders that decide what a scene is, and do not lie in its folder.

    Args:
        folder: of the scene.

    Returns:
        Cameras and masks of a scan of DTU's release; photographs that a ``transforms*.json`` names
        elsewhere. Not those that are missing or cannot be read: loading the scene says so.
    """
    found: list[Path] = []
    if is_scan(folder):
        found += filter(None, (calibration_folder(folder), mask_folder(folder)))
    for description in sorted(folder.glob("transforms*.json")):
        try:
            frames = json.loads(description.read_text())["frames"]
            found += [folder / str(frame["file_path"]) for frame in frames]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    own = folder.resolve()
    places = dict.fromkeys(path.resolve() for path in found)
    return [path for path in places if path.exists() and not path.is_relative_to(own)]
