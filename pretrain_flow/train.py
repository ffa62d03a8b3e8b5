"""Train the colour prior, a RealNVP on patches of photographs.

$ python pretrain_flow/train.py                       photographs in scikit-image and scikit-learn
$ python pretrain_flow/train.py --images DIR          one's own; --heldout DIR to measure on others
$ python pretrain_flow/train.py --shards 'DIR/{000..099}.tar'
$ python pretrain_flow/train.py --resume RUN          go on where a run stopped
"""

import copy
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("pretrain_flow")  # which says what is not installed

import torch
import tyro
from lightning_fabric import Fabric
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm import tqdm

from nerfreg import __version__
from nerfreg.priors import RealNVP, load_prior, save_prior
from pretrain_flow.batches import StreamBatches
from pretrain_flow.config import Config, OptimizerConfig, check, resolve_workers
from pretrain_flow.corruptions import MISLEADING
from pretrain_flow.data import Data, open_data
from pretrain_flow.draws import torch_rng
from pretrain_flow.plots import draw_kinds, draw_loss, draw_samples, pyplot
from pretrain_flow.scores import bits, bits_by_kind, mean_over_photographs, tell_apart
from reference_impl import checkpoints
from reference_impl.command_line import require_resume_alone, training_exit_code
from reference_impl.config import load_config, resolve_device, save_config
from reference_impl.run_folder import name_run, trim_log, written_whole
from reference_impl.session import commit
from reference_impl.stop_request import StopRequest
from reference_impl.torchrun import processes, require_gpus
from reference_impl.watch import NonFiniteLossError, Watch

PRIOR = "prior.safetensors"


class Loss(nn.Module):
    """Negative log-likelihood of patches, in nats per dimension; always float32."""

    def __init__(self, flow: RealNVP) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, patches: Tensor) -> Tensor:
        """The mean over patches (n, P, P, 3)."""
        x = patches.flatten(1)
        return -self.flow.log_prob(x).mean() / x.shape[1]


class Trained(nn.Module):
    """What a checkpoint holds beside the optimiser: weights, their average, where the data stand.

    Args:
        flow: what is trained.
        positions: of the workers of every process; empty where the step says it all.
    """

    positions: Tensor

    def __init__(self, flow: RealNVP, positions: Tensor) -> None:
        super().__init__()
        self.flow, self.average = flow, copy.deepcopy(flow)
        self.register_buffer("positions", positions)

    @torch.no_grad()
    def update_average(self, step: int, decay: float) -> None:
        """Move the average towards the weights; faster at first, or the start would linger."""
        decay = min(decay, (1 + step) / (10 + step))
        both = zip(self.average.parameters(), self.flow.parameters(), strict=True)
        for average, new in both:
            average.lerp_(new, 1 - decay)


