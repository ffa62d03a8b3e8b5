import dataclasses

import pytest
import torch

from nerfreg.supervision import Keypoints


@pytest.fixture
def keypoints() -> Keypoints:
    return Keypoints(
        name="a.jpg",
        image_id=7,
        xy=torch.tensor([[0.5, 0.5], [10.0, 4.0], [3.0, 8.0]]),
        depth=torch.tensor([1.0, 2.0, 4.0]),
        std=torch.tensor([0.1, 0.2, 0.3]),
        error=torch.tensor([0.5, 0.6, 0.7]),
        point_error=torch.tensor([0.4, 0.5, 0.6]),
        track_length=torch.tensor([2, 3, 2]),
        point_ids=torch.tensor([11, 5, 2**40]),
        mean_error=0.5,
    )


def changed(before: Keypoints, after: Keypoints) -> set[str]:
    pairs = (
        (f.name, getattr(before, f.name), getattr(after, f.name))
        for f in dataclasses.fields(before)
    )
    return {
        name
        for name, a, b in pairs
        if not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b)
    }


def test_a_scaled_world_changes_lengths_alone(keypoints: Keypoints):
    scaled = keypoints.scaled(10.0)
    torch.testing.assert_close(scaled.depth, 10 * keypoints.depth)
    torch.testing.assert_close(scaled.std, 10 * keypoints.std)
    assert changed(keypoints, scaled) == {"depth", "std"}


def test_a_resized_image_changes_pixels_alone(keypoints: Keypoints):
    resized = keypoints.resized(0.5, 0.125)
    torch.testing.assert_close(resized.xy, keypoints.xy * torch.tensor([0.5, 0.125]))
    for name in ("error", "point_error"):
        torch.testing.assert_close(getattr(resized, name), 0.25 * getattr(keypoints, name))
    assert resized.mean_error == 0.125
    assert changed(keypoints, resized) == {"xy", "error", "point_error", "mean_error"}


def test_the_image_corner_stays_when_resized(keypoints: Keypoints):
    # The centre of the first pixel, (0.5, 0.5), lies at a quarter at half the size.
    assert keypoints.resized(0.5, 0.5).xy[0].tolist() == [0.25, 0.25]


def test_there_and_back(keypoints: Keypoints):
    back = keypoints.resized(0.25, 0.5).scaled(8.0).scaled(1 / 8).resized(4.0, 2.0)
    for name in ("xy", "depth", "std", "error", "point_error"):
        torch.testing.assert_close(getattr(back, name), getattr(keypoints, name))


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_factors_must_be_positive(keypoints: Keypoints, factor: float):
    with pytest.raises(ValueError, match="scaled: scale must be > 0"):
        keypoints.scaled(factor)
    with pytest.raises(ValueError, match="resized: factors must be > 0"):
        keypoints.resized(1.0, factor)


def test_selection(keypoints: Keypoints):
    near = keypoints.where(keypoints.depth < 3)
    assert len(near) == 2
    assert near.point_ids.tolist() == [11, 5]
    assert near.xy.shape == (2, 2)
    assert near.name == "a.jpg"
    nothing = keypoints.where(keypoints.depth < 0)
    assert len(nothing) == 0
    assert nothing.xy.shape == (0, 2)


def test_conversion_leaves_integers_alone(keypoints: Keypoints):
    double = keypoints.to("cpu", torch.float64)
    assert {double.xy.dtype, double.depth.dtype, double.std.dtype} == {torch.float64}
    assert {double.track_length.dtype, double.point_ids.dtype} == {torch.int64}
    assert changed(keypoints, keypoints.to("cpu")) == set()
