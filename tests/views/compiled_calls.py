"""Compile every function of poses and rays as one graph, without a warning, and compare with eager.

A program of its own, as :mod:`tests.views.compiled_rays`.
"""

import warnings

import torch

from tests.views.calls import CALLS


def main() -> None:
    warnings.simplefilter("error")
    for name, call in CALLS.items():
        if " " in name:
            continue  # another case of a function that has its turn
        inputs = {key: torch.tensor(x) for key, x in call.inputs.items()}
        torch.compiler.reset()
        compiled = torch.compile(
            lambda call=call, **x: call(**x), fullgraph=True, backend="aot_eager"
        )
        try:
            found = compiled(**inputs)
        except Exception as error:
            raise AssertionError(f"{name} does not compile") from error
        for actual, expected in zip(found, call(**inputs), strict=True):
            torch.testing.assert_close(
                actual, expected, msg=lambda text, name=name: f"{name}: {text}"
            )


if __name__ == "__main__":
    main()
