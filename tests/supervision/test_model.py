import dataclasses
import math

import numpy as np
import pytest
import torch

from nerfreg.supervision import SparseModel, SupervisionWarning, depth_std


def model(names: tuple[str, ...] = ("a.png", "b.png", "c.png")) -> SparseModel:
    """Three cameras on the x axis at 0, 1, 2 that look along +z, and four points.

    Point 10 is seen by all, 20 by a and b, 30 by b and c, 40 by c alone.
    """
    seen = {10: "abc", 20: "ab", 30: "bc", 40: "c"}
    points = np.array([[0.5, 0.2, 4.0], [1.0, -0.5, 5.0], [1.5, 0.0, 2.0], [2.0, 0.1, 3.0]])
    poses = np.tile(np.eye(3, 4), (3, 1, 1))
    poses[:, 0, 3] = [0.0, -1.0, -2.0]
    intrinsics = np.tile(np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]), (3, 1, 1))
    pairs = np.array([("abc".index(v), i) for i, views in enumerate(seen.values()) for v in views])
    in_camera = np.einsum("mij,mj->mi", poses[pairs[:, 0], :, :3], points[pairs[:, 1]])
    in_camera += poses[pairs[:, 0], :, 3]
    return SparseModel(
        source="made up",
        names=list(names),
        image_ids=np.array([4, 9, 2]),
        world_to_camera=poses,
        intrinsics=intrinsics,
        sizes=np.array([[100, 80]] * 3),
        point_ids=np.array(list(seen)),
        points=points,
        view=pairs[:, 0],
        point=pairs[:, 1],
        xy=100 * in_camera[:, :2] / in_camera[:, 2:] + np.array([50.0, 40.0]),
        error=np.arange(len(pairs)) / 10,
    )


def test_all_views():
    found = model().keypoints(dtype=torch.float64)
    assert list(found) == ["a.png", "b.png", "c.png"]
    assert {name: k.point_ids.tolist() for name, k in found.items()} == {
        "a.png": [10, 20],
        "b.png": [10, 20, 30],
        "c.png": [10, 30],
    }
    b = found["b.png"]
    assert (b.name, b.image_id, b.xy.dtype) == ("b.png", 9, torch.float64)
    assert b.track_length.tolist() == [3, 2, 2]
    assert b.depth.tolist() == [4.0, 5.0, 2.0]
    torch.testing.assert_close(b.error, torch.tensor([0.1, 0.4, 0.5], dtype=torch.float64))
    torch.testing.assert_close(b.point_error, torch.tensor([0.1, 0.35, 0.55], dtype=torch.float64))
    assert b.mean_error == pytest.approx((0.1 + 0.35 + 0.55) / 3)
    torch.testing.assert_close(b.xy[0], torch.tensor([37.5, 45.0], dtype=torch.float64))


def test_std_is_that_of_the_triangulation():
    b = model().keypoints(dtype=torch.float64)["b.png"]
    # Of point 10 the widest pair of rays is that of a and c: from (0.5, 0.2, 4) to x = 0 and x = 2.
    to_a, to_c = torch.tensor([[-0.5, -0.2, -4.0], [1.5, -0.2, -4.0]], dtype=torch.float64)
    parallax = torch.acos(to_a @ to_c / (to_a.norm() * to_c.norm()))
    expected = depth_std(
        b.depth[:1], b.point_error[:1], parallax[None], b.track_length[:1], 100.0, b.mean_error
    )
    torch.testing.assert_close(b.std[:1], expected, rtol=1e-10, atol=0)


def test_points_seen_by_one_given_view_never_enter():
    with pytest.warns(SupervisionWarning, match=r"1 views beside the 2 given \(c\.png\).*leaks"):
        found = model().keypoints(["b.png", "a.png"])
    assert list(found) == ["b.png", "a.png"]
    # Point 30 is known to b and c: without c it is nothing.
    assert found["b.png"].point_ids.tolist() == [10, 20]
    # Track length and errors are those within a and b.
    assert found["b.png"].track_length.tolist() == [2, 2]
    torch.testing.assert_close(found["b.png"].point_error, torch.tensor([0.05, 0.35]))
    assert found["b.png"].mean_error == pytest.approx(0.2)


def test_parallax_is_that_of_the_given_views():
    with pytest.warns(SupervisionWarning):
        narrow = model().keypoints(["a.png", "b.png"])["a.png"]
    with pytest.warns(SupervisionWarning):
        wide = model().keypoints(["a.png", "c.png"])["a.png"]
    assert float(narrow.std[0] / narrow.depth[0]) > 1.5 * float(wide.std[0] / wide.depth[0])


def test_no_warning_when_the_model_knows_the_given_views_alone():
    made = model()
    mine = np.isin(made.view, [0, 1])
    only = dataclasses.replace(
        made, **{name: getattr(made, name)[mine] for name in ("view", "point", "xy", "error")}
    )
    assert len(only.keypoints(["a.png", "b.png"])["a.png"]) == 2


