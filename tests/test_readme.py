"""What README and docs tell users to type works, and what they link to exists."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import tyro
from torch import Tensor, nn

from nerfreg import Cameras, Objective, Rays
from nerfreg.rays import expected_depth, opacity, weights_from_density
from nerfreg.recipes import RECIPES
from nerfreg.views import look_at, pinhole
from reference_impl.reproduce import Options
from reference_impl.reproduction.tables import TABLES

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(value: object) -> str:
    """Of a page, in the test's name."""
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[str]:
    """Each Python command of a page's shell blocks, without its comment; not those in loops."""
    code = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    parts = [p.strip() for line in code.splitlines() for p in line.partition("#")[0].split("&&")]
    return [part for part in parts if part.startswith("python ") and "$" not in part]


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
    """What the README's reader already has: cameras, a renderer, keypoints, a colour loss."""
    position = torch.tensor([[-0.6, 0.0, -2.0], [0.0, 0.1, -2.0], [0.6, 0.0, -2.0]])
    c2w = look_at(position, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))
    cameras = Cameras.from_opencv(c2w, pinhole(30.0, 32, 24), 32, 24)
    n = 12
    return {
        "cameras": cameras,
        "render": Blob(),
        "keypoint_rays": cameras.rays(torch.arange(n) % 3, torch.rand(n, 2) * 24),
        "keypoint_depth": torch.full((n,), 1.5),
        "keypoint_std": torch.full((n,), 0.05),
        "color_loss": torch.tensor(0.5, requires_grad=True),
        "n_steps": 2,
    }


def test_the_first_example_trains(training):
    exec(compile(blocks(README, "python")[0], str(README), "exec"), training)
    objective, last = training["objective"], training["regularizers"]
    assert list(last.values) == list(objective.terms) == ["smooth", "keypoints"]
    assert objective.starved() == []
    assert all(value.isfinite() and value > 0 for value in last.values.values())
    assert last.weights["smooth"] == pytest.approx(400 - 399.9 / 512)
    expected = sum(last.weights[term] * value for term, value in last.values.items())
    assert last.total.item() == pytest.approx(expected.item())
    assert training["patches"].rays.shape == training["unseen"].depth.shape == (64, 8, 8)
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


def test_every_loss_has_a_page_in_the_index():
    index = ROOT / "docs" / "regularizers" / "README.md"
    pages = {page.name for page in index.parent.glob("*.md")} - {index.name}
    assert {f"{loss}.md" for loss in ("depth_kl", "depth_mse", "depth_smoothness")} <= pages
    assert pages <= {*links(index)}


@pytest.mark.parametrize("page", [page for page in PAGES if page != README], ids=name)
def test_a_pages_examples_run(page, monkeypatch):
    monkeypatch.setattr("nerfreg.recipes.RECIPES", {**RECIPES})  # a page adds one of its own
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), {})


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


@pytest.mark.parametrize(
    ("page", "command"), [(page, c) for page in PAGES for c in commands(page)], ids=name
)
def test_commands_name_what_exists(page, command):
    words = shlex.split(command)
    if words[1] == "-m":
        assert words[2] in ("pip", "pytest")
        return
    assert (ROOT / words[1]).is_file()
    if words[1] == "reference_impl/train.py":
        from reference_impl.train import parse

        parse(words[2:])  # an unknown option would exit
    if words[1] == "reference_impl/reproduce.py":
        options = tyro.cli(Options, args=words[2:])
        assert options.table in TABLES
    if words[1] == "pretrain_flow/train.py":
        from pretrain_flow.train import parse as parse_pretraining

        parse_pretraining(words[2:])


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


def test_pages_are_found_and_have_links():
    """Or the tests above would pass by looking at nothing."""
    assert len(PAGES) >= 7
    assert {"docs/conventions.md", "docs/images/embedded.png", "CITATION.cff"} <= {*links(README)}
    assert len(commands(README)) >= 7
