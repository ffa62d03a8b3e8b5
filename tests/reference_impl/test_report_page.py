"""The page about a run: whole in itself, true to the run's files, and there whatever is missing."""

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image

from reference_impl.config import Config, LogConfig, OptimizerConfig
from reference_impl.embedded_pictures import EmbeddedPictures
from reference_impl.line_chart import line_chart
from reference_impl.mipnerf import MipNerfConfig
from reference_impl.report_page import main, without_folders, write_report_page
from reference_impl.session import command_line
from reference_impl.train import train

TINY = MipNerfConfig(width=8, depth=1, view_width=4, n_samples=8, max_degree=2)
VOID = {"meta", "img", "path"}


class Reader(HTMLParser):
    """Notes a page's tags, references and text, and that what opens closes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.references, self.texts = [], [], [], []
        self.images, self.data = [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.references += [given[key] for key in ("src", "href", "srcset", "data") if key in given]
        assert not [key for key in given if key.startswith("on")]
        if tag == "img":
            assert given["alt"]
            self.images.append(given["src"])
        if tag == "data":
            self.data.append(given["value"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def read(folder):
    page = (folder / "report.html").read_text()
    assert len(page.encode()) <= 3_000_000
    reader = Reader(page)
    assert all(re.match(r"data:|#", reference) for reference in reader.references)
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert "url(" not in page
    assert "@import" not in page
    for image in reader.images:
        Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2]))).load()
    return reader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training of four steps, with everything that a log can hold."""
    log = LogConfig(
        every=2, checkpoint_every=4, evaluate_every=2, gradient_shares_every=2, frames=2
    )
    config = Config(
        width=24,
        views=2,
        rays=64,
        steps=4,
        device="cpu",
        precision="32-true",
        out=str(tmp_path_factory.mktemp("runs") / "run"),
        model=TINY,
        optimizer=OptimizerConfig(warmup_steps=2),
        log=log,
    )
    return train(config, "python reference_impl/train.py --views 2")


@pytest.fixture
def copied(run, tmp_path):
    """The run's files, to be spoilt."""
    for path in run.rglob("*"):
        if path.is_file() and "checkpoints" not in path.parts:
            target = tmp_path / path.relative_to(run)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


def test_a_training_ends_with_a_page_that_holds_all_of_it(run):
    page = read(run)
    metrics = json.loads((run / "metrics.json").read_text())
    # Four pictures a view, the flight, two figures of depth, one of the gradient.
    assert len(page.images) == 4 * len(metrics["images"]) + 4
    assert page.tags.count("svg") >= 2 + len(metrics["mean"])
    said = page.text
    assert "embedded: fewview, 2 views" in said
    assert "python reference_impl/train.py --views 2" in said
    for part in ("color_coarse", "depth_kl", "torch", "commit", "processor", "view02"):
        assert part in said
    assert "optimizer.lr_start" in said
    assert "What each term contributes" in said
    for nothing in ("not measured", "not drawn", "not there", "no keypoint rays"):
        assert nothing not in said


def test_the_table_holds_the_numbers_of_metrics_json(run):
    page = read(run)
    metrics = json.loads((run / "metrics.json").read_text())
    rows = [metrics["mean"], *metrics["images"].values()]
    expected = [row[name] for row in rows for name in metrics["mean"]]
    table = [float(value) for value in page.data]
    at = next(i for i in range(len(table)) if table[i : i + len(expected)] == expected)
    assert at > 0, "numbers at the top come first"


def test_no_folder_of_the_machine_is_on_the_page(run):
    assert str(run.parent) not in (run / "report.html").read_text()


def test_a_path_of_the_configuration_is_shown_by_its_name(copied):
    config = json.loads((copied / "config.json").read_text())
    config |= {"scene": "/home/me/my fern", "lpips_weights": "../secret/lpips.safetensors"}
    config["embedder"] = "/home/me/clip.pt"
    (copied / "config.json").write_text(json.dumps(config))
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["not_computed"] = {"lpips": "../secret/lpips.safetensors: damaged"}
    (copied / "metrics.json").write_text(json.dumps(metrics))
    command = "python train.py --out /home/me/run"
    session = {"command": command, "note": "read '/home/me/my fern', /home/me/x 1/2"}
    (copied / "sessions.jsonl").write_text(json.dumps(session))
    write_report_page(copied)
    page = read(copied)
    assert "from step ?; paths are shown without their folders" in page.text
    assert not [part for part in ("/home", "/me", "secret") if part in page.text]
    assert " lpips.safetensors: damaged" in page.text
    assert "read 'my fern', x 1/2" in page.text