def test_min_views():
    found = model().keypoints(min_views=3)
    assert all(k.point_ids.tolist() == [10] for k in found.values())
    for wrong in (1, 0, -2):
        with pytest.raises(ValueError, match=f"min_views must be ≥ 2, got {wrong}"):
            model().keypoints(min_views=wrong)


def test_views_without_keypoints_stay_in_the_answer():
    with pytest.warns(SupervisionWarning) as warned:
        found = model().keypoints(["a.png", "b.png", "elsewhere.png"])
    assert "no keypoints in 1 of 3 views: elsewhere.png" in str(warned[-1].message)
    nothing = found["elsewhere.png"]
    assert (len(nothing), nothing.image_id, nothing.xy.shape) == (0, -1, (0, 2))


def test_a_single_view_has_no_keypoints():
    with pytest.warns(SupervisionWarning) as warned:
        found = model().keypoints(["a.png"])
    assert len(found["a.png"]) == 0
    assert "no keypoints in 1 of 1 views: a.png" in str(warned[-1].message)


def test_names_match_by_stem_where_that_is_unique():
    made = model(("x/a.png", "x/b.png", "x/c.png"))
    found = made.keypoints(["images/a.jpg", "images/b.jpg", "images/c.jpg"])
    assert {name: k.image_id for name, k in found.items()} == {
        "images/a.jpg": 4,
        "images/b.jpg": 9,
        "images/c.jpg": 2,
    }
    ambiguous = model(("left/a.png", "right/a.png", "c.png"))
    with pytest.warns(SupervisionWarning):
        found = ambiguous.keypoints(["a.png", "c.png"])
    assert found["a.png"].image_id == -1
    assert ambiguous.keypoints(["left/a.png", "right/a.png", "c.png"])["right/a.png"].image_id == 9


def test_renamed_views_are_found():
    found = model().renamed({"a.png": "image000", "b.png": "image001"}).keypoints()
    assert list(found) == ["image000", "image001", "c.png"]


def test_another_scene_lists_both_sets():
    message = r"made up: a model of other .* a\.png, b\.png, c\.png, the views are 1\.jpg, 2\.jpg"
    with pytest.raises(ValueError, match=message):
        model().keypoints(["1.jpg", "2.jpg"])
    with pytest.raises(ValueError, match=r"the views are 0, 1, 2, 3, … \(9 in all\)"):
        model().keypoints([str(i) for i in range(9)])
    with pytest.raises(ValueError, match="views repeats a name"):
        model().keypoints(["a.png", "a.png"])


def test_observations_behind_a_camera_are_dropped():
    made = model()
    points = made.points.copy()
    points[0, 2] = -4.0
    found = dataclasses.replace(made, points=points).keypoints()
    assert all(10 not in k.point_ids.tolist() for k in found.values())
    # Behind one camera only: its observations go, those of the other two remain a track.
    poses = made.world_to_camera.copy()
    poses[2, 2, 3] = -4.5
    with pytest.warns(SupervisionWarning, match="no keypoints in 1 of 3 views: c"):
        found = dataclasses.replace(made, world_to_camera=poses).keypoints()
    assert found["a.png"].point_ids.tolist() == [10, 20]
    assert found["a.png"].track_length.tolist() == [2, 2]


def test_unusable_pixels_are_dropped():
    made = model()
    for name in ("xy", "error"):
        values = getattr(made, name).copy()
        values[0] = math.nan
        found = dataclasses.replace(made, **{name: values}).keypoints()
        assert found["a.png"].point_ids.tolist() == [20]
        assert found["b.png"].track_length.tolist() == [2, 2, 2]


def test_a_point_seen_twice_in_one_photo_is_no_track():
    made = model()
    # Point 40, known to c alone, is there a second time.
    twice = {
        name: np.concatenate([getattr(made, name), getattr(made, name)[-1:]])
        for name in ("view", "point", "xy", "error")
    }
    found = dataclasses.replace(made, **twice).keypoints()
    assert 40 not in found["c.png"].point_ids.tolist()


def test_order_of_observations_does_not_matter():
    made, shuffle = model(), np.random.default_rng(0).permutation(8)
    other = dataclasses.replace(
        made, **{name: getattr(made, name)[shuffle] for name in ("view", "point", "xy", "error")}
    )
    for name, k in made.keypoints().items():
        again = other.keypoints()[name]
        order, again_order = k.point_ids.argsort(), again.point_ids.argsort()
        for field in ("xy", "depth", "std", "error", "point_error", "track_length"):
            same = getattr(again, field)[again_order]
            torch.testing.assert_close(same, getattr(k, field)[order])


def test_scaled_world_scales_depth_and_std():
    made = model()
    poses = made.world_to_camera.copy()
    poses[:, :, 3] *= 7
    scaled = dataclasses.replace(made, points=7 * made.points, world_to_camera=poses).keypoints()
    for name, k in made.keypoints().items():
        torch.testing.assert_close(scaled[name].depth, 7 * k.depth)
        torch.testing.assert_close(scaled[name].std, 7 * k.std)
