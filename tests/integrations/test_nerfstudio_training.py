"""nerfreg's methods trained by the real nerfstudio, on a CPU, in an environment of its own.

python -m pytest -m slow -s tests/integrations/test_nerfstudio_training.py

Installs some 200 packages first; NERFREG_NERFSTUDIO_ENV names a folder to keep them in. Three
trainings run at once, each about a minute of CPU time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.nerfstudio_environment import ROOT, build

pytestmark = pytest.mark.slow

STEPS, RESUMED_AT = 400, 300
SEED = os.environ.get("NERFREG_NERFSTUDIO_SEED", "0")
# Small enough for a CPU: a hash grid of 8 levels, 256 rays a step.
SMALL = f"""
--machine.device-type cpu --machine.seed {SEED} --vis tensorboard
--viewer.quit-on-train-completion True --experiment-name room
--steps-per-eval-batch 100000 --steps-per-eval-image 100000 --steps-per-eval-all-images 100000
--pipeline.model.implementation torch --pipeline.model.log2-hashmap-size 13
--pipeline.model.num-levels 8 --pipeline.model.max-res 256
--pipeline.model.num-proposal-samples-per-ray 48 24 --pipeline.model.num-nerf-samples-per-ray 16
--pipeline.model.eval-num-rays-per-chunk 2048
--pipeline.datamanager.train-num-rays-per-batch 256
--optimizers.fields.scheduler.max-steps {STEPS}
--optimizers.proposal-networks.scheduler.max-steps {STEPS}
""".split()
REGULARIZED = f"""
--pipeline.regularizers.fade-steps {STEPS} --pipeline.regularizers.annealing-steps 200
--pipeline.regularizers.patches 4
""".split()
COLMAP = ("--pipeline.regularizers.colmap", "sparse_train3/0")
KEYPOINTS = (*COLMAP, "--pipeline.regularizers.keypoint-rays", "64")


class Studio:
    """The environment, the exported scene, and what came of the trainings."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.bin, self.folder = python.parent, folder
        self.data, self.out = folder / "data", folder / "out"
        self.environment = os.environ | {
            "TORCH_HOME": str(self.bin.parent / "torch_home"),
            "OMP_NUM_THREADS": "1",
            "TORCHDYNAMO_DISABLE": "1",
            # nerfstudio 1.1.5 does not expect the safer default of torch 2.6 for its checkpoints.
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
            "PYTHONPATH": str(ROOT),
            "NERFSTUDIO_METHOD_CONFIGS": "seeded-nerfacto="
            "tests.integrations.seeded_nerfacto:method",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.bin / command[0]), *command[1:]],
            env=self.environment,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, process: subprocess.Popen[str]) -> str:
        output, _ = process.communicate()
        assert process.returncode == 0, output[-4000:]
        return output

    def train(self, method: str, name: str, *options: str) -> subprocess.Popen[str]:
        where = ("--output-dir", str(self.out), "--timestamp", name)
        data = ("nerfstudio-data", "--data", str(self.data))
        return self.start("ns-train", method, *where, *SMALL, *options, *data)

    def run(self, method: str, name: str) -> Path:
        return self.out / "room" / method / name

    def psnr(self, method: str, name: str) -> float:
        result = self.folder / f"{name}.json"
        config = self.run(method, name) / "config.yml"
        command = ("ns-eval", "--load-config", str(config), "--output-path", str(result))
        self.finish(self.start(*command))
        return json.loads(result.read_text())["results"]["psnr"]

    def check(self, what: str, argument: Path) -> dict[str, Any]:
        script = str(ROOT / "tests/integrations/nerfstudio_checks.py")
        output = self.finish(self.start("python", script, what, str(argument)))
        line = next(line for line in output.splitlines() if line.startswith("CHECKED "))
        return json.loads(line.removeprefix("CHECKED "))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("nerfstudio")
    kept = os.environ.get("NERFREG_NERFSTUDIO_ENV")
    found = Studio(build(Path(kept) if kept else folder / "environment"), folder)
    export = [sys.executable, str(ROOT / "reference_impl/export_scene.py"), "--views", "3"]
    subprocess.run([*export, "--out", str(found.data)], check=True)
    return found


@pytest.fixture(scope="module")
def trained(studio: Studio) -> dict[str, float]:
    """Train all three, the last in two halves, and measure them on the test views."""
    n_steps = ("--max-num-iterations", str(STEPS))
    first = ("--max-num-iterations", str(RESUMED_AT))
    both = [
        studio.train("seeded-nerfacto", "base", *n_steps),
        studio.train("nerfreg-nerfacto", "unseen", *n_steps, *REGULARIZED),
    ]
    depth = "nerfreg-depth-nerfacto"
    studio.finish(studio.train(depth, "first", *first, *REGULARIZED, *KEYPOINTS))
    checkpoints = studio.run(depth, "first") / "nerfstudio_models"
    rest = ("--max-num-iterations", str(STEPS - RESUMED_AT), "--load-dir", str(checkpoints))
    studio.finish(studio.train(depth, "resumed", *rest, *REGULARIZED, *KEYPOINTS))
    for process in both:
        studio.finish(process)
    found = {
        "nerfacto": studio.psnr("seeded-nerfacto", "base"),
        "nerfreg-nerfacto": studio.psnr("nerfreg-nerfacto", "unseen"),
        "nerfreg-depth-nerfacto": studio.psnr(depth, "resumed"),
        "nerfreg-depth-nerfacto, before it resumed": studio.psnr(depth, "first"),
    }
    print("PSNR on the test views:", json.dumps(found))
    return found


def test_is_better_than_nerfacto_on_views_it_never_saw(trained: dict[str, float]) -> None:
    assert trained["nerfreg-nerfacto"] > trained["nerfacto"]
    assert trained["nerfreg-depth-nerfacto"] > trained["nerfacto"] + 3.0


def test_training_resumes(studio: Studio, trained: dict[str, float]) -> None:
    folder = studio.run("nerfreg-depth-nerfacto", "resumed") / "nerfstudio_models"
    assert [path.name for path in folder.iterdir()] == [f"step-{STEPS - 1:09d}.ckpt"]
    before = trained["nerfreg-depth-nerfacto, before it resumed"]
    assert trained["nerfreg-depth-nerfacto"] > before - 0.5


@pytest.mark.usefixtures("trained")
def test_every_term_reaches_the_field(studio: Studio) -> None:
    found = studio.check("gradients", studio.run("nerfreg-depth-nerfacto", "resumed/config.yml"))
    print("gradients:", json.dumps(found))
    assert found["step"] == STEPS - 1
    for name in ("smoothness", "color_prior", "keypoints"):
        assert found[name]["gradient"] > 0


@pytest.mark.parametrize("what", ["bad_input", "gaussians"])
def test_inside(studio: Studio, what: str) -> None:
    studio.check(what, studio.data)


def test_the_pages_example_wraps_another_method(studio: Studio) -> None:
    studio.check("examples", ROOT / "docs/integrations/nerfstudio.md")


@pytest.mark.parametrize("method", ["nerfacto", "depth-nerfacto", "splatfacto"])
def test_options_are_in_the_help(studio: Studio, method: str) -> None:
    shown = studio.finish(studio.start("ns-train", f"nerfreg-{method}", "--help"))
    text = " ".join(shown.replace("│", " ").split())
    for option in ("smoothness FLOAT FLOAT", "unseen-poses", "annealing-steps INT", "colmap"):
        assert f"--pipeline.regularizers.{option}" in text
    assert "Weights of depth smoothness in patches of unseen views" in text
