"""Named losses times scheduled weights."""

import pytest
import torch

from nerfreg import DepthSmoothness, Objective
from nerfreg.schedules import Linear


def square(x):
    return x.square().mean()


def x_of(value):
    return torch.tensor([float(value)], requires_grad=True)


def test_total_is_the_weighted_sum_and_values_are_unweighted():
    """0.5 · 3² + 400 · 2² at step 0; at step 512 the second weight is 0.1."""
    objective = Objective({"a": (square, 0.5), "b": (square, Linear(400.0, 0.1, 512))})
    inputs = {"a": {"x": x_of(3)}, "b": {"x": x_of(2)}}
    first, last = objective(0, inputs), objective(512, inputs)
    assert first.total.item() == pytest.approx(0.5 * 9 + 400 * 4)
    assert last.total.item() == pytest.approx(0.5 * 9 + 0.1 * 4)
    assert {k: v.item() for k, v in first.values.items()} == {"a": 9.0, "b": 4.0}
    assert first.weights == {"a": 0.5, "b": 400.0}
    assert first.total.requires_grad
    assert not first.values["a"].requires_grad


def test_gradient_of_each_term_carries_its_weight():
    a, b = x_of(3), x_of(2)
    Objective({"a": (square, 0.5), "b": (square, 2.0)})(
        0, {"a": {"x": a}, "b": {"x": b}}
    ).total.backward()
    assert a.grad.item() == pytest.approx(0.5 * 6)
    assert b.grad.item() == pytest.approx(2 * 4)


def test_a_term_without_input_is_left_out():
    value = Objective({"a": (square, 1.0), "b": (square, 1.0)})(0, {"a": {"x": x_of(3)}})
    assert value.total.item() == 9
    assert set(value.values) == {"a"}


def test_zero_weight_keeps_nan_out_of_the_total_but_in_the_log():
    value = Objective({"a": (square, 1.0), "b": (square, 0.0)})(
        0, {"a": {"x": x_of(3)}, "b": {"x": x_of("nan")}}
    )
    assert value.total.item() == 9
    assert value.values["b"].isnan()


def test_only_zero_weights_give_zero():
    assert Objective({"a": (square, 0.0)})(0, {"a": {"x": x_of(3)}}).total.item() == 0


def test_warns_once_about_a_term_that_never_received_its_input():
    objective = Objective(
        {"a": (square, 1.0), "lost": (square, 1.0), "off": (square, 0.0)}, grace=3
    )
    for step in range(5000, 5002):  # of a run that was resumed: two calls so far
        objective(step, {"a": {"x": x_of(1)}})
    with pytest.warns(UserWarning, match=r"lost never received input in 3 calls"):
        objective(torch.tensor(5002), {"a": {"x": x_of(1)}})
    objective(5003, {"a": {"x": x_of(1)}})  # a second warning would be an error
    assert objective.starved() == ["lost", "off"]


def test_no_warning_when_every_term_was_fed_once():
    objective = Objective({"a": (square, 1.0), "b": (square, 1.0)}, grace=2)
    objective(0, {"b": {"x": x_of(1)}})
    value = [objective(step, {"a": {"x": x_of(1)}}) for step in range(1, 4)]
    assert value[-1].total.item() == 1
    assert objective.starved() == []


def test_describe_names_every_term_with_loss_and_weight():
    text = Objective(
        {"smooth": (DepthSmoothness(), Linear(400.0, 0.1, 512)), "b": (square, 2)}
    ).describe()
    assert "smooth" in text
    assert "400" in text
    assert "Linear" in text
    assert "DepthSmoothness" in text
    assert "constant" in text
    assert "square" in text
    assert "0x" not in text


def test_tensor_step_works():
    objective = Objective({"a": (square, Linear(1.0, 0.0, 10))})
    assert objective(torch.tensor(5), {"a": {"x": x_of(2)}}).total.item() == pytest.approx(2.0)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"a": square}, "term 'a' must be a pair"),
        ({"a": (1.0, square)}, "loss of term 'a' must be callable"),
        ({"a": (square, "1")}, "weight of term 'a' must be a number or a function"),
    ],
)
def test_wrong_terms(terms, message):
    with pytest.raises(TypeError, match=message):
        Objective(terms)


def test_wrong_inputs():
    objective = Objective(
        {"a": (square, 1.0), "vector": (lambda x: x, 1.0), "cut": (lambda x: x.detach().sum(), 1.0)}
    )
    with pytest.raises(KeyError, match="no term named"):
        objective(0, {"b": {"x": x_of(1)}})
    with pytest.raises(ValueError, match="no term received input"):
        objective(0, {})
    with pytest.raises(ValueError, match="'vector' must return a scalar, got shape"):
        objective(0, {"vector": {"x": x_of(1)}})
    with pytest.raises(ValueError, match="'cut' returned a value without gradient"):
        objective(0, {"cut": {"x": x_of(1)}})


def test_a_loss_of_another_library_is_refused():
    objective = Objective({"numpy": (lambda x: x.numpy().sum(), 1.0)})
    with pytest.raises(TypeError, match=r"term 'numpy' must return a torch\.Tensor, got float32"):
        objective(0, {"numpy": {"x": torch.ones(2)}})
