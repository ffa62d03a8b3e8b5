"""The documentation site: whole, without need of a network, and stopped by a mistake."""

import ast
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

pytest.importorskip("zensical", reason="needs: pip install -c constraints.txt -e '.[docs]'")
tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")

ROOT = Path(__file__).parent.parent
CONFIG = ".zensical.toml"
PACKAGE = ROOT / "nerfreg"
ROOMS = [PACKAGE, *(path.parent for path in PACKAGE.glob("*/__init__.py"))]
BRIDGES = [path for path in (PACKAGE / "integrations").iterdir() if path.name[0] not in "_."]


def public_names(path: Path) -> list[str]:
    """What a module or package lists, read without importing it: a bridge may need its extra."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    source = (path / "__init__.py" if path.is_dir() else path).read_text()
    listed = re.search(r"^__all__.* = (\[.*?\])", source, re.MULTILINE | re.DOTALL)
    return [f"{module}.{name}" for name in ast.literal_eval(listed[1])] if listed else []


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "-f", CONFIG, "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site() -> Path:
    done = build(ROOT)
    assert done.returncode == 0, done.stderr
    assert "griffe:" not in done.stdout + done.stderr, "docstrings that say other than signatures"
    return ROOT / "site"


class Page(HTMLParser):
    """What a built page links to, loads and says."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.prose: list[str] = []
        self.code = 0
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(values["href"])
        if tag != "a" and values.get("src"):
            self.loads.append(values["src"])
        self.loads += re.findall(r"url\((.*?)\)", values.get("style") or "")
        self.code += tag in ("code", "pre", "script", "style")

    def handle_endtag(self, tag):
        self.code -= tag in ("code", "pre", "script", "style")

    def handle_data(self, data):
        if not self.code:
            self.prose.append(data)


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_built_and_in_the_navigation(site):
    def leaves(nav):
        for entry in nav:
            for value in entry.values() if isinstance(entry, dict) else [entry]:
                yield from leaves(value) if isinstance(value, list) else [value]

    config = tomllib.loads((ROOT / CONFIG).read_text())["project"]
    docs = ROOT / "docs"
    written = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    assert sorted(leaves(config["nav"])) == sorted(written), "each page once"
    assert (site / "regularizers" / "index.html").is_file()


def test_every_public_name_is_in_the_inventory(site):
    from mkdocstrings import Inventory

    with (site / "objects.inv").open("rb") as file:
        inventory = Inventory.parse_sphinx(file)
    names = [name for path in (*ROOMS, *BRIDGES) for name in public_names(path)]
    assert {"nerfreg.DepthKL", "nerfreg.integrations.open_clip.OpenClipEmbedder"} <= {*names}
    assert [name for name in names if name not in inventory] == []
    assert inventory["nerfreg.depth_kl"].uri == "api/losses.html#nerfreg.losses.depth_kl"


def test_links_lead_somewhere(pages):
    assert len(pages) >= 50
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # is shown at any address, and links from the site's root
        for link in page.links:
            target, anchor = urldefrag(unquote(link))
            if re.match(r"[a-z]+:", target):
                continue
            goal = (path.parent / target).resolve() if target else path
            assert goal.exists(), f"{path}: {link}"
            if anchor and goal.suffix == ".html":
                assert anchor in pages[goal].anchors, f"{path}: {link}"


def test_nothing_is_loaded_from_the_network(site, pages):
    for path, page in pages.items():
        for load in page.loads:
            assert not re.match(r"(https?:)?//", load), f"{path}: {load}"
            if path.name != "404.html" and not load.startswith("data:"):
                assert (path.parent / urldefrag(load).url).exists(), f"{path}: {load}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text())
    # The theme's script fetches what draws these from the network when it meets one.
    text = "".join(path.read_text() for path in pages)
    assert 'class="mermaid"' not in text
    assert 'data-md-component="source"' not in text


def test_nothing_is_left_unrendered(pages):
    for path, page in pages.items():
        prose = "".join(page.prose)
        for mark in ("$$", ":::", r"\(", r"\[", r"\mathrm", ".. math::", ":func:", ":class:", "**"):
            assert mark not in prose, f"{path}: {mark}"
        assert not re.search(r"\$[^$\n]*[\\^_][^$\n]*\$", prose), path


def test_prose_is_not_taken_for_a_type(site):
    for path in (site / "api").glob("*.html"):
        assert re.findall(r"<code>[^<]*``[^<]*</code>", path.read_text()) == [], path
    html = (site / "api" / "priors.html").read_text()
    assert "<p>Colours: level k" in html, "what stands before the colon is text"


def test_formulas_are_drawn(site):
    assert "<mfrac>" in (site / "regularizers" / "depth_kl.html").read_text()
    assert "<mfrac>" in (site / "api" / "losses.html").read_text()


PAGE = "# One\n\n[here](#one) $a_1$ [up](../LICENSE)\n\n"
MISTAKES = {
    "a dead link": "[there](nothing.md)",
    "a dead anchor": "[there](index.md#nothing)",
    "a name that does not exist": "::: nerfreg.losses.nothing",
    "a reference to such a name": "[`nothing`][nerfreg.nothing]",
    "an unknown command in a formula": r"$\nothing_1$",
}


def small_site(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    shutil.copytree(ROOT / "docs" / "builder", folder / "docs" / "builder")
    (folder / "nerfreg").symlink_to(ROOT / "nerfreg")
    config = (ROOT / CONFIG).read_text()
    (folder / CONFIG).write_text(re.sub(r"^nav = \[\n.*?^\]\n", "", config, flags=re.M | re.S))
    (folder / "docs" / "index.md").write_text(text)
    return build(folder)


def test_a_small_site_builds(tmp_path):
    done = small_site(tmp_path, PAGE)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "site" / "index.html").read_text()
    assert 'href="https://github.com/nerfreg/nerfreg/blob/main/LICENSE"' in text
    assert "<msub>" in text


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_stops_the_build(mistake, tmp_path):
    assert small_site(tmp_path, PAGE + mistake + "\n").returncode != 0
