"""Files of a run are there whole, or as they were before."""

import pytest

from reference_impl.run_folder import written_whole


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "metrics.json"

    def fail():
        with written_whole(path) as partial:
            partial.write_text("half of ")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert not [*tmp_path.iterdir()]
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"):
        fail()
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_write_that_succeeds_replaces_what_was_there(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with written_whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [*tmp_path.iterdir()] == [path]
