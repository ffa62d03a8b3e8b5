"""Sample-space annealing against RegNeRF's numbers, a plain loop of the paper's, and by hand."""

from itertools import pairwise

import pytest
import torch

from nerfreg.schedules import SampleSpaceAnnealing
from tests.golden import golden, golden_cases


def configurations(case) -> list[tuple]:
    """(near, far, n_steps, start, mid), steps, upstream's near and far."""
    numbers = golden("anneal", case)
    return [
        (*config.tolist(), numbers["its"].tolist(), near, far)
        for config, near, far in zip(
            numbers["configs"], numbers["near"], numbers["far"], strict=True
        )
    ]


@pytest.mark.parametrize("case", golden_cases("anneal"))
def test_released_form_meets_upstream(case) -> None:
    for near, far, n_steps, start, mid, steps, nears, fars in configurations(case):
        anneal = SampleSpaceAnnealing(int(n_steps), start, mid, form="released")
        bounds = torch.tensor([anneal(step, near, far) for step in steps], dtype=torch.float64)
        torch.testing.assert_close(bounds[:, 0], nears, rtol=0, atol=1e-15)
        torch.testing.assert_close(bounds[:, 1], fars, rtol=0, atol=1e-15)


@pytest.mark.parametrize("case", golden_cases("anneal"))
def test_paper_form_agrees_with_its_formula(case) -> None:
    """It meets upstream at the start and the end, and lies inside between."""
    for near, far, n_steps, start, mid, steps, nears, fars in configurations(case):
        anneal = SampleSpaceAnnealing(int(n_steps), start, mid)
        for step, released_near, released_far in zip(steps, nears, fars, strict=True):
            share = step / n_steps
            eta = 1.0 if share > 1.0 else start if share < start else share
            middle = near + (far - near) * mid
            expected = (middle + (near - middle) * eta, middle + (far - middle) * eta)
            assert anneal(step, near, far) == pytest.approx(expected, rel=1e-14, abs=1e-14)
            assert anneal(step, near, far)[0] >= released_near - 1e-12
            assert anneal(step, near, far)[1] <= released_far + 1e-12
            if step == 0 or step >= n_steps:
                assert anneal(step, near, far) == pytest.approx(
                    (float(released_near), float(released_far)), rel=1e-14
                )


def test_by_hand() -> None:
    """DTU's 0.5 … 3.5, half-way through: the code samples ¾ of the range, the paper means ½."""
    released = SampleSpaceAnnealing(256, 0.5, form="released")
    paper = SampleSpaceAnnealing(256, 0.5)
    assert released(0, 0.5, 3.5) == paper(0, 0.5, 3.5) == (1.25, 2.75)
    assert released(128, 0.5, 3.5) == (0.875, 3.125)
    assert paper(128, 0.5, 3.5) == (1.25, 2.75)
    assert released(256, 0.5, 3.5) == paper(256, 0.5, 3.5) == (0.5, 3.5)


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("start", [0.0, 1e-4, 0.3, 1.0])
@pytest.mark.parametrize("mid", [0.0, 0.3, 1.0])
def test_bounds_only_grow_and_end_exactly(form, start, mid) -> None:
    anneal = SampleSpaceAnnealing(37, start, mid, form)
    bounds = [anneal(step, 0.1, 0.7) for step in range(60)]
    assert all(near <= far for near, far in bounds)
    assert all(a[0] >= b[0] - 1e-15 and a[1] <= b[1] + 1e-15 for a, b in pairwise(bounds))
    assert all(pair == (0.1, 0.7) for pair in bounds[37:])


def test_no_steps_switch_it_off() -> None:
    anneal = SampleSpaceAnnealing(0, 0.1)
    assert anneal(0, 1.0, 2.0) == (1.0, 2.0)
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    torch.testing.assert_close(anneal(torch.tensor(0), near, far), (near, far), rtol=0, atol=0)


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("step", [0, 10, 64, 200])
def test_numbers_and_tensors_agree(form, step) -> None:
    anneal = SampleSpaceAnnealing(100, 0.5, 0.4, form)
    near, far = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [6.0]])
    expected = [anneal(step, n, f) for n, f in [(1.0, 3.0), (2.0, 6.0)]]
    for s in (step, torch.tensor(step)):
        got = torch.cat(anneal(s, near, far), dim=-1)
        torch.testing.assert_close(got, torch.tensor(expected))
    mixed = anneal(torch.tensor(step), 1.0, 3.0)
    torch.testing.assert_close(torch.stack(mixed), torch.tensor(expected[0]))


def test_presets() -> None:
    near, far = SampleSpaceAnnealing.llff()(0, 0.0, 1.0)
    assert (near, far) == pytest.approx((0.9999, 1.0))  # begins at infinity in NDC
    assert SampleSpaceAnnealing.llff()(512, 0.0, 1.0) == (0.0, 1.0)
    assert SampleSpaceAnnealing.dtu()(0, 0.5, 3.5) == (1.25, 2.75)
    metric = SampleSpaceAnnealing.metric(n_steps=100)
    assert metric(0, 2.0, 6.0) == (3.0, 6.0)  # far never moves
    assert metric(100, 2.0, 6.0) == (2.0, 6.0)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0.5), "n_steps must be a whole number >= 0, got -1"),
        ((1.5, 0.5), "n_steps must be a whole number >= 0, got 1.5"),
        ((10, -0.1), r"start must be in \[0, 1\], got -0.1"),
        ((10, float("nan")), r"start must be in \[0, 1\], got nan"),
        ((10, 0.5, 1.5), r"mid must be in \[0, 1\], got 1.5"),
        ((10, 0.5, 0.5, "code"), 'form must be "paper" or "released", got \'code\''),
    ],
)
def test_says_what_is_wrong(arguments, message) -> None:
    with pytest.raises(ValueError, match=f"^SampleSpaceAnnealing: {message}"):
        SampleSpaceAnnealing(*arguments)
