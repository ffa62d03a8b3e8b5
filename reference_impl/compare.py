"""Put runs side by side: a table of their metrics, and one picture of the same test view from each.

python reference_impl/compare.py RUN RUN … [--out comparison.png] [--view NAME]
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import imageio.v3 as iio
import tyro

from reference_impl.report import save_image, tiles

METRICS = ("psnr", "ssim", "depth_mae", "depth_error")


def read_metrics(run: Path) -> dict[str, Any]:
    """A run's metrics.json.

    Raises:
        ValueError: the run is not finished, or the file is damaged.
    """
    path = run / "metrics.json"
    if not path.is_file():
        raise ValueError(f"{run}: no metrics.json there; is the run finished?")
    try:
        result: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each scene and recipe, mean ± standard deviation over its runs."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["scene"], result["recipe"]), []).append(result)
    shown = [m for m in METRICS if any(m in r["mean"] for r in results)]
    lines = ["| scene | recipe | runs | " + " | ".join(shown) + " | train s |"]
    lines.append("|" + "---|" * (len(shown) + 4))
    for (scene, recipe), runs in sorted(groups.items()):
        cells = []
        for metric in shown:
            values = [r["mean"][metric] for r in runs if metric in r["mean"]]
            if not values:
                cells.append("")
                continue
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        seconds = [r["train_seconds"] for r in runs if "train_seconds" in r]
        cells.append(f"{statistics.mean(seconds):.0f}" if seconds else "")
        lines.append(f"| {scene} | {recipe} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compare(runs: list[Path], /, out: Path | None = None, view: str | None = None) -> None:
    """Print a table of the runs' metrics and draw one test view as each of them rendered it.

    Args:
        runs: folders of finished runs.
        out: where to write the picture; without it none is drawn.
        view: name of the test view to draw; by default the middle one.
    """
    if not runs:
        raise ValueError("no run given")
    results = [read_metrics(run) for run in runs]
    print(table(results))
    if out is None:
        return
    scenes = {result["scene"] for result in results}
    if len(scenes) > 1:
        raise ValueError(
            f"--out: a picture shows one scene, got runs of {', '.join(sorted(scenes))}"
        )
    names = list(results[0]["images"])
    chosen = view or names[len(names) // 2]
    if chosen not in names:
        raise ValueError(f"--view {chosen}: not a test view, choose one of {', '.join(names)}")
    stem = Path(chosen).stem
    kinds = [
        k
        for k in ("rgb", "depth", "depth_error")
        if (runs[0] / "test" / f"{stem}_{k}.png").is_file()
    ]
    truth = iio.imread(runs[0] / "test" / f"{stem}_truth.png")
    columns = [
        (f"{r['recipe']}, seed {r['seed']}", run) for r, run in zip(results, runs, strict=True)
    ]
    rows = [
        [truth if kind == "rgb" else truth * 0 + 255]
        + [iio.imread(run / "test" / f"{stem}_{kind}.png") for _, run in columns]
        for kind in kinds
    ]
    save_image(tiles(rows, ["photograph", *(title for title, _ in columns)], kinds), out)
    print(f"picture: {out}")


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    try:
        tyro.cli(compare, description=__doc__)
    except (ValueError, OSError) as error:
        if os.environ.get("NERFREG_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
