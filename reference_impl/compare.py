"""Put runs side by side: a table of their metrics, and one picture of the same test view from each.

$ python reference_impl/compare.py RUN RUN … [--out comparison.png] [--view NAME]
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import imageio.v3 as iio
import tyro
from PIL import Image

from reference_impl.command_line import exit_code
from reference_impl.report import save_image, tiles
from reference_impl.run_folder import picture_stem

METRICS = (
    "psnr",
    "ssim",
    "lpips_vgg",
    "lpips_alex",
    "lpips_squeeze",
    "average",
    "psnr_masked",
    "ssim_masked",
    "lpips_vgg_masked",
    "average_masked",
    "depth_mae",
    "depth_error",
)
# What must agree for runs to be repetitions of one another.
SETTING = ("scene", "recipe", "views", "steps", "evaluated_on", "size")
# So must all options but these, which decide nothing or are compared by what they came to.
NO_OPTIONS = (
    *("seed", "out", "resume", "scene", "keypoints_cache", "lpips", "lpips_weights"),
    *("dry_run", "log", "recipe", "without", "views", "steps", "evaluate_on", "width"),
)


def read_metrics(run: Path) -> dict[str, Any]:
    """A run's metrics.json.

    Raises:
        ValueError: the run is not finished, or the file is damaged or of an older version.
    """
    path = run / "metrics.json"
    if not path.is_file():
        raise ValueError(f"{run}: no metrics.json there; is the run finished?")
    try:
        result: Any = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    kinds = {"scene": str, "recipe": str, "mean": dict, "images": dict}
    if not isinstance(result, dict) or not all(
        isinstance(result.get(key), kind) for key, kind in kinds.items()
    ):
        raise ValueError(f"{path}: not the metrics of a run: expected {', '.join(kinds)}")
    missing = [key for key in (*SETTING, "seed") if key not in result]
    if missing:
        raise ValueError(
            f"{path}: made by an older version (no {', '.join(missing)}); run evaluate.py {run}"
        )
    return result


def read_options(run: Path) -> dict[str, str]:
    """A run's options that tell settings from one another, by name; none of a run without them."""
    try:
        config: Any = json.loads((run / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    options: dict[str, str] = {}
    for name, value in config.items() if isinstance(config, dict) else ():
        if name in NO_OPTIONS:
            continue
        inner = value.items() if isinstance(value, dict) else (("", value),)
        options |= {f"{name}.{key}".rstrip("."): str(x) for key, x in inner}
    return options


def rows(results: list[dict[str, Any]], metrics: Sequence[str] = METRICS) -> list[dict[str, Any]]:
    """A row for each setting: the setting, how many runs had it, mean and deviation of each metric.

    Args:
        results: what metrics.json of each run holds, and, under ``options``, what
            :func:`read_options` gave.
        metrics: to have means of.

    Returns:
        Rows with the keys of ``SETTING``, ``reached`` (the step measured), ``options`` (those in
        which runs of the same setting differ), ``runs``, ``metrics`` (name -> ``mean``, ``std``,
        ``None`` for a single run, and ``runs``) and ``train_seconds``, sorted by setting.
    """
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in results:
        setting = tuple(result[key] for key in SETTING[:-1])
        alike.setdefault((*setting, tuple(result["size"])), []).append(result)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for setting, runs in alike.items():
        given = [run.get("options", {}) for run in runs]
        names = sorted({name for options in given for name in options})
        # An option that older runs do not know is no difference.
        values = {name: {options[name] for options in given if name in options} for name in names}
        differ = [name for name in names if len(values[name]) > 1]
        for run, options in zip(runs, given, strict=True):
            own = ", ".join(f"{name} {options.get(name, 'unknown')}" for name in differ)
            key = (*setting, run.get("step", run["steps"]), own)
            groups.setdefault(key, []).append(run)
    found: list[dict[str, Any]] = []
    for (*setting, reached, own), runs in sorted(groups.items()):
        measured = {
            metric: [r["mean"][metric] for r in runs if metric in r["mean"]] for metric in metrics
        }
        seconds = [r["train_seconds"] for r in runs if "train_seconds" in r]
        found.append(
            {
                **dict(zip(SETTING, setting, strict=True)),
                "reached": reached,
                "options": own,
                "runs": len(runs),
                "metrics": {
                    metric: {
                        "mean": statistics.mean(values),
                        "std": statistics.stdev(values) if len(values) > 1 else None,
                        "runs": len(values),
                    }
                    for metric, values in measured.items()
                    if values
                },
                "train_seconds": statistics.mean(seconds) if seconds else None,
            }
        )
    return found


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each setting, mean ± standard deviation over its runs."""
    return markdown(rows(results))


def markdown(rows: list[dict[str, Any]], metrics: Sequence[str] = METRICS) -> str:
    """Draw rows, as :func:`rows` gives them, as a table of those metrics that any of them has."""
    shown = [metric for metric in metrics if any(metric in row["metrics"] for row in rows)]
    options = ["options"] if any(row.get("options") for row in rows) else []
    columns = [*SETTING, *options, "runs", *shown, "train s"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [str(row[key]) for key in SETTING[:-1]] + ["x".join(map(str, row["size"]))]
        if row.get("reached", row["steps"]) != row["steps"]:
            cells[SETTING.index("steps")] = f"{row['reached']} of {row['steps']}"
        cells += [str(row.get(name, "")) for name in (*options, "runs")]
        cells += [_cell(row["metrics"].get(metric), row["runs"]) for metric in shown]
        cells.append("" if row["train_seconds"] is None else f"{row['train_seconds']:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: dict[str, Any] | None, runs: Any) -> str:
    """Mean ± deviation, and of how many runs if not of all; a printed number as it was printed."""
    if value is None:
        return ""
    if "printed" in value:
        return value["printed"]
    spread = "" if value["std"] is None else f" ± {value['std']:.3f}"
    some = "" if value["runs"] == runs else f" ({value['runs']} of {runs})"
    return f"{value['mean']:.3f}{spread}{some}"


def twice_seeded(results: list[dict[str, Any]]) -> list[str]:
    """Say which settings have a seed more than once: such runs are no repetitions."""
    seeds: dict[tuple[Any, ...], list[int]] = {}
    for result in results:
        options = tuple(sorted(result.get("options", {}).items()))
        key = (*(str(result[name]) for name in SETTING), options)
        seeds.setdefault(key, []).append(result["seed"])
    return [
        f"{scene}, {recipe}, {views} views: seed {seed} is there {found.count(seed)} times, so the"
        " mean and its ± count it so often"
        for (scene, recipe, views, *_), found in seeds.items()
        for seed in sorted(set(found))
        if found.count(seed) > 1
    ]


def compare(runs: list[Path], /, out: Path | None = None, view: str | None = None) -> None:
    """Print a table of the runs' metrics and draw one test view as each of them rendered it.

    Args:
        runs: folders of finished runs.
        out: where to write the picture; without it none is drawn.
        view: name of the test view to draw; by default the middle one.
    """
    if not runs:
        raise ValueError("no run given")
    folders = [run.resolve() for run in runs]
    twice = [str(run) for i, run in enumerate(runs) if folders[i] in folders[:i]]
    if twice:
        raise ValueError(f"{', '.join(twice)}: given twice")
    results = [{**read_metrics(run), "options": read_options(run)} for run in runs]
    notes = [f"note: {note}" for note in twice_seeded(results)]
    if out is None:
        print("\n".join([table(results), *notes]))
        return
    if out.suffix != ".png":
        raise ValueError(f"--out {out}: the picture is a PNG, so its name must end in .png")
    if not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    scenes = {result["scene"] for result in results}
    if len(scenes) > 1:
        raise ValueError(
            f"--out: a picture shows one scene, got runs of {', '.join(sorted(scenes))}"
        )
    names = list(results[0]["images"])
    chosen = view or names[len(names) // 2]
    if chosen not in names:
        raise ValueError(f"--view {chosen}: not a test view, choose one of {', '.join(names)}")
    print("\n".join([table(results), *notes]))
    save_image(side_by_side(runs, results, picture_stem(chosen)), out)
    print(f"picture: {out}")


def side_by_side(runs: list[Path], results: list[dict[str, Any]], stem: str) -> Image.Image:
    """A column for each run, a row for each kind of picture of the view."""
    kinds = [
        k
        for k in ("rgb", "depth", "depth_error")
        if (runs[0] / "test" / f"{stem}_{k}.png").is_file()
    ]
    truth = iio.imread(runs[0] / "test" / f"{stem}_truth.png")
    titles = [f"{r['recipe']}, seed {r['seed']}" for r in results]
    rows = [
        [truth if kind == "rgb" else truth * 0 + 255]
        + [iio.imread(run / "test" / f"{stem}_{kind}.png") for run in runs]
        for kind in kinds
    ]
    return tiles(rows, ["photograph", *titles], kinds)


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    return exit_code(lambda: tyro.cli(compare, description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
