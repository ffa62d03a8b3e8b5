"""Argument checks: what they let pass, what they say, and their switch."""

import runpy
from fractions import Fraction

import numpy as np
import pytest
import torch

from nerfreg import RayEntropy, checks
from tests.laws.calls import library

EVERY = pytest.mark.parametrize("name", ["torch", "numpy", "jax", "strict"])


def test_value_checks_are_off_until_asked_for_and_nest() -> None:
    assert not checks.value_checks()
    with checks.check_values():
        assert checks.value_checks()
        with checks.check_values(False):
            assert not checks.value_checks()
        assert checks.value_checks()
    assert not checks.value_checks()


def test_value_checks_end_with_their_block_even_in_an_error() -> None:
    with pytest.raises(KeyError), checks.check_values():
        raise KeyError
    assert not checks.value_checks()


@pytest.mark.parametrize(("setting", "expected"), [("1", True), ("0", False), ("", False)])
def test_environment_switches_value_checks(monkeypatch, setting, expected) -> None:
    monkeypatch.setenv("NERFREG_CHECK_VALUES", setting)
    assert runpy.run_path(checks.__file__)["value_checks"]() is expected


def test_require_values() -> None:
    value = torch.tensor([1.0, -2.0, torch.nan])

    def rule(x: torch.Tensor) -> torch.Tensor:
        return x > 0

    checks.require_values("f", "x", value, "> 0", rule)
    with checks.check_values():
        checks.require_values("f", "x", value[:1], "> 0", rule)
        for holds in (rule, rule(value)):
            with pytest.raises(ValueError, match="f: x must be > 0 everywhere, but 2 of 3 values"):
                checks.require_values("f", "x", value, "> 0", holds)


