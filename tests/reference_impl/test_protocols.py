"""The protocols' data against upstream's numbers, and against itself."""

import numpy as np
import pytest

from reference_impl.protocols import (
    BLENDER_4,
    BLENDER_8_FREENERF,
    DTU,
    DTU_18,
    LLFF_DSNERF,
    LLFF_REGNERF,
    PROTOCOLS,
)
from reference_impl.scenes import splits
from tests.golden import golden


def test_llff_equals_regnerf():
    upstream = golden("splits", 0)
    for scene, n_images in LLFF_REGNERF.n_images:
        assert n_images == int(upstream[f"{scene}_n_images"])
        for n_views in LLFF_REGNERF.views:
            train, test = splits.evenly_spaced(n_images, n_views)
            assert train == upstream[f"{scene}_train{n_views}"].tolist()
            assert test == upstream[f"{scene}_test"].tolist()


def test_llff_as_in_ds_nerf_is_spread_by_the_same_rule():
    """Of fern's 20 photographs 0, 8 and 16 test; of the other 17 the first and the last train."""
    assert LLFF_DSNERF.views == (2, 5, 10)
    assert splits.evenly_spaced(20, 2) == ([1, 19], [0, 8, 16])
    assert splits.evenly_spaced(20, 5)[0] == [1, 5, 10, 14, 19]
    assert splits.evenly_spaced(20, 10)[0] == [1, 3, 5, 6, 9, 11, 13, 14, 17, 19]


def test_dtu_equals_regnerf():
    upstream = golden("splits", 0)
    assert list(DTU.excluded) == upstream["dtu_excluded"].tolist()
    assert list(DTU.scenes) == [f"scan{i}" for i in upstream["dtu_scans"].tolist()]
    assert list(DTU.test) == upstream["dtu_test"].tolist()
    for n_views in DTU.views:
        assert list(DTU.train[:n_views]) == upstream[f"dtu_train{n_views}"].tolist()


def test_more_dtu_views_leave_fewer_test_views():
    assert DTU_18.train[:9] == DTU.train
    assert DTU_18.test == (1, 2, 9, 10, 11, 12, 14, 15, 23, 26, 27, 31, 32, 35, 42, 46)
    assert set(DTU_18.test) < set(DTU.test)
    for n_views in DTU_18.views:
        train, test, rule = splits.dtu(n_views)
        assert rule.endswith("protocol dtu" if n_views <= 9 else "protocol dtu-18")
        assert train == list(DTU_18.train[:n_views])
        assert test == list((DTU if n_views <= 9 else DTU_18).test)


@pytest.mark.parametrize("protocol", [BLENDER_4, BLENDER_8_FREENERF], ids=lambda p: p.name)
def test_drawn_views_are_numpys(protocol):
    drawn = np.random.RandomState(0).choice(100, len(protocol.train), replace=False)
    assert list(protocol.train) == drawn.tolist()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda p: p.name)
def test_a_row_is_consistent(protocol):
    assert PROTOCOLS[protocol.name] is protocol
    assert protocol.source
    assert not set(protocol.train) & {*protocol.test, *protocol.excluded}
    assert len(set(protocol.train)) == len(protocol.train)
    if protocol.train:
        assert max(protocol.views) <= len(protocol.train)
        assert max(*protocol.train, *protocol.excluded, 0) < dict(protocol.n_images)[""]
    assert bool(protocol.test) != bool(protocol.test_every)
    assert set(dict(protocol.n_images)) <= {"", *protocol.scenes}
