"""What README and docs tell users to type works, and what they link to exists.

Every fenced block is checked by what it is:

- ``python`` runs, each alone; one that begins without an import goes on from the one before it;
- ``text`` right after a ``python`` block is what that block prints;
- ``bash`` has valid syntax, and each ``python …`` command in it is parsed by the program it names;
- ``toml`` and ``json`` are read; each line of a ``diff`` is added, taken away or kept.

``<!-- not run: REASON -->`` on the line before a block leaves it out; Python is still compiled.
"""

import argparse
import contextlib
import functools
import importlib.util
import inspect
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import tyro
from torch import Tensor, nn

from nerfreg import Cameras, Objective, Rays
from nerfreg.rays import expected_depth, opacity, weights_from_density
from nerfreg.recipes import RECIPES
from nerfreg.views import AroundFocusPoses, look_at, pinhole
from reference_impl.reproduction.tables import TABLES

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
INDEX = ROOT / "docs" / "index.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:(?P<mark> *<!-- not run\b.*-->)\n)?(?P<indent> *)```(?P<language>\w*)[^\n`]*\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block, and whether it is left out."""

    language: str
    code: str
    mark: str | None
    follows: bool  # right after another block, with nothing but blank lines between

    def goes_on(self) -> bool:
        """Whether it needs the names of the block before it."""
        lines = [line for line in self.code.splitlines() if line and not line.startswith("#")]
        return not re.match(r"import |from |\"\"\"", lines[0])


def name(value: object) -> str:
    """Of a page, in the test's name."""
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


def fences(page: Path) -> list[Block]:
    text, found, end = page.read_text(), [], 0
    for match in FENCE.finditer(text):
        follows = bool(found) and not text[end : match.start()].strip()
        code = textwrap.dedent(match["code"])
        found.append(Block(match["language"], code, match["mark"], follows))
        end = match.end()
    return found


def blocks(page: Path, language: str) -> list[str]:
    return [b.code for b in fences(page) if b.language == language and not b.mark]


def commands(page: Path) -> list[str]:
    """Each Python command of a page's shell blocks, without comments; loops at their first turn."""
    found: list[str] = []
    for code in blocks(page, "bash"):
        code = re.sub(r"#.*", "", code.replace("\\\n", " "))
        for variable, first in re.findall(r"\bfor (\w+) in (\S+)", code):
            code = re.sub(rf"\${variable}\b", first, code)
        parts = [part.strip() for part in re.split(r"&&|;|\n|\bdo\b", code)]
        found += [re.sub(r"[<>|].*", "", p) for p in parts if p.startswith("python ")]
    return found


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


class Blob(nn.Module):
    """The least renderer that learns: a ball of fog with a soft edge, at a place and of a size."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.tensor([0.1, 0.0, 0.0]))
        self.radius = nn.Parameter(torch.tensor(0.7))

    def forward(self, rays: Rays) -> SimpleNamespace:
        edges = torch.linspace(0.5, 4.0, 33).expand(*rays.shape, 33)
        starts, ends = edges[..., :-1], edges[..., 1:]
        from_centre = (rays.at((starts + ends) / 2) - self.centre).norm(dim=-1)
        density = 10 * torch.sigmoid(8 * (self.radius - from_centre))
        weights = weights_from_density(density, starts, ends, rays.directions.norm(dim=-1))
        return SimpleNamespace(
            depth=expected_depth(weights, starts, ends),
            opacity=opacity(weights),
            weights=weights,
            starts=starts,
            ends=ends,
        )


@pytest.fixture
def training() -> dict[str, Any]:
    """What the first example's reader has: cameras, a renderer, keypoints, a colour loss."""
    position = torch.tensor([[-0.6, 0.0, -2.0], [0.0, 0.1, -2.0], [0.6, 0.0, -2.0]])
    c2w = look_at(position, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))
    cameras = Cameras.from_opencv(c2w, pinhole(30.0, 32, 24), 32, 24)
    n = 12
    return {
        "cameras": cameras,
        "unseen_poses": AroundFocusPoses.from_cameras(cameras),
        "image_size": (32, 24),
        "render": Blob(),
        "keypoint_rays": cameras.rays(torch.arange(n) % 3, torch.rand(n, 2) * 24),
        "keypoint_depth": torch.full((n,), 1.5),
        "keypoint_std": torch.full((n,), 0.05),
        "color_loss": torch.tensor(0.5, requires_grad=True),
        "n_steps": 2,
    }


@pytest.mark.parametrize("page", [README, INDEX], ids=name)
def test_the_first_example_trains(page, training):
    exec(compile(blocks(page, "python")[0], str(page), "exec"), training)
    objective, last = training["objective"], training["regularizers"]
    assert list(last.values) == list(objective.terms) == ["smooth", "keypoints"]
    assert objective.starved() == []
    assert all(value.isfinite() and value > 0 for value in last.values.values())
    assert last.weights["smooth"] == pytest.approx(0.1 * 0.1**0.5)
    expected = sum(last.weights[term] * value for term, value in last.values.items())
    assert last.total.item() == pytest.approx(expected.item())
    assert training["unseen"].depth.shape == (64, 8, 8)
    assert training["color_loss"].grad.item() == 2, "one backward pass a step"
    for parameter in training["render"].parameters():
        assert isinstance(parameter.grad, Tensor)
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0


