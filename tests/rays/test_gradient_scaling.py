"""Gradients scaled by distance: the value stays, the derivative is the paper's, and by hand."""

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from nerfreg.rays import scale_gradients_by_distance


class Upstream(torch.autograd.Function):
    """The derivative as the paper's listing defines it, by a rule of its own."""

    @staticmethod
    def forward(ctx, values, distance):
        ctx.save_for_backward(distance)
        return values.clone()

    @staticmethod
    def backward(ctx, grad):
        (distance,) = ctx.saved_tensors
        scale = (distance * distance).clamp(0, 1)
        return grad * (scale if scale.ndim == grad.ndim else scale[..., None]), None


SHAPES = {
    "dense": ((4, 7), (4, 7)),
    "dense, colours": ((4, 7, 3), (4, 7)),
    "packed": ((11,), (11,)),
    "packed, colours": ((11, 3), (11,)),
    "one channel": ((4, 7, 1), (4, 7)),
    "as nerfstudio keeps density": ((4, 7, 1), (4, 7, 1)),
    "no samples": ((0, 3), (0,)),
}


@pytest.mark.parametrize(("shape", "samples"), SHAPES.values(), ids=SHAPES.keys())
def test_meets_the_papers_rule(shape, samples) -> None:
    values = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    distance = 2.0 * torch.rand(samples, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape, dtype=torch.float64)
    got = scale_gradients_by_distance(values, distance)
    assert torch.equal(got, values)
    grad, nothing = torch.autograd.grad(
        (weight * got.sin()).sum(), [values, distance], allow_unused=True
    )
    expected = torch.autograd.grad((weight * Upstream.apply(values, distance).sin()).sum(), values)[
        0
    ]
    torch.testing.assert_close(grad, expected, rtol=1e-14, atol=0)
    assert nothing is None


def test_by_hand() -> None:
    """(½)² = ¼ at half of the unit, whole from the unit on, nothing at the camera or behind it."""
    distance = torch.tensor([-1.0, 0.0, 0.5, 1.0, 4.0])
    for unit, expected in [(1.0, [0.0, 0.0, 0.25, 1.0, 1.0]), (4.0, [0, 0, 1 / 64, 1 / 16, 1.0])]:
        values = torch.zeros(5, requires_grad=True)
        scale_gradients_by_distance(values, distance, unit=unit).sum().backward()
        assert values.grad.tolist() == expected


def test_the_unit_is_all_that_the_scenes_scale_changes() -> None:
    values = torch.rand(20, requires_grad=True)
    distance = 3.0 * torch.rand(20)
    grads = [
        torch.autograd.grad(scale_gradients_by_distance(values, d, unit=u).sum(), values)[0]
        for d, u in [(distance, 1.0), (8.0 * distance, 8.0)]
    ]
    assert torch.equal(*grads)


def test_metric_distance_is_not_the_ray_parameter() -> None:
    """A direction of length 2 at t = ¼ is ½ away: a quarter of the gradient, not a sixteenth."""
    t, length = torch.tensor([[0.25]]), torch.tensor([2.0])
    density = torch.ones(1, 1, requires_grad=True)
    scale_gradients_by_distance(density, t * length[:, None]).sum().backward()
    assert density.grad.item() == 0.25


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("mixed", [False, True])
def test_all_finite_numbers_stay_what_they_are(dtype, mixed) -> None:
    info = torch.finfo(dtype)
    ends = torch.tensor([info.max, info.smallest_normal, 1.0, 0.0], dtype=dtype)
    values = torch.cat([ends, -ends]).requires_grad_()
    for distance in (0.0, 1e-30, 1e-4, 1.0, 60000.0, 1e10, 3e38, torch.inf):
        far = torch.tensor([distance] * 8).to(torch.float32 if mixed else dtype)
        got = scale_gradients_by_distance(values, far)
        assert got.dtype == dtype
        assert torch.equal(got, values)
        (grad,) = torch.autograd.grad(got.sum(), values)
        assert ((grad >= 0) & (grad <= 1)).all()
        assert grad.eq(1).all() == (distance >= 1)


