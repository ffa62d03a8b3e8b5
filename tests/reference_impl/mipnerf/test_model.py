"""The whole model against upstream's renderings, losses and parameter gradients."""

import copy

import pytest
import torch
from torch import Tensor

from nerfreg.losses import depth_smoothness
from nerfreg.views import Rays
from reference_impl.mipnerf import MipNerf, MipNerfConfig, data_loss, render_image
from tests.golden import golden, golden_cases

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def _parameter_names(model):
    """Name our parameters as upstream numbers its layers."""
    field = model.field
    layers = [*field.trunk, field.density, field.bottleneck, field.view, field.rgb]
    return {f"MLP_0/Dense_{i}": layer for i, layer in enumerate(layers)}


def _upstream_model(data):
    config = MipNerfConfig(
        width=int(data["net_width"]),
        view_width=int(data["net_width_viewdirs"]),
        n_samples=int(data["num_samples"]),
        ray_shape=str(data["ray_shape"]),
        resample_padding=float(data["resample_padding"]),
    )
    model = MipNerf(config).double()
    with torch.no_grad():
        for name, layer in _parameter_names(model).items():
            layer.weight.copy_(data[f"param/{name}/kernel"].T)
            layer.bias.copy_(data[f"param/{name}/bias"])
    rays = Rays(data["origins"], data["directions"], data["viewdirs"], data["radii"])
    return model, rays


@pytest.mark.parametrize("case", golden_cases("model"))
def test_renderings_equal_upstream(case):
    data = golden("model", case)
    model, rays = _upstream_model(data)
    levels = model(rays, data["near"], data["far"], background=float(data["white_background"]))
    for i, level in enumerate(levels):
        torch.testing.assert_close(level.rgb, data[f"level{i}/rgb"], **EXACT)
        torch.testing.assert_close(level.opacity, data[f"level{i}/acc"], **EXACT)
        torch.testing.assert_close(level.depth, data[f"level{i}/distance_mean_save"], **EXACT)


@pytest.mark.parametrize("case", golden_cases("model"))
@pytest.mark.parametrize("loss", ["loss_a", "loss_b", "loss_c"])
def test_losses_and_gradients_equal_upstream(case, loss):
    data = golden("model", case)
    model, rays = _upstream_model(data)
    levels = model(rays, data["near"], data["far"], background=float(data["white_background"]))
    n, p = int(data["n_train_rays"]), int(data["patch_size"])
    photometric, smoothness = [], []
    for level in levels:
        photometric.append(data_loss(level.rgb[:n], data["gt_rgb"]))
        depth, opacity = level.depth[n:].view(-1, p, p), level.opacity[n:].view(-1, p, p)
        smoothness.append(float(data[f"{loss}/mask_weight"]) * depth_smoothness(depth, opacity))
    torch.testing.assert_close(torch.stack(photometric), data[f"{loss}/data"], **EXACT)
    torch.testing.assert_close(torch.stack(smoothness), data[f"{loss}/tv"], **EXACT)
    total = photometric[1] + 0.1 * photometric[0]
    total = total + float(data[f"{loss}/tv_weight"]) * smoothness[1] + 0.1 * smoothness[0]
    torch.testing.assert_close(total, data[f"{loss}/total"], **EXACT)
    if f"{loss}/grad/MLP_0/Dense_0/bias" not in data:
        return
    total.backward()
    for name, layer in _parameter_names(model).items():
        for kind, ours in (("kernel", layer.weight.grad.T), ("bias", layer.bias.grad)):
            expected = data[f"{loss}/grad/{name}/{kind}"]
            torch.testing.assert_close(
                ours, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max())
            )


SMALL = MipNerfConfig(width=16, depth=3, view_width=8, n_samples=8, max_degree=4)


def _some_rays(n=5, dtype=torch.float32):
    directions = torch.cat(
        (0.3 * torch.randn(n, 2, dtype=dtype), torch.ones(n, 1, dtype=dtype)), -1
    )
    viewdirs = torch.nn.functional.normalize(directions, dim=-1)
    return Rays(
        torch.randn(n, 3, dtype=dtype), directions, viewdirs, torch.full((n, 1), 0.01, dtype=dtype)
    )


def test_default_size_is_the_published_one():
    assert sum(p.numel() for p in MipNerf().parameters()) == 612_740


