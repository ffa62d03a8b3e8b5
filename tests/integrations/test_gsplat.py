"""Cameras, patches and pictures between nerfreg and gsplat.

On a CPU a dense splatter renders, which is compared with what of gsplat runs there.
"""

import importlib
import inspect
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from nerfreg import Cameras, DepthSmoothness, UnseenPatchSampler, check_values
from nerfreg.integrations.gsplat import (
    at_pixels,
    require_rasterization,
    rgb_depth_opacity,
    splat_cameras,
)
from nerfreg.rays import weights_from_alpha
from nerfreg.views import look_at, pinhole
from tests.integrations.dense_splatter import project, rasterization

WIDTH, HEIGHT = 24, 18


@pytest.fixture
def cameras() -> Cameras[Tensor]:
    position = torch.tensor([[-0.6, 0.0, -2.0], [0.3, 0.1, -2.2]])
    c2w = look_at(position, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))
    intrinsics = torch.tensor([[20.0, 0.0, 11.0], [0.0, 22.0, 10.0], [0.0, 0.0, 1.0]])
    return Cameras.from_opencv(c2w, intrinsics, WIDTH, HEIGHT).to(dtype=torch.float64)


def splats(n: int = 40, scale: float = 0.15) -> dict[str, Tensor]:
    """Gaussians around the point that the cameras look at."""
    draw = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    return {
        "means": 1.6 * uniform(n, 3) - 0.8,
        "quats": uniform(n, 4) - 0.5,
        "scales": scale * (0.2 + uniform(n, 3)),
        "opacities": 0.2 + 0.8 * uniform(n),
        "colors": uniform(n, 3),
    }


def one_splat(**changed: Tensor) -> dict[str, Tensor]:
    """A round Gaussian, two units ahead of a camera at the origin."""
    splat = {
        "means": torch.tensor([[0.0, 0.0, 2.0]]),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        "scales": torch.full((1, 3), 0.2),
        "opacities": torch.tensor([0.6]),
        "colors": torch.tensor([[0.2, 0.4, 0.8]]),
    }
    return splat | changed


def ahead(width: int = 5, height: int = 5) -> Cameras[Tensor]:
    return Cameras.from_opencv(torch.eye(3, 4)[None], pinhole(10.0, width, height), width, height)


# nerfreg.integrations.gsplat


def test_splats_fall_where_cameras_project_points(cameras) -> None:
    given = splats()
    means2d, depths, _ = project(
        given["means"], given["quats"], given["scales"], **splat_cameras(cameras)
    )
    expected, z_depth = cameras.project(given["means"], torch.arange(2)[:, None])
    torch.testing.assert_close(means2d, expected)
    torch.testing.assert_close(depths, z_depth)


@pytest.mark.parametrize(("scale", "error"), [(0.03, 1e-3), (0.15, 0.05)])
def test_a_patch_is_a_window_of_the_whole_picture(cameras, scale, error) -> None:
    """Up to the linearisation of large splats that lie outside of the patch."""
    sampler = UnseenPatchSampler(
        cameras.c2w, cameras.intrinsics, patch_size=6, image_size=(WIDTH, HEIGHT)
    )
    given = splats(scale=scale)
    corners = torch.tensor([[0, 0], [7, 9]])
    patches = sampler.place(cameras.c2w, cameras.intrinsics, corners)
    whole, _, _ = rasterization(**given, **splat_cameras(cameras), render_mode="RGB+ED")
    parts, _, _ = rasterization(**given, **splat_cameras(patches), render_mode="RGB+ED")
    assert parts.shape == (2, 6, 6, 4)
    for part, picture, (x, y) in zip(parts, whole, corners.tolist(), strict=True):
        window = picture[y : y + 6, x : x + 6]
        assert (part - window).abs().max() < error * window.abs().max()
    assert (parts[1] - whole[1, 8:14, 7:13]).abs().max() > 0.2, "another window differs"


@pytest.mark.usefixtures("unhooked")
def test_views_are_cameras_or_patches() -> None:
    with pytest.raises(TypeError, match="splat_cameras: views must be Cameras or PatchRays, got"):
        splat_cameras(torch.eye(4))


def test_skew_is_noticed_while_values_are_checked(cameras) -> None:
    cameras.intrinsics[:, 0, 1] = 0.5
    splat_cameras(cameras)
    with check_values(), pytest.raises(ValueError, match=r"skew out, so it must be 0, got 0\.5"):
        splat_cameras(cameras)