def test_second_derivatives_are_scaled_alike() -> None:
    values = torch.rand(3, dtype=torch.float64, requires_grad=True)
    distance = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    scaled = scale_gradients_by_distance(values, distance)
    (grad,) = torch.autograd.grad((scaled**3).sum(), values, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), values)
    scale = distance.clamp(max=1) ** 2
    torch.testing.assert_close(grad, scale * 3 * values**2)
    torch.testing.assert_close(second, scale**2 * 6 * values)


def test_jax_does_the_same_traced_or_not() -> None:
    values = jnp.ones((2, 3, 4))
    distance = jnp.asarray([[0.1, 0.5, 4.0], [0.0, 1.0, 2.0]])
    expected = np.repeat(np.asarray([[0.01, 0.25, 1.0], [0.0, 1.0, 1.0]])[..., None], 4, axis=-1)
    for transform in (lambda f: f, jax.jit):
        grad = transform(jax.grad(lambda v: scale_gradients_by_distance(v, distance).sum()))
        np.testing.assert_allclose(grad(values), expected, rtol=1e-6)
        function = transform(scale_gradients_by_distance)
        assert (function(values, distance) == values).all()


@pytest.mark.parametrize("xp", [np, array_api_strict])
def test_libraries_without_gradients_get_their_values(xp) -> None:
    values, distance = xp.reshape(xp.arange(6.0), (2, 3)), xp.asarray([0.5, 2.0])
    got = scale_gradients_by_distance(values, distance)
    assert type(got) is type(values)
    assert xp.all(got == values)


@pytest.mark.usefixtures("unhooked")
def test_compiles_as_one_graph() -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda v, d: scale_gradients_by_distance(v, d, unit=2.0),
        fullgraph=True,
        backend="aot_eager",
    )
    values, distance = torch.rand(4, 7, 3, requires_grad=True), 3.0 * torch.rand(4, 7)
    for function in (compiled, scale_gradients_by_distance):
        assert torch.equal(function(values, distance), values)
    (grad,) = torch.autograd.grad(compiled(values, distance).sum(), values)
    expected = ((distance / 2).clamp(max=1) ** 2)[..., None].expand(4, 7, 3)
    torch.testing.assert_close(grad, expected)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (
            TypeError,
            r"values must be floating point, got torch.int64",
            (torch.ones(2, 3).long(), torch.ones(2, 3)),
            {},
        ),
        (
            TypeError,
            r"distance must be an array \(torch, JAX or NumPy\), got float",
            (torch.ones(2, 3), 1.0),
            {},
        ),
        (
            TypeError,
            r"arrays of one library, got values torch, distance numpy",
            (torch.ones(2, 3), np.ones((2, 3))),
            {},
        ),
        (
            ValueError,
            r"values must be \(…, S\) or \(…, S, C\) .* \(2, 3, 3\) and distance \(2, 3, 1\)",
            (torch.ones(2, 3, 3), torch.ones(2, 3, 1)),
            {},
        ),
        (ValueError, r"values \(2, 3\) and distance \(3,\)", (torch.ones(2, 3), torch.ones(3)), {}),
        (
            ValueError,
            r"values \(2, 3\) and distance \(2, 3, 3\)",
            (torch.ones(2, 3), torch.ones(2, 3, 3)),
            {},
        ),
        (
            ValueError,
            r"unit must be a number > 0, got 0.0",
            (torch.ones(2, 3), torch.ones(2, 3)),
            {"unit": 0.0},
        ),
        (
            ValueError,
            r"unit must be a number > 0, got inf",
            (torch.ones(2, 3), torch.ones(2, 3)),
            {"unit": float("inf")},
        ),
        (
            ValueError,
            r"on one device, got values on cpu, distance on meta",
            (torch.ones(2, 3), torch.ones(2, 3, device="meta")),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match=r"^scale_gradients_by_distance: .*" + message):
        scale_gradients_by_distance(*arguments, **options)
