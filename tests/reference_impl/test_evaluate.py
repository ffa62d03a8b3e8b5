"""What metrics.json says, and measuring again."""

import json
from dataclasses import replace

import pytest
import torch

from nerfreg.schedules import FrequencyMask
from reference_impl.config import Config, LogConfig, save_config
from reference_impl.evaluate import evaluate, evaluate_run, mean_psnr, render_view, summary
from reference_impl.mipnerf import MipNerfConfig
from reference_impl.run import Run

TINY = MipNerfConfig(width=8, depth=1, view_width=4, n_samples=4, max_degree=2)


@pytest.fixture(scope="module")
def run():
    return Run.of(
        Config(
            width=16, steps=5, device="cpu", seed=7, model=TINY, log=LogConfig(frames=0), views=2
        )
    )


@pytest.fixture(scope="module")
def model(run):
    return run.model()


def test_metrics_say_of_which_setting_they_are(run, model, tmp_path):
    result = evaluate_run(tmp_path, model, run, run.space(), step=3, seconds=1.26)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written == result
    expected = {
        "scene": "embedded",
        "recipe": "fewview",
        "seed": 7,
        "views": 2,
        "steps": 5,
        "step": 3,
        "evaluated_on": "test",
        "size": [16, 12],
        "train_seconds": 1.3,
    }
    assert {key: written[key] for key in expected} == expected
    psnr = mean_psnr(model, run.scene, run.space())
    assert written["mean"]["psnr"] == pytest.approx(psnr)


def test_numbers_are_written_before_the_flight(run, model, tmp_path, monkeypatch):
    """Who is tired of waiting for it has lost nothing but the flight."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("reference_impl.report.write_flight", interrupted)
    flying = replace(run, config=replace(run.config, log=LogConfig(frames=2)))
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(tmp_path, model, flying, run.space(), step=3)
    assert json.loads((tmp_path / "metrics.json").read_text())["mean"]["psnr"] > 0
    assert any((tmp_path / "test").iterdir())


@pytest.mark.parametrize(
    ("before", "seconds"),
    [
        ('{"train_seconds": 12.5}', 12.5),
        ('{"train_sec', None),
        ("[]", None),
        ("{}", None),
        ('{"train_seconds": null}', None),
        (b"\xff\xfe", None),
    ],
)
def test_training_time_survives_and_damage_does_no_harm(
    run, model, tmp_path, monkeypatch, before, seconds
):
    monkeypatch.setattr("reference_impl.evaluate.report.write_sheet", lambda *_: None)
    monkeypatch.setattr("reference_impl.evaluate.report.write_pictures", lambda *_: None)
    path = tmp_path / "metrics.json"
    path.write_bytes(before if isinstance(before, bytes) else before.encode())
    result = evaluate_run(tmp_path, model, run, run.space(), step=5)
    assert result.get("train_seconds") == seconds
    assert json.loads(path.read_text()) == result


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_must_be_there(tmp_path):
    with pytest.raises(ValueError, match="--device cuda"):
        evaluate(tmp_path, device="cuda")


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(ValueError, match="it is not a run"):
        evaluate(tmp_path)


def test_validation_measures_other_views(run, model, tmp_path):
    other = Run.of(replace(run.config, evaluate_on="validation"))
    result = evaluate_run(tmp_path, model, other, other.space(), step=3)
    assert result["evaluated_on"] == "validation"
    assert set(result["images"]) == {other.scene.names[i] for i in other.scene.test}
    assert not set(result["images"]) & {run.scene.names[i] for i in run.scene.test}


def test_a_run_is_measured_through_the_mask_it_was_trained_with(run, model):
    """Before the mask is open, octaves that training never showed would be noise."""
    masked = replace(run, recipe=replace(run.recipe, frequency_mask=FrequencyMask(100)))
    view, space = run.scene.test[0], run.space()
    early, late, plain = (
        render_view(m, run.scene, space, view).rgb
        for m in (masked.at_step(model, 10), masked.at_step(model, 100), run.at_step(model, 10))
    )
    assert not torch.equal(early, plain)
    assert torch.equal(late, plain)


def test_masks_add_numbers_of_the_object(run, model, tmp_path):
    scene = run.scene
    mask = torch.zeros(12, 16, dtype=torch.bool)
    mask[2:8, 3:9] = True
    masked = replace(run, scene=replace(scene, masks={scene.test[0]: mask}))
    result = evaluate_run(tmp_path, model, masked, run.space(), step=3)
    first = result["images"][scene.names[scene.test[0]]]
    picture = render_view(model, scene, run.space(), scene.test[0]).rgb
    truth = scene.images[scene.test[0]].float() / 255
    error = (picture - truth)[mask].square().mean()
    assert first["psnr_masked"] == pytest.approx(float(-10 * error.log10()), rel=1e-5)
    assert "psnr_masked" not in result["images"][scene.names[scene.test[1]]]
    # Where views lack a mask, the mean is over the others.
    assert result["mean"]["psnr_masked"] == first["psnr_masked"]
    assert "object PSNR" in summary(result)


def test_what_is_missing_is_said(run, model, tmp_path):
    result = evaluate_run(tmp_path, model, run, run.space(), step=3)
    assert "--lpips-weights" in result["not_computed"]["lpips"]
    assert not [name for name in result["mean"] if "lpips" in name or "average" in name]
    assert summary(result).splitlines()[1].startswith("lpips not computed: give --lpips-weights")
    told = replace(run, config=replace(run.config, lpips_weights="nowhere.safetensors"))
    result = evaluate_run(tmp_path, model, told, run.space(), step=3)
    assert "images of 16x12 pixels, 32 is the least" in result["not_computed"]["lpips"]


def saved(run, folder):
    save_config(run.config, folder / "config.json")
    run.save_views(folder)


def test_a_run_whose_training_views_are_tested_by_now_is_refused(run, tmp_path):
    """As after a photograph was added to the scene's folder."""
    saved(run, tmp_path)
    assert Run.open(tmp_path).scene.train == run.scene.train
    scene = replace(run.scene, keypoints={})
    moved = replace(scene, train=[scene.train[0], scene.test[0]], test=[scene.train[1]])
    replace(run, scene=moved).save_views(tmp_path)
    leaked = scene.names[scene.test[0]]
    with pytest.raises(ValueError, match=rf"was trained on .*, and {leaked} would be tested"):
        evaluate(tmp_path)
    other = next(i for i in range(24) if i not in {*scene.train, *scene.test})
    replace(run, scene=replace(scene, train=[scene.train[0], other])).save_views(tmp_path)
    with pytest.raises(ValueError, match=r"by now; the scene's folder or split has changed"):
        evaluate(tmp_path)


def test_older_runs_say_their_views_in_their_metrics_or_nowhere(run, tmp_path):
    saved(run, tmp_path)
    (tmp_path / "views.json").unlink()
    Run.open(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps({"train": ["somewhere", "else"]}))
    with pytest.raises(ValueError, match="was trained on somewhere, else"):
        Run.open(tmp_path)
    (tmp_path / "metrics.json").write_text("damaged")
    Run.open(tmp_path)


def test_unknown_networks_are_refused_before_anything_is_rendered(tmp_path):
    with pytest.raises(ValueError, match="--lpips inception"):
        evaluate(tmp_path, lpips="inception")
