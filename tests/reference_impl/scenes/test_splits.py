import pytest

from reference_impl.scenes import splits
from tests.golden import golden

SCENES = ("fern", "flower", "fortress", "horns", "leaves", "orchids", "room", "trex")


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("n_views", [3, 6, 9])
def test_llff_equals_regnerf(scene: str, n_views: int):
    upstream = golden("splits", 0)
    n_images = int(upstream[f"{scene}_n_images"])
    train, test = splits.evenly_spaced(n_images, n_views)
    assert test == upstream[f"{scene}_test"].tolist()
    assert train == upstream[f"{scene}_train{n_views}"].tolist()


@pytest.mark.parametrize("n_views", [3, 6, 9])
def test_dtu_equals_regnerf(n_views: int):
    upstream = golden("splits", 0)
    train, test, _ = splits.dtu(n_views)
    assert train == upstream[f"dtu_train{n_views}"].tolist()
    assert test == upstream["dtu_test"].tolist()


@pytest.mark.parametrize("n_images", [2, 9, 20, 50])
@pytest.mark.parametrize("every", [2, 4, 8])
def test_train_and_test_never_meet(n_images: int, every: int):
    for offset in range(every):
        rest = sum(i % every != offset for i in range(n_images))
        for n_views in range(1, rest + 1):
            train, test = splits.evenly_spaced(n_images, n_views, every=every, offset=offset)
            assert len(set(train)) == n_views
            assert train == sorted(train)
            assert not set(train) & set(test)
            assert set(train) | set(test) <= set(range(n_images))


def test_too_many_or_no_views():
    with pytest.raises(
        ValueError, match=r"18 training views .* of 20 images 3 are kept for testing .*leaves 17"
    ):
        splits.evenly_spaced(20, 18)
    with pytest.raises(ValueError, match="at least one training view is needed, got 0"):
        splits.evenly_spaced(20, 0)
    for n_views in (0, 19):
        with pytest.raises(ValueError, match=f"1 to 18 training views, not {n_views}"):
            splits.dtu(n_views)


@pytest.mark.parametrize(
    ("without", "n_views", "train", "name"),
    [
        ((), 8, [2, 16, 26, 55, 73, 76, 86, 93], "blender-8;"),
        ((76,), 8, [2, 16, 26, 55, 73, 75, 86, 93], "blender-8-freenerf;"),
        ((), 4, [2, 26, 55, 86], "blender-4;"),
    ],
)
def test_blender_takes_the_published_lists(without, n_views, train, name):
    frames = [i for i in range(100) if i not in without]
    found, test, rule = splits.blender(frames, list(range(200)), n_views)
    assert found == train
    assert test == list(range(0, 200, 8))
    assert name in rule


def test_blender_spreads_other_numbers_and_other_frames():
    train, _, rule = splits.blender(list(range(100)), [0], 5)
    assert train == [0, 25, 50, 74, 99]
    assert rule.startswith("5 evenly spaced of 100 training frames")
    train, _, rule = splits.blender([3, 1, 7, 9, 11, 13, 15, 17, 21], [8], 8)
    assert train == [1, 3, 7, 9, 13, 15, 17, 21]
    assert "evenly spaced" in rule
    with pytest.raises(ValueError, match="4 training views asked for, but only 3"):
        splits.blender([1, 2, 3], [8], 4)


def test_validation_views_neither_train_nor_test():
    train, test = splits.evenly_spaced(62, 3)
    views = splits.validation(62, [*train, *test])
    assert len(views) == 8
    assert not set(views) & {*train, *test}
    assert (views[0], views[-1]) == (2, 60)
    assert splits.validation(4, [0, 2]) == [1, 3]
    assert splits.validation(2, [0, 1]) == []
