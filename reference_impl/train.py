"""Train a mip-NeRF from a few photographs, regularized by a recipe of nerfreg.

$ python reference_impl/train.py                          the embedded scene, recipe fewview
$ python reference_impl/train.py --scene PATH --views 3   a capture, formats in docs/protocols.md
$ python reference_impl/train.py --scene PATH --dry-run   look before you train
$ python reference_impl/train.py --resume RUN             go on where a run stopped
"""

import gc
import json
import math
import sys
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import torch
import tyro
from lightning_fabric import Fabric
from tqdm import tqdm

from nerfreg import GradientShares
from reference_impl import checkpoints, perceptual
from reference_impl.batches import BatchSampler
from reference_impl.command_line import require_resume_alone, training_exit_code
from reference_impl.config import (
    PRESETS,
    Config,
    check,
    resolve_device,
    resolve_precision,
    save_config,
)
from reference_impl.evaluate import evaluate_run, mean_psnr, summary
from reference_impl.mipnerf import clip_gradients_, learning_rate
from reference_impl.preview import draw_preview
from reference_impl.ray_space import RaySpace
from reference_impl.regularized_step import RegularizedStep
from reference_impl.run import Run
from reference_impl.run_folder import name_run, trim_log
from reference_impl.scenes.sfm import training_model
from reference_impl.session import add_session, command_line
from reference_impl.stop_request import StopRequest
from reference_impl.torchrun import processes, require_gpus
from reference_impl.watch import Watch

PREVIEW = "preview.png"


def describe(run: Run, space: RaySpace, step: RegularizedStep, sampler: BatchSampler) -> str:
    """What a run is about to do, for people."""
    scene, recipe = run.scene, run.recipe

    def names(views: list[int]) -> str:
        return ", ".join(scene.names[i] for i in views)

    points = {scene.names[v]: len(k.depth) for v, k in scene.keypoints.items()}
    lines = [
        f"scene     {scene.name}, {scene.cameras.width}x{scene.cameras.height} pixels",
        f"split     {scene.split}",
        f"train     {names(scene.train)}",
        f"{run.config.evaluate_on:<9} {names(scene.test)}",
        f"bounds    {space.near:g} to {space.far:g}, "
        + (
            "z-depth"
            if space.ndc_near is None
            else f"t in NDC: depth {space.ndc_near:g} to infinity"
        ),
        "keypoints "
        + (", ".join(f"{name}: {n}" for name, n in points.items()) or "none")
        + (f" (from {keypoints_source(run)})" if points else ""),
        f"rays      {sampler.n_color} colour, {sampler.n_keypoints} keypoint,"
        f" {sampler.n_patches} patches of {recipe.patch_size}x{recipe.patch_size} from unseen"
        " poses, a step"
        + (f"; {sampler.n_pairs} pairs among the colour rays" if sampler.n_pairs else ""),
        f"recipe    {recipe.name}: {recipe.source}",
        f"annealing {recipe.annealing or 'off'}",
        f"octaves   {recipe.frequency_mask or 'all from the first step'}",
    ]
    without_input: dict[str, Any] = {}
    if not sampler.n_keypoints:
        without_input.update(recipe.keypoint_terms)
    if not sampler.n_patches:
        without_input.update(recipe.patch_terms)
    idle = list(without_input)
    if idle:
        lines.append(f"inactive  {', '.join(idle)}: this scene has no input for them")
    return "\n".join([*lines, step.objective.describe()])


def keypoints_source(run: Run) -> str:
    """Where a run's keypoints come from, in words."""
    if run.config.keypoints == "triangulate":
        return "triangulation between the training views"
    if run.config.scene == "embedded":
        return "the scene's surfaces, with noise"
    folder = Path(run.config.scene)
    model = training_model(folder, len(run.scene.train))
    return model.relative_to(folder).as_posix() if model else "depth images"