def test_depth_reaches_a_loss_and_its_gradient_the_splats(cameras) -> None:
    given = {name: value.requires_grad_() for name, value in splats().items()}
    sampler = UnseenPatchSampler(cameras.c2w, cameras.intrinsics, image_size=(WIDTH, HEIGHT))
    patches = sampler.sample(3, torch.Generator().manual_seed(0))
    renders, alphas, _ = rasterization(**given, **splat_cameras(patches), render_mode="RGB+ED")
    rgb, depth, opacity = rgb_depth_opacity(renders, alphas)
    assert rgb.shape == (3, 8, 8, 3)
    DepthSmoothness()(depth, opacity).backward()
    for name in ("means", "quats", "scales", "opacities"):
        gradient = given[name].grad
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 0, name


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("renders", "alphas", "message"),
    [
        ((1, 4, 5, 3), (1, 4, 5, 1), r'render_mode="RGB\+ED" gives, got \(1, 4, 5, 3\)'),
        ((1, 4, 5, 4), (1, 4, 5), r"alphas must be \(1, 4, 5, 1\) beside renders, got \(1, 4, 5\)"),
    ],
)
def test_pictures_without_depth_are_refused(renders, alphas, message) -> None:
    with pytest.raises(ValueError, match="rgb_depth_opacity: .*" + message):
        rgb_depth_opacity(torch.rand(renders), torch.rand(alphas))


def test_reads_an_image_at_pixel_coordinates() -> None:
    """An image that holds its own pixel coordinates gives them back: no half pixel is lost."""
    x = (torch.arange(WIDTH) + 0.5).expand(HEIGHT, WIDTH)
    y = (torch.arange(HEIGHT) + 0.5)[:, None].expand(HEIGHT, WIDTH)
    xy = 1 + torch.rand(50, 2) * torch.tensor([WIDTH - 2.0, HEIGHT - 2.0])
    torch.testing.assert_close(torch.stack([at_pixels(x, xy), at_pixels(y, xy)], -1), xy)
    beside = torch.tensor([[-3.0, 0.5], [WIDTH + 3.0, 0.5]])
    torch.testing.assert_close(at_pixels(x, beside), torch.tensor([0.5, WIDTH - 0.5]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_reads_the_right_pixel_of_an_image_in_any_precision(dtype) -> None:
    """bfloat16's coordinates are whole pixels apart beyond 256."""
    image = torch.zeros(2, 4000, dtype=dtype)
    image[0, 3001] = 1.0
    xy = torch.tensor([[3000.5, 0.5], [3001.5, 0.5], [3001.75, 0.5], [3002.5, 0.5]])
    found = at_pixels(image, xy)
    assert found.dtype == dtype
    expected = torch.tensor([0.0, 1.0, 0.75, 0.0], dtype=dtype)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("shapes", [((1, 4, 5), (3, 2)), ((4, 5), (3, 3)), ((4, 5), (2,))])
def test_images_and_coordinates_have_a_shape(shapes) -> None:
    with pytest.raises(ValueError, match=r"at_pixels: image must be \(H, W\) and xy \(K, 2\), got"):
        at_pixels(*(torch.rand(shape) for shape in shapes))


def test_a_missing_gsplat_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(ImportError, match=r"pip install 'nerfreg\[gsplat\]'"):
        require_rasterization()


@pytest.mark.parametrize("found", ["1.4.0", "1.50.0", "2.0.0"])
def test_another_version_of_gsplat_is_named(monkeypatch, found) -> None:
    module = ModuleType("gsplat")
    module.__version__, module.rasterization = found, rasterization
    monkeypatch.setitem(sys.modules, "gsplat", module)
    with pytest.raises(ImportError, match=rf"expected gsplat 1\.5\.x.*, got {found}: pip install"):
        require_rasterization()


def test_importing_the_adapter_imports_no_gsplat() -> None:
    assert "gsplat" not in vars(importlib.import_module("nerfreg.integrations.gsplat"))


# The dense splatter, by hand


def test_one_splat_by_hand() -> None:
    """At the middle pixel's centre lies the splat's: opacity 0.6, its colour and its z-depth."""
    camera = splat_cameras(ahead())
    renders, alphas, _ = rasterization(**one_splat(), **camera, render_mode="RGB+D")
    torch.testing.assert_close(alphas[0, 2, 2], torch.tensor([0.6]))
    torch.testing.assert_close(renders[0, 2, 2], 0.6 * torch.tensor([0.2, 0.4, 0.8, 2.0]))
    # A pixel beside it: variance (10 · 0.2 / 2)² + 0.3.
    expected = 0.6 * torch.tensor(-1 / (2 * 1.3)).exp()
    torch.testing.assert_close(alphas[0, 2, 3, 0], expected)
    expected_depth, _, _ = rasterization(**one_splat(), **camera, render_mode="ED")
    torch.testing.assert_close(expected_depth[0, 2, 2:4], torch.full((2, 1), 2.0))


def test_what_is_in_front_hides_what_is_behind() -> None:
    two = {name: torch.cat([x, x]) for name, x in one_splat().items()}
    two["means"] = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 2.0]])
    background = torch.tensor([[1.0, 1.0, 1.0]])
    renders, alphas, _ = rasterization(
        **two, **splat_cameras(ahead()), render_mode="RGB+ED", backgrounds=background
    )
    weights = torch.tensor([0.6, 0.4 * 0.6])
    torch.testing.assert_close(alphas[0, 2, 2, 0], weights.sum())
    torch.testing.assert_close(
        renders[0, 2, 2, 3], (weights * torch.tensor([2.0, 3.0])).sum() / weights.sum()
    )
    torch.testing.assert_close(renders[0, 2, 2, 0], 0.2 * weights.sum() + 1 - weights.sum())


