"""Poses and rays are one mathematics on torch, NumPy, JAX and what keeps to the standard."""

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.arrays import namespace
from nerfreg.vectors import away_from_zero, length, unit
from nerfreg.views import (
    AroundFocusPoses,
    Cameras,
    ForwardFacingPoses,
    HemispherePoses,
    InterpolatedPoses,
    Rays,
    UnseenPatchSampler,
    average_pose,
    focus_point,
    orbit_path,
    pinhole,
    pinhole_rays,
    pixel_centres,
    project_points,
    spiral_path,
    view_matrix,
)
from nerfreg.views.matrices import require_intrinsics, require_poses
from nerfreg.views.training_poses import PoseBox
from tests.laws.calls import library
from tests.views.calls import CALLS, Call
from tests.views.scenes import (
    any_intrinsics,
    any_poses,
    forward_facing_poses,
    ring_poses,
)

EVERY = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
LIBRARIES = pytest.mark.parametrize("name", ["torch", "numpy", "jax", "strict"])


def is_float(x: Any) -> bool:
    return "float" in str(x.dtype)


def weighted(outputs: tuple[Any, ...]) -> Any:
    """Sum all entries, each with a weight of its own, as one number."""
    total: Any = 0.0
    for x in outputs:
        xp = namespace(x)
        flat = xp.reshape(x, (-1,))
        weight = np.cos(np.arange(flat.shape[0]) + 0.3)
        total = total + xp.sum(flat * xp.asarray(weight, dtype=x.dtype))
    return total


def gradients_of_torch(call: Call) -> dict[str, np.ndarray]:
    inputs = {name: torch.tensor(x) for name, x in call.inputs.items()}
    leaves = {name: x.requires_grad_() for name, x in inputs.items() if x.is_floating_point()}
    value = weighted(call(**inputs))
    found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    return {name: x.numpy() for name, x in zip(leaves, found, strict=True)}


# Values, gradients, graphs


def assert_answer(found: tuple[Any, ...], call: Call) -> None:
    """Compare with the answer of torch."""
    expected = call(**{name: torch.tensor(x) for name, x in call.inputs.items()})
    for got, value in zip(found, expected, strict=True):
        assert got.shape == tuple(value.shape)
        assert "float64" in str(got.dtype)
        np.testing.assert_allclose(np.asarray(got), value.numpy(), rtol=1e-10, atol=1e-10)


@EVERY
@pytest.mark.parametrize("name", ["numpy", "strict"])
def test_one_answer_in_each_library(call: Call, name: str) -> None:
    if name == "strict" and not call.strict:
        pytest.skip("the standard has no arrays of integers as index")
    with library(name) as array:
        inputs = {key: array(x) for key, x in call.inputs.items()}
        found = call(**inputs)
        assert {namespace(x) for x in found} == {namespace(*inputs.values())}
        assert_answer(found, call)


