"""The figures of a table, and an image sheet a scene."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reference_impl.compare import side_by_side
from reference_impl.report import save_image
from reference_impl.reproduction.curves import crossing
from reference_impl.reproduction.jobs import Job
from reference_impl.reproduction.results import JobFolder
from reference_impl.reproduction.summary import (
    TEST_PSNR,
    Summary,
    measured,
    psnr_of,
    seeds_mean,
    views_mean,
)
from reference_impl.run_folder import picture_stem, written_whole

__all__ = ["draw"]

# Levels whose marks' names would overlap, as a share of the panel's height.
CLOSE = 0.1

Results = Mapping[Job, dict[str, Any]]
Panel = Callable[[Axes, Results, str, str, Mapping[str, str]], None]


def draw(summary: Summary, out: Path, folder: Path) -> list[str]:
    """Draw what a table has to show, and name the files.

    Args:
        summary: the table and its results.
        out: the command's folder, where the jobs lie.
        folder: for the pictures.
    """
    made: list[str] = []
    results, figure = summary.results, summary.table.figure

    def save(drawn: Figure, name: str) -> None:
        _save(drawn, folder / name)
        made.append(name)

    scenes = list(dict.fromkeys(job.scene for job in results))
    panels = _PANELS.get(figure.kind, ()) if figure is not None else ()
    for scene in scenes:
        if figure is not None:
            drawn = (
                _grid(results, [(panel, scene) for panel in panels], figure.baseline)
                if panels
                else _ablation(results, scene)
            )
            save(drawn, f"{figure.kind}-{scene}.png")
        if _sheet(results, scene, out, folder / f"images-{scene}.png"):
            made.append(f"images-{scene}.png")
    if figure is not None and panels and len(scenes) > 1:
        together = [(panels[0], scene) for scene in scenes]
        save(_grid(results, together, figure.baseline), f"{figure.kind}.png")
    return made


def _grid(results: Results, panels: Sequence[tuple[Panel, str]], baseline: str) -> Figure:
    """Panels in rows of at most three, with one legend; a variant's colour is the same in all."""
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    size = (6, 4) if columns == 1 else (4.5 * columns, 3.5 * rows)
    figure = Figure(figsize=size, layout="constrained")
    names = dict.fromkeys(job.variant.name for job in results)
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    lines: dict[str, Any] = {}
    for axes, (panel, scene) in zip(grid, panels, strict=False):
        panel(axes, results, scene, baseline, colours)
        axes.set(title=scene)
        handles, labels = axes.get_legend_handles_labels()
        lines.update(zip(labels, handles, strict=True))
    for axes in grid[len(panels) :]:
        axes.remove()
    shown = [name for name in colours if name in lines]
    handles = [lines[name] for name in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=len(shown))
    return figure


def _views(
    axes: Axes, results: Results, scene: str, baseline: str, colours: Mapping[str, str]
) -> None:
    """PSNR against views; where the baseline reaches what others have with their fewest."""
    curves = views_mean(results, scene)
    for name, (xs, ys) in curves.items():
        axes.plot(xs, ys, marker="o", label=name, color=colours[name])
    # From the lowest level up: of two marks close to one another the upper is named above.
    levels = sorted(curves.items(), key=lambda item: item[1][1][0]) if baseline in curves else []
    heights = [y for _, ys in curves.values() for y in ys]
    below: tuple[float, float] | None = None
    for name, (xs, ys) in levels:
        found = crossing(*curves[baseline], ys[0])
        if name == baseline or found.at is None or found.at_start:
            continue
        axes.hlines(ys[0], xs[0], found.at, linestyles="dotted", color="grey")
        axes.plot([found.at], [ys[0]], marker="x", color="black", linestyle="none")
        near = (
            below is not None
            and found.at - below[0] < 1
            and (ys[0] - below[1] < CLOSE * (max(heights) - min(heights)))
        )
        offset = (5, 6) if near else (5, -12)
        below = None if near else (found.at, ys[0])
        note = f"{found.words()} views"
        axes.annotate(note, (found.at, ys[0]), offset, textcoords="offset points")
    axes.set(xlabel="training views", ylabel=f"{measured(results, scene)}, dB")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _convergence(
    axes: Axes,
    results: Results,
    scene: str,
    baseline: str,
    colours: Mapping[str, str],
    *,
    seconds: bool,
) -> None:
    """PSNR on the way; the baseline's best as a line."""
    curves = seeds_mean(results, scene, seconds=seconds)
    for name, curve in curves.items():
        axes.plot(*curve, marker=".", label=name, color=colours[name])
    if baseline in curves:
        axes.axhline(max(curves[baseline][1]), linestyle="dotted", color="grey")
    x = "seconds of training" if seconds else "steps"
    axes.set(xlabel=x, ylabel=f"{TEST_PSNR}, dB")


# What a scene's figure has side by side; the first is in the figure of all scenes, too.
_PANELS: Mapping[str, tuple[Panel, ...]] = {
    "views": (_views,),
    "convergence": (partial(_convergence, seconds=False), partial(_convergence, seconds=True)),
}


def _ablation(results: Results, scene: str) -> Figure:
    """A bar for each variant, with the deviation over seeds."""
    values: dict[str, list[float]] = {}
    for job, result in results.items():
        if job.scene == scene:
            values.setdefault(job.variant.name, []).append(psnr_of(result))
    names = sorted(values, reverse=True)  # bars are drawn from below
    figure = Figure(figsize=(8, 0.6 + 0.35 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    means = [statistics.fmean(values[name]) for name in names]
    spread = [statistics.stdev(v) if len(v := values[name]) > 1 else 0.0 for name in names]
    colours = ["C0" if "without" in name else "C1" for name in names]
    axes.barh(names, means, xerr=spread, color=colours)
    low = min(m - s for m, s in zip(means, spread, strict=True))
    what = measured(results, scene)
    axes.set(title=scene, xlabel=f"{what}, dB (the axis does not begin at 0)")
    axes.set_xlim(left=max(low - 1, 0))
    return figure


def _sheet(results: Results, scene: str, out: Path, path: Path) -> bool:
    """The middle test view as each variant rendered it, with the fewest views; if it is at hand."""
    here = [job for job in results if job.scene == scene]
    fewest = min(job.config.views for job in here)
    first: dict[str, Job] = {}
    for job in sorted(here, key=lambda job: job.config.seed):
        if job.config.views == fewest:
            first.setdefault(job.variant.name, job)
    metrics = [results[job]["metrics"] for job in first.values()]
    names = list(metrics[0]["images"])
    stem = picture_stem(names[len(names) // 2])
    runs = [JobFolder.of(job, out).run for job in first.values()]
    if not all((run / "test" / f"{stem}_rgb.png").is_file() for run in runs):
        return False
    save_image(side_by_side(runs, metrics, stem), path)
    return True


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
