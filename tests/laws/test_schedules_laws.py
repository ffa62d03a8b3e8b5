"""Laws of schedules."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from nerfreg.schedules import Cosine, FrequencyMask, Linear, LogLinear, SampleSpaceAnnealing

steps = st.integers(0, 10**6)
positive = st.floats(1e-6, 1e6)


@pytest.mark.parametrize("ramp", [Linear, LogLinear, Cosine])
@given(positive, positive, st.integers(0, 10**6), st.integers(0, 1000), steps)
def test_ramps_stay_between_their_ends(ramp, start, end, n_steps, begin, step) -> None:
    schedule = ramp(start, end, n_steps, begin=begin)
    value = schedule(step)
    slack = 1e-9 * max(start, end)
    assert min(start, end) - slack <= value <= max(start, end) + slack
    scale = max(abs(start), abs(end))
    assert schedule(torch.tensor(step)).item() == pytest.approx(value, rel=1e-3, abs=1e-6 * scale)


settings = st.tuples(
    st.integers(0, 1000),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from(["paper", "released"]),
)


@given(settings, st.integers(0, 1500), st.floats(-10.0, 10.0), st.floats(0.0, 100.0))
def test_annealed_bounds_stay_inside_and_arrive(chosen, step, near, length) -> None:
    anneal = SampleSpaceAnnealing(*chosen)
    far = near + length
    low, high = anneal(step, near, far)
    assert near - 1e-9 <= low <= high + 1e-9
    assert high <= far + 1e-9
    assert high - low == pytest.approx(anneal.eta(step) * length, rel=1e-9, abs=1e-9)
    if step >= anneal.n_steps:
        assert (low, high) == (near, far)


@given(settings, st.integers(0, 1500))
def test_the_range_never_shrinks(chosen, step) -> None:
    anneal = SampleSpaceAnnealing(*chosen)
    assert anneal.eta(step) <= anneal.eta(step + 1)


@given(settings, st.integers(0, 1500), st.floats(0.1, 10.0))
def test_annealing_does_not_know_the_unit(chosen, step, factor) -> None:
    anneal = SampleSpaceAnnealing(*chosen)
    scaled = anneal(step, factor * 2.0, factor * 6.0)
    assert scaled == pytest.approx([factor * x for x in anneal(step, 2.0, 6.0)], rel=1e-9)


@given(st.integers(0, 1000), st.floats(0.0, 8.0), st.integers(0, 20), st.integers(0, 1500), steps)
def test_octaves_appear_from_low_to_high_and_stay(n_steps, start, n_octaves, step, later) -> None:
    mask = FrequencyMask(n_steps, start)
    now, then = mask(step, n_octaves), mask(step + later, n_octaves)
    assert ((now >= 0) & (now <= 1)).all()
    assert (now[1:] <= now[:-1]).all()
    assert (then >= now).all()
    assert mask(max(step, n_steps), n_octaves).eq(1).all()
    # At most one octave is in between: the others are there or not.
    assert ((now > 0) & (now < 1)).sum() <= 1
