"""The figures of a table, and an image sheet a scene."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reference_impl.compare import side_by_side
from reference_impl.report import save_image
from reference_impl.reproduction.curves import crossing
from reference_impl.reproduction.jobs import Job
from reference_impl.reproduction.results import JobFolder
from reference_impl.reproduction.summary import Summary, curves_of, psnr_of, seeds_mean
from reference_impl.run_folder import picture_stem, written_whole

__all__ = ["draw"]

Results = Mapping[Job, dict[str, Any]]


def draw(summary: Summary, out: Path, folder: Path) -> list[str]:
    """Draw what a table has to show, and name the files.

    Args:
        summary: the table and its results.
        out: the command's folder, where the jobs lie.
        folder: for the pictures.
    """
    made: list[str] = []
    kinds = {"views": _views, "convergence": _convergence, "ablation": _ablation}
    for scene in dict.fromkeys(job.scene for job in summary.results):
        figure = summary.table.figure
        if figure is not None:
            drawn = kinds[figure.kind](summary.results, scene, figure.baseline)
            name = f"{figure.kind}-{scene}.png"
            _save(drawn, folder / name)
            made.append(name)
        if _sheet(summary.results, scene, out, folder / f"images-{scene}.png"):
            made.append(f"images-{scene}.png")
    return made


def _views(results: Results, scene: str, baseline: str) -> Figure:
    """PSNR against views; where the baseline reaches what others have with their fewest."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    curves = curves_of(results, scene)
    for name, (xs, ys) in curves.items():
        axes.plot(xs, ys, marker="o", label=name)
    for name, (xs, ys) in curves.items() if baseline in curves else ():
        found = crossing(*curves[baseline], ys[0])
        if name == baseline or found.at is None:
            continue
        axes.hlines(ys[0], xs[0], found.at, linestyles="dotted", color="grey")
        axes.plot([found.at], [ys[0]], marker="x", color="black", linestyle="none")
        note = f"{found.words()} views"
        axes.annotate(note, (found.at, ys[0]), (5, -12), textcoords="offset points")
    axes.set(title=scene, xlabel="training views", ylabel="test PSNR, dB")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def _convergence(results: Results, scene: str, baseline: str) -> Figure:
    """PSNR against iterations and against seconds; the baseline's best as a line."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, seconds in zip(figure.subplots(1, 2, sharey=True), (False, True), strict=True):
        curves = seeds_mean(results, scene, seconds=seconds)
        for name, curve in curves.items():
            axes.plot(*curve, marker=".", label=name)
        if baseline in curves:
            axes.axhline(max(curves[baseline][1]), linestyle="dotted", color="grey")
        axes.set(title=scene, xlabel="seconds of training" if seconds else "steps")
    figure.axes[0].set_ylabel("test PSNR, dB")
    figure.axes[0].legend()
    return figure


def _ablation(results: Results, scene: str, baseline: str) -> Figure:
    """A bar for each variant, with the deviation over seeds."""
    del baseline
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
    axes.set(title=scene, xlabel="test PSNR, dB (the axis does not begin at 0)")
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
