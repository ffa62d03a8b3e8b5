"""Make a scene that the trainer reads from photographs alone: COLMAP's poses, lenses straightened.

$ python docs/examples/poses_from_photos.py PHOTOS CAPTURE

Needs pycolmap: ``pip install "nerfreg[colmap]"``. Take as many photographs as you can, with one
lens at one zoom: the more there are, the surer their poses, and training may still use three.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

MIN_POINTS = 200  # with fewer, poses and focal length hang on a handful of matches
FOCAL = (0.4, 3.0)  # of widths: beyond, the reconstruction is a false one, not a lens


def find_poses(photos: Path, capture: Path) -> str:
    """Find where each photograph was taken, and write them without lens distortion.

    Args:
        photos: folder of photographs.
        capture: folder to make, which then holds ``images`` and ``sparse``.

    Returns:
        What came out, in a few lines.

    Raises:
        ValueError: the capture exists already, or no two photographs could be brought together.
    """
    importlib.import_module("zlib")  # before pycolmap: see nerfreg.supervision.colmap
    pycolmap: Any = importlib.import_module("pycolmap")
    if capture.exists():
        raise ValueError(f"{capture} exists already; name a new folder")
    database, distorted = capture / "database.db", capture / "distorted"
    distorted.mkdir(parents=True)
    pycolmap.logging.minloglevel = 2  # errors
    pycolmap.set_random_seed(0)
    pycolmap.extract_features(database, photos, camera_mode=pycolmap.CameraMode.SINGLE)
    pycolmap.match_exhaustive(database)
    models = pycolmap.incremental_mapping(database, photos, distorted)
    if not models:
        raise ValueError(
            f"{photos}: no two photographs could be brought together; take more between them"
        )
    best = max(models, key=lambda i: models[i].num_reg_images())
    pycolmap.undistort_images(capture, distorted / str(best), photos)

    model = models[best]
    camera = next(iter(model.cameras.values()))
    focal = camera.mean_focal_length()
    found = sorted(image.name for image in model.images.values())
    lost = sorted({image.name for image in pycolmap.Database.open(database).read_all_images()})
    lost = [name for name in lost if name not in found]
    lines = [
        f"{len(found)} photographs with a pose, {model.num_points3D()} points,"
        f" reprojection error {model.compute_mean_reprojection_error():.2f} pixels,"
        f" focal length {focal:.1f} pixels of {camera.width}"
    ]
    if lost:
        lines.append(f"without a pose, left out: {', '.join(lost)}")
    if model.num_points3D() < MIN_POINTS:
        lines.append(f"fewer than {MIN_POINTS} points: do not trust these poses, take more photos")
    if not FOCAL[0] < focal / camera.width < FOCAL[1]:
        lines.append("no lens has this focal length: a false model, do not use it")
    return "\n".join(lines)


def main() -> int:
    """Run from the command line: 0 done, 2 no poses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("capture", type=Path, help="folder to make")
    options = parser.parse_args()
    try:
        print(find_poses(options.photos, options.capture))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