def test_names_are_escaped(copied):
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["scene"] = "<b>&</b>"
    metrics["images"] = {'<i>"x"': next(iter(metrics["images"].values()))}
    (copied / "metrics.json").write_text(json.dumps(metrics))
    write_report_page(copied)
    page = read(copied)
    assert "b" not in page.tags
    assert "<b>&</b>: fewview" in page.text
    assert '<i>"x"' in page.text


def test_a_page_says_what_is_missing(copied):
    (copied / "log.jsonl").write_text("")
    for path in (*(copied / "test").glob("*_truth.png"), copied / "sessions.jsonl"):
        path.unlink()
    for name in ("flight.gif", "keypoint_rays.png", "depth_agreement.png", "views.json"):
        (copied / name).unlink()
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["mean"]["psnr"] = float("nan")
    (copied / "metrics.json").write_text(json.dumps(metrics))
    write_report_page(copied)
    page = read(copied)
    for words in (
        "log.jsonl holds no line",
        "no photograph",
        "no keypoint rays",
        "exact depth is not known",
        "views.json is not there",
        "sessions.jsonl is not there",
        "not measured; train with --log.gradient-shares-every",
    ):
        assert words in page.text
    assert "nan" in page.data
    assert "svg" not in page.tags


def test_damaged_files_are_named(copied):
    first = next((copied / "test").glob("*_rgb.png"))
    first.write_bytes(first.read_bytes()[:-40])
    (copied / "depth_agreement.png").write_bytes(b"text")
    write_report_page(copied)
    page = read(copied)
    assert "damaged" in page.texts
    assert "depth_agreement.png: damaged" in page.texts
    (copied / "metrics.json").write_text('{"mean": ')
    (copied / "views.json").write_text("[]")
    (copied / "log.jsonl").write_text('{"step": 2, "psnr": 12.5}\n[1]\n{"step": 4, "ps')
    write_report_page(copied)
    page = read(copied)
    assert "metrics.json cannot be read" in page.text
    assert "views.json holds no object" in page.text
    assert page.tags.count("svg") == 1
    (copied / "metrics.json").unlink()
    write_report_page(copied)
    assert "metrics.json is not there" in read(copied).text


