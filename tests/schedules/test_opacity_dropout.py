"""Opacity dropout: its rate, what it does to opacities and gradients, its draws, its errors."""

import math

import numpy as np
import pytest
import torch

from nerfreg.schedules import OpacityDropout


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_rate_by_hand() -> None:
    """DropGaussian's p = 0.2 · step / 10 000, which it lets grow further."""
    drop = OpacityDropout(10_000)
    assert [drop.probability(s) for s in (0, 2_500, 10_000)] == [0.0, 0.05, 0.2]
    assert drop.probability(30_000) == 0.2
    assert drop.probability(torch.tensor(2_500)).item() == pytest.approx(0.05, rel=1e-6)
    assert OpacityDropout(0).probability(1) == 0.2


def test_agrees_with_loops_over_the_same_draws() -> None:
    opacity = torch.rand(50, dtype=torch.float64)
    got = OpacityDropout(100, rate=0.6)(50, opacity, generator=seeded(3))
    draws = torch.rand(50, generator=seeded(3)).tolist()
    expected = [0.0 if u < 0.3 else o / 0.7 for u, o in zip(draws, opacity.tolist(), strict=True)]
    # Drawn and compensated in float32.
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-7)
    assert 5 < expected.count(0.0) < 25


def test_as_many_are_dropped_as_said_and_the_mean_stays() -> None:
    """400 000 draws: five standard deviations of a proportion of 0.2 are 0.0032."""
    opacity = torch.full((400_000,), 0.4)
    got = OpacityDropout(10)(10, opacity, generator=seeded())
    assert (got == 0).double().mean().item() == pytest.approx(0.2, abs=0.0032)
    assert got.double().mean().item() == pytest.approx(0.4, abs=0.5 * 0.0032)
    torch.testing.assert_close(got[got > 0], torch.full_like(got[got > 0], 0.5))


@pytest.mark.parametrize("shape", [(100,), (100, 1), (0,)])
def test_each_splat_has_its_draw_and_at_the_start_none_is_dropped(shape) -> None:
    opacity = torch.rand(shape)
    drop = OpacityDropout(10, rate=0.5)
    assert torch.equal(drop(0, opacity, generator=seeded()), opacity)
    got = drop(10, opacity, generator=seeded())
    assert got.shape == opacity.shape
    torch.testing.assert_close(got.flatten(), drop(10, opacity.flatten(), generator=seeded()))


def test_gradients_go_to_those_that_stay() -> None:
    opacity = torch.rand(64, requires_grad=True)
    got = OpacityDropout(10, rate=0.5)(10, opacity, generator=seeded())
    got.sum().backward()
    assert torch.equal(opacity.grad, torch.where(got > 0, 2.0, 0.0))


def test_compensated_opacities_exceed_one_unless_clamped() -> None:
    opacity = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.3, 0.3], requires_grad=True)
    free = OpacityDropout(10, rate=0.5)(10, opacity, generator=seeded())
    clamped = OpacityDropout(10, rate=0.5, clamp=True)(10, opacity, generator=seeded())
    assert free.max().item() == pytest.approx(1.8)
    torch.testing.assert_close(clamped, free.clamp(max=1.0))
    (grad,) = torch.autograd.grad(clamped.sum(), opacity)
    assert torch.equal(grad, torch.where((free > 0) & (free <= 1), 2.0, 0.0))


def test_one_seed_one_sequence_whatever_the_rate() -> None:
    """A run resumed at a step, or with another rate, meets the same draws later."""
    opacity = torch.rand(100)
    one, other = seeded(), seeded()
    drop = OpacityDropout(10, rate=0.5)
    first = [drop(step, opacity, generator=one) for step in (0, 5, 10)]
    assert not torch.equal(first[1] > 0, first[2] > 0)
    OpacityDropout(10, rate=0.0)(0, opacity, generator=other)
    again = [drop(step, opacity, generator=other) for step in (5, 10)]
    assert all(torch.equal(a, b) for a, b in zip(first[1:], again, strict=True))
    torch.manual_seed(0)
    globally = drop(5, opacity)
    torch.manual_seed(0)
    assert torch.equal(drop(5, opacity), globally)


def test_a_tensor_step_gives_the_same() -> None:
    opacity = torch.rand(100)
    drop = OpacityDropout(10)
    for step in (0, 4, 30):
        torch.testing.assert_close(
            drop(torch.tensor(step), opacity, generator=seeded()),
            drop(step, opacity, generator=seeded()),
        )
    meta = drop(torch.tensor(3, device="meta"), opacity.to("meta"))
    assert meta.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_stays(dtype) -> None:
    got = OpacityDropout(10)(10, torch.full((9,), 0.5, dtype=dtype), generator=seeded())
    assert got.dtype == dtype
    assert set(got.tolist()) == {0.0, 0.625}


@pytest.mark.usefixtures("unhooked")
def test_compiles_once() -> None:
    """With the global generator: Dynamo takes no other."""
    torch.compiler.reset()
    drop, opacity = OpacityDropout(10, rate=0.5), torch.full((64,), 0.5)
    compiled = torch.compile(lambda step: drop(step, opacity), fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in (0, 5, 10, 100):
            p = drop.probability(step)
            got = set(compiled(torch.tensor(step)).tolist())
            assert got == ({0.5} if step == 0 else {0.0, *got})
            assert max(got) == pytest.approx(0.5 / (1 - p), rel=1e-6)


@pytest.mark.gpu
def test_draws_on_the_gpu_without_waiting_for_it() -> None:
    opacity, step = torch.rand(1000, device="cuda"), torch.tensor(10, device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    drop = OpacityDropout(10)
    drop(step, opacity, generator=generator)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = drop(step, opacity, generator=generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert got.device.type == "cuda"
    assert 100 < int((got == 0).sum()) < 300


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "n_steps must be a whole number >= 0, got -1"),
        ((1.5,), "n_steps must be a whole number >= 0, got 1.5"),
        ((10, 1.0), r"rate must be a number in \[0, 1\), got 1.0"),
        ((10, -0.1), r"rate must be a number in \[0, 1\), got -0.1"),
        ((10, math.nan), r"rate must be a number in \[0, 1\), got nan"),
    ],
)
def test_says_what_is_wrong(arguments, message) -> None:
    with pytest.raises(ValueError, match=f"^OpacityDropout: {message}"):
        OpacityDropout(*arguments)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("opacity", "got"),
    [(np.ones(3), "ndarray"), ([0.5], "list"), (torch.ones(3, dtype=torch.int64), "torch.int64")],
)
def test_opacities_must_be_torch_numbers(opacity, got) -> None:
    with pytest.raises(TypeError, match=f"^OpacityDropout: opacity .* torch tensor, got {got}"):
        OpacityDropout(10)(0, opacity)


def test_the_generator_must_be_where_the_opacities_are() -> None:
    with pytest.raises(
        ValueError, match=r"^OpacityDropout: generator must draw on meta, .* it draws on cpu"
    ):
        OpacityDropout(10)(0, torch.ones(3, device="meta"), generator=seeded())
