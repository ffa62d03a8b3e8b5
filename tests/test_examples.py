"""The guide's examples do what its pages say."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
IMAGES = ROOT / "docs" / "images"


def example(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=name)


def test_the_diagrams_are_what_their_script_draws(tmp_path) -> None:
    """Else: python docs/examples/diagrams.py."""
    example("diagrams")["main"](tmp_path)
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert drawn == {path.name: path.read_text() for path in IMAGES.glob("*.svg")}
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    for name, text in drawn.items():
        assert f"images/{name})" in pages, "no page shows it"
        assert "prefers-color-scheme: dark" in text
        tags = [element.tag.split("}")[1] for element in ElementTree.fromstring(text).iter()]
        assert tags.count("text") >= 5, "text stays text"


def test_three_photos_trains_without_and_with_regularizers(capsys) -> None:
    results = example("three_photos")["main"](3, width=24)
    (plain, plain_error), (psnr, error) = results.values()
    assert np.isfinite([plain, plain_error, psnr, error]).all()
    assert (plain, plain_error) != (psnr, error), "the regularizers change the field"
    printed = capsys.readouterr().out
    terms = re.findall(r"step \d+: color [\d.]+, keypoints ([\d.]+), smooth ([\d.]+)", printed)
    assert len(terms) == 3
    assert all(float(keypoints) > 0 for keypoints, _ in terms)


def test_photographs_without_a_match_are_one_line(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("pycolmap")
    image = pytest.importorskip("PIL.Image")
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    photos.mkdir()
    for i in range(2):
        noise = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        image.fromarray(noise).save(photos / f"{i}.png")
    arguments = ["poses_from_photos.py", str(photos), str(tmp_path / "capture")]
    monkeypatch.setattr(sys, "argv", arguments)
    main = example("poses_from_photos")["main"]
    assert main() == 2
    assert "no two photographs could be brought together" in capsys.readouterr().err
    assert main() == 2  # and never writes into a folder that is there
    assert "capture exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_the_regularizer_of_contributing_passes_the_laws(tmp_path) -> None:
    """Dropped into a copy, as its page says, with nothing else changed."""
    for folder in ("nerfreg", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    page = (ROOT / "docs" / "contributing.md").read_text()
    source, catalogue = re.findall(r'^```\w*\n(""".*?)^```$', page, re.MULTILINE | re.DOTALL)
    (tmp_path / "nerfreg/losses/translucency.py").write_text(source)
    (tmp_path / "tests/laws/catalogue/translucency.py").write_text(catalogue)
    for name in (
        "nerfreg/losses/__init__.py",
        "nerfreg/__init__.py",
        "tests/test_public_surface.py",
    ):
        path = tmp_path / name
        text = re.sub(r'^    "(T|t)otal_?(V|v)ariation",\n', named, path.read_text(), flags=re.M)
        if name == "nerfreg/__init__.py":
            text = text.replace("    TotalVariation,\n", "    TotalVariation,\n    Translucency,\n")
            text = text.replace(
                "    total_variation,\n", "    total_variation,\n    translucency,\n"
            )
        elif name.startswith("nerfreg"):
            anchor = "import TotalVariation, total_variation\n"
            new = "from nerfreg.losses.translucency import Translucency, translucency\n"
            text = text.replace(anchor, anchor + new)
        path.write_text(text)
    chosen = "translucency and not has_a_page"
    command = "-m pytest -q -p no:cacheprovider tests/laws nerfreg/losses"
    done = subprocess.run(
        [sys.executable, *command.split(), "tests/test_public_surface.py", "-k", chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 30


def named(found: re.Match) -> str:
    """Add the new name after its neighbour in a list of names."""
    new = "Translucency" if found[1] == "T" else "translucency"
    return f'{found[0]}    "{new}",\n'
