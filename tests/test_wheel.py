"""What users install: the package, and nothing of what this repository has beside it."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
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


@pytest.mark.parametrize(
    ("program", "extra"),
    [("reference_impl/train.py", "reference"), ("pretrain_flow/train.py", "pretrain")],
)
def test_a_program_says_which_extra_it_needs(program, extra):
    """As after ``pip install .``, which brings none of what programs need."""
    hide = (
        "import importlib.util as u, runpy; find = u.find_spec;"
        " u.find_spec = lambda name, *rest: None if name == 'tyro' else find(name, *rest);"
        f" runpy.run_path({program!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {Path(program).parent} needs tyro: python -m pip install")
    assert f'".[{extra}]"' in last