def test_each_term_of_the_first_example_trains(training, monkeypatch):
    """Each term alone has a gradient on everything that the renderer learns."""
    parameters = [*training["render"].parameters()]

    class Watched(Objective):
        def __call__(self, step, inputs):
            value = super().__call__(step, inputs)
            for name, (loss, _) in self.terms.items():
                gradients = torch.autograd.grad(loss(**inputs[name]), parameters, retain_graph=True)
                assert all(g.abs().max() > 0 for g in gradients), name
                seen.add(name)
            return value

    seen: set[str] = set()
    monkeypatch.setattr("nerfreg.Objective", Watched)
    exec(compile(blocks(README, "python")[0], str(README), "exec"), training)
    assert seen == {"smooth", "keypoints"}


def table_rows(page: Path, folder: str = "") -> dict[str, list[str]]:
    """Of a page's tables of regularizers: name -> the other cells, as they read in `folder`."""
    text = page.read_text().replace(f"]({folder}", "](")
    rows = re.findall(r"^\| (\[`\w+`\]\(\w+\.md\)) \| (.*) \|$", text, re.MULTILINE)
    return {link: cells.split(" | ") for link, cells in rows}


def test_the_landing_page_says_what_the_full_table_says():
    full = table_rows(ROOT / "docs" / "regularizers" / "README.md")
    short = table_rows(INDEX, "regularizers/")
    assert len(short) >= 8
    for link, (when, start) in short.items():
        assert [when, start] == [full[link][0], full[link][-1]]


def test_the_recipes_page_is_what_the_recipes_are():
    """Else: python docs/builder/recipe_tables.py."""
    path = ROOT / "docs" / "builder" / "recipe_tables.py"
    written = runpy.run_path(str(path), run_name="recipe_tables")
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert written["page"](text) == text
    assert all(f"## {name}\n" in text for name in RECIPES)


@pytest.fixture
def picture_pairs(monkeypatch) -> Iterator[ModuleType]:
    path = ROOT / "docs" / "examples" / "picture_pairs.py"
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {**RECIPES}  # the script adds its own
    spec = importlib.util.spec_from_file_location("picture_pairs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    RECIPES.clear()
    RECIPES.update(before)


def test_every_regularizer_is_drawn_or_says_why_not(picture_pairs):
    drawn = {*picture_pairs.trained(2000), *picture_pairs.FITTED} - {"nothing"}
    pages = [p for p in (ROOT / "docs" / "regularizers").glob("*.md") if p.stem != "README"]
    for page in pages:
        says_why = "\n*No picture: " in page.read_text()
        assert says_why == (page.stem not in drawn), (
            f"{page.name}: either docs/examples/picture_pairs.py draws it, or its page has a line"
            " «*No picture: why.*»"
        )
    assert drawn <= {page.stem for page in pages}


@pytest.mark.slow
def test_pictures_are_drawn_and_shown(picture_pairs, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "docs" / "regularizers", tmp_path / "docs" / "regularizers")
    monkeypatch.setattr(picture_pairs, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(picture_pairs, "PICTURES", tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # again: neither trained again nor shown twice
        picture_pairs.main(steps=2)
    for name in {*picture_pairs.trained(2), *picture_pairs.FITTED} - {"nothing"}:
        assert 0 < (tmp_path / "pictures" / f"{name}.png").stat().st_size <= 60_000
        page = (tmp_path / "docs" / "regularizers" / f"{name}.md").read_text()
        assert page.count(f"images/regularizers/{name}.png") == 1
        assert page.count("picture_pairs.py --only") == 1
    assert len(list((tmp_path / "runs" / "picture_pairs").glob("*/metrics.json"))) == len(
        picture_pairs.trained(2)
    )


def test_every_loss_has_a_page_in_the_index():
    index = ROOT / "docs" / "regularizers" / "README.md"
    pages = {page.name for page in index.parent.glob("*.md")} - {index.name}
    assert {f"{loss}.md" for loss in ("depth_kl", "depth_mse", "depth_smoothness")} <= pages
    assert pages <= {*links(index)}


@pytest.mark.parametrize("page", [p for p in PAGES if p not in (README, INDEX)], ids=name)
def test_a_pages_examples_run(page, monkeypatch):
    monkeypatch.setattr("nerfreg.recipes.RECIPES", {**RECIPES})  # a page adds one of its own
    names: dict[str, Any] = {}
    printed = None
    for block in fences(page):
        if block.language == "text" and block.follows and printed is not None:
            assert printed == block.code
        printed = None
        if block.language == "python" and not block.mark:
            names = names if block.goes_on() else {}
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(block.code, str(page), "exec"), names)
            printed = output.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_of_a_kind_that_is_checked(page):
    for block in fences(page):
        assert block.language in ("python", "text", "bash", "toml", "json", "diff", "")
        if block.mark:
            assert re.fullmatch(r" *<!-- not run: \S.* -->", block.mark), "say why it is not run"
        if block.language == "python":
            compile(block.code, str(page), "exec")
        if block.language == "diff":
            assert re.fullmatch(r"([-+ @].*|)(\n([-+ @].*|))*", block.code)
    assert len(fences(page)) == len(re.findall(r"^ *```\w", page.read_text(), re.MULTILINE)) + sum(
        block.language == "" for block in fences(page)
    )


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "bash")], ids=name)
def test_a_pages_shell_lines_can_be_read(page):
    for code in blocks(page, "bash"):
        done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True)
        assert not done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_pages_configurations_can_be_read(page):
    for code in blocks(page, "toml"):
        tomllib.loads(code)
    for code in blocks(page, "json"):
        json.loads(code)


