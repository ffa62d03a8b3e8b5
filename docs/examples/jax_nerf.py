"""A NeRF in plain JAX on the embedded scene, with two of nerfreg's losses inside ``jax.jit``."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.example_libraries import optimizers

from nerfreg import UnseenPatchSampler, depth_kl, depth_smoothness
from nerfreg.rays import expected_depth, opacity, weights_from_density
from nerfreg.schedules import LogLinear
from nerfreg.views import Rays
from reference_impl.scenes import load_scene

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--width", type=int, default=48, help="of the photographs, pixels")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--without-nerfreg", action="store_true")
options = parser.parse_args()

scene = load_scene("embedded", 3, width=options.width)
edges = jnp.linspace(scene.near, scene.far, 49)


def in_jax(rays):
    """Origins and directions in JAX of rays in torch, as samplers and scenes give them."""
    return jnp.asarray(rays.origins.numpy()), jnp.asarray(rays.directions.numpy())


def field(parameters, x):
    """Colour and density of points (…, 3)."""
    waves = (x[..., None] * np.pi / 4 * 2.0 ** jnp.arange(6)).reshape(*x.shape[:-1], 18)
    x = jnp.concatenate([x, jnp.sin(waves), jnp.cos(waves)], -1)
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    x = x @ parameters[-1][0] + parameters[-1][1]
    return jax.nn.sigmoid(x[..., :3]), jax.nn.softplus(x[..., 3] - 1)


def render(parameters, key, rays):
    """Colour of rays, and where they stop."""
    origins, directions = rays
    jitter = jax.random.uniform(key, (*origins.shape[:-1], 49)) - 0.5
    bounds = edges + jitter * (edges[1] - edges[0])
    starts, ends = bounds[..., :-1], bounds[..., 1:]
    middle = ((starts + ends) / 2)[..., None]
    rgb, density = field(parameters, origins[..., None, :] + middle * directions[..., None, :])
    norm = jnp.linalg.norm(directions, axis=-1)
    weights = weights_from_density(density, starts, ends, norm)
    return (weights[..., None] * rgb).sum(-2), (weights, starts, ends)


def loss(parameters, key, step, photo, keypoints, patches):
    """Colour of photographs; then depth of keypoints and smoothness of unseen patches."""
    keys = jax.random.split(key, 3)
    rays, colors = photo
    total = jnp.mean((render(parameters, keys[0], rays)[0] - colors) ** 2)
    if options.without_nerfreg:
        return total
    rays, depth, std = keypoints
    _, stops = render(parameters, keys[1], rays)
    total += LogLinear(0.1, 0.003, options.steps)(step) * depth_kl(*stops, depth, std)
    _, stops = render(parameters, keys[2], patches)
    smoothness = depth_smoothness(expected_depth(*stops), opacity(stops[0]))
    return total + LogLinear(0.1, 0.001, options.steps)(step) * smoothness


@jax.jit
def update(step, key, state, *batch):
    """One step of Adam."""
    gradient = jax.grad(loss)(get_parameters(state), key, step, *batch)
    return update_state(step, gradient, state)


cameras, images = scene.cameras, scene.images.numpy() / np.float32(255)
photo_rays = in_jax(Rays.cat([cameras.image_rays(view).flatten() for view in scene.train]))
photo_colors = jnp.asarray(images[scene.train].reshape(-1, 3))
known = scene.keypoints
keypoint_rays = in_jax(Rays.cat([cameras.rays(torch.tensor(v), known[v].xy) for v in known]))
keypoint_depth = jnp.concatenate([keypoints.depth.numpy() for keypoints in known.values()])
keypoint_std = jnp.concatenate([keypoints.std.numpy() for keypoints in known.values()])
size = (cameras.width, cameras.height)
sampler = UnseenPatchSampler(scene.unseen, cameras.intrinsics[scene.train], image_size=size)

init_state, update_state, get_parameters = optimizers.adam(2e-3)
rng, generator = np.random.default_rng(options.seed), torch.Generator().manual_seed(options.seed)
keys = jax.random.split(jax.random.key(options.seed), options.steps + 5)
glorot = jax.nn.initializers.glorot_uniform()
shapes = [(39, 64), (64, 64), (64, 64), (64, 4)]
state = init_state([(glorot(k, s), jnp.zeros(s[1])) for k, s in zip(keys, shapes, strict=False)])
for step in range(options.steps):
    i, j = rng.integers(len(photo_colors), size=256), rng.integers(len(keypoint_depth), size=64)
    photo = [x[i] for x in photo_rays], photo_colors[i]
    keypoints = [x[j] for x in keypoint_rays], keypoint_depth[j], keypoint_std[j]
    patches = in_jax(sampler.sample(4, generator).rays)
    state = update(step, keys[step + 4], state, photo, keypoints, patches)

parameters = get_parameters(state)
draw = jax.jit(lambda rays: render(parameters, keys[-1], rays))
psnr, depth_error = [], []
for view in scene.test:
    rgb, stops = draw(in_jax(cameras.image_rays(view)))
    psnr.append(-10 * np.log10(np.mean((rgb - images[view]) ** 2)))
    depth_error.append(np.mean(abs(expected_depth(*stops) - scene.depth[view].numpy())))
print(f"test views: {np.mean(psnr):.2f} dB, depth off by {np.mean(depth_error):.3f}")
