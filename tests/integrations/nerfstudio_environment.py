"""A virtual environment with the real nerfstudio and this checkout, for the slow tests.

python tests/integrations/nerfstudio_environment.py FOLDER

nerfstudio 1.1.5 wants numpy below 2, protobuf 3.20 and some 200 packages, so it gets an environment
of its own. What bites on a machine without a GPU and without the internet beyond a package index:

- torchvision's wheel is for CUDA; beside a torch for CPUs it declares fakes of operators that do
  not exist, and its import fails. The two schemas are declared at start-up then.
- nerfacto's model builds LPIPS, which downloads AlexNet. Random weights of it are put where the
  download would lie, if there is none: LPIPS then means nothing, PSNR and SSIM are untouched.
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("nerfstudio==1.1.5", "torch==2.13.0", "torchvision==0.28.0", "numpy<2")

SCHEMAS = """\
import torch

_schemas = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    _schemas.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""

ALEXNET = """\
import sys
from pathlib import Path

import torch
import torchvision

path = Path(sys.argv[1]) / "hub/checkpoints/alexnet-owt-7be5be79.pth"
if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torchvision.models.alexnet().state_dict(), path)
"""


def build(folder: Path) -> Path:
    """Make the environment in a folder, and return its python."""
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(python), *command], text=True, capture_output=True, check=False)

    def must(*command: str) -> None:
        done = run(*command)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    must("-m", "pip", "install", "-q", *REQUIREMENTS, f"{ROOT}[colmap]")
    # The checkout itself, so that its changes count.
    must("-m", "pip", "install", "-q", "--no-deps", "-e", str(ROOT))
    tried = run("-c", "import torchvision")
    if tried.returncode and "torchvision::" in tried.stderr:
        packages = next((folder / "lib").glob("python*/site-packages"))
        (packages / "sitecustomize.py").write_text(SCHEMAS)
    must("-c", ALEXNET, str(folder / "torch_home"))
    return python


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