def test_a_seed_repeats_and_none_is_deterministic():
    model, rays = MipNerf(SMALL), _some_rays()
    first, again, other = (
        model(rays, 1.0, 4.0, generator=torch.Generator().manual_seed(seed))[-1].rgb
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(model(rays, 1.0, 4.0)[-1].rgb, model(rays, 1.0, 4.0)[-1].rgb)


def test_a_generator_equals_its_draws():
    model, rays = MipNerf(SMALL), _some_rays()
    drawn = model.draw(5, torch.Generator().manual_seed(3))
    by_generator = model(rays, 1.0, 4.0, generator=torch.Generator().manual_seed(3))
    by_draws = model(rays, 1.0, 4.0, draws=drawn)
    for a, b in zip(by_generator, by_draws, strict=True):
        assert torch.equal(a.rgb, b.rgb)
    with pytest.raises(ValueError, match="generator or draws"):
        model(rays, 1.0, 4.0, draws=drawn, generator=torch.Generator())


def test_noise_moves_density_only_where_asked():
    rays = _some_rays()
    torch.manual_seed(1)
    model = MipNerf(SMALL)
    quiet = copy.deepcopy(model)
    object.__setattr__(quiet.config, "density_noise", 0.0)
    draws = model.draw(5, torch.Generator().manual_seed(3))
    noisy = model(rays, 1.0, 4.0, draws=draws)[0]
    calm = quiet(rays, 1.0, 4.0, draws=draws)[0]
    assert torch.equal(noisy.edges, calm.edges)
    assert not torch.equal(noisy.weights, calm.weights)


@pytest.mark.parametrize("near", [1.0, torch.tensor(1.0), torch.ones(5), torch.ones(5, 1)])
def test_bounds_of_every_form(near):
    model, rays = MipNerf(SMALL), _some_rays()
    fine = model(rays, near, 4.0)[-1]
    assert torch.equal(fine.rgb, model(rays, 1, 4)[-1].rgb)
    assert fine.edges.shape == (5, 9)
    assert fine.weights.shape == (5, 8)


@pytest.mark.parametrize("depth", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("encoding", ["integrated", "positional"])
@pytest.mark.parametrize("append_position", [False, True])
@pytest.mark.parametrize("ray_shape", ["cone", "cylinder"])
@pytest.mark.parametrize("spacing", ["linear", "disparity"])
def test_every_switch_trains(depth, encoding, append_position, ray_shape, spacing):
    config = MipNerfConfig(
        width=8, depth=depth, view_width=4, n_samples=4, max_degree=3, encoding=encoding,
        append_position=append_position, ray_shape=ray_shape, spacing=spacing,
    )  # fmt: skip
    model = MipNerf(config)
    levels = model(
        _some_rays(), 1.0, 4.0, generator=torch.Generator().manual_seed(0), background=1.0
    )
    sum(data_loss(level.rgb, torch.rand(5, 3)) for level in levels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_the_skip_re_enters_the_encoding():
    shapes = {
        d: [tuple(x.weight.shape) for x in MipNerf(MipNerfConfig(depth=d)).field.trunk]
        for d in (4, 6)
    }
    assert shapes[4] == [(256, 96)] + [(256, 256)] * 3
    assert shapes[6] == [(256, 96)] + [(256, 256)] * 4 + [(256, 352)]


def test_autocast_touches_the_field_only():
    model, rays = MipNerf(SMALL), _some_rays(64)
    exact = model(rays, 1.0, 4.0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(rays, 1.0, 4.0)
    for a, b in zip(exact, rounded, strict=True):
        assert b.rgb.dtype == b.depth.dtype == b.weights.dtype == torch.float32
        # bfloat16 has 8 bits: an error of a few of them through 5 layers; measured 0.004.
        torch.testing.assert_close(b.rgb, a.rgb, rtol=0, atol=0.02)
    assert torch.equal(exact[0].edges, rounded[0].edges)


def test_float32_stays_near_float64():
    torch.manual_seed(0)
    model, rays = MipNerf(SMALL).double(), _some_rays(64, torch.float64)
    exact = model(rays, 1.0, 4.0)[-1]
    rounded = model.float()(rays.map(Tensor.float), 1.0, 4.0)[-1]
    torch.testing.assert_close(rounded.rgb.double(), exact.rgb, rtol=0, atol=1e-5)
    torch.testing.assert_close(rounded.depth.double(), exact.depth, rtol=0, atol=1e-4)


def test_compiles_in_one_graph(unhooked):
    model, rays = MipNerf(SMALL), _some_rays()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    draws = model.draw(5, torch.Generator().manual_seed(0))
    near, far = torch.tensor(1.0), torch.tensor(4.0)
    ours = compiled(rays, near, far, draws=draws)[-1]
    torch.testing.assert_close(ours.rgb, model(rays, near, far, draws=draws)[-1].rgb)
    ours.rgb.sum().backward()
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(rays, torch.tensor(2.0), torch.tensor(3.0), draws=draws)


def test_an_image_equals_its_rays():
    model, rays = MipNerf(SMALL), _some_rays(12)
    image = render_image(
        model, rays.map(lambda x: x.view(3, 4, -1)), 1.0, 4.0, chunk=5, background=0.5
    )
    fine = model(rays, 1.0, 4.0, background=0.5)[-1]
    assert not image.rgb.requires_grad
    assert image.weights.numel() == 0
    torch.testing.assert_close(image.rgb.view(-1, 3), fine.rgb)
    torch.testing.assert_close(image.depth.view(-1), fine.depth)
    assert image.opacity.shape == (3, 4)


def test_background_shows_where_nothing_is():
    config = MipNerfConfig(
        width=8, depth=2, view_width=4, n_samples=4, max_degree=3, density_bias=-100.0
    )
    fine = MipNerf(config)(_some_rays(), 1.0, 4.0, background=0.25)[-1]
    torch.testing.assert_close(fine.rgb, torch.full((5, 3), 0.25))
    torch.testing.assert_close(fine.depth, torch.full((5,), 1.0))
