"""Annealing of the pre-filter against the formula of SANeRF's code, by hand, and its errors."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from nerfreg.schedules import PrefilterAnnealing


def slow_released_width(step, n_steps, start, n_stairs, halvings_a_stair) -> float:
    """As the authors' code has it, in words: stairs of equal length, each narrower by a factor."""
    stair = 0
    while (stair + 1) * n_steps <= step * n_stairs:
        stair += 1
    return 0.0 if step >= n_steps else start * (1.0 / 2.0**halvings_a_stair) ** stair


@pytest.mark.parametrize("n_steps", [2000, 300, 37, 7])
def test_released_form_agrees_with_stairs(n_steps) -> None:
    """Their numbers: 30 stairs, 0.2 of a halving each."""
    anneal = PrefilterAnnealing(n_steps, 0.15, form="released")
    for step in range(n_steps + 3):
        expected = slow_released_width(step, n_steps, 0.15, 30, 0.2)
        assert anneal(step) == pytest.approx(expected, rel=1e-12)
        assert float(anneal(np.asarray(step))) == pytest.approx(expected, rel=1e-12)


def test_stairs_begin_at_the_same_steps_in_every_library() -> None:
    anneal = PrefilterAnnealing(700, 0.15, form="released")
    expected = [anneal(step) for step in range(703)]
    in_jax = jax.jit(jax.vmap(anneal))(jnp.arange(703))
    in_torch = torch.stack([anneal(torch.tensor(step)) for step in range(703)])
    np.testing.assert_allclose(np.asarray(in_jax), expected, rtol=1e-5)
    np.testing.assert_allclose(in_torch.numpy(), expected, rtol=1e-5)


def test_by_hand() -> None:
    """Three halvings in 300 steps: one every 100, and the last eighth is dropped."""
    anneal = PrefilterAnnealing(300, 8.0, halvings=3.0)
    assert [anneal(step) for step in (0, 100, 200)] == [8.0, 4.0, 2.0]
    assert anneal(50) == pytest.approx(8.0 / 2**0.5, rel=1e-15)
    assert 1.0 < anneal(299) < 1.01
    assert [anneal(step) for step in (300, 301, 10**9)] == [0.0] * 3
    stairs = PrefilterAnnealing(300, 8.0, halvings=3.0, form="released")
    assert [stairs(step) for step in (0, 9, 100, 109)] == [8.0, 8.0, 4.0, 4.0]
    assert stairs(10) == pytest.approx(8.0 / 2**0.1, rel=1e-15)


@pytest.mark.parametrize("halvings", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("start", [0.0, 0.15, 1e6])
def test_the_smooth_width_only_shrinks_and_is_never_below_the_stairs_end(start, halvings) -> None:
    """The stairs begin where the smooth curve is, and wait."""
    smooth = PrefilterAnnealing(60, start, halvings)
    stairs = PrefilterAnnealing(60, start, halvings, "released")
    widths = [smooth(step) for step in range(70)]
    assert all(a >= b >= 0.0 for a, b in pairwise(widths))
    assert widths[0] == start
    assert widths[60:] == [0.0] * 10
    for step in range(70):
        assert smooth(step) <= stairs(step) * (1 + 1e-12)
        assert step % 2 or smooth(step) == pytest.approx(stairs(step), rel=1e-12)


def test_no_steps_switch_it_off() -> None:
    anneal = PrefilterAnnealing(0, 0.15)
    assert anneal(0) == anneal(5) == 0.0
    assert torch.equal(anneal(torch.tensor(0)), torch.tensor(0.0))


def test_a_tensor_step_gives_the_same_on_its_device() -> None:
    for form in ("smooth", "released"):
        anneal = PrefilterAnnealing(100, 0.15, form=form)
        for step in (0, 17, 50, 99, 100, 1000):
            got = anneal(torch.tensor(step))
            assert got.shape == ()
            assert got.item() == pytest.approx(anneal(step), rel=1e-6)
        assert anneal(torch.tensor(3, device="meta")).device.type == "meta"


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0.15), "n_steps must be a whole number >= 0, got -1"),
        ((1.5, 0.15), "n_steps must be a whole number >= 0, got 1.5"),
        ((10, -0.1), "start must be a number >= 0, got -0.1"),
        ((10, "wide"), "start must be a number >= 0, got 'wide'"),
        ((10, float("inf")), "start must be a number >= 0, got inf"),
        ((10, 0.15, -1.0), "halvings must be a number >= 0, got -1.0"),
        ((10, 0.15, float("nan")), "halvings must be a number >= 0, got nan"),
        ((10, 0.15, 6.0, "code"), 'form must be "smooth" or "released", got \'code\''),
    ],
)
def test_says_what_is_wrong(arguments, message) -> None:
    with pytest.raises(ValueError, match=f"^PrefilterAnnealing: {message}"):
        PrefilterAnnealing(*arguments)
