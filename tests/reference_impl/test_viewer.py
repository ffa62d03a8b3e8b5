"""The viewer serves a run: what the page is told, and that it survives what happens to runs."""

import json
import shutil
import socket
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_impl import checkpoints, view
from reference_impl.batches import BatchSampler
from reference_impl.config import Config, LogConfig, OptimizerConfig
from reference_impl.evaluate import render_view
from reference_impl.mipnerf import MipNerfConfig
from reference_impl.report import to_pixels
from reference_impl.train import train
from reference_impl.viewer.drawn_patches import patches_before
from reference_impl.viewer.followed_run import FollowedRun
from reference_impl.viewer.landmarks import GROUPS
from reference_impl.viewer.stage import vertical_fov
from reference_impl.viewer.viewer import Viewer, require_same_cameras
from tests.reference_impl.page import Page, wait_for

TINY = MipNerfConfig(width=16, depth=2, view_width=8, n_samples=8, max_degree=4)
STEPS = [2, 4, 6]


def tiny(out: Path, **changes) -> Config:
    values = {
        "recipe": "regnerf",  # has unseen patches, also around an object
        "without": "color_prior",
        "width": 24,
        "rays": 128,
        "steps": 6,
        "device": "cpu",
        "precision": "32-true",
        "out": str(out),
        "model": TINY,
        "optimizer": OptimizerConfig(lr_start=0.05, warmup_steps=0),
        "log": LogConfig(every=2, checkpoint_every=2, checkpoints_kept=0, frames=0),
    }
    return Config(**{**values, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run with three checkpoints, and the patches that each of its steps drew."""
    drawn, draw = [], BatchSampler.draw

    def watched(self, generator, step=0):
        batch = draw(self, generator, step)
        drawn.append(batch.patches)
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchSampler, "draw", watched)
        run = train(tiny(tmp_path_factory.mktemp("runs") / "run"))
    return run, drawn


@pytest.fixture(scope="module")
def run(trained):
    return trained[0]


@pytest.fixture(scope="module")
def followed(run):
    """The run as the viewer reads it; loading its scene takes longer than most tests."""
    return FollowedRun(run)


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def serve():
    """Open viewers at free ports of the loopback, and close them."""
    opened = []

    def serving(*runs, **options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        opened.append(Viewer(runs, port=port, **options))
        opened[-1].controls.height.value = 60  # rows, to be quick
        return opened[-1]

    yield serving
    for viewer in opened:
        viewer.close()


def command_line(monkeypatch, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["view.py", *map(str, words)])
    return view.main()


def finest(page, viewer):
    """The next picture of the full height."""
    rows = viewer.controls.settings.height
    wait_for(lambda: page.pictures and len(page.pictures[-1]) == rows)
    return page.pictures[-1]


def stand(page, viewer, index):
    """Look through a camera of the scene."""
    scene = viewer.runs[0].run.scene
    page.look(scene.cameras.c2w[index].double(), viewer.stage.scale, vertical_fov(scene, index))


def test_the_page_answers_and_shows_the_scene(followed, serve):
    viewer = serve(followed)
    assert viewer.url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(viewer.url, timeout=30) as answer:
        assert answer.status == 200
        assert b"<html" in answer.read().lower()
    scene = viewer.runs[0].run.scene
    expected = {f"/training/{scene.names[v]}" for v in scene.train}
    expected |= {f"/test/{scene.names[v]}" for v in scene.test}
    expected |= {"/keypoints/points", "/unseen/poses", "/patches/frusta"}
    with Page(viewer.url) as page:
        wait_for(lambda: expected <= page.nodes)
        wait_for(lambda: "drawn in the" in page.text())
        assert "trained: step 6 of 6, PSNR" in page.text()
        assert "shown: step 6" in page.text()
        assert {props["label"] for props in page.gui.values() if "label" in props} >= {
            "checkpoint",
            "show",
            *GROUPS,
        }


def test_the_finest_picture_is_the_one_that_evaluation_renders(followed, serve):
    viewer = serve(followed)
    scene, rows = followed.run.scene, viewer.controls.settings.height
    view_index = scene.test[1]
    large = scene.cameras.resized(round(rows * 4 / 3), rows)
    space = replace(followed.space, cameras=large)
    truth = render_view(followed.snapshots[6].field.renderer, scene, space, view_index)
    with Page(viewer.url) as page:
        stand(page, viewer, view_index)
        picture = finest(page, viewer)
    expected = to_pixels(truth.rgb).astype(int)
    assert picture.shape == expected.shape
    # JPEG of the browser's pictures, quality 90
    assert abs(picture - expected).mean() < 1.5
    depth = page.depths[-1] / viewer.stage.scale
    assert abs(depth - truth.depth.numpy()).max() < 1e-3
    heights = [len(p) for p in page.pictures]
    assert heights == sorted(set(heights)), "coarse first, each finer than the last"
    assert heights[-1] == rows  # how coarse the first is depends on the machine


def test_a_control_changes_the_picture(followed, serve):
    viewer = serve(followed)
    with Page(viewer.url) as page:
        wait_for(lambda: "shown" in page.text())
        stand(page, viewer, 2)
        newest = finest(page, viewer)
        seen = len(page.pictures)
        page.set("checkpoint", 2)
        wait_for(lambda: "shown: step 2" in page.text())
        wait_for(lambda: len(page.pictures) > seen)
        oldest = finest(page, viewer)
        assert abs(newest - oldest).mean() > 1
        wait_for(lambda: "before step 2" in page.text())
        legends = [p for p in page.gui.values() if p.get("visible") is False]
        assert legends, "colours need no legend"
        seen = len(page.pictures)
        page.set("show", "depth error")
        wait_for(lambda: len(page.pictures) > seen)
        assert abs(finest(page, viewer) - oldest).mean() > 1
        for group in GROUPS:
            page.set(group, False)
        wait_for(lambda: not any(node.visible for node in viewer.landmarks.groups.values()))


def test_one_jumps_to_a_camera_whose_photograph_then_makes_way(followed, serve):
    viewer = serve(followed)
    scene = viewer.runs[0].run.scene
    first, second = scene.train[:2]
    with Page(viewer.url) as page:
        stand(page, viewer, scene.test[0])
        wait_for(lambda: page.pictures)
        assert viewer.landmarks.cameras[first].visible
        page.press("go there")
        wait_for(lambda: "SetCameraPositionMessage" in page.camera)
        position = page.camera["SetCameraPositionMessage"]["position"]
        expected = viewer.stage.place(scene.cameras.c2w[first, :, 3])
        assert position == pytest.approx(expected.tolist(), abs=1e-5)
        stand(page, viewer, first)
        wait_for(lambda: not viewer.landmarks.cameras[first].visible)
        assert viewer.landmarks.cameras[second].visible
        stand(page, viewer, second)
        wait_for(lambda: viewer.landmarks.cameras[first].visible)


def test_browsers_come_and_go(followed, serve):
    viewer = serve(followed)
    with Page(viewer.url) as other:
        with Page(viewer.url) as page:
            stand(page, viewer, 0)
            stand(other, viewer, 20)
            wait_for(lambda: page.pictures and other.pictures)
        wait_for(lambda: len(viewer.cameras) == 1)
        seen = len(other.pictures)
        stand(other, viewer, 3)
        wait_for(lambda: len(other.pictures) > seen)


def test_two_runs_share_one_picture(followed, serve, copy):
    newest = checkpoints.latest(copy).path / "model.safetensors"
    oldest = checkpoints.saved(copy)[0].path / "model.safetensors"
    shutil.copy(oldest, newest)  # the second run shows, at step 6, what the first shows at step 2
    viewer = serve(followed, FollowedRun(copy))
    with Page(viewer.url) as page:
        wait_for(lambda: "left: " in page.text())
        assert "**right: copy" in page.text()
        pictures = {}
        for split in (0.0, 1.0, 0.5):
            page.set("split", split)
            wait_for(lambda split=split: viewer.controls.settings.split == split)
            page.pictures.clear()
            stand(page, viewer, 2)
            pictures[split] = finest(page, viewer)
        half = pictures[0.5].shape[1] // 2
        assert abs(pictures[0.0] - pictures[1.0]).mean() > 1
        assert abs(pictures[0.5][:, : half - 8] - pictures[1.0][:, : half - 8]).mean() < 0.5
        assert abs(pictures[0.5][:, half + 8 :] - pictures[0.0][:, half + 8 :]).mean() < 0.5


def test_patches_are_those_that_training_drew(trained, followed):
    _, drawn = trained
    states = {step: s.random_state for step, s in followed.snapshots.items()}
    for known in (states, {6: states[6]}):  # from the checkpoint before, from the seed
        patches = patches_before(followed.run, 6, known, n=1)
        assert patches.exact
        assert "before step 6" in patches.origin
        assert torch.equal(patches.poses, drawn[5].c2w)
    several = patches_before(followed.run, 6, states, n=2 * len(drawn[0].c2w))
    assert torch.equal(several.poses, torch.cat([drawn[4].c2w, drawn[5].c2w]))
    rays = drawn[5].rays
    middle = patches.corners.mean(1)
    angle = torch.cosine_similarity(middle, rays.directions.mean((1, 2)), dim=-1)
    assert (angle > 0.9999).all()


def test_patches_that_cannot_be_drawn_again_are_said_to_be_others(followed):
    states = {step: s.random_state for step, s in followed.snapshots.items()}
    elsewhere = {**states, 6: states[4]}  # as if training had gone on with other draws
    for known in (elsewhere, {}, {6: torch.zeros(16, dtype=torch.uint8)}):  # 16 bytes: CUDA's
        patches = patches_before(followed.run, 6, known, n=3)
        assert not patches.exact
        assert "not its own" in patches.origin
        assert patches.poses.shape == (3, 3, 4)


def test_a_checkpoint_before_the_first_step_is_shown(copy, serve):
    """A training that is stopped at once leaves one; no step has drawn patches yet."""
    first = checkpoints.saved(copy)[0].path
    state = json.loads((first / "state.json").read_text())
    (first / "state.json").write_text(json.dumps({**state, "step": 0}))
    first.rename(first.with_name("step_0000000"))
    followed = FollowedRun(copy)
    assert list(followed.snapshots) == [0, 4, 6]
    assert followed.nearest(0) == 0
    states = {step: s.random_state for step, s in followed.snapshots.items()}
    patches = patches_before(followed.run, 0, states, n=3)
    assert "not its own" in patches.origin
    assert patches.poses.shape == (3, 3, 4)
    viewer = serve(followed)
    with Page(viewer.url) as page:
        wait_for(lambda: "shown: step 6" in page.text())
        stand(page, viewer, 2)
        page.set("checkpoint", 0)
        wait_for(lambda: "shown: step 0" in page.text() and "not its own" in page.text())


def test_a_recipe_without_patches_has_none(tmp_path):
    folder = train(tiny(tmp_path / "run", recipe="dsnerf", without="", steps=2))
    followed = FollowedRun(folder)
    assert patches_before(followed.run, 2, {2: followed.snapshots[2].random_state}) is None


def test_following_a_run_that_is_written(copy, serve, tmp_path):
    parked = tmp_path / "parked"
    shutil.move(copy / "checkpoints", parked)
    (copy / "log.jsonl").unlink()
    viewer = serve(FollowedRun(copy), live=True)
    with Page(viewer.url) as page:
        wait_for(lambda: "waiting for the first checkpoint" in page.text())
        assert "trained: step 0 of 6" in page.text()
        stand(page, viewer, 2)
        (copy / "checkpoints").mkdir()
        shutil.copytree(parked / "step_0000002", copy / "checkpoints" / "step_0000002")
        (copy / "log.jsonl").write_text('{"step": 2, "psnr": 9.5}\n{"step": 3, "ps')
        wait_for(lambda: "shown: step 2" in page.text())
        wait_for(lambda: page.pictures)
        assert "step 2 of 6, PSNR 9.50 dB" in page.text()
        # It is dropped, and a newer one comes that is damaged, then whole.
        shutil.rmtree(copy / "checkpoints" / "step_0000002")
        shutil.copytree(parked / "step_0000004", copy / "checkpoints" / "step_0000004")
        weights = copy / "checkpoints" / "step_0000004" / "model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:100])
        wait_for(lambda: "not a readable checkpoint" in page.text())
        assert "shown: step 2" in page.text()
        weights.write_bytes(whole)
        wait_for(lambda: "shown: step 4" in page.text())
        wait_for(lambda: "not a readable" not in page.text())
        # Whoever looks back at an older one stays there; it is still known though it is gone.
        page.set("checkpoint", 2)
        wait_for(lambda: "shown: step 2" in page.text())
        shutil.copytree(parked / "step_0000006", copy / "checkpoints" / "step_0000006")
        wait_for(lambda: viewer.controls.checkpoint.max == 6)
        assert "shown: step 2" in page.text()


def test_a_run_without_checkpoint_is_one_line(copy, monkeypatch, capsys):
    shutil.rmtree(copy / "checkpoints")
    assert command_line(monkeypatch, copy) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {copy}: no checkpoint in")
    assert "--live waits" in error
    assert error.count("\n") == 1


def test_a_run_whose_only_checkpoint_is_damaged_is_one_line(copy, monkeypatch, capsys):
    for checkpoint in checkpoints.saved(copy):
        (checkpoint.path / "model.safetensors").write_bytes(b"half")
    assert command_line(monkeypatch, copy) == 2
    error = capsys.readouterr().err
    assert "not a readable checkpoint" in error
    assert error.count("\n") == 1


def test_damaged_checkpoints_beside_whole_ones_are_named(copy):
    damaged, missing, _ = checkpoints.saved(copy)
    (damaged.path / "model.safetensors").write_bytes(b"half")
    (missing.path / "optimizer.safetensors").unlink()
    followed = FollowedRun(copy)
    assert list(followed.snapshots) == [6]
    assert "not a readable checkpoint" in followed.problem


@pytest.mark.parametrize("live", [(), ("--live",)])
def test_a_folder_that_is_no_run_is_one_line(tmp_path, monkeypatch, capsys, live):
    assert command_line(monkeypatch, tmp_path, *live) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: no config.json there, so it is not a run\n"
    )


def test_three_runs_are_refused(run, monkeypatch, capsys):
    assert command_line(monkeypatch, run, run, run) == 2
    assert "one run or two, got 3" in capsys.readouterr().err


def test_different_scenes_side_by_side_are_refused_but_other_sizes_are_not(run, followed):
    cameras = followed.run.scene.cameras
    moved = replace(cameras, c2w=cameras.c2w + 0.01)
    elsewhere = FollowedRun(run)
    scene = replace(elsewhere.run.scene, cameras=moved, name="elsewhere")
    elsewhere.run = replace(elsewhere.run, scene=scene)
    with pytest.raises(ValueError, match="elsewhere has other cameras than embedded"):
        require_same_cameras([followed, elsewhere])
    small = cameras.resized(12, 9)
    images = followed.run.scene.images[:, ::2, ::2]
    same = replace(followed.run.scene, cameras=small, images=images, depth=None)
    elsewhere.run = replace(elsewhere.run, scene=same)
    require_same_cameras([followed, elsewhere])


def test_without_viser_one_line_names_the_command(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "viser", None)
    assert command_line(monkeypatch, run) == 2
    assert capsys.readouterr().err == 'error: view.py needs viser: pip install "nerfreg[viewer]"\n'


@pytest.mark.parametrize(
    ("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_listening_beyond_this_machine_is_said(run, monkeypatch, capsys, host, warned):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Viewer, "wait", interrupted)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert command_line(monkeypatch, run, "--host", host, "--port", port) == 0
    printed = capsys.readouterr().out
    assert ("warning: --host" in printed) == warned
    assert f"viewer    http://{host}:{port}" in printed


def test_latency_is_measured_without_a_browser(run, monkeypatch, capsys):
    monkeypatch.setattr("reference_impl.viewer.latency.MOVES", 8)
    monkeypatch.setattr("reference_impl.viewer.latency.REST_SECONDS", 0.0)
    monkeypatch.setattr("reference_impl.viewer.latency.HEIGHT", 30)
    assert command_line(monkeypatch, run, "--measure-latency") == 0
    assert "first picture after a move: median 0." in capsys.readouterr().out


def test_the_log_may_lack_its_end_or_hold_other_things(copy):
    followed = FollowedRun(copy)
    log = copy / "log.jsonl"
    long = "".join(json.dumps({"step": i, "psnr": i / 10}) + "\n" for i in range(2000))
    log.write_text(long + '{"step": 2000, "test_psnr": 20.0}\n[1]\nnull\n{"step": 20')
    assert followed.progress() == "step 2000 of 6, PSNR 199.90 dB on its rays"
    log.write_bytes(b"\xff\xfe\x00")
    assert followed.progress() == "step 0 of 6"


def test_all_checkpoints_are_kept_where_asked(run):
    assert [checkpoint.step for checkpoint in checkpoints.saved(run)] == STEPS


def test_a_picture_that_fails_is_told_until_one_succeeds(followed, serve):
    viewer = serve(followed)
    viewer._failed(ValueError("no memory"))
    assert "the picture could not be drawn: no memory" in viewer.controls.status.content
    viewer._show(-1, None, 1, 1)  # to a browser that has left
    assert "could not be drawn" not in viewer.controls.status.content
    assert not followed.problem, "reading the run did not fail"


def test_patches_that_fail_are_told(followed, serve, monkeypatch):
    def fail(*_):
        raise ValueError("no patches")

    viewer = serve(followed)
    monkeypatch.setattr("reference_impl.viewer.viewer.patches_before", fail)
    viewer._draw_patches(viewer._step)
    assert "patches could not be drawn: no patches" in viewer.controls.patches.content
