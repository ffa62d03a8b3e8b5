"""Write a scene as a nerfstudio data set: the same photographs train, the same ones test.

$ python reference_impl/export_scene.py --out DIR [--scene PATH] [--views 3] [--width W]
$ ns-train nerfacto nerfstudio-data --data DIR
"""

import shutil
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import tyro

from reference_impl.command_line import exit_code
from reference_impl.run_folder import is_free, written_whole
from reference_impl.scenes import load_scene
from reference_impl.scenes.write_transforms import write_transforms


def export_scene(
    out: Path, scene: str = "embedded", views: int = 3, width: int | None = None
) -> None:
    """Write a scene as a nerfstudio data set.

    Args:
        out: folder to make; it must be new or empty.
        scene: folder of a scene in any layout that train.py reads, or «embedded».
        views: number of training views.
        width: of the photographs, in pixels; by default as they come.
    """
    if not is_free(out):
        raise ValueError(f"--out {out}: already exists and is not empty; choose another")
    loaded = load_scene(scene, views, width=width)
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    with written_whole(out) as partial:
        shutil.rmtree(partial, ignore_errors=True)  # what a killed export left
        partial.mkdir()
        try:
            model = write_transforms(loaded, partial)
        except BaseException:
            shutil.rmtree(partial)
            raise
    n_others = len(loaded.names) - len(loaded.train) - len(loaded.test)
    print(
        f"{out}: {len(loaded.train)} views train, {len(loaded.test)} test, {n_others} do neither;"
        + (" no keypoints" if model is None else f" keypoints in {model.relative_to(partial)}")
    )


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    return exit_code(lambda: tyro.cli(export_scene, description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
