"""The table of runs, its groups and what it refuses."""

import json

import imageio.v3 as iio
import numpy as np
import pytest

from reference_impl.compare import compare, read_metrics, table
from reference_impl.report import LABEL, tiles


def result(**changes):
    values = {
        "scene": "room",
        "recipe": "nerf",
        "seed": 0,
        "views": 3,
        "steps": 100,
        "evaluated_on": "test",
        "size": [24, 18],
        "mean": {"psnr": 20.0, "ssim": 0.5},
        "images": {"left/1.png": {"psnr": 20.0}},
        "train_seconds": 7.0,
    }
    return {**values, **changes}


def write_run(folder, **changes):
    (folder / "test").mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(result(**changes)))
    for kind in ("rgb", "truth", "depth"):
        iio.imwrite(folder / "test" / f"left_1_{kind}.png", np.zeros((18, 24, 3), np.uint8))
    return folder


def rows(results):
    return table(results).splitlines()[2:]


def test_a_group_is_one_setting_and_its_seeds():
    assert table([result(), result(seed=1, mean={"psnr": 22.0, "ssim": 0.5})]).splitlines() == [
        "| scene | recipe | views | steps | evaluated_on | size | runs | psnr | ssim | train s |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| room | nerf | 3 | 100 | test | 24x18 | 2 | 21.000 ± 1.414 | 0.500 ± 0.000 | 7 |",
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"scene": "hall"},
        {"recipe": "fewview"},
        {"views": 6},
        {"steps": 200},
        {"evaluated_on": "validation"},
        {"size": [48, 36]},
    ],
)
def test_other_settings_are_other_groups(other):
    assert len(rows([result(), result(seed=1)])) == 1
    assert len(rows([result(), result(seed=1, **other)])) == 2


def test_a_run_that_was_stopped_is_no_repetition():
    """Measured half-way, it would spoil the mean of those that ended."""
    found = rows([result(step=100), result(seed=1, step=50)])
    assert [row.split(" | ")[3] for row in found] == ["50 of 100", "100"]


def test_other_options_are_other_groups(tmp_path, capsys):
    """And the table names those that differ, not those that all have."""
    runs = [write_run(tmp_path / name, seed=i) for i, name in enumerate("abc")]
    for run, keypoints in zip(runs, ("auto", "auto", "none"), strict=True):
        config = {"seed": run.name, "keypoints": keypoints, "rays": 8, "model": {"width": 4}}
        (run / "config.json").write_text(json.dumps(config))
    compare(runs)
    head, _, *body = capsys.readouterr().out.splitlines()
    assert "| size | options | runs |" in head
    assert [row.split(" | ")[6:8] for row in body] == [
        ["keypoints auto", "2"],
        ["keypoints none", "1"],
    ]


def test_a_seed_that_is_there_twice_is_noted(tmp_path, capsys):
    compare([write_run(tmp_path / name) for name in "ab"])
    assert "note: room, nerf, 3 views: seed 0 is there 2 times" in capsys.readouterr().out


def test_a_mean_of_fewer_runs_says_of_how_many():
    some = result(seed=1, mean={"psnr": 21.0, "ssim": 0.6, "lpips_vgg": 0.3})
    (row,) = rows([result(), some])
    assert row.split(" | ")[-2] == "0.300 (1 of 2)"


def test_a_run_given_twice_is_refused(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    with pytest.raises(ValueError, match="run: given twice"):
        compare([run, tmp_path / "x" / ".." / "run"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not the metrics of a run"),
        ("3", "not the metrics of a run"),
        ('{"scene": "room"}', "expected scene, recipe, mean, images"),
        (
            '{"scene": "room", "recipe": "nerf", "mean": [], "images": {}}',
            "not the metrics of a run",
        ),
        (
            '{"scene": "room", "recipe": "nerf", "mean": {}, "images": {}, "seed": 0, "steps": 1}',
            r"made by an older version \(no views, evaluated_on, size\); run evaluate.py",
        ),
    ],
)
def test_files_that_are_no_metrics_are_named(tmp_path, content, message):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=rf"metrics\.json: .*{message}"):
        read_metrics(tmp_path)


def test_a_folder_without_metrics(tmp_path):
    with pytest.raises(ValueError, match="is the run finished"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("out", "message"),
    [("picture.jpg", r"must end in \.png"), ("nowhere/picture.png", "there is no folder")],
)
def test_out_is_checked_before_anything_is_printed(tmp_path, capsys, out, message):
    run = write_run(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        compare([run], out=tmp_path / out)
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_picture_finds_views_in_folders(tmp_path, capsys):
    runs = [write_run(tmp_path / name, seed=i) for i, name in enumerate("ab")]
    compare(runs, out=tmp_path / "picture.png", view="left/1.png")
    assert "| room | nerf | 3 | 100 | test | 24x18 | 2 |" in capsys.readouterr().out
    assert iio.imread(tmp_path / "picture.png").shape[2] == 3
    with pytest.raises(ValueError, match=r"--view x: not a test view, choose one of left/1\.png"):
        compare(runs, out=tmp_path / "picture.png", view="x")


def test_older_runs_stand_beside_newer_ones():
    """Runs measured before LPIPS was have no column of their own for it."""
    new = result(seed=1, mean={"psnr": 21.0, "ssim": 0.6, "lpips_vgg": 0.3, "ssim_released": 0.7})
    other = result(recipe="fewview", mean=new["mean"])
    head, _, *body = table([result(), other]).splitlines()
    assert "| psnr | ssim | lpips_vgg | train s |" in head
    assert [row.split(" | ")[-2] for row in body] == ["0.300", ""]


def test_long_titles_of_columns_are_wrapped():
    """Or each would run into the next."""
    picture = np.zeros((75, 100, 3), np.uint8)
    short = tiles([[picture, picture]], ["photograph", "fewview"], ["rgb"])
    long = tiles([[picture] * 2], ["photograph", "fewview without " + "occlusion, " * 8], ["rgb"])
    assert short.width == long.width == 2 * 200 + 4
    assert long.height - short.height >= 2 * LABEL
    gap = np.asarray(long)[: long.height - short.height + LABEL, 200:204]
    assert (gap == 255).all(), "nothing between the columns"
