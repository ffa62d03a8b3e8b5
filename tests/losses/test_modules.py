"""Every loss function has a module that offers exactly its options."""

import inspect

import pytest

from nerfreg import losses

PAIRS = {
    "DepthKL": "depth_kl",
    "DepthMSE": "depth_mse",
    "DepthSmoothness": "depth_smoothness",
}


def parameters(f) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(f).parameters)
    found.pop("self", None)
    return found


@pytest.mark.parametrize("module", PAIRS)
def test_module_and_function_offer_the_same(module) -> None:
    cls, function = getattr(losses, module), getattr(losses, PAIRS[module])
    options, inputs = parameters(cls.__init__), parameters(cls.forward)
    assert not options.keys() & inputs.keys()
    together = {**options, **inputs}
    assert together.keys() == parameters(function).keys()
    for name, parameter in parameters(function).items():
        assert together[name].default == parameter.default
    positional = [
        name for name, p in parameters(function).items() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert list(inputs)[: len(positional)] == positional


def test_every_module_is_paired() -> None:
    assert {name for name in losses.__all__ if name[0].isupper()} - {"Reduction"} == PAIRS.keys()