def learning_rate(step: int, steps: int, o: OptimizerConfig) -> float:
    """Linear warm-up, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min((step + 1) / max(o.warmup_steps, 1), 1.0) * (o.lr_end + (o.lr - o.lr_end) * cosine)


def is_stuck(measured: list[float], patience: int) -> bool:
    """Whether the last ``patience`` measurements were all no better than one before them."""
    best = measured.index(min(measured)) if measured else 0
    return patience > 0 and len(measured) - 1 - best >= patience


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn whatever a full disk raises into one error that names the file."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{path}: could not be saved ({error}); what was saved before is as it was"
        ) from error


@contextmanager
def failing_together(fabric: Fabric) -> Iterator[None]:
    """Let what fails in the first process fail in all: the others would wait for it forever.

    All processes come here, and those that were faster wait for the first at the end.
    """
    failure = None
    try:
        yield
    except Exception as error:  # whatever it is, the others must not miss it
        failure = error
    told = fabric.broadcast((type(failure), str(failure)) if failure else None)
    if told:
        fabric.barrier()  # who leaves first ends the others, also those that are still listening
    if failure:
        raise failure
    if told:
        kind, message = told
        raise kind(message)


def default_name(config: Config) -> str:
    """What a run is called, by its data."""
    source = Path(config.images[0]).resolve().name if config.images else "embedded"
    return f"prior-{'shards' if config.shards else source}-s{config.seed}"


def describe(data: Data, flow: RealNVP, config: Config) -> str:
    """What a run is about to do, for people."""
    n = sum(p.numel() for p in flow.parameters())
    kept = "kept in memory" if data.about["kept in memory"] else "streamed"
    what = "photographs" if "photographs" in data.about else "shards"
    return "\n".join(
        [
            f"train     {data.about[what]} {what}, {kept}",
            f"held out  {len(data.heldout)} photographs,"
            f" {sum(map(len, data.heldout.values()))} patches",
            f"skipped   {len(data.skipped)} files"
            + (f", first {data.skipped.first()}" if len(data.skipped) else ""),
            f"model     {n} parameters, patches of {flow.patch_size}x{flow.patch_size}",
            f"training  {config.steps} steps of {config.batch} patches",
        ]
    )


def train(config: Config) -> Path:
    """Run a pretraining from a configuration; returns the run's folder."""
    resumed, asked = Path(config.resume) if config.resume else None, config.device
    if resumed is None:
        workers = resolve_workers(config.data.workers, processes(config.devices)[0])
        config = replace(
            config, device=resolve_device(asked), data=replace(config.data, workers=workers)
        )
    elif not (resumed / "config.json").is_file():
        raise ValueError(f"--resume {resumed}: no config.json there")
    else:
        config = load_config(resumed / "config.json", Config)
    device = resolve_device(config.device if asked == "auto" else asked)
    devices, machines = processes(config.devices)
    if device == "cuda":
        require_gpus(devices)
    if config.batch % (devices * machines):
        raise ValueError(
            f"--batch {config.batch}: not a multiple of {devices * machines} processes"
        )
    pyplot()  # if it is missing, better told now than after the training
    # Named before other processes join: none of them has made it by then.
    folder = resumed or name_run(config.out, default_name(config))
    fabric = Fabric(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=devices,
        num_nodes=machines,
        precision="32-true",  # the flow's log-determinants add up; bfloat16 would be heard
    )
    fabric.launch()
    folder = Path(fabric.broadcast(str(folder)))
    rank = fabric.global_rank
    with failing_together(fabric):
        data = open_data(
            config, (rank, fabric.world_size), fabric.device, heldout=fabric.is_global_zero
        )
    batches, o = data.batches, config.optimizer

    torch.manual_seed(config.seed)
    flow = RealNVP(config.model)
    first, seconds_before = 0, 0.0
    positions = batches.positions
    if len(positions):
        positions = positions.expand(fabric.world_size, *positions.shape)
    trained = Trained(flow, positions.clone())
    optimizer = torch.optim.Adam(flow.parameters(), lr=o.lr)
    going_on = resumed is not None and checkpoints.any_saved(folder)
    if not going_on:
        patches = batches.sample(max(20_000, 20 * config.model.n_dims))
        flow.to(fabric.device).standardize_(patches)
        trained.average.load_state_dict(flow.state_dict())
    trained.to(fabric.device)
    wrapped, optimizer = fabric.setup(Loss(flow), optimizer)
    # Every draw is made from the step's number: there is no random state to go on with.
    generator = torch_rng(fabric.device, config.seed)
    if going_on:
        last = checkpoints.latest(folder)
        first, seconds_before = checkpoints.load_training(last, trained, optimizer, generator)
        if isinstance(batches, StreamBatches):
            batches.resume(first, trained.positions[rank].cpu())
    log_file = folder / "log.jsonl"
    with failing_together(fabric), saving(folder):
        if fabric.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            if resumed is None:
                save_config(config, folder / "config.json")
            else:
                trim_log(log_file, first)
    data.skipped.write_to(folder / (f"skipped-{rank}.txt" if rank else "skipped.txt"))
    measured = [line["heldout"] for line in read_log(log_file) if "heldout" in line]
    fabric.print(describe(data, flow, config))
    fabric.print(f"run       {folder}")

    parameters, watch, paused = list(flow.parameters()), Watch(), 0.0
    started = time.perf_counter() - seconds_before

    def save(step: int) -> None:
        watch.check(folder)
        if len(positions):
            mine = torch.zeros_like(trained.positions)
            mine[rank] = batches.positions
            trained.positions.copy_(torch.as_tensor(fabric.all_reduce(mine, reduce_op="sum")))
        with failing_together(fabric), saving(folder / "checkpoints"):
            if fabric.is_global_zero:
                seconds = time.perf_counter() - started
                checkpoints.save(folder, step, trained, optimizer, generator, seconds)

    def measure(step: int) -> float:
        """Held-out bits per dimension of the averaged weights, saved if they are better."""
        levels = torch.cat([*data.heldout.values()])
        found = bits(trained.average.log_prob, levels, config.seed, fabric.device)
        result = mean_over_photographs(found, data.heldout)
        if not math.isfinite(result["mean"]):
            raise NonFiniteLossError(f"held-out bits became non-finite at step {step}")
        if result["mean"] < min(measured, default=math.inf):
            with saving(folder / PRIOR):
                save_prior(folder / PRIOR, trained.average, about(config, data, step, result))
        return result["mean"]

    with (
        closing(batches),
        StopRequest() as stop,
        log_file.open("a") if fabric.is_global_zero else nullcontext() as log,
        tqdm(
            initial=first, total=config.steps, disable=not fabric.is_global_zero, mininterval=1.0
        ) as bar,
    ):

        def write(line: dict[str, Any]) -> None:
            if log is not None:
                with saving(log_file):
                    log.write(json.dumps(line) + "\n")
                    log.flush()

        in_loop, stuck = time.perf_counter(), fabric.broadcast(is_stuck(measured, o.patience))
        for step in range(first, first if stuck else config.steps):
            rate = learning_rate(step, config.steps, o)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = wrapped(batches.next(step))
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            norm = nn.utils.clip_grad_norm_(parameters, o.clip_norm or math.inf)
            optimizer.step()
            trained.update_average(step, o.ema_decay)
            watch.record(step, {"loss": loss.detach(), "gradient norm": norm})
            bar.update()
            done, ends = step + 1, step + 1 == config.steps
            if done % config.log.every == 0 or ends:
                watch.check(folder)
                bpd = math.log2(255) + loss.item() / math.log(2)
                best = {"heldout": f"{min(measured):.3f}"} if measured else {}
                bar.set_postfix({"bits": f"{bpd:.3f}", **best})
                seconds = round(time.perf_counter() - started, 2)
                with failing_together(fabric):
                    write({"step": done, "bits_per_dim": bpd, "lr": rate, "seconds": seconds})
            pause = time.perf_counter()
            if done % config.log.evaluate_every == 0 or ends:
                watch.check(folder)
                with failing_together(fabric):
                    if fabric.is_global_zero:
                        measured.append(measure(done))
                        write({"step": done, "heldout": measured[-1]})
                stuck = fabric.broadcast(is_stuck(measured, o.patience))
            stopped = stop.agreed(fabric, look=done % config.log.every == 0)
            if stopped or stuck or ends or done % config.log.checkpoint_every == 0:
                save(done)
                with failing_together(fabric):
                    if stopped and fabric.is_global_zero and not measured:
                        # Weights of a run stopped early. This counts as no measurement, so that
                        # the run that goes on is the one that never stopped.
                        measure(done)
                fabric.barrier()  # who leaves first ends the others, also one that is saving
            paused += time.perf_counter() - pause
            if stopped:
                raise KeyboardInterrupt(f"stopped at step {done}; go on with --resume {folder}")
            if stuck:
                break
        trained_for = time.perf_counter() - in_loop - paused - max(batches.first_wait, 0.0)
    if fabric.is_global_zero:
        waits = None
        if batches.first_wait >= 0:  # or there was nothing left to do
            share = batches.waited / trained_for if batches.waited else 0.0
            waits = {"first_batch_seconds": batches.first_wait, "share_of_time_waiting": share}
        result = finish(folder, config, data, waits, time.perf_counter() - started, fabric.device)
        fabric.print(summary(result))
        fabric.print(f"use it: FlowColorPrior.from_file({str(folder / PRIOR)!r})")
        fabric.print(f"done: {folder}")
    return folder


