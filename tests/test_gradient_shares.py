"""How strongly each term pulls: the norm of its gradient, alone and against the others."""

import pytest
import torch

from nerfreg import Objective, gradient_shares


def leaf(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def test_norms_and_shares_by_hand():
    """2·(x₁ + x₂) has the gradient (2, 2); x₁² at 3 has (6, 0) and y has 8 beside it."""
    x, y = leaf(3.0, 1.0), leaf(1.0)
    found = gradient_shares({"sum": 2 * x.sum(), "square": x[0] ** 2 + 8 * y[0]}, [x, y])
    assert found.norms["sum"].item() == pytest.approx(8**0.5)
    assert found.norms["square"].item() == pytest.approx(10)
    assert found.shares["square"].item() == pytest.approx(10 / (10 + 8**0.5))
    assert sum(found.shares.values()).item() == pytest.approx(1)
    assert found.relative_to("sum")["square"].item() == pytest.approx(10 / 8**0.5)
    assert not any(value.requires_grad for value in (*found.norms.values(), *found.shares.values()))


def test_terms_are_weighted_and_grad_is_left_alone():
    """0.5 · 2x at 3 against 3 · 2x at 2; backward still works, on the same graph."""
    objective = Objective(
        {"a": (lambda x: x.square().sum(), 0.5), "b": (lambda x: x.square().sum(), 3.0)}
    )
    a, b = leaf(3.0), leaf(2.0)
    a.grad = torch.tensor([7.0])
    value = objective(0, {"a": {"x": a}, "b": {"x": b}})
    found = gradient_shares(value.weighted, [a, b])
    assert found.shares["a"].item() == pytest.approx(3 / 15)
    assert a.grad.item() == 7
    assert b.grad is None
    value.total.backward()
    assert (a.grad.item(), b.grad.item()) == (7 + 3, 12)


def test_weighted_terms_are_what_the_total_sums():
    objective = Objective({"a": (torch.sum, 0.5), "off": (torch.sum, 0.0)})
    value = objective(0, {"a": {"input": leaf(3.0)}, "off": {"input": leaf(float("nan"))}})
    assert value.total.item() == value.weighted["a"].item() == 1.5
    assert value.weighted["off"].item() == 0, "what is off spreads no NaN"
    assert value.values["off"].isnan()


def test_a_term_that_trains_nothing_has_no_share():
    x, other = leaf(1.0), leaf(1.0)
    terms = {"x": x.sum(), "elsewhere": other.sum(), "constant": torch.tensor(3.0)}
    found = gradient_shares(terms, [x])
    assert {name: share.item() for name, share in found.shares.items()} == {
        "x": 1,
        "elsewhere": 0,
        "constant": 0,
    }
    nothing = gradient_shares({"constant": torch.tensor(3.0), "zero": 0 * x.sum()}, [x])
    assert {share.item() for share in nothing.shares.values()} == {0}


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_gradients_far_from_one_keep_their_norm(size):
    """Squares of these leave float32."""
    x = leaf(1.0, 1.0)
    found = gradient_shares({"a": size * (3 * x[0] + 4 * x[1])}, [x])
    assert found.norms["a"].item() == pytest.approx(5 * size)
    assert found.shares["a"].item() == pytest.approx(1)


def test_half_precision_is_measured_in_float32():
    x = torch.full((3000,), 1.0, dtype=torch.float16, requires_grad=True)
    found = gradient_shares({"a": (200 * x).float().sum()}, [x])
    assert found.norms["a"].dtype == torch.float32
    assert found.norms["a"].item() == pytest.approx(200 * 3000**0.5)


def test_double_and_single_precision_mix():
    x, y = leaf(3.0, dtype=torch.float64), leaf(4.0)
    terms = {"a": (x**2).sum() + (y**2).sum(), "b": y.sum(), "constant": torch.tensor(1.0)}
    found = gradient_shares(terms, [x, y])
    assert found.norms["a"].item() == pytest.approx(10)
    assert found.shares["a"].item() == pytest.approx(10 / 11)


def test_a_term_that_is_not_finite_is_told_by_its_norm():
    x = leaf(0.0)
    found = gradient_shares({"good": x.sum(), "bad": x.sqrt().sum() * 0}, [x])
    assert found.norms["good"].item() == 1
    assert not found.norms["bad"].isfinite()
    assert found.shares["good"].isnan()


def test_the_graph_is_freed_if_nobody_needs_it():
    x = leaf(2.0)
    shared = x.square()
    terms = {"a": shared.sum(), "b": shared.square().sum(), "constant": torch.tensor(1.0)}
    assert gradient_shares(terms, [x], retain_graph=False).norms["b"].item() == 32
    with pytest.raises(RuntimeError, match="second time"):
        terms["a"].backward()


def test_of_a_tensor_inside_the_graph():
    """Which term pulls at the rendered depth, whatever the field."""
    x = leaf(2.0)
    depth = 5 * x
    assert gradient_shares({"a": depth.square().sum()}, [depth]).norms["a"].item() == 20


@pytest.mark.usefixtures("unhooked")
def test_errors():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match="terms must hold at least one"):
        gradient_shares({}, [x])
    with pytest.raises(TypeError, match=r"term 'a' must be a torch\.Tensor, got float"):
        gradient_shares({"a": 1.0}, [x])
    with pytest.raises(ValueError, match=r"term 'a' must be a scalar, got shape \(2,\)"):
        gradient_shares({"a": x}, [x])
    with pytest.raises(ValueError, match="none of the parameters requires a gradient"):
        gradient_shares({"a": x.sum()}, [x.detach()])
    with pytest.raises(TypeError, match=r"pass module\.parameters\(\)"):
        gradient_shares({"a": x.sum()}, ["x"])
    with pytest.raises(KeyError, match="no term named 'b'"):
        gradient_shares({"a": x.sum()}, [x]).relative_to("b")


def test_sparse_gradients_count():
    table = torch.nn.Embedding(4, 3, sparse=True)
    rows = table(torch.tensor([1, 1, 2]))
    found = gradient_shares({"sum": rows.sum()}, table.parameters())
    assert found.norms["sum"].item() == pytest.approx((3 * 4 + 3 * 1) ** 0.5)
    none = table(torch.zeros(0, dtype=torch.long))
    assert gradient_shares({"sum": none.sum()}, table.parameters()).norms["sum"].item() == 0
