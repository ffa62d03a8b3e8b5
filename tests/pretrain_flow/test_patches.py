"""Patches come from where they should: sizes, offsets, mirrors, and who is held out."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from pretrain_flow.bank import PatchBank, bytes_needed
from pretrain_flow.cuts import cut, cut_at_sizes, reduced
from pretrain_flow.draws import numpy_rng, torch_rng
from pretrain_flow.embedded import HELDOUT, LICENCES, embedded_photographs
from pretrain_flow.photographs import UnusableError, decode
from pretrain_flow.split import is_held_out, split_names
from tests.pretrain_flow.conftest import photograph


def windows(image, size):
    """Every patch of an image and its mirror image, as bytes."""
    found = np.moveaxis(sliding_window_view(image, (size, size), (0, 1)), 2, -1)
    found = found.reshape(-1, size, size, 3)
    return {patch.tobytes() for patch in found}, {p[:, ::-1].tobytes() for p in found}


def test_a_bank_draws_from_every_photograph_size_and_offset():
    images = [[photograph("a", 9, 7), photograph("b", 6, 5)], [photograph("c", 5, 8)] * 2]
    drawn = PatchBank.of(images, "cpu").draw(20_000, 4, torch_rng("cpu", 0))
    counts = {}
    for patch in drawn.numpy():
        counts[patch.tobytes()] = counts.get(patch.tobytes(), 0) + 1
    expected = set()
    for image, share in ((images[0][0], 1 / 4), (images[0][1], 1 / 4), (images[1][0], 1 / 2)):
        for seen in windows(image, 4):
            expected |= seen
            n = sum(counts.get(patch, 0) for patch in seen)
            assert n / 20_000 == pytest.approx(share / 2, abs=0.02), "half are mirrored"
            mean = 10_000 * share / len(seen)
            assert all(0.5 * mean < counts[patch] < 1.6 * mean for patch in seen)
    assert counts.keys() == expected


def test_cuts_are_windows_at_any_offset():
    image = photograph("a", 13, 11)
    straight, mirrored = windows(image, 8)
    plain = {p.tobytes() for p in cut(image, 500, 8, numpy_rng(0), flip=False)}
    assert plain == straight
    assert {p.tobytes() for p in cut(image, 900, 8, numpy_rng(0), flip=True)} == straight | mirrored


def test_reduction_averages_areas():
    image = photograph("a", 16, 12)
    (half,) = reduced(image, 1, (2.0, 2.0), numpy_rng(0), 4)
    mean = image.reshape(6, 2, 8, 2, 3).astype(float).mean((1, 3))
    assert abs(half - mean).max() <= 1, "rounded after each direction"
    (same,) = reduced(image, 1, (1.0, 1.0), numpy_rng(0), 4)
    assert same is image


def test_sizes_cover_the_range_and_leave_room_for_a_patch():
    image = photograph("a", 200, 100)
    widths = [copy.shape[1] for copy in reduced(image, 4, (1.0, 4.0), numpy_rng(1), 8)]
    bounds = [200, 141, 100, 70, 50]
    assert all(low <= w <= high for w, low, high in zip(widths, bounds[1:], bounds, strict=False))
    (small,) = reduced(photograph("b", 9, 12), 1, (4.0, 4.0), numpy_rng(0), 8)
    assert small.shape == (11, 8, 3)
    with pytest.raises(UnusableError, match="12x7 pixels, smaller than a patch of 8x8"):
        reduced(photograph("c", 12, 7), 1, (1.0, 1.0), numpy_rng(0), 8)


def test_patches_are_shared_out_over_sizes():
    image = photograph("a", 40, 40)
    patches = cut_at_sizes(image, 10, (1.0, 3.0), numpy_rng(0), 8)
    assert patches.shape == (10, 8, 8, 3)
    copies = reduced(image, 4, (1.0, 3.0), numpy_rng(0), 8)
    for copy, part in zip(copies, np.split(patches, [3, 6, 8]), strict=True):
        straight, _ = windows(copy, 8)
        assert {p.tobytes() for p in part} <= straight
    assert len(cut_at_sizes(image, 2, (1.0, 3.0), numpy_rng(0), 8)) == 2


def test_memory_is_foretold():
    factors = (1.0, 3.0)
    image = np.zeros((300, 400, 3), np.uint8)
    copies = [c for seed in range(20) for c in reduced(image, 4, factors, numpy_rng(seed), 8)]
    needed = bytes_needed(400, 300, 4, factors)
    assert sum(c.nbytes for c in copies) / 20 == pytest.approx(needed, rel=0.03)
    assert bytes_needed(4, 3, 2, (2.0, 2.0)) == 18


def test_the_split_is_by_name_and_stays_as_others_come_and_go():
    names = [f"{i}.jpg" for i in range(400)]
    held = split_names(names, 0.1, seed=0)
    assert 20 < len(held) < 60
    assert split_names(names[:300], 0.1, seed=0) == held & {*names[:300]}
    assert held == {name for name in names if is_held_out(name, 0.1, 0)}
    assert split_names(names, 0.1, seed=1) != held


def test_both_sides_of_a_split_have_a_photograph():
    assert len(split_names(["a", "b"], 1e-9, seed=0)) == 1
    assert len(split_names(["a", "b", "c"], 0.9999, seed=0)) == 2
    with pytest.raises(ValueError, match=r"^--images: one photograph cannot be split .*--heldout"):
        split_names(["a"], 0.5, seed=0)


def test_the_embedded_photographs_are_there_in_colour():
    train, held_out = embedded_photographs()
    assert {name for name, _ in train} | {name for name, _ in held_out} == {*LICENCES}
    assert [name for name, _ in held_out] == [*HELDOUT]
    assert not {name for name, _ in train} & {*HELDOUT}
    for _, path in train + held_out:
        image = decode(path, "skip")
        assert min(image.shape[:2]) >= 300
        assert np.abs(image[..., 0].astype(int) - image[..., 2]).mean() > 5


def test_missing_packages_of_the_embedded_photographs_are_named(monkeypatch):
    monkeypatch.setattr("pretrain_flow.embedded.find_spec", lambda package: None)
    with pytest.raises(ImportError, match=r'pip install "nerfreg\[pretrain\]", or give --images'):
        embedded_photographs()


def test_draws_depend_on_their_purpose_alone():
    a = torch.rand(3, generator=torch_rng("cpu", 0, "step", 5))
    torch.rand(3, generator=torch_rng("cpu", 0, "step", 4))
    assert torch.equal(a, torch.rand(3, generator=torch_rng("cpu", 0, "step", 5)))
    assert not torch.equal(a, torch.rand(3, generator=torch_rng("cpu", 0, "step", 6)))