def test_install_commands_are_constrained_and_name_existing_extras():
    """Without the constraints a fresh install takes versions that nobody has tested."""
    installs = [c for c in commands(README) if c.startswith("python -m pip install")]
    assert len(installs) == 2
    project = (ROOT / "pyproject.toml").read_text()
    for command in installs:
        words = shlex.split(command)
        assert words[words.index("-c") + 1] == "constraints.txt"
        assert (ROOT / "constraints.txt").is_file()
        target = re.fullmatch(r"\.\[(\w+)\]", words[words.index("-e") + 1])
        assert re.search(rf"^{target[1]} = \[", project, re.MULTILINE), command


class Parsed(BaseException):
    """A program has read its options, and shall do no more."""


def parse(script: Path, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a program read its options and stop there; it exits if one is unknown."""
    cli, parse_args = tyro.cli, argparse.ArgumentParser.parse_args

    def only_cli(target: Any, *args: Any, **kwargs: Any) -> Any:
        if inspect.isfunction(target):  # which tyro would call
            target = functools.wraps(target)(lambda *args, **kwargs: None)
        cli(target, *args, **kwargs)
        raise Parsed

    def only_parse_args(self: Any, *args: Any, **kwargs: Any) -> Any:
        parse_args(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(tyro, "cli", only_cli)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse_args)
    monkeypatch.setattr(sys, "argv", [str(script), *options])
    with pytest.raises(Parsed):
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize(
    ("page", "command"), [(page, c) for page in PAGES for c in commands(page)], ids=name
)
def test_commands_name_what_exists(page, command, monkeypatch):
    words = shlex.split(command)
    if words[1] == "-m":
        assert words[2] in ("pip", "pytest", "venv") or importlib.util.find_spec(words[2])
        return
    script, options = ROOT / words[1], words[2:]
    assert script.is_file()
    if words[1] == "reference_impl/train.py":
        from reference_impl.train import parse as parse_training

        parse_training(options)  # values and what goes with what, too
    elif words[1] == "pretrain_flow/train.py":
        from pretrain_flow.train import parse as parse_pretraining

        parse_pretraining(options)
    elif re.search(r"tyro|argparse", script.read_text()):
        parse(script, options, monkeypatch)
    else:
        assert not options
    if "--table" in options:
        assert options[options.index("--table") + 1] in TABLES


@pytest.mark.parametrize("options", [["--no-such-option"], ["runs/A", "--size", "many"]])
def test_a_wrong_command_is_found(options, monkeypatch):
    with pytest.raises(SystemExit):
        parse(ROOT / "reference_impl" / "compare.py", options, monkeypatch)


@pytest.mark.parametrize(
    ("page", "link"), [(page, link) for page in PAGES for link in links(page)], ids=name
)
def test_relative_links_lead_somewhere(page, link):
    path, _, heading = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    if heading:
        titles = re.findall(r"^#+ (.+)$", FENCE.sub("", target.read_text()), re.MULTILINE)
        anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
        assert heading in anchors


def test_blocks_are_found_and_told_apart(tmp_path):
    """Or the tests above would pass by looking at nothing."""
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nimport math\n```\n\n```text\nout\n```\n\nprose\n\n"
        "<!-- not run: needs a GPU -->\n```python\nx\n```\n\n- in a list\n\n"
        "  ```bash\n  for a in 1 2; do\n    python s.py --n $a; done  # all\n  ```\n"
    )
    found = fences(page)
    assert [block.language for block in found] == ["python", "text", "python", "bash"]
    assert [block.follows for block in found] == [False, True, False, False]
    assert [bool(block.mark) for block in found] == [False, False, True, False]
    assert [block.goes_on() for block in found[::2]] == [False, True]
    assert commands(page) == ["python s.py --n 1"]


def test_pages_are_found_and_have_links():
    """Or the tests above would pass by looking at nothing."""
    assert len(PAGES) >= 50
    assert {"docs/conventions.md", "docs/images/embedded.png", "CITATION.cff"} <= {*links(README)}
    assert len(commands(README)) >= 7
