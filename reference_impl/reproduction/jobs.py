"""From a table to jobs: one training each, known by a hash of all that decides its result."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save
from torch import nn

from nerfreg import __version__
from nerfreg.recipes import RECIPES, Recipe
from reference_impl.config import PRESETS, Config, resolve_steps, resolve_width
from reference_impl.perceptual import check_networks, import_lpips
from reference_impl.reproduction.tables import Table, Variant
from reference_impl.scenes import Scene, SceneError, is_scene, load_scene
from reference_impl.scenes.outside import outside
from reference_impl.scenes.triangulate import import_pycolmap

# A file up to this size counts by its content, a larger one by its size.
SMALL_FILE = 2**20
SEEDS = 3
# A name of scenes up to this length is readable.
LONGEST = 60
# Where below the data folder a scene may lie.
PLACES = ("{}", "*/{}", "*/*/{}")

# The network of the papers' numbers.
LPIPS = "vgg"

# Where things lie decides nothing, nor what else is measured of a trained model.
NOT_HASHED = ("out", "resume", "scene", "keypoints_cache", "lpips", "lpips_weights")


@dataclass(frozen=True)
class Job:
    """One training: a scene, a variant of a recipe, a number of views and a seed.

    Attributes:
        scene: its name.
        config: for the trainer, all but the folder to write to.
        files: hash of the scene's files.
        settings: hash of what the recipe consists of, with what is left out.
    """

    scene: str
    config: Config
    files: str
    settings: str

    @property
    def variant(self) -> Variant:
        """What trains."""
        return Variant(self.config.recipe, tuple(filter(None, self.config.without.split(","))))

    @property
    def title(self) -> str:
        """For people."""
        c = self.config
        return f"{self.scene}, {self.variant.name}, {c.views} views, seed {c.seed}"

    @property
    def takes_depth(self) -> bool:
        """Whether keypoints or depth maps train it: warnings about them matter to no other job."""
        make, c = RECIPES[self.config.recipe], self.config
        recipe = make(forward_facing=False, n_views=c.views, n_steps=1)
        terms = {*recipe.keypoint_terms, *recipe.pair_terms}
        return bool(terms - {*self.variant.without})

    @cached_property
    def hash(self) -> str:
        """Of all that decides the training, and of nothing else: not of paths, not of the log.

        Device and precision count as they were asked for: what ``auto`` became is in the result.
        """
        decides = dataclasses.asdict(self.config)
        for option in (*NOT_HASHED, "dry_run", "log"):
            del decides[option]
        decides |= {"evaluate_every": self.config.log.evaluate_every, "scene": self.scene}
        inputs = {"files": self.files, "recipe": self.settings, "config": decides}
        return _digest({"version": __version__, **inputs})

    @property
    def name(self) -> str:
        """Of the job's folder: readable, and another one where anything else is decided."""
        c = self.config
        parts = [self.scene, c.recipe, *(f"no_{part}" for part in self.variant.without)]
        return "-".join([*parts, f"{c.views}v", f"s{c.seed}", self.hash[:8]])


@dataclass(frozen=True)
class Plan:
    """What a table comes to with the data at hand.

    Attributes:
        jobs: in the order in which they run: seed by seed, so that early results say most.
        missing: scene -> why it cannot run.
    """

    jobs: tuple[Job, ...]
    missing: dict[str, str]


