"""How long a step of a job takes on this machine, timed on a few of them."""

import logging
import statistics
import time
from dataclasses import replace

import torch
from lightning_fabric import Fabric

from reference_impl.batches import BatchSampler
from reference_impl.config import resolve_device, resolve_precision
from reference_impl.regularized_step import RegularizedStep
from reference_impl.reproduction.jobs import Job
from reference_impl.run import Run

__all__ = ["seconds_a_step"]

# The first steps take longer than all others; of slow ones there is one alone.
WARM_UP, TIMED = 2, 3
PATIENCE = 5.0


def seconds_a_step(job: Job) -> float:
    """Train a few steps, leave nothing behind, and say what one of them took.

    Raises:
        ValueError, ImportError, OSError, RuntimeError: the job could not begin, or has not enough
            memory.
    """
    # Triangulated keypoints are kept; what takes a moment here does not need them.
    keypoints = "none" if job.config.keypoints == "triangulate" else job.config.keypoints
    device = resolve_device(job.config.device)
    run = Run.of(replace(job.config, device=device, keypoints=keypoints))
    config = run.config
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # or it tells the precision
    fabric = Fabric(
        accelerator="gpu" if config.device == "cuda" else "cpu",
        devices=1,
        precision=resolve_precision(config),
    )
    space, model = run.space(fabric.device), run.model()
    sampler = BatchSampler(run.scene, run.recipe, space, config.rays, fabric.device)
    module = RegularizedStep(model, run.recipe, space, sampler, run.scene.background)
    wrapped, optimizer = fabric.setup(module, torch.optim.Adam(model.parameters()))
    generator = torch.Generator(fabric.device).manual_seed(config.seed)
    seconds: list[float] = []
    for step in range(WARM_UP + TIMED):
        if sum(seconds) > PATIENCE:
            break
        began = time.perf_counter()
        total, _, _ = wrapped(step, generator)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(total)
        optimizer.step()
        total.detach().item()  # waits for the device
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[WARM_UP:] or seconds[-1:])