def test_without_matplotlib_the_page_says_so(copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_report_page(copied)
    page = read(copied)
    assert 'not drawn: plot_gradient_shares needs matplotlib: pip install "nerfreg[plot]"' in (
        page.text
    )
    assert "svg" in page.tags


def test_the_command_writes_the_page_again(copied, monkeypatch, capsys):
    (copied / "report.html").unlink()
    monkeypatch.setattr(sys, "argv", ["report_page.py", str(copied)])
    assert main() == 0
    assert read(copied).images
    monkeypatch.setattr(sys, "argv", ["report_page.py", str(copied / "test")])
    assert main() == 2
    assert "no config.json and no metrics.json there" in capsys.readouterr().err


def test_large_pictures_are_made_smaller_and_too_many_left_out(tmp_path):
    noise = Image.effect_noise((1200, 900), 80).convert("RGB")
    noise.save(tmp_path / "large.png")
    pictures = EmbeddedPictures(tmp_path, 200_000)
    tag = pictures.tag("large.png", "noise")
    content = base64.b64decode(tag.partition("base64,")[2].partition('"')[0])
    assert Image.open(io.BytesIO(content)).size == (400, 300)
    for _ in range(9):
        pictures.tag("large.png", "noise")
    assert pictures.not_shown == {"large.png": "left out for its size"}
    assert 0 <= pictures.room < len(tag)
    assert pictures.tag("missing.png", "nothing") == ""
    whole = (tmp_path / "large.png").read_bytes()
    for name, content in {"torn.png": whole[: len(whole) // 2], "text.png": b"text"}.items():
        (tmp_path / name).write_bytes(content)
        assert pictures.tag(name, "nothing") == ""
        assert pictures.not_shown[name] == "damaged"
    assert "missing.png" not in pictures.not_shown


def curve(svg):
    """Pieces of the first curve: lists of (x, y)."""
    path = re.search(r'class="line s0" d="([^"]*)"', svg)[1]
    pieces = [piece for piece in path.replace("h0", "").split("M") if piece]
    return [[tuple(map(float, p.split())) for p in piece.split("L")] for piece in pieces]


def test_a_chart_puts_points_where_they_belong():
    """The axes reach from the least to the greatest value, upwards."""
    ((left, middle, right),) = curve(line_chart({"a": [(0, 1.0), (5, 2.0), (10, 3.0)]}, label="a"))
    assert left[0] < middle[0] < right[0]
    assert left[1] > middle[1] > right[1]
    assert middle == (pytest.approx((left[0] + right[0]) / 2), (left[1] + right[1]) / 2)
    logarithmic = line_chart({"a": [(0, 1.0), (5, 10.0), (10, 100.0)]}, label="a", log=True)
    assert curve(logarithmic) == [[left, middle, right]]
    assert [t for t in ("1", "10", "100") if f">{t}</text>" in logarithmic] == ["1", "10", "100"]


def test_a_chart_leaves_gaps_where_there_is_no_number():
    points = [(0, 1.0), (1, float("nan")), (2, 2.0), (3, float("inf")), (4, 3.0), (5, 4.0)]
    assert [len(piece) for piece in curve(line_chart({"a": points}, label="a"))] == [1, 1, 2]
    log = [(0, 1.0), (1, 0.0), (2, -1.0), (3, 5.0)]
    assert [len(p) for p in curve(line_chart({"a": log}, label="a", log=True))] == [1, 1]
    assert line_chart({"a": [(0, float("nan"))]}, label="a") == ""
    assert line_chart({"a": [(7, 2.0)]}, label="a") != ""


def test_a_long_curve_is_thinned_and_keeps_its_end():
    ((*_, last),) = curve(line_chart({"a": [(i, float(i)) for i in range(10_001)]}, label="a"))
    ((_, end),) = curve(line_chart({"a": [(0, 0.0), (10_000, 1e4)]}, label="a"))
    assert last == end
    assert len(line_chart({"a": [(i, float(i)) for i in range(10_001)]}, label="a")) < 20_000


def test_a_command_is_shown_without_its_folders():
    program = str(Reader.__init__.__code__.co_filename)
    root = program.partition("tests")[0]
    arguments = ["--scene", "a b"]
    assert command_line([f"{root}reference_impl/train.py", *arguments]) == (
        "python reference_impl/train.py --scene 'a b'"
    )
    assert command_line(["/elsewhere/mine.py", *arguments]) == "python mine.py --scene 'a b'"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", '{"mean": null, "images": [], "size": 5, "seed": "<script>x</script>"}'),
        ("metrics.json", '{"images": {"a": null}}'),
        ("metrics.json", '{"mean": {"psnr": true}, "flavours": [1], "not_computed": [1]}'),
        ("views.json", '{"train": [1, null], "test": 5}'),
        ("sessions.jsonl", '{"command": 5, "step": null}'),
        ("log.jsonl", '{"step": 1, "gradient_shares": {}}'),
        ("log.jsonl", '{"step": 1, "gradient_shares": {"a": null}}'),
        ("log.jsonl", '{"step": true, "gradient_shares": {"a": 1.0}, "psnr": "x"}'),
        ("log.jsonl", '{"step": 1, "values": null}\n{"gradient_shares": {"color": 1.0}}\n\xff\xfe'),
    ],
)
def test_a_page_survives_files_that_are_something_else(tmp_path, name, content):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    page = write_report_page(tmp_path).read_text()
    assert "<script" not in page
    assert "</html>" in page
    if '"mean": null' in content:
        assert "metrics.json: mean is no object" in page


def test_a_command_keeps_no_folders():
    told = "python reference_impl/train.py --scene=../secret/fern --resume /home/me/runs/x --rays 8"
    short = "python reference_impl/train.py --scene=fern --resume x --rays 8"
    assert without_folders(told) == short
    assert without_folders(f"/usr/bin/{told}") == short
    elsewhere = told.replace("reference_impl", "/home/me/nerfreg/reference_impl")
    assert without_folders(elsewhere) == short.replace("reference_impl/", "")
    assert without_folders("python train.py --out '/home/me/it") == "python train.py --out 'it"