@dataclass(frozen=True)
class Request:
    """What of a table to run, and how.

    Attributes:
        preset: of the trainer.
        seeds: how many.
        data: folder below which the scenes lie; ``None``: there is none.
        scenes: instead of the table's.
        steps: instead of the preset's; 0: the preset's.
        keypoints: where they come from, as the trainer takes it.
        lpips_weights: to measure LPIPS with; ``None``: it is not measured.
        device: as the trainer takes it.
    """

    preset: str = "small"
    seeds: int = SEEDS
    data: Path | None = None
    scenes: tuple[str, ...] = ()
    steps: int = 0
    keypoints: Literal["model", "triangulate", "none"] = "model"
    lpips_weights: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def folder_of(self, table: Table) -> str:
        """Name of the folder for a table: another one where something else was asked for."""
        asked = [f"steps-{self.steps}"] if self.steps else []
        asked += [] if self.seeds == SEEDS else [f"seeds-{self.seeds}"]
        asked += [] if self.keypoints == "model" else [f"keypoints-{self.keypoints}"]
        asked += [] if self.device == "auto" else [self.device]
        scenes = "+".join(name for name in self.scenes if _is_name(name))
        if len(scenes) > LONGEST:
            scenes = f"{len(self.scenes)}-scenes-{_sha256(scenes.encode())[:8]}"
        return "-".join([table.name, self.preset, *asked, *filter(None, [scenes])])


def plan(table: Table, request: Request) -> Plan:
    """List the jobs of a table on the scenes that are there.

    Raises:
        ValueError: a number is too small, no scene is there, or weights of LPIPS cannot be used.
        ImportError: LPIPS is to be measured, or keypoints triangulated, and the package for it is
            not installed.
    """
    for name in ("seeds", "steps"):
        least = int(name == "seeds")
        if getattr(request, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(request, name)}")
    if request.lpips_weights is not None:
        check_networks(LPIPS, str(request.lpips_weights))
        import_lpips()
    if request.keypoints == "triangulate":
        import_pycolmap()
    scenes = request.scenes or table.scenes
    if not scenes:
        raise ValueError(
            f"--table {table.name} needs --scenes NAME,NAME: the paper does not name its own"
        )
    jobs: list[Job] = []
    missing: dict[str, str] = {}
    for scene in dict.fromkeys(scenes):
        try:
            jobs += _scene_jobs(table, request, scene)
        except ValueError as error:
            missing[scene] = str(error)
    if not jobs:
        reasons = "; ".join(in_words(missing))
        raise ValueError(f"--table {table.name}: none of its scenes can run: {reasons}")
    return Plan(tuple(sorted(jobs, key=lambda job: job.config.seed)), missing)


def find_scene(name: str, data: Path | None) -> str:
    """The folder of a scene, at most two folders deep below the data; ``"embedded"`` needs none.

    Raises:
        ValueError: it is not there, or there are several; or it is a path.
    """
    if name == "embedded":
        return name
    if not _is_name(name):
        raise ValueError(f"scene {name}: expected the name of a folder below --data, not a path")
    if data is None:
        raise ValueError(f"scene {name} needs --data FOLDER with a folder {name} below it")
    places = [place.format(name) for place in PLACES]
    found = [path for place in places for path in sorted(data.glob(place)) if path.is_dir()]
    if not found:
        raise ValueError(f"no folder {name}: looked for {', '.join(str(data / p) for p in places)}")
    # Masks may lie in folders of the same names, and scenes be linked to.
    scenes = {path.resolve(): path for path in reversed(found) if is_scene(path)}
    if len(scenes) > 1 or (not scenes and len(found) > 1):
        several = reversed(scenes.values()) if scenes else found
        raise ValueError(f"several folders {name}: {', '.join(map(str, several))}")
    return str(next(iter(scenes), found[0].resolve()))


def _is_name(name: str) -> bool:
    return name == Path(name).name and name != ".."


def in_words(missing: Mapping[str, str]) -> list[str]:
    """Say why scenes cannot run; what is the same of several, once."""
    alike: dict[str, list[str]] = {}
    for scene, reason in missing.items():
        alike.setdefault(reason.replace(scene, "NAME"), []).append(scene)
    return [
        missing[scenes[0]] if len(scenes) == 1 else f"{', '.join(scenes)}: {reason}"
        for reason, scenes in alike.items()
    ]


