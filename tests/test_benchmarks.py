"""The benchmark of the regularizers runs, and its naive formulations compute the same."""

import pytest
import torch

from nerfreg.losses import __all__ as names
from tests.benchmarks import losses as benchmark

TINY = "--rays 16 --samples 12 --packed-samples 128 --packed-rays 8 --patches 4 --map 20 22"
TINY += " --repeats 1 --threads 1"


ROWS = list(benchmark.rows(benchmark.arguments(TINY.split())))


def test_every_regularizer_is_measured() -> None:
    measured = {row.name for row in ROWS} | {"flow_color_prior"}  # in color_prior.py
    assert {name for name in names if name.islower() and name != "reduce"} <= measured


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}, {row.layout}")
def test_all_ways_come_to_the_same(row) -> None:
    if row.layout.startswith("uneven") and row.name in ("emptiness", "occlusion"):
        pytest.skip("a mean over samples, which padding makes more of")
    values = {way: function(**inputs) for way, (function, inputs) in row.ways.items()}
    values.pop("dense", None)  # of other samples
    if row.name == "weights_from_density":
        values = {way: value.sum() for way, value in values.items()}
    expected = values.pop("nerfreg").flatten()
    assert values
    for value in values.values():
        torch.testing.assert_close(value.flatten(), expected, rtol=2e-4, atol=1e-6)


def test_prints_a_table_and_what_holds(capfd) -> None:
    only = "--only depth_mse distortion opacity"
    benchmark.main([*TINY.split(), *only.split()])
    text = capfd.readouterr().out
    machine, table, verdicts = text.strip().split("\n\n")
    assert "torch" in machine
    assert "seed 0" in machine
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
    assert {len(row) for row in rows} == {len(benchmark.HEADINGS)}
    assert {row[0] for row in rows[2:]} == {
        "`depth_mse`",
        "`distortion`",
        "`distortion, with bounds`",
        "`opacity`",
    }
    assert all(float(row[2]) > 0.0 for row in rows[2:])
    assert "- distortion, dense 4×24, at least 20× faster than O(S²): not" in verdicts


def test_memory_is_the_most_that_is_held_at_once() -> None:
    x = torch.ones(2**18, requires_grad=True)  # 1 MiB

    def step() -> None:
        torch.ones(2**18)
        (y,) = torch.autograd.grad((x * x).sum(), x)  # two factors' gradients, then their sum
        del y

    assert 2.0 <= benchmark.peak_bytes(step, "cpu") / 2**20 < 3.5


def test_says_what_does_not_hold() -> None:
    slow = benchmark.Row("distortion", "dense 4×256", [], {})
    slow.fastest = {"nerfreg": 1.0, "naive": 0.5}
    packed = benchmark.Row("emptiness", "packed 8 in 2", [], {})
    packed.fastest = {"nerfreg": 1.0, "naive": 3.0, "dense": 0.5}
    text = "\n".join(benchmark.verdicts([slow, packed]))
    assert "never slower than the naive way: not `distortion` dense 4×256 (2.00×)" in text
    assert "faster than O(S²): not 0.5×" in text
    assert "packed samples take at most 1.5× what dense ones take: not `emptiness` (2.00×)" in text
    assert "uneven samples take at most 1.5× what dense ones take: holds" in text