@EVERY
def test_one_answer_and_gradient_in_jax(call: Call) -> None:
    """Compiled; the gradient is that of torch."""
    expected = gradients_of_torch(call)
    with jax.enable_x64(True):
        others = {name: jnp.asarray(x) for name, x in call.inputs.items() if not is_float(x)}
        floats = {name: jnp.asarray(x) for name, x in call.inputs.items() if is_float(x)}

        def value_and_outputs(floats: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
            outputs = call(**floats, **others)
            return weighted(outputs), outputs

        # Optimising what runs once is most of the time.
        quickly = {"xla_backend_optimization_level": 0}
        compiled = jax.jit(jax.grad(value_and_outputs, has_aux=True), compiler_options=quickly)
        found, outputs = compiled(floats)
        assert_answer(outputs, call)
        assert found.keys() == expected.keys()
        for name, x in found.items():
            assert np.isfinite(x).all()
            largest = 1.0 + np.abs(expected[name]).max()
            np.testing.assert_allclose(x / largest, expected[name] / largest, rtol=0, atol=1e-9)


def test_torch_compiles_it_as_one_graph_without_a_warning() -> None:
    command = [sys.executable, "-m", "tests.views.compiled_calls"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_gradient_at_zero_is_zero_in_jax_too() -> None:
    zero = jnp.zeros(3)
    assert (jax.grad(lambda v: length(v))(zero) == 0).all()
    assert np.isfinite(jax.grad(lambda v: unit(v)[0])(zero)).all()
    assert jax.grad(lambda x: 1 / away_from_zero(x))(jnp.zeros(())) == 0


@LIBRARIES
def test_what_is_too_small_to_divide_by(name: str) -> None:
    with library(name) as array:
        found = np.asarray(away_from_zero(array(np.array([0.0, -0.0, -1e-20, 1e-20, -3.0]))))
    eps = np.finfo(np.float64).eps
    np.testing.assert_array_equal(found, [eps, eps, -eps, eps, -3.0])


# Mixed libraries


def mixed() -> list[Any]:
    """Each argument beside others, but for rays and an inner function that do not look."""
    unlooked = ("cross", "Rays.flatten", "Rays.cat")
    return [
        pytest.param(call, odd, id=f"{case}-{odd}")
        for case, call in CALLS.items()
        for odd in call.inputs
        if len(call.inputs) > 1 and " " not in case and case not in unlooked
    ]


@pytest.mark.parametrize(("call", "odd"), mixed())
@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_two_libraries_are_one_clear_error(unhooked: None, call: Call, odd: str, convert) -> None:
    inputs: dict[str, Any] = {name: torch.tensor(x) for name, x in call.inputs.items()}
    dtype = "float32" if is_float(inputs[odd]) else "int32"
    inputs[odd] = convert(call.inputs[odd].astype(dtype))
    with pytest.raises(
        TypeError, match=r"^\w+(\.\w+)?: arguments must be arrays of one library, got"
    ):
        call(**inputs)


def test_rays_of_two_libraries_are_not_joined() -> None:
    rays = Rays(torch.zeros(1, 3), torch.ones(1, 3), torch.ones(1, 3), torch.ones(1, 1))
    with pytest.raises(
        TypeError, match=r"Rays\.cat: .* one library, got part 0 torch, part 1 numpy"
    ):
        Rays.cat([rays, rays.map(np.asarray)])


# Values that are looked at, or cannot be


@LIBRARIES
def test_matrices_are_checked_in_each_library(name: str) -> None:
    poses, k = any_poses(3, 0).numpy(), any_intrinsics(3, 0).numpy()
    nan = poses.copy()
    nan[1, 0, 3] = np.nan
    flipped = k.copy()
    flipped[2, 1, 1] *= -1
    with library(name) as array, check_values():
        require_poses("f", "c2w", array(poses))
        require_intrinsics("f", array(k))
        with pytest.raises(ValueError, match=r"f: c2w\[1\] has a NaN or infinite entry"):
            require_poses("f", "c2w", array(nan))
        with pytest.raises(ValueError, match=r"c2w\[0\] must begin.* lengths 2, 2, 2 and .* is 8"):
            require_poses("f", "c2w", array(2 * poses))
        message = r"f: intrinsics\[2\] must be .* got \[\[43\.28.*\], \[0\.0, -67\.32.*\], \["
        with pytest.raises(ValueError, match=message):
            require_intrinsics("f", array(flipped))


@LIBRARIES
def test_parallel_axes_have_no_focus_in_any_library(name: str) -> None:
    poses = np.repeat(any_poses(1, 3).numpy(), 4, axis=0)
    poses[:, :, 3] += np.arange(4.0)[:, None] * [1.0, 2.0, 0.5]
    with (
        library(name) as array,
        pytest.raises(ValueError, match="axes of the 4 poses are parallel"),
    ):
        orbit_path(array(poses))


@pytest.mark.parametrize("seed", range(20))
def test_parallel_axes_have_no_focus_in_single_precision(seed: int) -> None:
    """JAX has no float64 by default; rounding must not pass for an angle."""
    poses = np.repeat(any_poses(1, seed).numpy(), 5, axis=0)
    poses[:, :, 3] = np.random.default_rng(seed).normal(size=(5, 3))
    with pytest.raises(ValueError, match="axes of the 5 poses are parallel"):
        focus_point(jnp.asarray(poses, dtype=jnp.float32))


def test_cameras_that_look_away_from_their_focus() -> None:
    poses = ring_poses().numpy().copy()
    poses[1:3] *= np.array([-1.0, 1.0, -1.0, 1.0])
    with pytest.raises(ValueError, match="lies behind 2 of 5"):
        orbit_path(poses)


def test_single_precision_is_enough_for_jax() -> None:
    """In its default mode, without a warning of truncated types."""
    poses, k = ring_poses().numpy(), any_intrinsics(5, 0).numpy()
    cameras = Cameras.from_opencv(jnp.asarray(poses), jnp.asarray(k), 64, 48)
    assert cameras.c2w.dtype == jnp.float32
    np.testing.assert_allclose(focus_point(cameras.c2w), [0.3, 0.2, 1.0], atol=1e-5)
    assert cameras.image_rays(0).directions.dtype == jnp.float32


def test_nothing_is_looked_at_while_jax_traces() -> None:
    parallel = jnp.asarray(forward_facing_poses().numpy())
    with check_values():
        assert jax.jit(focus_point)(parallel).shape == (3,)
        assert jax.jit(orbit_path)(parallel).shape == (120, 3, 4)
        assert jax.jit(average_pose)(2 * parallel).shape == (3, 4)


# Cameras and rays that hold arrays of any library


@pytest.mark.parametrize("name", ["torch", "numpy", "jax"])
def test_selecting_cameras(name: str) -> None:
    poses, k = any_poses(5, 0).numpy(), any_intrinsics(5, 0).numpy()
    with library(name) as array:
        cameras = Cameras(array(poses), array(k), 64, 48)
        assert len(cameras) == len(list(cameras)) == 5
        of_one: list[Any] = [3, -2, np.int64(3), array(np.array(3)), [3], array(np.array([3]))]
        for index in of_one:
            np.testing.assert_array_equal(np.asarray(cameras[index].c2w), poses[3:4])
        mask = np.array([True, False, False, True, True])
        for index in (slice(1, 4, 2), [1, 3], array(np.array([1, 3])), array(mask), mask.tolist()):
            expected = k[index if isinstance(index, slice | list) else np.asarray(index)]
            np.testing.assert_array_equal(np.asarray(cameras[index].intrinsics), expected)
        for position in (5, -6, np.int64(5)):
            with pytest.raises(IndexError, match=rf"camera {position} does not exist"):
                cameras[position]


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64"])
def test_any_integer_picks_a_camera(dtype: str) -> None:
    cameras = Cameras(any_poses(2, 0).numpy(), any_intrinsics(2, 0).numpy(), 64, 48)
    rays = cameras.rays(np.array([1, 0, 1], dtype=dtype), np.ones((3, 2)))
    np.testing.assert_array_equal(rays.origins, cameras.c2w[[1, 0, 1], :, 3])


@pytest.mark.parametrize("index", [0, [0], np.array([0.0]), np.array([True])])
def test_an_index_that_is_none(unhooked: None, index: Any) -> None:
    cameras = Cameras(any_poses(2, 0).numpy(), any_intrinsics(2, 0).numpy(), 64, 48)
    with pytest.raises(TypeError, match=r"Cameras\.rays: index must be an"):
        cameras.rays(index, np.ones((1, 2)))


def test_cameras_of_two_types() -> None:
    poses, k = any_poses(2, 0).numpy(), any_intrinsics(2, 0).numpy().astype(np.float32)
    message = "Cameras: c2w and intrinsics must share device and dtype, got float64 and float32"
    with pytest.raises(ValueError, match=message):
        Cameras(poses, k, 64, 48)
    # The doors convert.
    assert Cameras.from_opencv(poses, k, 64, 48).intrinsics.dtype == np.float64


def test_ndc_of_different_focal_lengths_needs_a_scale_in_each_library() -> None:
    k = np.stack([pinhole(focal, 64, 48, dtype=torch.float64).numpy() for focal in (50.0, 60.0)])
    cameras = Cameras(forward_facing_poses(2).numpy(), k, 64, 48)
    with check_values(), pytest.raises(ValueError, match="scale must be given"):
        cameras.ndc_rays(np.array([0]), np.ones((1, 2)))
    alike = Cameras(forward_facing_poses(2).numpy(), k[[0, 0]] * [[[1.0], [1.0], [1.0]]], 64, 48)
    with check_values():
        assert alike.ndc_rays(np.array([0]), np.ones((1, 2))).shape == (1,)


@pytest.mark.parametrize("name", ["torch", "numpy", "jax"])
def test_indexing_rays_leaves_x_y_z_out_of_reach(name: str) -> None:
    with library(name) as array:
        o, d = np.random.default_rng(0).normal(size=(2, 4, 5, 3))
        rays = Rays(array(o), array(d), array(d), array(d[..., :1]))
        assert len(rays) == 4
        assert rays.shape == (4, 5)
        np.testing.assert_array_equal(np.asarray(rays[1:3, ..., 0].origins), o[1:3, 0])
        np.testing.assert_array_equal(
            np.asarray(rays[array(np.array([3, 0]))].radii), d[[3, 0], :, :1]
        )
        mask = o[..., 0] > 0
        np.testing.assert_array_equal(np.asarray(rays[array(mask)].directions), d[mask])
        with pytest.raises(IndexError):
            rays[0, 0, 0]


def test_rays_go_through_jit(unhooked: None) -> None:
    """As :class:`Rays` says."""
    jax.tree_util.register_dataclass(Rays)
    c2w, k = jnp.eye(4)[:3], jnp.asarray(pinhole(50.0, 64, 48).numpy())
    rays = jax.jit(pinhole_rays)(c2w, k, jnp.asarray([[57.0, 24.0], [32.0, 24.0]]))
    assert isinstance(rays, Rays)
    np.testing.assert_allclose(rays.directions, [[0.5, 0, 1], [0, 0, 1]])
    assert jax.jit(Rays.flatten)(rays).shape == (2,)


def test_numbers_without_an_axis_stay_arrays() -> None:
    """NumPy answers scalars there, which have no methods of arrays to lean on."""
    position, target, up = np.random.default_rng(0).normal(size=(3, 3))
    pose = view_matrix(target - position, up, position)
    assert pose.shape == (3, 4)
    k = pinhole(50.0, 64, 48, dtype=torch.float64).numpy()
    xy, z = project_points(pose, k, target)
    assert (xy.shape, z.shape) == ((2,), ())
    np.testing.assert_allclose(xy, [32.0, 24.0])
    np.testing.assert_allclose(z, np.linalg.norm(target - position))


# Paths


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_box_is_that_of_torchs_quantile(quantile: float, n: int) -> None:
    poses = any_poses(n, 0)
    box = PoseBox.around(poses, quantile)
    local = (box.pose[:, :3].mT @ (poses[..., 3] - box.pose[:, 3]).mT).mT.abs()
    torch.testing.assert_close(box.radii, torch.quantile(local, quantile, dim=0))


@pytest.mark.parametrize("quantile", [-0.1, 1.1, float("nan"), True])
def test_a_quantile_that_is_none(unhooked: None, quantile: Any) -> None:
    with pytest.raises(ValueError, match=r"spiral_path: quantile must be a number in \[0, 1\]"):
        spiral_path(ring_poses(), quantile=quantile)


# What stays torch


@pytest.mark.parametrize(
    ("draw", "argument"),
    [
        (AroundFocusPoses.from_cameras, "cameras"),
        (HemispherePoses.from_cameras, "cameras"),
        (InterpolatedPoses.from_cameras, "cameras"),
        (lambda c2w: ForwardFacingPoses.from_cameras(c2w, 1.0, 10.0), "cameras"),
        (lambda c2w: UnseenPatchSampler(c2w, pinhole(9.0, 8, 8), image_size=(8, 8)), "poses"),
        (
            lambda c2w: UnseenPatchSampler(HemispherePoses.blender(), c2w, image_size=(8, 8)),
            "intrinsics",
        ),
    ],
)
def test_what_draws_takes_tensors_alone(unhooked: None, draw, argument: str) -> None:
    for c2w, got in ((ring_poses().numpy(), "ndarray"), (jnp.ones((2, 3, 4)), "ArrayImpl")):
        if argument == "cameras" and got == "ArrayImpl":
            c2w = jnp.asarray(ring_poses().numpy())
        with pytest.raises(TypeError, match=rf"{argument} must be a torch\.Tensor, got {got}"):
            draw(c2w)


def test_pixel_centres_are_those_of_image_rays() -> None:
    """Which makes them in the cameras' library, as :func:`pixel_centres` cannot."""
    c2w, k = any_poses(1, 0).numpy(), any_intrinsics(1, 0).numpy()
    rays = Cameras(c2w, k, 6, 4).image_rays(0)
    grid = pixel_centres(6, 4, dtype=torch.float64).numpy()
    np.testing.assert_array_equal(rays.directions, pinhole_rays(c2w[0], k[0], grid).directions)