def train(config: Config, command: str = "") -> Path:
    """Run a training from a configuration; returns the run's folder.

    Args:
        config: what to train.
        command: that a person typed, for the record.
    """
    resumed, asked = Path(config.resume) if config.resume else None, config.device
    if resumed is None:
        given = replace(config, device=resolve_device(asked), devices=processes(config.devices)[0])
        run = Run.of(given)
    else:
        run = Run.open(resumed)
    config = run.config
    if resumed is None:
        perceptual.check_networks(config.lpips, config.lpips_weights)
    device = resolve_device(config.device if asked == "auto" else asked)
    devices, machines = processes(config.devices)
    if device == "cuda":
        require_gpus(devices)
    # Named before other processes join: none of them has made it by then.
    recipe = run.recipe.name.replace(", ", "-").replace(" ", "-")
    name = f"{run.scene.name}-{recipe}-{config.views}v-s{config.seed}"
    folder = resumed or name_run(config.out, name, ignored=[PREVIEW])
    fabric = Fabric(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=devices,
        num_nodes=machines,
        precision=resolve_precision(config),
    )
    fabric.launch()
    folder = Path(fabric.broadcast(str(folder)))
    space = run.space(fabric.device)
    model = run.model()
    sampler = BatchSampler(
        run.scene, run.recipe, space, config.rays // fabric.world_size, fabric.device
    )
    step_module = RegularizedStep(model, run.recipe, space, sampler, run.scene.background)
    fabric.print(describe(run, space, step_module, sampler))
    if config.dry_run:
        if fabric.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            draw_preview(run.scene, sampler.patches, folder / PREVIEW, seed=config.seed)
            print(f"picture   {folder / PREVIEW}\ndone: {folder}")
        part(fabric)
        return folder

    optimizer = torch.optim.Adam(model.parameters(), lr=config.optimizer.lr_start)
    if config.compile:
        # What trains alone: evaluation, whose batches come in many sizes, stays eager.
        step_module.model = torch.compile(model, dynamic=False)  # pyright: ignore[reportAttributeAccessIssue]
    wrapped, optimizer = fabric.setup(step_module, optimizer)
    generator = torch.Generator(fabric.device).manual_seed(
        config.seed + 1_000_003 * fabric.global_rank
    )
    first, seconds_before = 0, 0.0
    # A run killed before its first checkpoint begins again, with the same draws.
    if resumed is not None and checkpoints.any_saved(folder):
        first, seconds_before = checkpoints.load_training(
            checkpoints.latest(folder), model, optimizer, generator
        )
        if fabric.global_rank:  # the checkpoint holds the first process's random state
            generator.manual_seed(config.seed + 1_000_003 * fabric.global_rank + 7_919 * first)
    writer = None
    if fabric.is_global_zero:
        writer = tensorboard_writer(folder, first) if config.log.tensorboard else None
        if resumed is None:
            folder.mkdir(parents=True, exist_ok=True)
            save_config(config, folder / "config.json")
            run.save_views(folder)
        else:
            trim_log(folder / "log.jsonl", first)
        add_session(folder, step=first, device=device, command=command)
    fabric.barrier()
    fabric.print(f"run       {folder}")

    watch, started = Watch(), time.perf_counter() - seconds_before
    parameters, o = list(model.parameters()), config.optimizer

    def save(step: int) -> None:
        watch.check(folder)
        if fabric.is_global_zero:
            seconds = time.perf_counter() - started
            checkpoints.save(
                folder, step, model, optimizer, generator, seconds, config.log.checkpoints_kept
            )

    with (
        StopRequest() as stop,
        (folder / "log.jsonl").open("a") if fabric.is_global_zero else nullcontext() as log,
        closing(writer) if writer is not None else nullcontext(),
        tqdm(
            initial=first,
            total=config.steps,
            disable=not fabric.is_global_zero,
            mininterval=1.0,
            smoothing=0.1,
        ) as bar,
    ):

        def write(line: dict[str, Any]) -> None:
            if log is None:
                return
            log.write(json.dumps(line) + "\n")
            log.flush()
            if writer is not None:
                for key, value in flatten(line):
                    if key != "step":
                        writer.add_scalar(key, value, line["step"])

        for step in range(first, config.steps):
            rate = learning_rate(
                step + 1,
                lr_init=o.lr_start,
                lr_final=o.lr_end,
                max_steps=config.steps,
                lr_delay_steps=o.warmup_steps,
                lr_delay_mult=o.warmup_factor,
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            done = step + 1
            every = config.log.gradient_shares_every
            if every and done % every == 0 and fabric.is_global_zero:
                paused = time.perf_counter()
                with fabric.autocast():
                    shares = step_module.gradient_shares(step, generator, model)
                write(shares_line(shares, done, paused - started))
                started += time.perf_counter() - paused  # looking is no training
            total, values, weights = wrapped(step, generator)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(total)
            norm = clip_gradients_(
                parameters, max_value=o.clip_value or None, max_norm=o.clip_norm or None
            )
            optimizer.step()
            watch.record(step, {**values, "total": total.detach(), "gradient norm": norm})
            bar.update()
            if done % config.log.every == 0 or done == config.steps:
                watch.check(folder)
                psnr = -10 * math.log10(max(float(values["color"]) / 3, 1e-10))
                bar.set_postfix(psnr=f"{psnr:.2f}")
                write(
                    {
                        "step": done,
                        "psnr": round(psnr, 4),
                        "lr": rate,
                        "seconds": round(time.perf_counter() - started, 2),
                        "values": {name: float(value) for name, value in values.items()},
                        "weights": {name: float(weight) for name, weight in weights.items()},
                    }
                )
            every = config.log.evaluate_every
            if every and done % every == 0 and done < config.steps and fabric.is_global_zero:
                paused = time.perf_counter()
                psnr = mean_psnr(run.at_step(model, done), run.scene, space)
                write(
                    {
                        "step": done,
                        f"{config.evaluate_on}_psnr": psnr,
                        "seconds": round(paused - started, 2),
                    }
                )
                started += time.perf_counter() - paused  # looking is no training
            if stop.agreed(fabric, look=done % config.log.every == 0):
                save(done)
                del wrapped
                part(fabric)
                raise KeyboardInterrupt(f"stopped at step {done}; go on with --resume {folder}")
            if done % config.log.checkpoint_every == 0 or done == config.steps:
                save(done)
    seconds = time.perf_counter() - started
    del wrapped
    part(fabric)
    if fabric.is_global_zero:
        fabric.print(f"rendering the {config.evaluate_on} views")
        result = evaluate_run(folder, model, run, space, step=config.steps, seconds=seconds)
        fabric.print(summary(result))
        fabric.print(f"done: {folder}")
    return folder


def part(fabric: Fabric) -> None:
    """Wait until all processes are here, then let each go its own way.

    Fabric ends all processes as soon as one fails, and one that only leaves may fail: the threads
    through which it talked can abort an interpreter that is closing. The first process would die
    of that while it saves, or renders the test views.

    What DDP wrapped must be gone by now: were it the last to hold the group, its end would wait for
    those threads, and they for the interpreter's lock.
    """
    fabric.barrier()
    if fabric.world_size > 1:
        gc.collect()
        torch.distributed.destroy_process_group()


def shares_line(found: GradientShares, step: int, seconds: float) -> dict[str, Any]:
    """The line of the log for what each term contributes to the gradient."""
    return {
        "step": step,
        "seconds": round(seconds, 2),
        "gradient_norms": {name: float(norm) for name, norm in found.norms.items()},
        "gradient_shares": {name: float(share) for name, share in found.shares.items()},
    }


def flatten(line: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Nested numbers as (name/name, number)."""
    rows: list[tuple[str, float]] = []
    for key, value in line.items():
        rows += (
            flatten(value, f"{prefix}{key}/")
            if isinstance(value, dict)
            else [(prefix + key, value)]
        )
    return rows


def tensorboard_writer(run: Path, first: int) -> Any:
    """A TensorBoard writer that goes on after step ``first``, or one clear error."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError('--log.tensorboard needs: pip install "nerfreg[tensorboard]"') from error
    return SummaryWriter(run, purge_step=first + 1)


def parse(arguments: list[str]) -> Config:
    """The configuration asked for: defaults of the preset, changed by the options."""
    preset = "small"
    for i, word in enumerate(arguments):
        if word.startswith("--preset="):
            preset = word.partition("=")[2]
        elif word == "--preset" and i + 1 < len(arguments):
            preset = arguments[i + 1]
    config = tyro.cli(
        Config, args=arguments, default=PRESETS.get(preset, PRESETS["small"])(), description=__doc__
    )
    require_resume_alone(config, PRESETS["small"]())
    check(config)
    return config


def main() -> int:
    """Run from the command line: 0 done, 2 bad input, 3 a non-finite loss, 130 stopped."""
    return training_exit_code(lambda: train(parse(sys.argv[1:]), command_line(sys.argv)))


if __name__ == "__main__":
    sys.exit(main())
