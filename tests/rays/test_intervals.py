"""Edges become intervals at the door; an open interval has a place in the scene."""

import pytest
import torch

from nerfreg.rays import edges_to_intervals
from nerfreg.rays.intervals import representative_t


def test_edges_to_intervals() -> None:
    starts, ends = edges_to_intervals(torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 5.0]]))
    assert starts.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert ends.tolist() == [[2.0, 4.0], [0.0, 5.0]]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (3, 0)])
def test_says_what_is_wrong(shape) -> None:
    with pytest.raises(ValueError, match=r"edges must be \(…, S\+1\) with S >= 1, got"):
        edges_to_intervals(torch.ones(shape))


def test_an_open_interval_is_represented_by_its_start() -> None:
    t = representative_t(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1e10]))
    assert t.tolist() == [1.5, 2.0]