def test_a_rule_is_not_evaluated_while_checks_are_off() -> None:
    def rule(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    checks.require_values("f", "x", torch.ones(1), "> 0", rule)


@EVERY
def test_require_values_of_every_library(name) -> None:
    with library(name) as array, checks.check_values():
        value = array(np.array([[1.0, 0.5], [-2.0, 3.0]]))
        checks.require_values("f", "x", value, "> -3", lambda x: x > -3.0)
        message = r"f: x must be > 0 everywhere, but 1 of 4 values are not \(smallest: -2\)"
        with pytest.raises(ValueError, match=message):
            checks.require_values("f", "x", value, "> 0", lambda x: x > 0.0)


def test_traced_values_are_not_looked_at() -> None:
    jax = pytest.importorskip("jax")

    def function(x):
        checks.require_values("f", "x", x, "> 0", lambda x: x > 0.0)
        return x.sum()

    x = -jax.numpy.ones(2)
    with checks.check_values():
        assert jax.jit(function)(x) == -2.0
        assert jax.grad(function)(x).tolist() == [1.0, 1.0]
        with pytest.raises(ValueError, match="x must be > 0"):
            function(x)


def test_values_are_not_looked_at_while_torch_compiles() -> None:
    torch.compiler.reset()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def function(x: torch.Tensor) -> torch.Tensor:
        checks.require_values("f", "x", x, "> 0", lambda x: x > 0.0)
        return x.sum()

    with checks.check_values():
        assert function(-torch.ones(2)) == -2.0


@EVERY
def test_require_finite(name) -> None:
    with library(name) as array:
        given = array(np.array([[1.0, 2.0], [np.nan, np.inf]]))
        checks.require_finite("f", x=given)  # nothing is looked at until asked for
        with checks.check_values():
            checks.require_finite("f", None, x=given[:1, :], y=None)
            checks.require_finite("f", array(np.array([True, False])), x=given)
            message = r"f: x must be finite \(or not valid\) everywhere, but 2 of 4 values are not"
            for valid in (None, array(np.array([False, True]))):
                with pytest.raises(ValueError, match=message):
                    checks.require_finite("f", valid, x=given)


@pytest.mark.parametrize("value", [0.5, 2, np.float32(0.5), np.int64(2), Fraction(1, 2)], ids=repr)
def test_require_number_takes_numbers(value) -> None:
    checks.require_number("f", "eps", value, "> 0", lambda x: x > 0)


@pytest.mark.parametrize(
    "value",
    [0.0, -1, float("nan"), float("inf"), "1", None, True, torch.tensor(1.0), np.ones(1), [1.0]],
    ids=repr,
)
def test_require_number_refuses_all_else(value) -> None:
    with pytest.raises(ValueError, match=r"^f: eps must be a number > 0, got "):
        checks.require_number("f", "eps", value, "> 0", lambda x: x > 0)


@pytest.mark.usefixtures("unhooked")
def test_options_that_are_symbols_compile() -> None:
    """``dynamic=True`` makes one of each number, a module's options included."""
    torch.compiler.reset()
    loss = RayEntropy(threshold=0.3)
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for n_rays in (3, 5):
        weights = torch.rand(n_rays, 7) / 7
        torch.testing.assert_close(compiled(weights), loss(weights))


def test_require_choice() -> None:
    checks.require_choice("f", "norm", "l1", ("l1", "l2"))
    with pytest.raises(ValueError, match=r'f: norm must be "l1", "l2" or "max", got None'):
        checks.require_choice("f", "norm", None, ("l1", "l2", "max"))


@pytest.mark.usefixtures("unhooked")
def test_require_floating() -> None:
    checks.require_floating("f", x=torch.ones(1), y=None, z=torch.ones(1).half())
    with pytest.raises(TypeError, match=r"f: y must be floating point, got torch.int64"):
        checks.require_floating("f", x=torch.ones(1), y=torch.ones(1).long())
    with pytest.raises(
        TypeError, match=r"f: x must be an array .*, got float; for one number everywhere, fill one"
    ):
        checks.require_floating("f", x=1.0)


@pytest.mark.usefixtures("unhooked")
@EVERY
def test_require_floating_of_every_library(name) -> None:
    with library(name) as array:
        checks.require_floating("f", x=array(np.ones(1)), y=array(np.ones(1, np.float32)))
        for dtype in (np.int32, np.bool_):
            with pytest.raises(TypeError, match="f: x must be floating point, got"):
                checks.require_floating("f", x=array(np.ones(1, dtype)))


@pytest.mark.parametrize("check", [checks.require_arrays, checks.require_floating])
def test_arrays_are_of_one_library(check) -> None:
    message = "f: arguments must be arrays of one library, got x torch, y numpy$"
    with pytest.raises(TypeError, match=message):
        check("f", x=torch.ones(1), y=np.ones(1), z=None)
    jax = pytest.importorskip("jax")
    message = "f: arguments must be arrays of one library, got x numpy, y jax.numpy$"
    with pytest.raises(TypeError, match=message):
        check("f", x=np.ones(1), y=jax.numpy.ones(1))


def test_require_arrays_takes_any_dtype_but_no_lists() -> None:
    checks.require_arrays("f", x=torch.ones(1), y=None, z=torch.ones(2).bool())
    with pytest.raises(TypeError, match=r"f: z must be an array \(torch, JAX or NumPy\), got list"):
        checks.require_arrays("f", x=torch.ones(1), z=[1])


def test_require_one_device() -> None:
    checks.require_one_device("f", x=torch.ones(1), y=None, z=torch.ones(2))
    checks.require_one_device("f", x=np.ones(1))
    message = "f: arguments must be on one device, got x on cpu, z on meta"
    with pytest.raises(ValueError, match=message):
        checks.require_one_device("f", x=torch.ones(1), y=None, z=torch.ones(2, device="meta"))


def test_require_same_shape() -> None:
    checks.require_same_shape("f", "(R,)", x=torch.ones(2), y=None, z=torch.zeros(2))
    message = r"f: x, y must share one shape \(R,\), got x \(2,\), y \(2, 1\)"
    with pytest.raises(ValueError, match=message):
        checks.require_same_shape("f", "(R,)", x=torch.ones(2), y=torch.ones(2, 1))
    message = "f: arguments must be on one device, got x on cpu, y on meta"
    with pytest.raises(ValueError, match=message):
        checks.require_same_shape("f", "(R,)", x=torch.ones(2), y=torch.ones(2, device="meta"))


def test_require_shape() -> None:
    checks.require_shape("f", "one a ray", (2,), x=torch.ones(2), y=None)
    with pytest.raises(ValueError, match=r"f: x must have shape \(2,\), one a ray, got \(2, 1\)"):
        checks.require_shape("f", "one a ray", (2,), x=torch.ones(2, 1))


def test_require_mask() -> None:
    checks.require_mask("f", (2,), torch.ones(2, dtype=torch.bool))
    checks.require_mask("f", (2,), None)
    for wrong in (torch.ones(2), torch.ones(1, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"f: valid must be boolean of shape \(2,\), got"):
            checks.require_mask("f", (2,), wrong)
    with pytest.raises(TypeError, match="f: valid must be a boolean array, got list"):
        checks.require_mask("f", (2,), [True, False])


def test_require_mask_beside_what_it_masks() -> None:
    mask, ones = torch.ones(2, dtype=torch.bool), torch.ones(2)
    checks.require_mask("f", (2,), mask, ones)
    with pytest.raises(TypeError, match="arrays of one library, got valid numpy, values torch"):
        checks.require_mask("f", (2,), mask.numpy(), ones)
    with pytest.raises(ValueError, match="on one device, got valid on meta, values on cpu"):
        checks.require_mask("f", (2,), mask.to("meta"), ones)


@EVERY
def test_require_mask_of_every_library(name) -> None:
    with library(name) as array:
        checks.require_mask("f", (2,), array(np.ones(2, dtype=bool)))
        with pytest.raises(ValueError, match=r"f: valid must be boolean of shape \(2,\), got"):
            checks.require_mask("f", (2,), array(np.ones(2)))
