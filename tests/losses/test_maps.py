"""What losses of depth maps share: patches, and maps brought into [0, 1]."""

import pytest
import torch

from nerfreg.losses import pearson_depth, scale_shift_invariant_depth
from nerfreg.losses.maps import cut, mean, root, standard, unit_range


@pytest.mark.parametrize("loss", [pearson_depth, scale_shift_invariant_depth])
@pytest.mark.parametrize("shape", [(2, 8, 6, 1), (8, 1)])
def test_a_renderers_channel_is_no_map_of_one_column(loss, shape) -> None:
    """As gsplat gives depth: each row would be a map of its own."""
    depth = torch.rand(shape)
    with pytest.raises(ValueError, match=r"drop a last axis of one channel, got \(.*8,.* 1\)"):
        loss(depth, depth)


def test_patches_tile_a_map_from_its_top_left() -> None:
    """Of 5 rows of 7, patches of 2 leave out the last of either."""
    rows = torch.arange(35.0).reshape(1, 5, 7)
    patches = cut(rows, 2)
    assert patches.shape == (1, 6, 4)
    assert patches[0, 0].tolist() == [0.0, 1.0, 7.0, 8.0]
    assert patches[0, 1].tolist() == [2.0, 3.0, 9.0, 10.0]
    assert patches[0, 3].tolist() == [14.0, 15.0, 21.0, 22.0]
    assert cut(rows, None).shape == (1, 1, 35)
    assert cut(None, 2) is None


def test_unit_range() -> None:
    x = torch.tensor([[2.0, 4.0, 10.0], [3.0, 3.0, 3.0], [5.0, 7.0, torch.nan]])
    valid = torch.tensor([[True] * 3, [True] * 3, [True, True, False]])
    unit, varies = unit_range(x, valid, -1)
    assert unit[0].tolist() == [0.0, 0.25, 1.0]
    assert unit[1].tolist() == [0.0, 0.0, 0.0]
    assert unit[2, :2].tolist() == [0.0, 1.0]
    assert unit.isfinite().all()
    assert varies.tolist() == [[True], [False], [True]]
    _, varies = unit_range(x, torch.zeros_like(valid), -1)
    assert not varies.any()


@pytest.mark.parametrize("x", [[-1.5e38, 0.0, 1.5e38], [0.0, 1.5e38, 3e38], [1e-11, 3e-11, 5e-11]])
def test_the_largest_and_the_smallest_spread(x) -> None:
    unit, varies = unit_range(torch.tensor(x), None, -1)
    torch.testing.assert_close(unit, torch.tensor([0.0, 0.5, 1.0]))
    assert varies.all()


@pytest.mark.parametrize(
    ("least", "spread", "dtype", "expected"),
    [
        (2.0, 4e-7, torch.float32, False),  # two of float32's steps
        (2.0, 4e-7, torch.float64, False),  # the same in float64
        (2.0, 1e-5, torch.float32, True),
        (0.0, 1e-13, torch.float32, False),
        (0.0, 1e-11, torch.float32, True),
        (-3e38, 6e38, torch.float32, False),  # infinite
        (1.0, 2.0**-10, torch.float16, False),
        (1.0, 2.0**-8, torch.float16, True),
    ],
)
def test_a_spread_that_is_rounding_is_none(least, spread, dtype, expected) -> None:
    """So that its inverse, up to 1e7, does not become a gradient."""
    x = torch.tensor([[least, least + spread]], dtype=dtype, requires_grad=True)
    unit, varies = unit_range(x, None, -1)
    assert varies.item() == expected
    assert unit.any().item() == expected
    pearson_depth(x, torch.tensor([[2.0, 1.0]], dtype=dtype)).backward()
    assert not x.grad.any()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_standard_numbers(library) -> None:
    """With and without a mask, by torch's own layer norm and by the formula."""
    rows = torch.tensor([[0.0, 0.25, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    everything = torch.ones(3, 3, dtype=torch.bool)
    if library == "numpy":
        rows, everything = rows.numpy(), everything.numpy()
    for valid in (None, everything):
        x = torch.as_tensor(standard(rows, valid))
        torch.testing.assert_close(x[[0, 2]].mean(-1), torch.zeros(2).double())
        torch.testing.assert_close(x[[0, 2]].var(-1, correction=0), torch.ones(2).double())
        assert not x[1].any()
    some = everything & (rows < 1.0)
    x = torch.as_tensor(standard(rows, some))
    torch.testing.assert_close(x[0], torch.tensor([-1.0, 1.0, 0.0]).double())
    assert not x[1:].any()


def test_means_and_roots() -> None:
    x = torch.tensor([[1.0, 2.0, 6.0], [1.0, torch.nan, 6.0]])
    valid = torch.tensor([[True, True, False], [False, False, False]])
    assert mean(x, valid, -1).tolist() == [[1.5], [0.0]]
    assert mean(x[0], None, -1).tolist() == [3.0]
    y = torch.tensor([0.0, 4.0], requires_grad=True)
    root(y).sum().backward()
    assert root(y).tolist() == [0.0, 2.0]
    assert y.grad.tolist() == [0.0, 0.25]
