"""Argument checks: what they let pass, what they say, and their switch."""

import runpy

import pytest
import torch

from nerfreg import checks


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
        TypeError, match=r"f: x must be an array \(torch, JAX or NumPy\), got float"
    ):
        checks.require_floating("f", x=1.0)


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
