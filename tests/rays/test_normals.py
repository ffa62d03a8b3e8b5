"""Normals from depth: of planes and balls, in any frame and array library, and at the edges."""

import math

import numpy as np
import pytest
import torch

from nerfreg.rays import normals_from_depth
from nerfreg.views import Cameras, look_at, pinhole

KINDS = ["z_depth", "distance"]
PLANES = [(0.0, 0.0, 1.0), (0.3, -0.5, 1.0), (-1.0, 0.2, 0.4)]


def camera_directions(size=(7, 9), focal=12.0, c2w=None) -> torch.Tensor:
    height, width = size
    c2w = torch.eye(3, 4).double() if c2w is None else c2w
    k = pinhole(focal, width, height).double()
    return Cameras(c2w[None], k[None], width, height).image_rays(0).directions


def as_kind(z_depth, directions, kind):
    return z_depth if kind == "z_depth" else z_depth * directions.norm(dim=-1)


def slow_normals(depth, directions, kind) -> np.ndarray:
    """Pixel by pixel."""
    height, width = depth.shape
    points = depth[..., None] * directions
    if kind == "distance":
        points = points / np.linalg.norm(directions, axis=-1, keepdims=True)
    normals = np.zeros_like(points)
    for y in range(height):
        for x in range(width):
            across = points[y, min(x + 1, width - 1)] - points[y, max(x - 1, 0)]
            down = points[min(y + 1, height - 1), x] - points[max(y - 1, 0), x]
            n = np.cross(down, across)
            n = n / np.linalg.norm(n)
            normals[y, x] = -n if n @ directions[y, x] > 0 else n
    return normals


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_loops(kind) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1.0, 3.0, (2, 4, 5))
    directions = rng.normal(size=(2, 4, 5, 3))
    got = normals_from_depth(depth, directions, kind=kind)
    expected = [slow_normals(d, v, kind) for d, v in zip(depth, directions, strict=True)]
    np.testing.assert_allclose(got, np.stack(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("size", [(7, 9), (2, 2)])
def test_a_plane_has_its_normal_everywhere(kind, plane, size) -> None:
    """The plane n·x = 2: a ray meets it at z = 2 / (n·d), and its normal towards us is −n/‖n‖."""
    directions = camera_directions(size)
    plane = torch.tensor(plane, dtype=torch.float64)
    z_depth = 2.0 / (directions @ plane)
    depth = as_kind(z_depth, directions, kind)
    got = normals_from_depth(depth, directions, kind=kind)
    facing = -z_depth.sign()[..., None]  # behind the camera its other side is seen
    expected = facing * plane / plane.norm()
    torch.testing.assert_close(got[z_depth > 0], expected[z_depth > 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("plane", PLANES[1:])
def test_the_wrong_kind_bends_a_plane(plane) -> None:
    directions = camera_directions()
    z_depth = 2.0 / (directions @ torch.tensor(PLANES[1], dtype=torch.float64))
    wrong = normals_from_depth(z_depth, directions, kind="distance")
    assert (wrong - wrong[3, 4]).abs().max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_normals_are_in_the_frame_of_the_directions(kind) -> None:
    at = torch.tensor([1.0, 2.0, -3.0]).double()
    c2w = look_at(at, torch.zeros(3).double(), torch.tensor([0.0, -1.0, 0.0]).double())
    of_camera, of_world = camera_directions(), camera_directions(c2w=c2w)
    z_depth = 2.0 / (of_camera @ torch.tensor(PLANES[1], dtype=torch.float64))
    depth = as_kind(z_depth, of_camera, kind)
    got = normals_from_depth(depth, of_world, kind=kind)
    expected = normals_from_depth(depth, of_camera, kind=kind) @ c2w[:, :3].T
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("flips", [(), (0,), (1,), (0, 1)])
def test_normals_face_the_camera_however_pixels_are_ordered(flips) -> None:
    """Rows from the bottom up, as OpenGL has them, do not turn surfaces inside out."""
    directions = camera_directions().flip(flips)
    z_depth = 2.0 / (directions @ torch.tensor(PLANES[1], dtype=torch.float64))
    got = normals_from_depth(z_depth, directions, kind="z_depth")
    assert ((got * directions).sum(-1) < 0).all()


def test_a_ball_shows_its_radii() -> None:
    """Central differences are off by the square of a pixel's size: 1e-4 for 1/200 of a radian."""
    directions = camera_directions((9, 9), focal=200.0)
    a, b = (directions**2).sum(-1), directions[..., 2] * 3.0
    z_depth = (b - (b**2 - 8.0 * a).sqrt()) / a
    radii = z_depth[..., None] * directions - torch.tensor([0.0, 0.0, 3.0]).double()
    got = normals_from_depth(z_depth, directions, kind="z_depth")
    inside = (slice(1, -1), slice(1, -1))
    torch.testing.assert_close(got[inside], radii[inside], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_no_scale_of_the_scene_makes_a_difference(kind) -> None:
    directions = camera_directions().float()
    depth = 1.0 + torch.rand(7, 9)
    expected = normals_from_depth(depth, directions, kind=kind)
    for scale in (1e-15, 1e-6, 1e10):
        got = normals_from_depth(scale * depth, directions, kind=kind)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [0.0, 1e-38, 1e-15, 1.0, 1e10, 1e20, 3e38])
def test_is_finite_for_any_depth(kind, fill) -> None:
    directions = camera_directions(focal=1.0).float()  # of components up to 4
    for depth in (torch.full((7, 9), fill), torch.where(torch.rand(7, 9) < 0.5, fill, 1.0)):
        leaf = depth.clone().requires_grad_()
        normals = normals_from_depth(leaf, directions, kind=kind)
        (normals * torch.randn(7, 9, 3)).sum().backward()
        lengths = normals.norm(dim=-1)
        assert ((lengths == 0) | ((lengths - 1).abs() < 1e-5)).all()
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_points_that_coincide_or_lie_on_a_line_have_no_normal(kind) -> None:
    nowhere = torch.zeros(4, 4, requires_grad=True)
    directions = camera_directions((4, 4)).float()
    on_a_line = torch.tensor([0.1, 0.2, 1.0]).expand(4, 4, 3)  # to rounding: all rays are one
    for depth, rays in ((nowhere, directions), (torch.rand(4, 4, requires_grad=True), on_a_line)):
        normals = normals_from_depth(depth, rays, kind=kind)
        normals.sum().backward()
        assert not normals.any()
        assert not depth.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind) -> None:
    directions = camera_directions((3, 4)).requires_grad_()
    depth = (1.0 + torch.rand(3, 4, dtype=torch.float64)).requires_grad_()

    def function(depth, directions):
        return normals_from_depth(depth, directions, kind=kind)

    assert torch.autograd.gradcheck(function, (depth, directions))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_float32(dtype) -> None:
    directions = camera_directions(focal=3.0).to(dtype)
    depth = (1.0 + torch.rand(7, 9)).to(dtype)
    got = normals_from_depth(depth, directions, kind="z_depth")
    expected = normals_from_depth(depth.double(), directions.double(), kind="z_depth")
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("unhooked")
def test_libraries_agree_and_compile(kind) -> None:
    jax, strict = pytest.importorskip("jax"), pytest.importorskip("array_api_strict")
    directions = camera_directions()
    depth = 1.0 + torch.rand(7, 9, dtype=torch.float64)
    leaf = depth.clone().requires_grad_()
    expected = normals_from_depth(leaf, directions, kind=kind)
    weight = torch.arange(3.0)
    (expected * weight).sum().backward()
    with jax.enable_x64(True):
        for asarray in (np.asarray, jax.numpy.asarray, strict.asarray):
            got = normals_from_depth(asarray(depth.numpy()), asarray(directions.numpy()), kind=kind)
            np.testing.assert_allclose(
                np.asarray(got), expected.detach().numpy(), rtol=1e-12, atol=1e-14
            )

        def total(x):
            normals = normals_from_depth(x, jax.numpy.asarray(directions.numpy()), kind=kind)
            return (normals * weight.numpy()).sum()

        gradient = jax.jit(jax.grad(total))(jax.numpy.asarray(depth.numpy()))
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-10, atol=1e-12)

    torch.compiler.reset()
    compiled = torch.compile(normals_from_depth, fullgraph=True, backend="aot_eager")
    again = depth.clone().requires_grad_()
    (compiled(again, directions, kind=kind) * weight).sum().backward()
    torch.testing.assert_close(again.grad, leaf.grad)


DEPTH, DIRECTIONS = torch.ones(3, 2, 2), torch.ones(3, 2, 2, 3)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "kind"),
    [
        (ValueError, r'kind must be "z_depth" or "distance", got \'z\'', (DEPTH, DIRECTIONS), "z"),
        (ValueError, r"H, W >= 2.* got \(3, 1, 2\)", (DEPTH[:, :1], DIRECTIONS), "z_depth"),
        (ValueError, r"H, W >= 2.* got \(2,\)", (DEPTH[0, 0], DIRECTIONS), "z_depth"),
        (
            ValueError,
            r"directions must have shape \(3, 2, 2, 3\), one for each depth, got \(2, 2, 3\)",
            (DEPTH, DIRECTIONS[0]),
            "z_depth",
        ),
        (ValueError, r"one device", (DEPTH, DIRECTIONS.to("meta")), "z_depth"),
        (TypeError, r"depth must be floating point", (DEPTH.int(), DIRECTIONS), "z_depth"),
    ],
)
def test_says_what_is_wrong(error, message, arguments, kind) -> None:
    with pytest.raises(error, match="^normals_from_depth: .*" + message):
        normals_from_depth(*arguments, kind=kind)


def test_the_kind_must_be_said() -> None:
    with pytest.raises(TypeError, match="kind"):
        normals_from_depth(DEPTH, DIRECTIONS)


def test_edge_on_surfaces_stay_finite() -> None:
    """Rows that recede along their own ray: across and down differ by depth alone."""
    directions = camera_directions((5, 5), focal=50.0).float()
    depth = torch.logspace(0, 8, 25).reshape(5, 5).requires_grad_()
    normals = normals_from_depth(depth, directions, kind="z_depth")
    normals.pow(2).sum().backward()
    assert normals.isfinite().all()
    assert depth.grad.isfinite().all()
    assert not math.isnan(normals.sum().item())
