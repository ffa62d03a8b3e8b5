"""One page about a run that opens anywhere: pictures, metrics, curves, configuration, command.

$ python reference_impl/report_page.py RUN        writes RUN/report.html again, from RUN's files

It needs no network and no JavaScript, and is at most 3 MB. What a run lacks, the page says.
"""

import json
import math
import re
import shlex
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import tyro

from reference_impl.command_line import exit_code
from reference_impl.embedded_pictures import EmbeddedPictures
from reference_impl.line_chart import line_chart
from reference_impl.run_folder import picture_stem, written_whole
from reference_impl.session import SESSIONS

__all__ = ["REPORT", "write_report_page"]

REPORT = "report.html"
STYLE = Path(__file__).with_name("report_page.css")
# Beside fonts' and tables' few kB, what pictures may take of the 3 MB.
PICTURE_BYTES = 2_600_000
VIEWS_SHOWN = 8
KINDS = {"truth": "photograph", "rgb": "rendered", "depth": "depth", "depth_error": "depth error"}
# A path that begins at a system's root, with a folder in it.
ABSOLUTE = re.compile(
    r"(?<![^\s\"'(=,:\[])(?:/|[A-Za-z]:[/\\])[^\s\"'),:\]/\\]+[/\\][^\s\"'),:\]]+"
)
UNITS = {
    "psnr": ("PSNR", "dB", 2),
    "ssim": ("SSIM", "", 3),
    "lpips_vgg": ("LPIPS-VGG", "", 3),
    "psnr_masked": ("object PSNR", "dB", 2),
    "depth_mae": ("depth MAE", "", 3),
    "depth_error": ("depth error", "", 3),
}


def write_report_page(folder: Path) -> Path:
    """Write a run's report.html from the files in its folder; what is missing, it says.

    Returns:
        The page's path.

    Raises:
        ValueError: the folder holds nothing of a run.
    """
    if not any((folder / name).is_file() for name in ("config.json", "metrics.json")):
        raise ValueError(f"{folder}: no config.json and no metrics.json there, so it is not a run")
    path = folder / REPORT
    with written_whole(path) as partial:
        partial.write_text(Page(folder).html(), encoding="utf-8")
    return path


