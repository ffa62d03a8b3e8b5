"""The integrations' examples run as they stand, and nerfreg's part of them helps."""

import re
import runpy
import statistics
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
SPLATTER = ["--rasterizer", "tests.integrations.dense_splatter:rasterization"]
SMALL = ["--steps", "2", "--width", "16"]
RESULT = re.compile(r"test views: (-?\d+\.\d+) dB, depth off by (\d+\.\d+)\n")


@pytest.fixture
def run(monkeypatch, capsys) -> Any:
    """Run an example in this process; its PSNR and its error of depth."""

    def run(example: Path | str, *arguments: str) -> tuple[float, float]:
        monkeypatch.setattr(sys, "argv", ["example", *arguments])
        with suppress(SystemExit):
            runpy.run_path(str(EXAMPLES / example), run_name="__main__")
        found = RESULT.fullmatch(capsys.readouterr().out)
        assert found
        return float(found[1]), float(found[2])

    return run


EXAMPLES_ON_CPU = {
    "own_loop.py": [],
    "jax_nerf.py": [],
    "nerfacc_packed.py": [],
    "gsplat_fewview.py": [*SPLATTER, "--splats", "60"],
}


def require(example: str) -> None:
    """Skip where the package is missing that an example is about."""
    if example == "nerfacc_packed.py":
        pytest.importorskip("nerfacc")


@pytest.mark.parametrize("example", EXAMPLES_ON_CPU)
def test_an_example_trains_and_measures(run, example) -> None:
    require(example)
    psnr, error = run(example, *SMALL, *EXAMPLES_ON_CPU[example])
    assert 4 < psnr < 30
    assert 0 < error < 4


@pytest.mark.parametrize("example", ["nerfacc_packed.py", "gsplat_fewview.py"])
def test_without_nerfreg_is_another_training(run, example) -> None:
    require(example)
    options = [*SMALL, *EXAMPLES_ON_CPU[example]]
    assert run(example, *options) != run(example, *options, "--without-nerfreg")


def diff_of(page: Path) -> list[str]:
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return diff.splitlines()


def test_own_loop_without_the_pages_added_lines_is_the_loop_without_nerfreg(run, tmp_path) -> None:
    """What the page shows as added is all there is to take away."""
    diff = diff_of(ROOT / "docs" / "integrations" / "own_loop.md")
    added = [line[1:].strip() for line in diff if line.startswith("+")]
    assert len(added) < 30
    source = (EXAMPLES / "own_loop.py").read_text().splitlines()
    shown = [line[1:].strip() for line in diff if line.strip() not in ("", "…")]
    places = iter(line.strip() for line in source)
    missing = [line for line in shown if line not in places]
    assert not missing, "the page's lines are the example's, in its order"
    before = [line for line in source if line.strip() not in added or not line.strip()]
    (tmp_path / "before.py").write_text("\n".join(before))
    assert run(tmp_path / "before.py", *SMALL) == run("own_loop.py", *SMALL, "--without-nerfreg")


def test_the_gsplat_example_needs_cuda_or_another_rasterizer(monkeypatch, capsys) -> None:
    pytest.importorskip("gsplat")
    monkeypatch.setattr(sys, "argv", ["example", "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / "gsplat_fewview.py"), run_name="__main__")
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "error: gsplat renders on CUDA alone; on a CPU give another --rasterizer\n"
    )


@pytest.mark.parametrize("name", ["nowhere:render", "nerfreg", "nerfreg:rasterize", ":"])
def test_a_rasterizer_that_is_not_there_is_one_line(monkeypatch, capsys, name) -> None:
    monkeypatch.setattr(sys, "argv", ["example", "--rasterizer", name])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / "gsplat_fewview.py"), run_name="__main__")
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --rasterizer {name}: ")
    assert error.count("\n") == 1


def test_the_gsplat_example_is_short() -> None:
    assert len((EXAMPLES / "gsplat_fewview.py").read_text().splitlines()) <= 200


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES_ON_CPU)
def test_nerfreg_helps_in_every_example(run, example) -> None:
    """On the views held out, mean of two seeds: better pictures and better depth."""
    require(example)
    options = ["--width", "24", "--steps", "300", *EXAMPLES_ON_CPU[example][:2]]
    seeds = [["--seed", str(seed)] for seed in range(2)]
    runs = [run(example, *options, *seed) for seed in seeds]
    plain = [run(example, *options, *seed, "--without-nerfreg") for seed in seeds]
    psnr, error = (statistics.mean(values) for values in zip(*runs, strict=True))
    plain_psnr, plain_error = (statistics.mean(values) for values in zip(*plain, strict=True))
    assert psnr > plain_psnr + 0.5
    assert error < 0.8 * plain_error


@pytest.mark.gpu
@pytest.mark.parametrize("example", ["gsplat_fewview.py", "nerfacc_packed.py"])
def test_an_example_trains_on_cuda(run, example) -> None:
    assert torch.cuda.is_available()
    psnr, error = run(example, "--device", "cuda", "--steps", "300")
    plain_psnr, plain_error = run(
        example, "--device", "cuda", "--steps", "300", "--without-nerfreg"
    )
    assert psnr > plain_psnr
    assert error < plain_error
