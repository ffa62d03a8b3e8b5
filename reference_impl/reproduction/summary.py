"""From results to a table: means over seeds and scenes, the papers' numbers, every departure."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl import compare
from reference_impl.reproduction.curves import crossing, speed_up
from reference_impl.reproduction.jobs import Job, Plan, Request, in_words
from reference_impl.reproduction.published import CLAIMS, PUBLISHED
from reference_impl.reproduction.tables import Table

__all__ = ["TEST_PSNR", "Summary", "measured", "psnr_of", "seeds_mean", "views_mean"]

# The papers' own columns come on top: which network their LPIPS had is not said.
_PRINTED = ("psnr", "ssim", "lpips", "average")
_RELEASED = ("ssim_released", "lpips_released")
_OURS = (*compare.METRICS, *_RELEASED, *(f"{name}_masked" for name in _RELEASED))
METRICS = tuple(dict.fromkeys((*_OURS, *_PRINTED, *(f"{name}_masked" for name in _PRINTED))))
TEST_PSNR = "test PSNR"
Curve = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Summary:
    """A table and what there is to fill it in.

    Attributes:
        table: what was asked for.
        request: how.
        plan: the jobs that it came to.
        results: of the finished ones.
        failures: job -> why its last attempt failed.
    """

    table: Table
    request: Request
    plan: Plan
    results: Mapping[Job, dict[str, Any]]
    failures: Mapping[Job, str]

    def rows(self) -> list[dict[str, Any]]:
        """Ours: a row for each setting, then means over the scenes that share one."""
        metrics = [result["metrics"] for result in self.results.values()]
        return [*compare.rows(metrics, METRICS), *compare.rows(scene_means(metrics), METRICS)]

    def published(self) -> list[dict[str, Any]]:
        """The papers', in the same form."""
        found: list[dict[str, Any]] = []
        for row in PUBLISHED:
            if row.table not in self.table.published:
                continue
            numbers = {name: getattr(row, name) for name in _PRINTED}
            mask = "_masked" if row.masked else ""
            found.append(
                {
                    "scene": row.scenes,
                    "recipe": f"paper: {row.method}",
                    "views": row.views,
                    "steps": "",
                    "evaluated_on": "test",
                    "size": self.table.size or (),
                    "runs": "",
                    "metrics": {
                        f"{name}{mask}": {"mean": float(text), "std": None, "printed": text}
                        for name, text in numbers.items()
                        if text
                    },
                    "train_seconds": None,
                    "source": f"{row.source}; {row.remark}" if row.remark else row.source,
                }
            )
        return found

    def findings(self) -> list[dict[str, Any]]:
        """What the figure shows, in numbers."""
        figure = self.table.figure
        if figure is None or figure.kind == "ablation":
            return []
        for_views = figure.kind == "views"
        data_sets = {job.scene: data_set(r["metrics"]) for job, r in self.results.items()}
        found: list[dict[str, Any]] = []
        for scene in dict.fromkeys(job.scene for job in self.results):
            for axis in ("views",) if for_views else ("steps", "seconds"):
                curves = (
                    views_mean(self.results, scene)
                    if for_views
                    else seeds_mean(self.results, scene, seconds=axis == "seconds")
                )
                base = curves.pop(figure.baseline, None)
                if base is None:
                    continue
                for name, curve in curves.items():
                    given = scene, figure.baseline, name, base, curve
                    said = _data_efficiency(*given) if for_views else _sooner(*given, axis)
                    what = measured(self.results, scene) if for_views else TEST_PSNR
                    found.append({**said, "measured": what, "data_set": data_sets[scene]})
        return [*found, *_mean_findings(found)]

    def departures(self) -> list[str]:
        """All that keeps these numbers from being the papers'."""
        table, request, jobs = self.table, self.request, self.plan.jobs
        said = list(table.notes)
        config = jobs[0].config
        if any(name.startswith("ssim") for row in self.published() for name in row["metrics"]):
            said.append(
                "RegNeRF's SSIM may be `ssim`, or the higher `ssim_released` that its released code"
                " computes: which one its tables have is not known"
            )
        if request.preset != "paper":
            said.append(
                f"preset {request.preset}: a network of {config.model.depth}x{config.model.width},"
                f" {config.rays} rays a step; RegNeRF's setting is --preset paper"
            )
        if request.steps:
            said.append(f"{request.steps} steps, as asked for, instead of the preset's")
        sizes = {
            (*result["metrics"]["size"], *theirs)
            for job, result in self.results.items()
            if (theirs := table.size_of(job.scene))
        }
        said += [
            f"photographs of {w}x{h} pixels, where the papers have {width}x{height}"
            for w, h, width, height in sorted(sizes)
            if (w, h) != (width, height)
        ]
        if request.keypoints != "model":
            said.append(f"keypoints: {request.keypoints}, as asked for")
        other = [scene for scene in request.scenes if scene not in table.scenes]
        if other and table.scenes:
            said.append(f"scenes that are not the table's own: {', '.join(other)}")
        left_out = [scene for scene in table.scenes if scene not in {job.scene for job in jobs}]
        if left_out:
            said.append(f"scenes left out: {', '.join(left_out)}")
        said += [f"could not run: {reason}" for reason in in_words(self.plan.missing)]
        said += [f"failed: {job.title}: {why}" for job, why in self.failures.items()]
        if table.figure is not None and table.figure.kind != "ablation":
            for scene in dict.fromkeys(job.scene for job in self.results):
                shared = shared_seeds(self.results, scene)
                if not shared:
                    said.append(f"{scene}: the points of the figure share no seed")
                elif shared != seeds_of(self.results, scene):
                    which = ", ".join(map(str, shared))
                    said.append(
                        f"{scene}: what the figure shows is of seeds {which} alone, which all of"
                        " its points have"
                    )
        still = len([job for job in jobs if job not in self.results and job not in self.failures])
        if still:
            said.append(f"{still} of {len(jobs)} jobs have not run yet")
        said += sorted(
            {
                f"{job.scene}: {text}"
                for job, result in self.results.items()
                if job.takes_depth
                for text in result["warnings"]
            }
        )
        missing = {
            what: why
            for result in self.results.values()
            for what, why in result["metrics"].get("not_computed", {}).items()
        }
        if "lpips" in missing and request.lpips_weights is None:
            missing["lpips"] = "give --lpips-weights FILE, made by convert_lpips.py"
        said += [f"{what} not computed: {why}" for what, why in sorted(missing.items())]
        for key, word in (
            ("code", "versions of the code"),
            ("device", "devices"),
            ("precision", "precisions"),
            ("torch", "versions of torch"),
            ("processor", "processors, so seconds do not compare"),
            ("threads", "numbers of threads, so seconds do not compare"),
        ):
            found = (result.get(key, "").split(" + ") for result in self.results.values())
            values = sorted({value for values in found for value in values if value})
            if len(values) > 1:
                said.append(f"results of several {word}: {', '.join(values)}")
        return said

    def markdown(self, pictures: Sequence[str] = ()) -> str:
        """table.md."""
        published = self.published()
        lines = [f"# {self.table.title}", ""]
        lines.append(
            f"Preset {self.request.preset}, {self.request.seeds} seed(s) from 0;"
            f" {len(self.results)} of {len(self.plan.jobs)} jobs finished."
            " ± is the standard deviation over seeds."
        )
        lines += ["", compare.markdown([*self.rows(), *published], METRICS)]
        if published:
            lines += [
                "",
                "Rows called «paper» are printed elsewhere and were not measured here:",
                "",
            ]
            lines += [
                f"- {source}: " + ", ".join(_methods(published, source))
                for source in dict.fromkeys(row["source"] for row in published)
            ]
        findings = self.findings()
        if findings:
            lines += ["", "## What the figure shows", ""]
            lines += [f"- {finding['words']}" for finding in findings]
        if self.table.name in CLAIMS:
            lines += ["", f"The paper's claim: {CLAIMS[self.table.name]}"]
        lines += ["", "## Departures from the papers' setting", ""]
        lines += [f"- {departure}" for departure in self.departures()]
        if flavours := self.flavours():
            lines += ["", "## Metrics", ""]
            lines += [f"- `{name}`: {words}" for name, words in flavours.items()]
        lines += [line for name in pictures for line in ("", f"![{name}]({name})")]
        return "\n".join(lines) + "\n"

    def flavours(self) -> dict[str, str]:
        """How each metric was computed, by its name."""
        return next((r["metrics"].get("flavours", {}) for r in self.results.values()), {})

    def csv(self) -> str:
        """table.csv: a mean and a deviation column for each metric."""
        rows = [*self.rows(), *self.published()]
        shown = [metric for metric in METRICS if any(metric in row["metrics"] for row in rows)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = [f"{metric}{end}" for metric in shown for end in ("", "_std")]
        writer.writerow([*compare.SETTING, "runs", *columns, "train_seconds", "source"])
        for row in rows:
            values = [row["metrics"].get(metric, {}) for metric in shown]
            numbers = [value.get(key) for value in values for key in ("mean", "std")]
            setting = [row[key] for key in compare.SETTING[:-1]] + ["x".join(map(str, row["size"]))]
            source = row.get("source", "nerfreg")
            writer.writerow([*setting, row["runs"], *numbers, row["train_seconds"], source])
        return text.getvalue()

    def json(self) -> str:
        """table.json: everything, each result by its hash."""
        content = {
            "table": self.table.name,
            "title": self.table.title,
            "preset": self.request.preset,
            "seeds": self.request.seeds,
            "rows": self.rows(),
            "published": self.published(),
            "findings": self.findings(),
            "departures": self.departures(),
            "jobs": {job.name: job.hash for job in self.results},
            "failed": {job.name: why for job, why in self.failures.items()},
            "missing": self.plan.missing,
            "flavours": self.flavours(),
        }
        return json.dumps(content, indent=2) + "\n"


def scene_means(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over scenes, one a seed, as if each were a run.

    Over scenes of one data set that share views, steps and size, and of seeds that all of them
    have; where there is one scene alone there is no mean. Scenes of the data set that others have,
    and this setting has not, are named.
    """
    every: dict[str, dict[str, None]] = {}
    for m in metrics:
        every.setdefault(data_set(m), {})[m["scene"]] = None
    groups: dict[tuple[Any, ...], dict[int, dict[str, Mapping[str, Any]]]] = {}
    for m in metrics:
        setting = tuple(m[key] for key in compare.SETTING[1:-1])
        seeds = groups.setdefault((*setting, tuple(m["size"]), data_set(m)), {})
        seeds.setdefault(m["seed"], {})[m["scene"]] = m
    means: list[dict[str, Any]] = []
    for (*setting, of), seeds in groups.items():
        scenes = {scene for runs in seeds.values() for scene in runs}
        lacking = [scene for scene in every[of] if scene not in scenes] if of else []
        for seed, runs in seeds.items():
            if len(scenes) < 2 or runs.keys() != scenes:
                continue
            names = set.intersection(*(set(m["mean"]) for m in runs.values()))
            seconds = [m["train_seconds"] for m in runs.values() if "train_seconds" in m]
            means.append(
                {
                    **dict(zip(compare.SETTING[1:], setting, strict=True)),
                    "scene": f"mean of {len(scenes)}"
                    + (f" of {of}" if of else "")
                    + (f", without {', '.join(lacking)}" if lacking else ""),
                    "seed": seed,
                    "mean": {
                        n: statistics.fmean(m["mean"][n] for m in runs.values()) for n in names
                    },
                    **({"train_seconds": statistics.fmean(seconds)} if seconds else {}),
                }
            )
    return means


def data_set(metrics: Mapping[str, Any]) -> str:
    """Name the data set that a scene is of, as its split begins: LLFF, DTU, Blender; "": none."""
    before, colon, _ = metrics.get("split", "").partition(":")
    return before.split()[0] if colon and before else ""


def psnr_of(result: Mapping[str, Any]) -> float:
    """What figures show: PSNR, of the object's pixels where the scene has masks."""
    mean = result["metrics"]["mean"]
    return mean.get("psnr_masked", mean["psnr"])


def measured(results: Mapping[Job, Mapping[str, Any]], scene: str) -> str:
    """What :func:`psnr_of` gives on a scene, in words. Not on the way: there all pixels count."""
    masked = any(
        "psnr_masked" in result["metrics"]["mean"]
        for job, result in results.items()
        if job.scene == scene
    )
    return f"{TEST_PSNR} of the object" if masked else TEST_PSNR


def seeds_of(results: Mapping[Job, Mapping[str, Any]], scene: str) -> list[int]:
    """All seeds of a scene's results."""
    return sorted({job.config.seed for job in results if job.scene == scene})


def shared_seeds(results: Mapping[Job, Mapping[str, Any]], scene: str) -> list[int]:
    """Seeds that every variant has with each of its numbers of views.

    Seeds differ by more than what is compared, so that a curve of other seeds would lie elsewhere.
    """
    points: dict[tuple[Any, ...], set[int]] = {}
    for job in results:
        if job.scene == scene:
            key = job.variant, job.config.views
            points.setdefault(key, set()).add(job.config.seed)
    return sorted(set.intersection(*points.values())) if points else []


def views_mean(results: Mapping[Job, Mapping[str, Any]], scene: str) -> dict[str, Curve]:
    """PSNR against training views of each variant on a scene, means over the shared seeds.

    Over all, where none is shared.
    """
    seeds = shared_seeds(results, scene) or seeds_of(results, scene)
    found: dict[str, dict[int, list[float]]] = {}
    for job, result in results.items():
        if job.scene == scene and job.config.seed in seeds:
            views = found.setdefault(job.variant.name, {})
            views.setdefault(job.config.views, []).append(psnr_of(result))
    return {
        name: (
            [float(v) for v in sorted(views)],
            [statistics.fmean(views[v]) for v in sorted(views)],
        )
        for name, views in found.items()
    }


def seeds_mean(
    results: Mapping[Job, Mapping[str, Any]], scene: str, *, seconds: bool = False
) -> dict[str, Curve]:
    """PSNR against steps, or seconds, of each variant on a scene, means over the shared seeds.

    Over all, where none is shared. At the steps that all of them were measured at: a run that was
    cut short may lack some.
    """
    seeds = shared_seeds(results, scene) or seeds_of(results, scene)
    found: dict[str, list[dict[int, tuple[float, float]]]] = {}
    for job, result in results.items():
        if job.scene == scene and job.config.seed in seeds:
            points = {int(step): (time, psnr) for step, time, psnr in result["curve"]}
            found.setdefault(job.variant.name, []).append(points)
    curves: dict[str, Curve] = {}
    for name, runs in found.items():
        steps = sorted(set.intersection(*(set(run) for run in runs)))
        curves[name] = (
            [statistics.fmean(run[step][0] if seconds else step for run in runs) for step in steps],
            [statistics.fmean(run[step][1] for run in runs) for step in steps],
        )
    return curves


def _data_efficiency(
    scene: str, baseline: str, name: str, base: Curve, curve: Curve
) -> dict[str, Any]:
    """How many views the baseline needs for what a variant does with its fewest."""
    (views, *_), (level, *_) = curve
    found = crossing(*base, level)
    return {
        "scene": scene,
        "variant": name,
        "axis": "views",
        "views": views,
        "level": level,
        "at": found.at,
        "bound": found.at_start or found.at is None,
        "ratio": None if found.at is None else found.at / views,
        "words": f"{scene}: {baseline} needs {found.words()} views for the {level:.2f} dB of {name}"
        f" with {views:.0f}",
    }


def _sooner(
    scene: str, baseline: str, name: str, base: Curve, curve: Curve, axis: str
) -> dict[str, Any]:
    """How much sooner a variant is as good as the baseline at its best."""
    factor, at, found = speed_up(base, curve)
    times = "" if factor is None else f": {'at least ' * found.at_start}{factor:.1f} times sooner"
    return {
        "scene": scene,
        "variant": name,
        "axis": axis,
        "views": None,
        "level": found.level,
        "at": found.at,
        "bound": found.at_start or found.at is None,
        "ratio": factor,
        "words": f"{scene}: {name} reaches the {found.level:.2f} dB that {baseline} has at its"
        f" best, after {at:.0f} {axis}, after {found.words('.0f')} {axis}{times}",
    }


def _mean_findings(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the scenes of a data set, of those whose place is known.

    Of one number of views each: on a scene that lacks the fewest, what is compared is another.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for finding in findings:
        key = (*(finding[k] for k in ("variant", "axis", "views", "measured", "data_set")),)
        groups.setdefault(key, []).append(finding)
    means: list[dict[str, Any]] = []
    for (name, axis, views, what_psnr, of), group in groups.items():
        known = [finding for finding in group if not finding["bound"]]
        if len(group) < 2 or not known:
            continue
        ratio = statistics.fmean(finding["ratio"] for finding in known)
        rest = len(group) - len(known)
        places = (
            f"{len(known)} scenes"
            + (f" of {of}" if of else "")
            + (f" ({rest} more known as a bound alone)" if rest else "")
        )
        with_views = "" if views is None else f" with {views:.0f}"
        what = (
            f"{statistics.fmean(finding['at'] for finding in known):.1f} views"
            if axis == "views"
            else f"a factor of {ratio:.1f} in {axis}"
        )
        means.append(
            {
                "scene": f"mean of {len(known)}" + (f" of {of}" if of else ""),
                "variant": name,
                "axis": axis,
                "views": views,
                "measured": what_psnr,
                "data_set": of,
                "ratio": ratio,
                "bound": bool(rest),
                "words": f"mean over {places}, {name}{with_views}: {what}",
            }
        )
    return means


def _methods(published: Sequence[Mapping[str, Any]], source: str) -> list[str]:
    names = (row["recipe"].removeprefix("paper: ") for row in published if row["source"] == source)
    return list(dict.fromkeys(names))