class Page:
    """What a run's folder holds, section by section."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.config = self._object("config.json")
        self.metrics = self._object("metrics.json")
        self.split = self._object("views.json")
        self.log = self._lines("log.jsonl")
        self.sessions = self._lines(SESSIONS)
        self.pictures = EmbeddedPictures(folder, PICTURE_BYTES)

    def html(self) -> str:
        """The whole page."""
        sections = {
            "Test views": self.views(),
            "Metrics": self.table(),
            "Training": self.training(),
            "Loss terms": self.terms(),
            "What each term contributes to the gradient": self.gradient_shares(),
            "Depth": self.depth(),
            "How it was made": self.provenance(),
        }
        body = "".join(
            f"<section><h2>{name}</h2>{part}</section>" for name, part in sections.items()
        )
        problems = "".join(missing(problem) for problem in dict.fromkeys(self.problems))
        return (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{self.title}</title><style>{STYLE.read_text()}</style></head>"
            f"<body><header><h1>{self.title}</h1>{self.summary()}</header>{problems}{body}"
            "</body></html>\n"
        )

    @property
    def title(self) -> str:
        """Scene, recipe, number of views."""
        scene = self.metrics.get("scene") or Path(str(self.config.get("scene", "a run"))).name
        recipe = self.metrics.get("recipe") or self.config.get("recipe", "")
        views = self.metrics.get("views") or self.config.get("views", "?")
        return escape(f"{scene}: {recipe}, {views} views")

    def summary(self) -> str:
        """The setting in a line, and the mean metrics that people ask for."""
        about = {
            "step {}": self.metrics.get("step"),
            "seed {}": self.metrics.get("seed", self.config.get("seed")),
            "{} pixels": "×".join(map(str, self._list("size"))) or None,
            "trained for {} s": self.metrics.get("train_seconds"),
            "measured on {} views": self.metrics.get("evaluated_on"),
        }
        line = ", ".join(
            text.format(escape(self.told(value)))
            for text, value in about.items()
            if value is not None
        )
        mean = self._mapping("mean")
        numbers = "".join(
            f"<li><strong>{number(mean[name], digits)} {unit}</strong>{label}</li>"
            for name, (label, unit, digits) in UNITS.items()
            if name in mean
        )
        return f'<p class="faint">{line}</p><ul class="numbers">{numbers}</ul>'

    def views(self) -> str:
        """Each test view: photograph, rendering, depth, depth error."""
        images = self._mapping("images")
        rows: list[str] = []
        for name in list(images)[:VIEWS_SHOWN]:
            stem = picture_stem(name)
            tiles = []
            for kind, words in KINDS.items():
                file = f"test/{stem}_{kind}.png"
                tag = self.pictures.tag(file, f"{words} of {name}")
                why = self.pictures.not_shown.get(file)
                if tag or why or kind != "depth_error":
                    tiles.append(captioned(tag or missing(why or f"no {words}"), words))
            psnr = images[name].get("psnr") if isinstance(images[name], dict) else None
            said = f", PSNR {number(psnr, 2)} dB" if psnr is not None else ""
            rows.append(
                f'<div class="card"><h3>{escape(name)}{said}</h3>'
                f'<div class="view">{"".join(tiles)}</div></div>'
            )
        parts = [f'<div class="views">{"".join(rows)}</div>' if rows else missing("no test views")]
        if len(images) > VIEWS_SHOWN:
            parts.append(missing(f"{len(images) - VIEWS_SHOWN} more lie in test/"))
        flight = self.pictures.tag("flight.gif", "flight past the training views", kind="flight")
        if flight:
            parts.append(captioned(flight, "A flight past the training views: colour, depth."))
        elif why := self.pictures.not_shown.get("flight.gif"):
            parts.append(missing(f"flight.gif: {why}"))
        return "".join(parts)

    def table(self) -> str:
        """The metrics of each test view, and their mean."""
        mean, images = self._mapping("mean"), self._mapping("images")
        images = {name: row for name, row in images.items() if isinstance(row, dict)}
        names = list(dict.fromkeys(name for row in (mean, *images.values()) for name in row))
        if not names:
            return missing("metrics.json holds none")
        head = "".join(f'<th class="number">{escape(name)}</th>' for name in names)

        def row(label: str, values: Mapping[str, Any], kind: str = "") -> str:
            cells = "".join(
                f'<td class="number">{number(values[name]) if name in values else ""}</td>'
                for name in names
            )
            return f'<tr class="{kind}"><th>{escape(label)}</th>{cells}</tr>'

        rows = [row("mean", mean, "mean"), *(row(name, images[name]) for name in images)]
        flavours = self._mapping("flavours")
        used = {k: v for k, v in flavours.items() if any(k in name for name in names)}
        absent = self._mapping("not_computed")
        return (
            f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>"
            + "".join(
                missing(f"{name} not computed: {self.told(why)}") for name, why in absent.items()
            )
            + details("Which flavour of each", self.pairs(used))
        )

    def training(self) -> str:
        """PSNR of the training rays and, where it was measured, of held-out views; the rate."""
        charts = [
            self.card(
                "PSNR (dB)",
                {
                    "training rays": self.curve("psnr"),
                    **{
                        key.replace("_psnr", " views"): self.curve(key)
                        for line in self.log
                        for key in line
                        if key.endswith("_psnr")
                    },
                },
            ),
            self.card("Learning rate", {"lr": self.curve("lr")}, log=True),
        ]
        drawn = "".join(charts)
        return f'<div class="grid">{drawn}</div>' if drawn else missing("log.jsonl holds no line")

    def terms(self) -> str:
        """Each loss term's value before its weight, and its weight."""
        values_of = [v for line in self.log if isinstance(v := line.get("values"), dict)]
        names = dict.fromkeys(name for values in values_of for name in values)
        cards: list[str] = []
        for name in names:
            values, weights = self.curve("values", name), self.curve("weights", name)
            finite = [y for _, y in values if math.isfinite(y)]
            log = bool(finite) and max(finite) > 5 * min(finite) > 0
            constant = {y for _, y in weights}
            if len(constant) == 1:
                drawn, said = "", f"weight {number(constant.pop())}, constant"
            else:
                drawn = line_chart({"weight": weights}, label=f"weight of {name}")
                said = "below: weight"
            cards.append(
                f'<div class="card"><h3>{escape(name)}</h3>'
                f"{line_chart({name: values}, label=f'unweighted value of {name}', log=log)}"
                f'<p class="faint">above: unweighted value; {said}</p>{drawn}</div>'
            )
        if not cards:
            return missing("log.jsonl holds no line")
        return f'<div class="grid">{"".join(cards)}</div>'

    def gradient_shares(self) -> str:
        """The curve of the gradient's shares, if they were measured."""
        measured = {
            line["step"]: shares
            for line in self.log
            if is_number(line.get("step")) and (shares := numbers(line.get("gradient_shares")))
        }
        if not measured:
            return missing("not measured; train with --log.gradient-shares-every 100")
        try:
            from nerfreg.plots import plot_gradient_shares

            figure = plot_gradient_shares(list(measured), list(measured.values()))
        except ImportError as error:
            return missing(f"not drawn: {error}")
        caption = (
            "‖∂(weight · value)/∂θ‖ of each term, divided by their sum. Left: stacked. Right: each,"
            " logarithmic."
        )
        tag = self.pictures.figure(figure, "shares of the gradient over the steps")
        return captioned(tag, caption)

    def depth(self) -> str:
        """Where rays through keypoints stop, and rendered against exact depth."""
        figures = {
            "keypoint_rays.png": (
                "Rays through four keypoints of the training views: where they stop (blue), and"
                " where the keypoint says that they should (orange).",
                "no keypoint rays: the scene has no keypoints",
            ),
            "depth_agreement.png": (
                "Rendered against exact z-depth of the test views; right, their ratio from the"
                " image's centre outwards.",
                "no depth agreement: exact depth is not known",
            ),
        }
        parts: list[str] = []
        for name, (caption, why) in figures.items():
            tag = self.pictures.tag(name, caption, kind="figure")
            if name in self.pictures.not_shown:
                why = f"{name}: {self.pictures.not_shown[name]}"
            parts.append(captioned(tag, caption) if tag else missing(why))
        return "".join(parts)

    def provenance(self) -> str:
        """Commands, versions, machine, split and configuration."""
        parts: list[str] = []
        for session in self.sessions:
            command = str(session.get("command") or "called from a program")
            about = {k: v for k, v in session.items() if k not in ("command", "step")}
            start = f"from step {session.get('step', '?')}"
            shown = without_folders(command)
            if shown != command:
                start += "; paths are shown without their folders"
            parts.append(
                f'<p class="faint">{escape(start)}</p><pre>{escape(shown)}</pre>'
                + self.pairs(about)
            )
        if not self.sessions:
            parts.append(missing(f"{SESSIONS} is not there: command and versions are unknown"))
        split = {
            k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in self.split.items()
        }
        parts.append("<h3>Views</h3>" + self.pairs(split) if split else missing("no views.json"))
        if self.config:
            parts.append(details("Configuration", self.pairs(flat(self.config))))
        return "".join(parts)

    def card(
        self, title: str, series: Mapping[str, list[tuple[float, float]]], *, log: bool = False
    ) -> str:
        """A chart in a frame with a key, or nothing."""
        drawn = line_chart(series, label=title, log=log)
        if not drawn:
            return ""
        keys = "".join(
            f'<span class="key s{i}"><i></i>{escape(name)}</span>' for i, name in enumerate(series)
        )
        key = f'<p class="faint">{keys}</p>' if len(series) > 1 else ""
        return f'<div class="card"><h3>{escape(title)}</h3>{drawn}{key}</div>'

    def curve(self, *keys: str) -> list[tuple[float, float]]:
        """What the log says of something at each step, below the keys given."""
        points: list[tuple[float, float]] = []
        for line in self.log:
            value: Any = line
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if is_number(value) and is_number(line.get("step")):
                points.append((float(line["step"]), float(value)))
        return points

    def pairs(self, values: Mapping[str, Any]) -> str:
        """A table of names and what they are."""
        rows = "".join(
            f"<tr><th>{escape(str(key))}</th><td>{escape(self.told(value))}</td></tr>"
            for key, value in values.items()
        )
        return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'

    def told(self, value: Any) -> str:
        """A value in words, without the folders in which files lie."""
        if isinstance(value, float):
            return f"{value:g}"
        text = str(value)
        for option in flat(self.config).values():  # a folder's name may hold spaces
            if isinstance(option, str) and len(Path(option).parts) > 1:
                text = text.replace(option, Path(option).name)
        return ABSOLUTE.sub(lambda found: Path(found[0]).name, text)

    def _mapping(self, key: str) -> dict[str, Any]:
        """What metrics.json holds by name under a key; a line on the page if it is no object."""
        found = self.metrics.get(key, {})
        if isinstance(found, dict):
            return found
        self.problems.append(f"metrics.json: {key} is no object")
        return {}

    def _list(self, key: str) -> list[Any]:
        """The same, of a list."""
        found = self.metrics.get(key)
        return found if isinstance(found, list) else []

    def _object(self, name: str) -> dict[str, Any]:
        """A JSON file's content; nothing, and a line on the page, where it cannot be read."""
        try:
            found = json.loads((self.folder / name).read_text())
        except FileNotFoundError:
            self.problems.append(f"{name} is not there")
            return {}
        except (OSError, ValueError) as error:  # a torn byte is a ValueError, too
            self.problems.append(f"{name} cannot be read: {error}")
            return {}
        if isinstance(found, dict):
            return found
        self.problems.append(f"{name} holds no object")
        return {}

    def _lines(self, name: str) -> list[dict[str, Any]]:
        """Whole lines of a log, objects alone."""
        try:
            lines = (self.folder / name).read_text(errors="replace").splitlines()
        except OSError:
            return []
        found: list[dict[str, Any]] = []
        for line in lines:
            try:
                content = json.loads(line)
            except ValueError:  # half written
                continue
            if isinstance(content, dict):
                found.append(content)
        return found


