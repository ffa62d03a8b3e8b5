"""What users install: the package, and nothing of what this repository has beside it."""

from pathlib import Path
from zipfile import ZipFile

from hatchling.builders.wheel import WheelBuilder

import nerfreg

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_the_package_alone(tmp_path):
    """Built in this process: nothing is fetched and nothing is written beside the sources."""
    (path,) = map(Path, WheelBuilder(str(ROOT)).build(directory=str(tmp_path)))
    with ZipFile(path) as wheel:
        names = wheel.namelist()
    about = f"nerfreg-{nerfreg.__version__}.dist-info"
    files = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    described = {f"{about}/{name}" for name in files}
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "nerfreg").rglob("*.py")}
    assert "nerfreg/losses/depth_kl.py" in modules
    shipped = {
        f"nerfreg/priors/weights/{name}" for name in ("MODEL_CARD.md", "natural_8x8.safetensors")
    }
    assert sorted(names) == sorted({*modules, *shipped, "nerfreg/py.typed", *described})
