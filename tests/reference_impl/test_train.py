"""The trainer's promises, on the embedded scene made small."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from nerfreg.recipes import RECIPES
from reference_impl import checkpoints
from reference_impl.batches import BatchSampler
from reference_impl.compare import table
from reference_impl.config import (
    Config,
    LogConfig,
    OptimizerConfig,
    load_config,
    resolve_steps,
    save_config,
)
from reference_impl.evaluate import evaluate_run
from reference_impl.mipnerf import MipNerfConfig
from reference_impl.regularized_step import RegularizedStep
from reference_impl.run import Run
from reference_impl.train import main, parse, train
from reference_impl.watch import NonFiniteLossError, Watch
from tests.script import run_script

ROOT = Path(__file__).resolve().parents[2]
TINY = MipNerfConfig(width=16, depth=2, view_width=8, n_samples=8, max_degree=4)


def tiny(out, **changes):
    values = {
        "width": 24,
        "rays": 128,
        "steps": 6,
        "device": "cpu",
        "precision": "32-true",
        "out": str(out),
        "model": TINY,
        "optimizer": OptimizerConfig(warmup_steps=2),
        "log": LogConfig(every=2, checkpoint_every=3, frames=2),
    }
    return Config(**{**values, **changes})


def weights(run):
    return load_file(checkpoints.latest(run).path / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_and_leaves_a_whole_run(tmp_path, recipe, options_of):
    run = train(tiny(tmp_path / "run", recipe=recipe, **options_of(recipe)))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    expected = {
        "mipnerf": set(),
        "nerf": set(),
        "regnerf": {"depth_smoothness", "depth_smoothness_coarse", "color_prior"},
        "dsnerf": {"depth_kl"},
        "freenerf": {"occlusion"},
        "infonerf": {"ray_entropy", "information_gain"},
        "dietnerf": set(),  # its images come every tenth step, and none of those is logged here
        "sparsenerf": {"depth_ranking", "depth_continuity", "depth_smoothness"},
        "fewview": {"depth_kl", "depth_kl_coarse", "occlusion"},
        "regnerf-released": {"depth_smoothness"},
        "regnerf-metric": {"depth_smoothness", "color_prior"},
        "dsnerf-published": {"depth_kl"},
    }[recipe]
    assert expected <= set(lines[-1]["values"])
    assert set(lines[-1]["values"]) == set(lines[-1]["weights"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["mean"]) == {"psnr", "ssim", "ssim_released", "depth_mae"}
    assert len(metrics["images"]) == 6
    assert not set(metrics["train"]) & set(metrics["images"])
    assert metrics["mean"]["psnr"] == pytest.approx(
        sum(v["psnr"] for v in metrics["images"].values()) / 6
    )
    for name in (
        "config.json",
        "sheet.png",
        "flight.gif",
        "report.html",
        "sessions.jsonl",
        "depth_agreement.png",
        "test/view02_rgb.png",
        "test/view02_depth_error.png",
    ):
        assert (run / name).stat().st_size > 0
    assert not list(run.rglob(".*"))
    assert f"| embedded | {recipe} | 3 | 6 | test | 24x18 | 1 |" in table([metrics])


def test_test_views_are_measured_on_the_way_if_asked(tmp_path):
    log = LogConfig(every=3, checkpoint_every=3, evaluate_every=2, frames=0)
    run = train(tiny(tmp_path / "run", log=log))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    measured = {line["step"]: line["test_psnr"] for line in lines if "test_psnr" in line}
    assert list(measured) == [2, 4]
    assert all(0 < psnr < 40 for psnr in measured.values())
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    # Looking does not change the training.
    assert same(weights(run), weights(train(tiny(tmp_path / "other"))))


def test_measuring_gradient_shares_does_not_change_the_training(tmp_path):
    """Also not that of a run which is cut and goes on."""
    log = LogConfig(every=2, checkpoint_every=3, gradient_shares_every=2, frames=0)
    run = train(tiny(tmp_path / "run", log=log))
    plain = train(tiny(tmp_path / "plain"))
    assert same(weights(run), weights(plain))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    measured = {line["step"]: line for line in lines if "gradient_shares" in line}
    trained = {line["step"]: line for line in lines if "values" in line}
    assert list(measured) == list(trained) == [2, 4, 6]
    for step, line in measured.items():
        assert line["gradient_shares"].keys() == trained[step]["values"].keys()
        assert sum(line["gradient_shares"].values()) == pytest.approx(1)
        assert all(norm > 0 for norm in line["gradient_norms"].values())
    others = [json.loads(line) for line in (plain / "log.jsonl").read_text().splitlines()]
    assert [line["values"] for line in others] == [line["values"] for line in trained.values()]

    shutil.rmtree(checkpoints.latest(run).path)
    assert checkpoints.latest(run).step == 3
    train(Config(resume=str(run)))
    assert same(weights(run), weights(plain))
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 2, 4, 4, 6, 6]
    sessions = [json.loads(line) for line in (run / "sessions.jsonl").read_text().splitlines()]
    assert [session["step"] for session in sessions] == [0, 3]


def test_gradient_shares_are_those_of_the_step_that_follows(tmp_path):
    """The gradient that training itself computes, term by term, with clipping left aside."""
    run = Run.of(tiny(tmp_path / "run"))
    model, space = run.model(), run.space()
    sampler = BatchSampler(run.scene, run.recipe, space, 128, torch.device("cpu"))
    step = RegularizedStep(model, run.recipe, space, sampler, run.scene.background)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    found = step.gradient_shares(1, generator, model)
    assert torch.equal(generator.get_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, (loss, weight) in list(step.objective.terms.items()):
        for other, (theirs, _) in list(step.objective.terms.items()):
            step.objective.terms[other] = (theirs, 0.0)
        step.objective.terms[name] = (loss, weight)
        generator.set_state(before)
        model.zero_grad()
        step(1, generator)[0].backward()
        alone = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        assert found.norms[name].item() == pytest.approx(alone.norm().item(), rel=1e-5), name


def test_validation_views_are_named_so_in_the_log(tmp_path):
    log = LogConfig(every=3, checkpoint_every=3, evaluate_every=2, frames=0)
    run = train(tiny(tmp_path / "run", log=log, evaluate_on="validation"))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation_psnr" in line] == [2, 4]
    assert not any("test_psnr" in line for line in lines)


def test_tensorboard_gets_every_number_of_the_log(tmp_path, monkeypatch):
    class Writer:
        def __init__(self, folder, purge_step):
            assert purge_step == 1  # a run that begins again drops what a killed one wrote
            self.folder, self.scalars, self.closed = folder, [], False
            made.append(self)

        def add_scalar(self, *scalar):
            self.scalars.append(scalar)

        def close(self):
            self.closed = True

    made = []
    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer)
    )
    log = LogConfig(every=3, checkpoint_every=3, evaluate_every=2, frames=0, tensorboard=True)
    run = train(tiny(tmp_path / "run", log=log))
    (writer,) = made
    assert (writer.folder, writer.closed) == (run, True)
    expected = []
    for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()):
        step = line.pop("step")
        for key, value in line.items():
            inner = value if isinstance(value, dict) else {None: value}
            expected += [(f"{key}/{k}" if k else key, v, step) for k, v in inner.items()]
    assert sorted(writer.scalars) == sorted(expected)
    assert {"psnr", "test_psnr", "values/depth_kl", "weights/depth_kl"} <= {
        name for name, *_ in writer.scalars
    }


def test_tensorboard_that_is_not_there_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r'pip install "nerfreg\[tensorboard\]"'):
        train(tiny(tmp_path / "run", log=LogConfig(tensorboard=True)))
    assert not (tmp_path / "run").exists()


def test_same_seed_same_weights_other_seed_others(tmp_path):
    a, b, c = (
        weights(train(tiny(tmp_path / n, seed=s, steps=3, log=LogConfig(frames=0))))
        for n, s in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same(a, b)
    assert not same(a, c)


def test_resume_is_bit_exact(tmp_path):
    whole = train(tiny(tmp_path / "whole"))
    cut = tmp_path / "cut"
    train(tiny(cut))
    # As after a kill between steps 3 and 6: the later checkpoint and results never happened.
    for path in ("checkpoints/step_0000006", "test"):
        for file in (cut / path).iterdir():
            file.unlink()
        (cut / path).rmdir()
    (cut / "metrics.json").unlink()
    train(Config(resume=str(cut)))
    assert same(weights(whole), weights(cut))
    a, b = ((r / "log.jsonl").read_text().splitlines() for r in (whole, cut))
    strip = [
        [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in x]
        for x in (a, b)
    ]
    assert strip[0] == strip[1]


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path):
    whole = train(tiny(tmp_path / "whole"))
    cut = tmp_path / "cut"
    cut.mkdir()
    save_config(replace(load_config(whole / "config.json"), out=str(cut)), cut / "config.json")
    (cut / "log.jsonl").write_text('{"step": 2, "values": {"color": 1.0}')
    train(Config(resume=str(cut)))
    assert same(weights(whole), weights(cut))
    steps = [json.loads(line)["step"] for line in (cut / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6]


def test_random_state_of_another_device_is_replaced_with_a_warning(tmp_path):
    run = train(tiny(tmp_path / "run", steps=3))
    state = checkpoints.latest(run).path / "state.json"
    state.write_text(state.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    # CUDA's generator has a state of 16 bytes.
    file = state.with_name("optimizer.safetensors")
    save_file({**load_file(file), "generator": torch.zeros(16, dtype=torch.uint8)}, file)
    save_config(tiny(run, steps=5), run / "config.json")
    with pytest.warns(UserWarning, match=r"step_0000003: saved on cuda, resumed on cpu"):
        train(Config(resume=str(run), device="cpu"))
    assert checkpoints.latest(run).step == 5


def test_other_folders_beside_checkpoints_do_no_harm(tmp_path):
    run = train(tiny(tmp_path / "run"))
    (run / "checkpoints" / "step_old").mkdir()
    assert checkpoints.latest(run).step == 6


def test_evaluate_repeats_the_metrics(tmp_path):
    folder = train(tiny(tmp_path / "run"))
    before = json.loads((folder / "metrics.json").read_text())
    run = Run.open(folder)
    after = evaluate_run(folder, run.trained_model(folder), run, run.space(), step=6)
    assert after["mean"] == before["mean"]
    assert after["train_seconds"] == before["train_seconds"]


def test_a_stopped_run_keeps_its_last_step_and_goes_on(tmp_path):
    out = tmp_path / "run"
    save_config(
        tiny(out, steps=100_000, log=LogConfig(every=1, checkpoint_every=50_000, frames=0)),
        tmp_path / "c.json",
    )
    code = (
        "import sys; from pathlib import Path; from reference_impl import train as t;"
        "from reference_impl.config import load_config;"
        f"c = load_config(Path({str(tmp_path / 'c.json')!r}));"
        "t.parse = lambda _: c; sys.exit(t.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    log = out / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with --resume" in errors
    reached = checkpoints.latest(out).step
    assert reached >= 3
    save_config(tiny(out, steps=reached + 2), out / "config.json")
    train(Config(resume=str(out)))
    assert checkpoints.latest(out).step == reached + 2


@pytest.mark.distributed
def test_two_processes_train_and_go_on(tmp_path):
    """Each draws half of the rays; only the first writes."""
    out, script = tmp_path / "run", str(ROOT / "reference_impl" / "train.py")
    options = "--device cpu --precision 32-true --steps 6 --width 24 --rays 128"
    options += " --model.width 16 --model.depth 2 --model.n-samples 8 --log.every 2"
    options += " --log.checkpoint-every 3 --log.frames 0"

    def run(*arguments, launcher=()):
        done = run_script(*launcher, script, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("done: ") == 1

    run(*options.split(), "--devices", "2", "--out", str(out), "--dry-run")
    assert [path.name for path in out.iterdir()] == ["preview.png"]
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2"
    run(*options.split(), "--out", str(out), launcher=torchrun.split())
    assert load_config(out / "config.json").devices == 2
    lines = (out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
    for file in (out / "checkpoints" / "step_0000006").iterdir():
        file.unlink()
    (out / "checkpoints" / "step_0000006").rmdir()
    run("--resume", str(out))
    lines = (out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
    assert checkpoints.latest(out).step == 6


@pytest.mark.distributed
def test_gradients_of_two_processes_are_the_mean_and_only_the_first_writes(tmp_path):
    """Each draws its own half of the rays; what they agree on is what one process would get."""
    out, script = tmp_path / "run", tmp_path / "watched.py"
    config = tiny(out, recipe="dsnerf", devices=2, steps=2)
    save_config(config, tmp_path / "config.json")
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from safetensors.torch import save_file\n"
        "from reference_impl import train as trainer\n"
        "from reference_impl.config import load_config\n"
        "rank, here = int(os.environ.get('LOCAL_RANK', 0)), Path(__file__).parent\n"
        "def forbid(event, given):\n"
        "    writes = event in ('os.mkdir', 'os.rename', 'os.remove') or (\n"
        "        event == 'open' and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))\n"
        "    if writes and str(here / 'run') in str(given[0]):\n"
        "        os.write(2, f'process {rank}: {event} {given}'.encode())\n"
        "        os._exit(99)\n"
        "if rank:\n"
        "    sys.addaudithook(forbid)\n"
        "clip = trainer.clip_gradients_\n"
        "def keep(parameters, **bounds):\n"
        "    gradients = here / f'{rank}.safetensors'\n"
        "    if not gradients.exists():\n"
        "        save_file({str(i): p.grad for i, p in enumerate(parameters)}, gradients)\n"
        "    return clip(parameters, **bounds)\n"
        "trainer.clip_gradients_ = keep\n"
        "from torch.nn.parallel import DistributedDataParallel as DDP\n"
        "destroy = trainer.torch.distributed.destroy_process_group\n"
        "def checked():\n"
        "    assert not any(isinstance(o, DDP) for o in trainer.gc.get_objects())\n"
        "    destroy()\n"
        "trainer.torch.distributed.destroy_process_group = checked\n"
        "trainer.train(load_config(here / 'config.json'))\n"
        # Left open, it may abort the process at its end, and with it the one that evaluates.
        "assert not trainer.torch.distributed.is_initialized()\n"
    )
    done = run_script(str(script), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert checkpoints.latest(out).step == 2

    run = Run.of(config)
    space, halves = run.space(), []
    for rank in range(2):
        model = run.model()
        sampler = BatchSampler(run.scene, run.recipe, space, config.rays // 2, torch.device("cpu"))
        step = RegularizedStep(model, run.recipe, space, sampler, run.scene.background)
        generator = torch.Generator().manual_seed(config.seed + 1_000_003 * rank)
        step(0, generator)[0].backward()
        halves.append([p.grad for p in model.parameters()])
    found = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    for i, (a, b) in enumerate(zip(*halves, strict=True)):
        assert torch.equal(found[0][str(i)], found[1][str(i)])
        torch.testing.assert_close(found[0][str(i)], (a + b) / 2, rtol=1e-5, atol=1e-7)
    assert any(not torch.allclose(a, b) for a, b in zip(*halves, strict=True))


@pytest.mark.slow
@pytest.mark.distributed
def test_no_process_leaves_while_another_saves(tmp_path):
    """The launcher looks every 5 s, and kills all that remain once one has left."""
    out, script = tmp_path / "run", tmp_path / "slow.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from reference_impl import checkpoints, train\n"
        "save = checkpoints.save\n"
        "checkpoints.save = lambda *given: (time.sleep(12), save(*given))[1]\n"
        "sys.exit(train.main())\n"
    )
    options = "--devices 2 --device cpu --precision 32-true --steps 100000 --width 24 --rays 128"
    options += " --model.width 16 --model.depth 2 --model.n-samples 8 --log.every 1"
    options += f" --log.checkpoint-every 100000 --log.frames 0 --out {out}"
    process = subprocess.Popen(
        [sys.executable, str(script), *options.split()],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    log, deadline = out / "log.jsonl", time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C reaches all of them
    process.wait(timeout=120)
    assert checkpoints.latest(out).step >= 3


def test_non_finite_loss_names_term_step_and_checkpoint(tmp_path):
    watch = Watch()
    watch.record(3, {"color": torch.tensor(1.0), "kl": torch.tensor(1.0)})
    watch.check(tmp_path)
    watch.record(4, {"color": torch.tensor(1.0), "kl": torch.tensor(float("nan"))})
    watch.record(5, {"color": torch.tensor(float("inf")), "kl": torch.tensor(0.0)})
    with pytest.raises(
        NonFiniteLossError, match="'kl' became non-finite at step 4; there is no checkpoint yet"
    ):
        watch.check(tmp_path)
    (tmp_path / "checkpoints" / "step_0000003").mkdir(parents=True)
    with pytest.raises(NonFiniteLossError, match=r"last good checkpoint is .*step_0000003"):
        watch.check(tmp_path)


def test_training_stops_at_a_non_finite_loss(tmp_path):
    """A learning rate of 1e30 destroys the weights at once."""
    config = tiny(
        tmp_path / "run", optimizer=OptimizerConfig(lr_start=1e30, lr_end=1e30, warmup_steps=0)
    )
    with pytest.raises(NonFiniteLossError, match=r"became non-finite at step \d"):
        train(config)
    assert not (tmp_path / "run" / "metrics.json").exists()
    for path in (tmp_path / "run" / "checkpoints").glob("step_*"):
        assert all(v.isfinite().all() for v in load_file(path / "model.safetensors").values())


def test_dry_run_draws_and_does_not_train(tmp_path, capsys):
    run = train(tiny(tmp_path / "look", dry_run=True))
    shown = capsys.readouterr().out
    assert (run / "preview.png").stat().st_size > 10_000
    assert not (run / "checkpoints").exists()
    for text in (
        "train     view00, view11, view23",
        "bounds    0.5 to 4.25",
        "keypoints view00:",
        "(from the scene's surfaces, with noise)",
        "depth_kl",
    ):
        assert text in shown


def test_a_dry_runs_folder_is_free_for_the_run(tmp_path):
    train(tiny(tmp_path / "run", dry_run=True))
    run = train(tiny(tmp_path / "run", steps=2))
    assert run == tmp_path / "run"
    assert checkpoints.latest(run).step == 2


def test_clipping_is_off_at_0(tmp_path):
    optimizer = OptimizerConfig(clip_value=0, clip_norm=0, warmup_steps=0)
    run = Run.of(tiny(tmp_path, optimizer=optimizer, steps=2))
    before = run.model().state_dict()
    after = weights(train(tiny(tmp_path / "run", optimizer=optimizer, steps=2)))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_nan_gradient_is_never_saved(tmp_path, monkeypatch):
    """The losses are still finite when the gradient is not."""
    import reference_impl.train as trainer

    def poison(parameters, **bounds):
        parameters[0].grad.fill_(float("nan"))
        return clip(parameters, **bounds)

    clip = trainer.clip_gradients_
    monkeypatch.setattr(trainer, "clip_gradients_", poison)
    with pytest.raises(NonFiniteLossError, match="'gradient norm' became non-finite at step 0"):
        train(tiny(tmp_path / "run"))
    assert not list((tmp_path / "run").glob("checkpoints/step_*"))


def test_a_batch_too_small_for_a_patch_still_gets_one(tmp_path):
    run = train(tiny(tmp_path / "run", recipe="regnerf", without="color_prior", rays=20, steps=2))
    line = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert "depth_smoothness" in line["values"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("optimizer.safetensors", None),
        ("state.json", None),
        ("state.json", b"[]"),
        ("state.json", b"\xff\xfe"),
        ("state.json", b'{"step": "three"}'),
    ],
)
def test_damaged_checkpoint_files_are_named(tmp_path, name, content):
    folder = train(tiny(tmp_path / "run", steps=3))
    path = checkpoints.latest(folder).path / name
    path.write_bytes(path.read_bytes()[:30] if content is None else content)
    with pytest.raises(ValueError, match=rf"{name}: not a readable checkpoint"):
        train(Config(resume=str(folder)))


def test_config_json_is_resolved(tmp_path):
    config = load_config(train(tiny(tmp_path / "run", recipe="nerf", steps=2)) / "config.json")
    assert config.model.encoding == "positional"
    assert config.width == 24
    assert config.precision == "32-true"


def test_checkpoint_of_another_architecture(tmp_path):
    folder = train(tiny(tmp_path / "run", steps=3))
    save_config(
        tiny(
            folder, model=MipNerfConfig(width=32, depth=2, view_width=8, n_samples=8, max_degree=4)
        ),
        folder / "config.json",
    )
    with pytest.raises(
        ValueError, match=r"model\.safetensors: weights of another architecture.*\(16, .*\(32, "
    ):
        Run.open(folder).trained_model(folder)


def test_truncated_checkpoint(tmp_path):
    folder = train(tiny(tmp_path / "run", steps=3))
    path = checkpoints.latest(folder).path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"model\.safetensors: not a readable checkpoint"):
        Run.open(folder).trained_model(folder)


def test_out_must_be_free(tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ValueError, match="already exists and is not empty"):
        train(tiny(tmp_path))
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "dietnerf"], "--recipe dietnerf: needs --embedder MODEL"),
        (["--embedder", "random"], "--embedder: recipe fewview compares no images"),
        (
            ["--recipe", "sparsenerf"],
            "needs --depth-maps FOLDER with a depth map for each training",
        ),
        (["--depth-maps", "."], "--depth-maps: recipe fewview looks at none"),
        (["--recipe", "sparsenerf", "--depth-maps", "no/where"], "no/where: no such folder"),
        (["--recipe", "magic"], "--recipe magic: unknown, choose one of mipnerf"),
        (["--views", "0"], "--views must be at least 1, got 0"),
        (["--views", "19"], "19"),
        (["--scene", "nowhere"], "nowhere"),
        (["--resume", "nowhere"], "nowhere: no config.json there"),
        (["--steps=-1"], "--steps must be at least 0, got -1"),
        (["--model.width", "0"], "--model.width must be at least 1, got 0"),
        (["--log.every", "0"], "--log.every must be at least 1, got 0"),
        (["--optimizer.lr-start", "0"], "--optimizer.lr-start must be at least 1e-12"),
        (["--resume", "nowhere", "--seed", "1"], "no other option than --device can be given"),
        (["--resume", "nowhere", "--preset", "paper"], "no other option than --device"),
        (["--resume", "nowhere", "--device", "cpu"], "nowhere: no config.json there"),
        (["--model.view-degree=-1"], "--model.view-degree must be at least 0, got -1"),
        (["--model.skip=-1"], "--model.skip must be at least 0, got -1"),
        (["--model.encoding", "positional"], "recipe fewview on embedded decides that"),
        (["--model.ray-shape", "cylinder"], "--model.ray-shape cylinder: recipe fewview"),
    ],
)
def test_bad_arguments_exit_2_with_one_line_and_leave_nothing(tmp_path, arguments, message):
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, str(ROOT / "reference_impl" / "train.py"), *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_preset_gives_defaults_and_options_change_single_values():
    small, paper = parse(["--seed", "3"]), parse(["--preset", "paper", "--model.width", "64"])
    assert (small.preset, small.seed, small.model.depth) == ("small", 3, 4)
    assert (paper.model.width, paper.model.depth, paper.rays, paper.model.n_samples) == (
        64,
        8,
        4096,
        128,
    )


def test_paper_steps_are_regnerfs():
    """LLFF (378x504) and DTU (300x400) at 3, 6 and 9 views, as published."""
    steps = [
        resolve_steps(Config(preset="paper", views=n), w, h)
        for w, h in ((504, 378), (400, 300))
        for n in (3, 6, 9)
    ]
    assert steps == [69768, 139535, 209303, 43945, 87891, 131836]


def test_config_round_trip(tmp_path):
    config = tiny(tmp_path, recipe="regnerf")
    save_config(config, tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"{", b"{{", "Expecting property name"),
        (b'"scene"', b'"scenery"', "scenery"),
        (b'"steps": 6', b'"steps": "six"', "steps must be int, got 'six'"),
        (b'"lr_start": 0.002', b'"lr_start": null', "lr_start must be float, got None"),
        (b'"width": 16', b'"width": 1.5', "width must be int, got 1.5"),
        (b"embedded", b"\xff\xfe", "invalid start byte"),
    ],
)
def test_a_damaged_configuration_is_named(tmp_path, old, new, message):
    path = tmp_path / "bad.json"
    save_config(tiny(tmp_path), path)
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"bad\.json: not a configuration.*{message}"):
        load_config(path)


def test_more_gpus_than_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="--devices 3: there are 2 GPUs"):
        train(tiny(tmp_path / "run", device="cuda", devices=3))
    assert not (tmp_path / "run").exists()


def test_a_stop_outside_of_training_says_so(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setattr("reference_impl.train.train", stop)
    assert main() == 130
    assert "stopped outside of training" in capsys.readouterr().err


def test_a_traceback_is_there_for_who_asks(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--scene", "nowhere"])
    assert main() == 2
    monkeypatch.setenv("NERFREG_TRACEBACK", "1")
    with pytest.raises(ValueError, match="nowhere"):
        main()