def test_leaves_out_what_is_behind_the_camera_and_what_is_too_faint() -> None:
    behind = one_splat(means=torch.tensor([[0.0, 0.0, -2.0]]))
    faint = one_splat(opacities=torch.tensor([1 / 256]))
    for splat in (behind, faint):
        _, alphas, _ = rasterization(**splat, **splat_cameras(ahead()))
        assert not alphas.any()


# gsplat itself


def test_is_called_as_gsplat_is() -> None:
    theirs = inspect.signature(pytest.importorskip("gsplat").rasterization).parameters
    ours = inspect.signature(rasterization).parameters
    assert set(ours) <= set(theirs)
    positional = [name for name, p in theirs.items() if p.default is inspect.Parameter.empty]
    assert [*ours][: len(positional)] == positional
    assert all(ours[name].default == theirs[name].default for name in ours)
    assert require_rasterization() is sys.modules["gsplat"].rasterization


def test_projects_as_gsplat_does(cameras) -> None:
    """On large splats and small patches, so that the linearisation's limits matter."""
    reference = pytest.importorskip("gsplat.cuda._torch_impl")
    given = splats(scale=0.6)
    sampler = UnseenPatchSampler(
        cameras.c2w, cameras.intrinsics, patch_size=4, image_size=(WIDTH, HEIGHT)
    )
    patches = splat_cameras(sampler.sample(5, torch.Generator().manual_seed(0)))
    ours = project(given["means"], given["quats"], given["scales"], **patches)
    covars, _ = reference._quat_scale_to_covar_preci(
        given["quats"], given["scales"], True, False, triu=False
    )
    _, *theirs, _ = reference._fully_fused_projection(given["means"], covars, *patches.values())
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its)


def test_blends_as_gsplat_does(cameras, monkeypatch) -> None:
    """Its blending in torch, given every pair of pixel and splat that counts, front to back.

    It asks nerfacc for packed weights, which nerfacc computes on CUDA alone: they come from us.
    """
    gsplat, nerfacc = pytest.importorskip("gsplat"), pytest.importorskip("nerfacc")
    monkeypatch.setattr(
        nerfacc,
        "render_weight_from_alpha",
        lambda alphas, **layout: (weights_from_alpha(alphas, **layout), None),
    )
    given = splats(n=12)
    renders, alphas, between = rasterization(**given, **splat_cameras(cameras), render_mode="RGB+D")
    means2d, depths, conics = (between[name] for name in ("means2d", "depths", "conics"))
    opacities, colors = given["opacities"].expand(2, -1), given["colors"].expand(2, -1, -1)
    colors = torch.cat([colors, depths[..., None]], -1)
    x, y = torch.arange(WIDTH * HEIGHT) % WIDTH, torch.arange(WIDTH * HEIGHT) // WIDTH
    pairs = []
    for image in range(2):
        order = depths[image].argsort()
        dx = x[:, None] + 0.5 - means2d[image, order, 0]
        dy = y[:, None] + 0.5 - means2d[image, order, 1]
        a, b, c = conics[image, order].unbind(-1)
        alpha = opacities[image, order] * torch.exp(-(a * dx**2 + c * dy**2) / 2 - b * dx * dy)
        pixel, rank = (alpha >= 1 / 255).nonzero(as_tuple=True)
        pairs.append(torch.stack([order[rank], pixel, torch.full_like(pixel, image)]))
    expected, expected_alphas = gsplat.accumulate(
        means2d, conics, opacities, colors, *torch.cat(pairs, -1), WIDTH, HEIGHT
    )
    torch.testing.assert_close(renders, expected)
    torch.testing.assert_close(alphas, expected_alphas)


@pytest.mark.gpu
def test_renders_and_learns_as_gsplat_does_on_cuda(cameras) -> None:
    given = {k: v.float().cuda().requires_grad_() for k, v in splats(n=200, scale=0.05).items()}
    views = splat_cameras(cameras.to("cuda", torch.float32))
    pictures = []
    for rasterize in (require_rasterization(), rasterization):
        renders, alphas, _ = rasterize(**given, **views, render_mode="RGB+ED", packed=True)
        rgb, depth, opacity = rgb_depth_opacity(renders, alphas)
        loss = rgb.mean() + DepthSmoothness()(depth, opacity)
        pictures.append((rgb, depth, opacity, torch.autograd.grad(loss, [*given.values()])))
    (*theirs, its), (*ours, mine) = pictures
    for a, b in zip(ours, theirs, strict=True):
        # A splat may fall on either side of the faintest opacity that counts.
        assert ((a - b).abs() > 1e-3).float().mean() < 0.01
    for name, a, b in zip(given, mine, its, strict=True):
        assert torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99, name