def fingerprint(folder: Path) -> str:
    """Hash of a scene's files: names, and contents or, of large ones, sizes. Not of hidden ones.

    Links are followed, and what the scene reads beside its folder counts.
    """
    files: dict[str, str | int] = {}
    for place in (folder, *outside(folder)):
        prefix = "" if place == folder else f"{os.path.relpath(place, folder.resolve())}/"
        for path in _files(place):
            size = path.stat().st_size
            content = _sha256(path.read_bytes()) if size <= SMALL_FILE else size
            files[f"{prefix}{path.relative_to(place).as_posix()}"] = content
    return _digest(files)


def settings(recipe: Recipe) -> str:
    """Hash of a recipe's terms, weights, schedules and networks; not of the code of its losses.

    A recipe that was tuned since makes other jobs under the same name.
    """
    told = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(replace(recipe, source="")))
    networks = {
        name: _sha256(save({key: x.contiguous() for key, x in loss.state_dict().items()}))
        for name, (loss, _) in recipe.terms.items()
        if isinstance(loss, nn.Module)
    }
    return _digest({"told": told, "networks": networks})


def _files(place: Path) -> Iterator[Path]:
    """Files below a folder, in order, or the file itself; not hidden ones, and no folder twice."""
    if place.is_file():
        yield place
        return
    seen: set[str] = set()
    for root, folders, names in os.walk(place, followlinks=True):
        seen.add(os.path.realpath(root))
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [f for f in shown if os.path.realpath(Path(root) / f) not in seen]
        for name in sorted(names):
            path = Path(root) / name
            if not name.startswith(".") and path.is_file():
                yield path


def _scene_jobs(table: Table, request: Request, name: str) -> list[Job]:
    """All jobs on one scene."""
    path = find_scene(name, request.data)
    files = "" if name == "embedded" else fingerprint(Path(path))
    config = PRESETS[request.preset](scene=path, steps=request.steps, device=request.device)
    if request.lpips_weights is not None:
        config = replace(config, lpips=LPIPS, lpips_weights=str(request.lpips_weights))
    scene = _load(config, table, name)
    width, height = scene.cameras.width, scene.cameras.height
    forward_facing = scene.ndc_near is not None
    jobs: dict[str, Job] = {}
    for block in table.blocks:
        for views in block.views:
            steps = resolve_steps(replace(config, views=views), width, height)
            every = max(steps // table.points, 1) if table.points else 0
            resolved = replace(
                config,
                views=views,
                steps=steps,
                width=width,
                log=replace(config.log, evaluate_every=every, frames=0),
            )
            recipes = {
                name: RECIPES[name](forward_facing=forward_facing, n_views=views, n_steps=steps)
                for name in dict.fromkeys(variant.recipe for variant in block.variants)
            }
            for variant in _that_apply(block.variants, recipes):
                consists_of = settings(recipes[variant.recipe].without(*variant.without))
                for seed in range(request.seeds):
                    without = ",".join(variant.without)
                    told = replace(resolved, recipe=variant.recipe, without=without, seed=seed)
                    job = Job(name, told, files, consists_of)
                    if job.takes_depth:  # to others it is all the same
                        job = replace(job, config=replace(told, keypoints=request.keypoints))
                    jobs.setdefault(job.name, job)
    return list(jobs.values())


def _load(config: Config, table: Table, name: str) -> Scene:
    """The scene as the jobs will see it, at the paper's size if the preset is the paper's."""
    views = min(views for block in table.blocks for views in block.views)
    width = resolve_width(config)
    size = table.size_of(name)
    if size and config.preset == "paper":
        try:
            return load_scene(config.scene, views, width=size[0], keypoints=False)
        except SceneError:
            pass  # Smaller photographs than the paper's: as they come, and the table says so.
    return load_scene(config.scene, views, width=width, keypoints=False)


def _that_apply(variants: Sequence[Variant], recipes: Mapping[str, Recipe]) -> list[Variant]:
    """The variants of such recipes, each once: what a recipe has not got is not left out."""
    left = [
        (v.recipe, tuple(p for p in v.without if p in recipes[v.recipe].parts)) for v in variants
    ]
    return [Variant(*variant) for variant in dict.fromkeys(left)]


def _digest(value: Any) -> str:
    return _sha256(json.dumps(value, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
