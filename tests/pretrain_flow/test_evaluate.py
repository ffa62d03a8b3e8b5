"""Evaluation: a table that compares like with like, and clear errors."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from PIL import Image

from nerfreg.priors import RealNVP, RealNVPConfig, dequantize, load_prior, save_prior
from pretrain_flow.bank import PatchBank
from pretrain_flow.config import DataConfig
from pretrain_flow.corruptions import MISLEADING, UNNATURAL
from pretrain_flow.draws import torch_rng
from pretrain_flow.evaluate import Evaluation, evaluate, main, png_bits
from pretrain_flow.photo_sets import Work
from pretrain_flow.photographs import find
from pretrain_flow.skipped import Skipped
from tests.pretrain_flow.conftest import photograph


@pytest.fixture
def asked(tmp_path, folder, photographs):
    """Weights of a flow that is one Gaussian: standardised, and its couplings do nothing yet."""
    flow = RealNVP(RealNVPConfig(patch_size=4, n_couplings=2, width=8, depth=1))
    work = Work(find(folder, "--images"), DataConfig(), 4, seed=0)
    bank = PatchBank.of([copies for _, copies in work.done(0, Skipped())], "cpu")
    generator = torch_rng("cpu", 0)
    flow.standardize_(dequantize(bank.draw(4000, 4, generator), generator))
    save_prior(tmp_path / "prior.safetensors", flow, {"step": 5})
    (tmp_path / "config.json").write_text("{}")  # as beside every run's weights
    return Evaluation(
        weights=str(tmp_path / "prior.safetensors"),
        images=str(photographs("x.png", "y.png", "z.png")),
        train_images=str(folder),
        patches=64,
        fit_patches=3000,
        components=(1, 2),
        device="cpu",
    )


def test_the_table_compares_like_with_like(asked, tmp_path, folder):
    result = evaluate(asked)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == result
    rows = {name: row["mean"] for name, row in result["bits_per_dim"].items()}
    flow, independent, gaussian, mixture, png = rows.values()
    assert "mixture of" in [*rows][3]
    assert independent > 7
    assert gaussian < independent - 0.5
    assert mixture < gaussian + 0.1
    # Untrained, the flow is nothing but a Gaussian of the same photographs.
    assert flow == pytest.approx(gaussian, abs=0.3)
    assert 3 < png < 8
    assert result["photographs"] == 3
    assert result["patches"] == 192
    assert result["skipped"] == {}
    table = (tmp_path / "evaluation.md").read_text()
    assert f"192 patches; simpler densities fitted to 3000 patches of: {folder}." in table
    for name in [*rows, *UNNATURAL, *MISLEADING]:
        assert f"| {name}" in table
    assert f"| RealNVP | {flow:.3f} |" in table


def test_evaluation_repeats_itself(asked, tmp_path):
    again = replace(asked, out=str(tmp_path / "again"))
    assert evaluate(asked) == evaluate(again)


def test_weights_that_are_no_runs_have_nothing_written_beside_them(asked, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "config.json").unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    evaluate(replace(asked, components=(1,)))
    assert {path.name for path in tmp_path.glob("*.*")} == {"prior.safetensors"}
    assert {path.name for path in Path().iterdir()} == {"evaluation.json", "evaluation.md"}


def test_the_shipped_weights_are_the_default(asked, tmp_path, monkeypatch):
    """Whatever they are: here a smaller flow stands for them, only their path is looked at."""
    opened = []

    def load(path):
        opened.append(path.read_bytes())
        return load_prior(asked.weights)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pretrain_flow.evaluate.load_prior", load)
    result = evaluate(replace(asked, weights="", components=(1,)))
    shipped = files("nerfreg") / "priors" / "weights" / "natural_8x8.safetensors"
    assert opened == [shipped.read_bytes()]
    assert result["weights"] == "shipped"
    assert (tmp_path / "evaluation.md").is_file()


def test_png_is_what_is_in_the_file(tmp_path):
    image = photograph("a")
    Image.fromarray(image).save(tmp_path / "a.png", optimize=True)
    expected = 8 * (tmp_path / "a.png").stat().st_size / image.size
    assert png_bits({"a": [image, image]})["mean"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"images": "nowhere"}, "--images nowhere: no such folder"),
        ({"train_images": "nowhere"}, "--train-images nowhere: no such folder"),
        ({"components": ()}, "--components must be at least 1, got 0"),
        ({"patches": 0}, "--patches must be at least 1, got 0"),
        ({"min_downscale": 0.5}, "--min-downscale must be from 1 to --max-downscale"),
    ],
)
def test_what_cannot_be_used_is_named(change, message, asked, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate.py"])
    monkeypatch.setattr(
        "pretrain_flow.evaluate.tyro.cli", lambda *_, **__: replace(asked, **change)
    )
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("option", ["images", "train_images"])
def test_photographs_smaller_than_the_weights_patches(option, asked, tmp_path):
    (tmp_path / "small").mkdir()
    Image.new("RGB", (3, 9)).save(tmp_path / "small" / "a.png")
    name = f"--{option.replace('_', '-')}"
    with pytest.raises(ValueError, match=rf"^{name} .*: none of the 1 .* 3x9 pixels, smaller than"):
        evaluate(replace(asked, **{option: str(tmp_path / "small")}))


def test_weights_that_are_none_are_named(asked, tmp_path):
    torch.save({}, tmp_path / "pickle.pt")
    with pytest.raises(ValueError, match=r"pickle\.pt is a pickle"):
        evaluate(replace(asked, weights=str(tmp_path / "pickle.pt")))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "prior.safetensors").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.safetensors is not safetensors, or was cut short"):
        evaluate(replace(asked, weights=str(cut)))


def test_options_have_names(asked, monkeypatch, capsys):
    arguments = ["--weights", asked.weights, "--images", asked.images, "--patches", "8"]
    arguments += ["--train-images", asked.train_images, "--fit-patches", "600"]
    arguments += ["--components", "1", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *arguments])
    assert main() == 0
    assert "| one Gaussian |" in capsys.readouterr().out
