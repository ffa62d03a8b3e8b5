"""Three photographs, a radiance field of forty lines, and nerfreg's pieces put together by hand.

$ python docs/examples/three_photos.py

Trains the embedded scene twice, without and with regularizers, and prints what each step does and
how both fare on photographs that did not train. A few minutes on one CPU core; ``--steps 20`` to
see it run.
"""

import argparse
import math

import torch
from torch import Tensor, nn

from nerfreg import (
    DepthKL,
    DepthSmoothness,
    Objective,
    Rays,
    RayTermination,
    SampleSpaceAnnealing,
    UnseenPatchSampler,
)
from nerfreg.schedules import LogLinear
from reference_impl.scenes import Scene, load_scene

N_SAMPLES = 48
OCTAVES = 2.0 ** torch.arange(7)


class Field(nn.Module):
    """A small NeRF: from a position to colour and density. Replace it by yours."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6 * len(OCTAVES) + 3, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 4),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give (…, 3) colours in [0, 1] and (…) densities >= 0 at positions (…, 3)."""
        waves = (x[..., None, :] * OCTAVES[:, None]).flatten(-2)
        out = self.layers(torch.cat([x, waves.sin(), waves.cos()], -1))
        return out[..., :3].sigmoid(), nn.functional.softplus(out[..., 3] - 1.0)


def render(
    field: Field, rays: Rays, near: float, far: float, generator: torch.Generator | None = None
) -> tuple[Tensor, RayTermination]:
    """Render rays (R,): colours (R, 3), and where the rays stop.

    Samples lie evenly in z-depth; with a generator, edges are shifted at random.
    """
    edges = torch.linspace(near, far, N_SAMPLES + 1).repeat(len(rays.origins), 1)
    if generator is not None:
        step = (far - near) / N_SAMPLES
        edges[:, 1:-1] += step * (torch.rand(edges[:, 1:-1].shape, generator=generator) - 0.5)
    starts, ends = edges[:, :-1], edges[:, 1:]
    rgb, density = field(rays.at((starts + ends) / 2))
    # t is z-depth here (conventions.md), so an interval's length is its Δt times ‖d‖.
    stops = RayTermination.from_density(
        density, starts, ends, direction_norm=rays.directions.norm(dim=-1)
    )
    return (stops.weights[..., None] * rgb).sum(-2), stops


def train(scene: Scene, n_steps: int, *, regularized: bool, seed: int = 0) -> Field:
    """Train a field on the scene's training photographs."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    field = Field()
    optimizer = torch.optim.Adam(field.parameters(), lr=3e-3)

    # What the photographs say: a colour for each pixel.
    views = torch.tensor(scene.train)
    width, height = scene.cameras.width, scene.cameras.height
    # What structure-from-motion says: a few hundred pixels with a depth and how sure it is.
    view = torch.cat([torch.full((len(k),), v) for v, k in scene.keypoints.items()])
    xy = torch.cat([k.xy for k in scene.keypoints.values()]).float()
    depth = torch.cat([k.depth for k in scene.keypoints.values()]).float()
    std = torch.cat([k.std for k in scene.keypoints.values()]).float()
    # What nobody says, and is likely: depth is smooth, also seen from elsewhere.
    sampler = UnseenPatchSampler(
        scene.unseen, scene.cameras.intrinsics[0], patch_size=4, image_size=(width, height)
    )
    # Weights fade out: what shapes the geometry while there is none blurs it at the end.
    objective = Objective(
        {
            "keypoints": (DepthKL(), LogLinear(0.1, 0.003, n_steps)),
            "smooth": (DepthSmoothness(), LogLinear(0.1, 0.001, n_steps)),
        }
    )
    annealing = SampleSpaceAnnealing(n_steps // 2, 0.5, form="released")
    if regularized:
        print(f"{len(depth)} keypoints; terms:\n{objective.describe()}")

    for step in range(n_steps):
        near, far = scene.near, scene.far
        if regularized:  # no matter right in front of the cameras, at first
            near, far = annealing(step, near, far)

        pick = views[torch.randint(len(views), (192,), generator=generator)]
        column = torch.randint(width, (192,), generator=generator)
        row = torch.randint(height, (192,), generator=generator)
        pixels = torch.stack([column, row], -1) + 0.5
        truth = scene.images[pick, row, column] / 255
        rgb, _ = render(field, scene.cameras.rays(pick, pixels), near, far, generator)
        total = color = (rgb - truth).square().sum(-1).mean()

        if regularized:
            some = torch.randint(len(depth), (48,), generator=generator)
            rays = scene.cameras.rays(view[some], xy[some])
            _, seen = render(field, rays, scene.near, scene.far, generator)
            patches = sampler.sample(6, generator=generator)
            _, unseen = render(field, patches.rays.flatten(), near, far, generator)
            value = objective(
                step,
                {
                    "keypoints": {**seen, "depth": depth[some], "std": std[some]},
                    "smooth": {
                        "depth": unseen.expected_depth().reshape(6, 4, 4),
                        "opacity": unseen.opacity().reshape(6, 4, 4),
                    },
                },
            )
            total = color + value.total
            if step % max(n_steps // 5, 1) == 0:
                terms = ", ".join(f"{name} {float(v):.4f}" for name, v in value.values.items())
                print(f"step {step}: color {color.item():.4f}, {terms}, rays from {near:.2f}")

        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return field


@torch.no_grad()
def measure(scene: Scene, field: Field) -> tuple[float, float]:
    """Measure PSNR and the mean absolute error of z-depth on the test views."""
    assert scene.depth is not None
    psnr, error = [], []
    for view in scene.test:
        rgb, stops = render(field, scene.cameras.image_rays(view).flatten(), scene.near, scene.far)
        truth = scene.images[view].reshape(-1, 3) / 255
        psnr.append(-10 * math.log10((rgb - truth).square().mean().item()))
        error.append((stops.expected_depth() - scene.depth[view].flatten()).abs().mean().item())
    return sum(psnr) / len(psnr), sum(error) / len(error)


def main(n_steps: int, width: int | None = None) -> dict[str, tuple[float, float]]:
    """Train without and with regularizers; return PSNR and depth error of each."""
    scene = load_scene("embedded", 3, width=width)
    print(f"training photographs: {', '.join(scene.names[i] for i in scene.train)}")
    print(f"{len(scene.test)} others test; depth from {scene.near:.2f} to {scene.far:.2f}")
    results = {}
    for regularized in (False, True):
        name = "with nerfreg" if regularized else "colour loss alone"
        print(f"\n{name}, {n_steps} steps")
        field = train(scene, n_steps, regularized=regularized)
        results[name] = psnr, error = measure(scene, field)
        print(f"{name}: test PSNR {psnr:.2f} dB, depth error {error:.3f}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=800, help="of each of the two trainings")
    main(parser.parse_args().steps)