def number(value: Any, digits: int | None = None) -> str:
    """A number for people, with all its digits for programs."""
    if not is_number(value):
        return escape(str(value))
    shown = f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"
    return f'<data value="{value!r}">{shown if math.isfinite(value) else value}</data>'


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers(values: Any) -> dict[str, float]:
    """What of an object in a JSON file is a number."""
    return {k: v for k, v in values.items() if is_number(v)} if isinstance(values, dict) else {}


def missing(words: str) -> str:
    """A line that says what is not there."""
    return f'<p class="missing">{escape(words)}</p>'


def captioned(picture: str, caption: str) -> str:
    """A picture over its caption; on a narrow screen it scrolls by itself."""
    return (
        f'<figure><div class="scroll">{picture}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def details(summary: str, content: str) -> str:
    """What opens at a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options of options under names with dots, as the command line has them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def report_page(run: Path, /) -> None:
    """Write a run's report.html again, from what lies in its folder.

    Args:
        run: folder of the run.
    """
    print(write_report_page(run))


def without_folders(command: str) -> str:
    """A command whose paths are shown by their last part, but for a program of the project."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ABSOLUTE.sub(lambda found: Path(found[0]).name, command)
    shown: list[str] = []
    for place, word in enumerate(words):
        option, equals, value = word.rpartition("=")
        is_program = place == 1 and word.endswith(".py") and not Path(word).is_absolute()
        short = value if is_program or "/" not in value else Path(value).name
        shown.append(f"{option}{equals}{short}")
    return shlex.join(shown)


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    return exit_code(lambda: tyro.cli(report_page, description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