def about(config: Config, data: Data, step: int, heldout: dict[str, float]) -> dict[str, Any]:
    """What the weights' file says of itself."""
    return {
        "data": config.shards
        or list(config.images)
        or "photographs in scikit-image and scikit-learn",
        **data.about,
        "color_space": "sRGB as in the files, in [0, 1]",
        "preprocessing": "uniform dequantisation, (k + u - 1/2)/255; then linear: mean and basis",
        "seed": config.seed,
        "config": {k: v for k, v in asdict(config).items() if k not in ("model", "out", "resume")},
        "step": step,
        "heldout_bits_per_dim": heldout,
        "heldout_photographs": len(data.heldout),
        "nerfreg": __version__,
        "commit": commit(),
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; none if there is none yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def finish(
    folder: Path,
    config: Config,
    data: Data,
    waits: dict[str, float] | None,
    seconds: float,
    device: torch.device,
) -> dict[str, Any]:
    """Measure the weights that were saved, write ``metrics.json`` and draw the pictures.

    Without ``waits``, as there was nothing left to do, those of the last start are kept.
    """
    flow, told = load_prior(folder / PRIOR)
    flow.to(device)
    levels = torch.cat([*data.heldout.values()])
    kinds = bits_by_kind(flow.log_prob, levels, config.seed, device)
    lines = read_log(folder / "log.jsonl")
    counts = [len(patches) for patches in data.heldout.values()]
    each = [part.mean().item() for part in kinds["natural"].split(counts)]
    # Each process that streams photographs of its own lists what it could not use.
    skipped = {
        line for path in folder.glob("skipped*.txt") for line in path.read_text().splitlines()
    }
    result = {
        "heldout_bits_per_dim": {
            **mean_over_photographs(kinds["natural"], data.heldout),
            "photographs": dict(zip(data.heldout, each, strict=True)),
        },
        "told_apart": tell_apart(kinds),
        "step": told["step"],
        "steps": lines[-1]["step"],
        "patches": lines[-1]["step"] * config.batch,
        "seconds": seconds,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "parameters": sum(p.numel() for p in flow.parameters()),
        "data": {
            **data.about,
            "skipped": len(skipped),
            "since_last_start": waits or waits_before(folder / "metrics.json"),
        },
    }
    with saving(folder / "metrics.json"):
        with written_whole(folder / "metrics.json") as partial:
            partial.write_text(json.dumps(result, indent=2) + "\n")
        draw_loss(lines, folder / "loss.png")
        generator = torch_rng(device, config.seed, "samples")
        with torch.no_grad():
            samples = flow.sample(400, generator)
        order = torch.randperm(len(levels), generator=torch_rng("cpu", config.seed, "shown"))
        draw_samples(samples, levels[order[:400]] / 255, folder / "samples.png")
        draw_kinds(kinds, {*MISLEADING}, folder / "nll.png")
    return result


def waits_before(path: Path) -> dict[str, float] | None:
    """What an earlier ``metrics.json`` says of waiting; nothing where it is missing or damaged."""
    try:
        return json.loads(path.read_text())["data"]["since_last_start"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def summary(result: dict[str, Any]) -> str:
    """The result, for people."""
    heldout, data = result["heldout_bits_per_dim"], result["data"]
    rows = [
        f"held out  {heldout['mean']:.3f} ± {heldout['standard_error']:.3f} bits per dimension"
        f" (over {len(heldout['photographs'])} photographs), at step {result['step']}"
    ]
    for group, values in result["told_apart"].items():
        told = ", ".join(f"{name} {value['auc']:.3f}" for name, value in values.items())
        rows.append(f"AUC       {group}: {told}")
    waits = data["since_last_start"]
    waited = (
        f"since the last start waited for during {waits['share_of_time_waiting']:.1%} of the time,"
        f" {waits['first_batch_seconds']:.1f} s for the first; "
        if waits
        else ""
    )
    rows.append(f"data      {waited}{data['skipped']} files skipped")
    return "\n".join(rows)


def parse(arguments: list[str]) -> Config:
    """The configuration asked for."""
    config = tyro.cli(Config, args=arguments, description=__doc__)
    require_resume_alone(config, Config())
    check(config)
    return config


def main() -> int:
    """Run from the command line: 0 done, 2 bad input, 3 a non-finite loss, 130 stopped."""
    return training_exit_code(lambda: train(parse(sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(main())
