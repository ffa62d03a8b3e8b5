"""Where training looked without a photograph: the unseen patches of its last steps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nerfreg.views import PatchRays, Rays, UnseenPatchSampler, pinhole_rays
from reference_impl.batches import BatchSampler
from reference_impl.regularized_step import draw_step
from reference_impl.run import Run

N_PATCHES = 24
# Training never writes its patches down; drawing its steps again costs milliseconds each.
MOST_STEPS = 3000


@dataclass(frozen=True)
class DrawnPatches:
    """Patches at unseen poses.

    Attributes:
        poses: (n, 3, 4) camera-to-world.
        corners: (n, 4, 3) directions through the patch's corners, world; camera z is 1.
        origin: how they were come by, in words.
        exact: they are those that training drew.
    """

    poses: Tensor
    corners: Tensor
    origin: str
    exact: bool

    @classmethod
    def of(cls, patches: PatchRays, origin: str, *, exact: bool) -> "DrawnPatches":
        """The outer corners of patches' corner pixels, in order around the patch."""
        xy = patches.xy[:, [0, 0, -1, -1], [0, -1, -1, 0]]
        half = xy.new_tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        rays = pinhole_rays(patches.c2w[:, None], patches.intrinsics[:, None], xy + half)
        return cls(patches.c2w, rays.directions, origin, exact)


def patches_before(
    run: Run, step: int, states: Mapping[int, Tensor], n: int = N_PATCHES
) -> DrawnPatches | None:
    """The patches that training drew in the steps before ``step``.

    Training is drawn again from the seed, or from the random state of an earlier checkpoint. Where
    that does not end in the random state of the checkpoint at ``step`` (it trained on another
    device, or there is no checkpoint there), patches are drawn anew from the same distribution.

    Args:
        run: that trained.
        step: of a checkpoint.
        states: random states of checkpoints, by step.
        n: about how many patches to return.

    Returns:
        ``None`` where the recipe looks at no unseen patches.
    """
    config = run.config
    cpu = torch.device("cpu")
    rays = config.rays // config.devices
    sampler = BatchSampler(run.scene, run.recipe, run.space(), rays, cpu)
    if sampler.patches is None:
        return None
    generator = torch.Generator().manual_seed(config.seed)
    n_steps = min(math.ceil(n / sampler.n_patches), step)
    first = step - n_steps
    start = max((known for known in states if known <= first), default=0)
    wanted = states.get(step)
    if wanted is not None and len(wanted) == len(generator.get_state()):
        if start:
            generator.set_state(states[start])
        if step - start <= MOST_STEPS:
            drawn = _replay(run, sampler, generator, start, step)[-n_steps:]
            if drawn and torch.equal(generator.get_state(), wanted):
                patches = _cat(drawn)
                origin = f"the {len(patches.c2w)} drawn in the {n_steps} steps before step {step}"
                return DrawnPatches.of(patches, origin, exact=True)
    return sampled(sampler.patches, n, config.seed)


def sampled(sampler: UnseenPatchSampler, n: int, seed: int) -> DrawnPatches:
    """Patches from the distribution that training draws from, but not its own draws."""
    patches = sampler.sample(n, torch.Generator().manual_seed(seed))
    origin = f"{n} from the distribution that training draws from, not its own draws"
    return DrawnPatches.of(patches, origin, exact=False)


def _replay(
    run: Run, sampler: BatchSampler, generator: torch.Generator, start: int, stop: int
) -> list[PatchRays]:
    """Draw the steps from ``start`` to before ``stop`` as training did."""
    model, drawn = run.model(), list[PatchRays]()
    for step in range(start, stop):
        batch, _ = draw_step(sampler, model, generator, step)
        if batch.patches is not None:
            drawn.append(batch.patches)
    return drawn


def _cat(parts: list[PatchRays]) -> PatchRays:
    """Join the patches of several steps."""
    return PatchRays(
        Rays.cat([part.rays for part in parts]),
        *(
            torch.cat([getattr(part, name) for part in parts])
            for name in ("c2w", "intrinsics", "xy")
        ),
    )
