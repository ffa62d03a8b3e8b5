"""The pretraining's promises, on a few photographs and a tiny flow."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from nerfreg.priors import RealNVP, RealNVPConfig, load_prior
from pretrain_flow.config import Config, DataConfig, LogConfig, OptimizerConfig
from pretrain_flow.corruptions import MISLEADING, UNNATURAL
from pretrain_flow.data import open_data
from pretrain_flow.split import is_held_out
from pretrain_flow.train import (
    PRIOR,
    Trained,
    is_stuck,
    learning_rate,
    main,
    parse,
    saving,
    train,
)
from reference_impl import checkpoints
from reference_impl.config import load_config, save_config
from reference_impl.watch import NonFiniteLossError
from tests.pretrain_flow.conftest import photograph
from tests.script import run_script

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "pretrain_flow" / "train.py")
TINY = RealNVPConfig(patch_size=4, n_couplings=2, width=8, depth=1)


def tiny(out, folder, **changes):
    values = {
        "images": (str(folder),),
        "steps": 6,
        "batch": 24,
        "device": "cpu",
        "out": str(out),
        "model": TINY,
        "data": DataConfig(
            heldout_fraction=0.3, heldout_patches=16, workers=0, mixed_photographs=3
        ),
        "optimizer": OptimizerConfig(warmup_steps=2),
        "log": LogConfig(every=2, evaluate_every=2, checkpoint_every=3),
    }
    return Config(**{**values, **changes})


@pytest.fixture
def unfinished(monkeypatch):
    """Without what comes after the training: pictures take longer than all the rest."""
    result = {"heldout_bits_per_dim": {"mean": 0, "standard_error": 0, "photographs": {}}}
    result |= {"step": 0, "told_apart": {}}
    result["data"] = {"since_last_start": None, "skipped": 0}
    monkeypatch.setattr("pretrain_flow.train.finish", lambda *given: result)


def weights(run):
    return load_file(checkpoints.latest(run).path / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def log(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def forget_the_second_checkpoint(run):
    """As after a kill between steps 3 and 6."""
    shutil.rmtree(run / "checkpoints" / "step_0000006")


def write_shards(folder, n=4, each=3):
    for shard in range(n):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for i in range(each):
                file = io.BytesIO()
                Image.fromarray(photograph(f"{shard}-{i}")).save(file, "png")
                member = tarfile.TarInfo(f"{shard}-{i}.png")
                member.size = len(file.getvalue())
                tar.addfile(member, io.BytesIO(file.getvalue()))
    return str(folder / f"{{0..{n - 1}}}.tar")


def test_a_run_leaves_weights_numbers_and_pictures(tmp_path, folder, capsys):
    run = train(tiny(tmp_path / "run", folder))
    metrics = json.loads((run / "metrics.json").read_text())
    heldout = metrics["heldout_bits_per_dim"]
    measured = [line["heldout"] for line in log(run) if "heldout" in line]
    assert len(measured) == 3
    assert heldout["mean"] == pytest.approx(min(measured), abs=1e-6)
    each = heldout["photographs"]
    assert heldout["mean"] == pytest.approx(sum(each.values()) / len(each))
    assert metrics["told_apart"]["unnatural"].keys() == UNNATURAL.keys()
    assert metrics["told_apart"]["misleading"].keys() == MISLEADING.keys()
    assert metrics["told_apart"]["unnatural"]["uniform noise"]["paired"] > 0.9
    assert metrics["data"]["photographs"] + len(each) == 8
    waits = metrics["data"]["since_last_start"]
    assert 0 < waits["share_of_time_waiting"] < 1
    assert f"waited for during {waits['share_of_time_waiting']:.1%}" in capsys.readouterr().out
    for name in ("loss.png", "samples.png", "nll.png", "config.json"):
        assert (run / name).stat().st_size > 0
    flow, about = load_prior(run / PRIOR)
    assert isinstance(flow, RealNVP)
    assert about["heldout_bits_per_dim"]["mean"] == min(measured)
    assert about["config"]["seed"] == 0
    assert about["step"] == metrics["step"]
    assert not (run / "skipped.txt").exists()
    assert not list(run.rglob(".*"))
    train(Config(resume=str(run)))  # there is nothing left to do, nor to wait for
    again = json.loads((run / "metrics.json").read_text())
    assert again["data"]["since_last_start"] == waits
    (run / "metrics.json").write_text('{"data":')
    train(Config(resume=str(run)))
    again = json.loads((run / "metrics.json").read_text())
    assert again["data"]["since_last_start"] is None
    shown = capsys.readouterr().out
    assert "data      0 files skipped" in shown
    assert f"done: {run}" in shown


def test_training_improves_on_its_start(tmp_path, folder, unfinished):
    optimizer = OptimizerConfig(lr=1e-2, warmup_steps=2, ema_decay=0.9)
    changes = {"steps": 200, "log": LogConfig(20, 20, 200), "optimizer": optimizer}
    run = train(tiny(tmp_path / "run", folder, **changes))
    measured = [line["heldout"] for line in log(run) if "heldout" in line]
    assert measured[-1] < measured[0] - 0.03


def test_same_seed_same_weights_other_seed_others(tmp_path, folder, unfinished):
    a, b, c = (
        weights(train(tiny(tmp_path / n, folder, seed=s, steps=3)))
        for n, s in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.parametrize("kind", ["memory", "stream", "workers", "shards"])
def test_resume_is_bit_exact(kind, tmp_path, folder, unfinished):
    changes = {}
    if kind != "memory":
        data = tiny("", folder).data
        workers = 2 if kind == "workers" else 0
        changes["data"] = replace(data, memory_gb=0.0, workers=workers)
    if kind == "shards":
        changes |= {"images": (), "shards": write_shards(tmp_path)}
    whole = train(tiny(tmp_path / "whole", folder, **changes))
    cut = train(tiny(tmp_path / "cut", folder, **changes))
    forget_the_second_checkpoint(cut)
    with (cut / "log.jsonl").open("a") as file:
        file.write('{"step": 7, "bits_per')
    train(Config(resume=str(cut)))
    assert same(weights(whole), weights(cut))
    assert same(load_file(whole / PRIOR), load_file(cut / PRIOR))
    assert log(whole) == log(cut)


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, folder, unfinished):
    whole = train(tiny(tmp_path / "whole", folder))
    cut = tmp_path / "cut"
    cut.mkdir()
    save_config(load_config(whole / "config.json", Config), cut / "config.json")
    train(Config(resume=str(cut)))
    assert same(weights(whole), weights(cut))


def test_a_configuration_comes_back_as_it_was(tmp_path, folder):
    config = tiny(tmp_path, folder)
    save_config(config, tmp_path / "config.json")
    assert load_config(tmp_path / "config.json", Config) == config


def test_training_stops_early_and_stays_stopped(tmp_path, folder, unfinished, monkeypatch):
    """The held-out photographs get worse from the second measurement on."""
    values = iter([3.0, 4.0, 5.0, 6.0])

    def worse(found, photographs):
        return {"mean": next(values), "standard_error": 0.0}

    monkeypatch.setattr("pretrain_flow.train.mean_over_photographs", worse)
    optimizer = OptimizerConfig(warmup_steps=2, patience=2)
    run = train(tiny(tmp_path / "run", folder, steps=100, optimizer=optimizer))
    assert [line["step"] for line in log(run) if "heldout" in line] == [2, 4, 6]
    assert checkpoints.latest(run).step == 6
    _, about = load_prior(run / PRIOR)
    assert about["step"] == 2, "the best weights are kept, not the last"
    train(Config(resume=str(run)))
    assert checkpoints.latest(run).step == 6


def test_stuck_is_counted_from_the_best():
    assert not is_stuck([], 2)
    assert not is_stuck([3, 4], 2)
    assert is_stuck([3, 4, 3], 2)
    assert not is_stuck([4, 3, 4], 2)
    assert not is_stuck([3, 4, 5, 6], 0)


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine():
    o = OptimizerConfig(lr=1.0, lr_end=0.1, warmup_steps=10)
    rates = [learning_rate(step, 1000, o) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[4] == pytest.approx(0.5, abs=1e-3)
    assert rates[500] == pytest.approx(0.55)
    assert rates[1000] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert learning_rate(0, 10, OptimizerConfig(lr=1.0, warmup_steps=0)) == 1.0


def test_the_average_follows_the_weights():
    trained = Trained(RealNVP(TINY), torch.zeros(0))
    with torch.no_grad():
        for p in trained.flow.parameters():
            p.fill_(1.0)
        for p in trained.average.parameters():
            p.zero_()
    trained.update_average(step=0, decay=0.99)
    assert all(torch.allclose(p, torch.tensor(0.9)) for p in trained.average.parameters())
    trained.update_average(step=100_000, decay=0.99)
    assert all(torch.allclose(p, torch.tensor(0.901)) for p in trained.average.parameters())


def test_training_stops_at_a_non_finite_loss(tmp_path, folder):
    optimizer = OptimizerConfig(lr=1e30, lr_end=0, warmup_steps=0, clip_norm=0)
    with pytest.raises(NonFiniteLossError, match=r"became non-finite at step \d"):
        train(tiny(tmp_path / "run", folder, optimizer=optimizer, steps=40))
    assert not (tmp_path / "run" / "metrics.json").exists()
    for path in (tmp_path / "run" / "checkpoints").glob("step_*"):
        assert all(v.isfinite().all() for v in load_file(path / "model.safetensors").values())


def test_held_out_bits_that_are_not_finite_are_never_saved(tmp_path, folder, monkeypatch):
    nan = {"mean": float("nan"), "standard_error": 0.0}
    monkeypatch.setattr("pretrain_flow.train.mean_over_photographs", lambda *given: nan)
    with pytest.raises(NonFiniteLossError, match="held-out bits became non-finite at step 2"):
        train(tiny(tmp_path / "run", folder))
    assert not (tmp_path / "run" / PRIOR).exists()


def test_bad_files_are_skipped_counted_and_listed(tmp_path, photographs, capsys, unfinished):
    folder = photographs(*(f"{i}.png" for i in range(6)))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    Image.new("RGB", (50, 3)).save(folder / "thin.png")
    for memory in (1.0, 0.0):
        data = replace(tiny("", folder).data, heldout_fraction=1e-6, memory_gb=memory)
        run = train(tiny(tmp_path / f"run{memory}", folder, data=data, steps=12))
        listed = (run / "skipped.txt").read_text().splitlines()
        assert len(listed) == 2, listed
        assert any("broken.jpg: unreadable" in line for line in listed)
        assert any("thin.png: 50x3 pixels, smaller than a patch of 4x4" in line for line in listed)
    assert "skipped   2 files, first " in capsys.readouterr().out


def spoil(folder, how):
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        if how == "damage":
            path.write_bytes(b"no image")
        else:
            Image.new("RGB", (3, 50)).save(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("damage", "photographs to measure on can be used; the first: .*: unreadable"),
        ("shrink", "photographs to measure on can be used; the first: .*smaller than a patch"),
    ],
)
def test_a_folder_without_a_usable_photograph(how, message, tmp_path, photographs, folder):
    bad = photographs("a.png", "b.png", "c.png")
    spoil(bad, how)
    with pytest.raises(ValueError, match=f"^--images .*: none of the 1 {message}"):
        train(tiny(tmp_path / "run", bad))
    with pytest.raises(ValueError, match=r"^--images .*: none of the 3 photographs to train on"):
        train(tiny(tmp_path / "run", bad, heldout=str(folder)))
    with pytest.raises(ValueError, match=f"^--heldout .*: none of the 3 {message}"):
        train(tiny(tmp_path / "run", folder, heldout=str(bad)))
    assert not (tmp_path / "run").exists()


def test_a_stream_without_a_usable_photograph(tmp_path, photographs, folder):
    bad = photographs("a.png", "b.png", "c.png")
    spoil(bad, "shrink")
    data = replace(tiny("", bad).data, memory_gb=0.0)
    with pytest.raises(ValueError, match=r"^--images .*: none of the 3 files .* smaller than a"):
        train(tiny(tmp_path / "run", bad, heldout=str(folder), data=data))
    assert not (tmp_path / "run").exists()


def test_shards_for_more_processes_than_there_are(tmp_path):
    config = replace(tiny("", ""), images=(), shards=write_shards(tmp_path, n=2))
    with pytest.raises(ValueError, match=r"--shards .*: 2 to read for 3 processes"):
        open_data(config, (0, 3), torch.device("cpu"), heldout=False)


def test_several_folders_and_a_held_out_one(tmp_path, photographs, unfinished, capsys):
    a, b, c = photographs("a.png"), photographs("a.png", "b.png"), photographs("x.png")
    train(tiny(tmp_path / "run", "", images=(str(a), str(b)), heldout=str(c), steps=2))
    shown = capsys.readouterr().out
    assert "train     3 photographs, kept in memory" in shown
    assert "held out  1 photographs, 16 patches" in shown


def test_equal_names_in_two_folders_fall_on_one_side_and_count_twice(photographs):
    names = [f"{i}.png" for i in range(4)]
    folders = (str(photographs(*names)), str(photographs(*names)))
    data = open_data(tiny("", "", images=folders), (0, 1), torch.device("cpu"), heldout=True)
    held = {name.partition("/")[2] for name in data.heldout}
    assert {*data.heldout} == {f"{n}/{name}" for n in (1, 2) for name in held}
    assert data.about["photographs"] == 8 - 2 * len(held)


def test_licences_of_what_is_trained_on_are_counted(photographs):
    folder, other = photographs(*(f"{i}.png" for i in range(6)), "deep/6.png"), photographs("x.png")
    (folder / "5.png").write_bytes(b"no image")
    rows = "".join(f"{i}.png,{'CC0' if i % 2 else 'CC BY'},me\n" for i in range(6))
    table = f"\ufefffile,licence,author\n{rows}deep/6.png,CC BY,you\ngone.png,CC0,me\n"
    (folder / "licences.csv").write_text(table)  # as a spreadsheet writes it, with its mark
    both = (str(folder), str(other))
    data = open_data(tiny("", "", images=both), (0, 1), torch.device("cpu"), heldout=True)
    held = {name.removeprefix("1/") for name in data.heldout}
    trained = {*(f"{i}.png" for i in range(5)), "deep/6.png"} - held
    assert held & {f"{i}.png" for i in range(5)}, "or nothing in the table was held out"
    odd = {"1.png", "3.png"}
    expected = {"CC BY": len(trained - odd), "CC0": len(trained & odd)}
    assert data.about["licences"] == {k: n for k, n in expected.items() if n}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,license\n0.png,CC0\n", "it has no column 'licence'"),
        (b"name,licence\n0.png,CC0\n", "it has no column 'file'"),
        (b"", "it has no column 'file'"),
        (b"file,licence,author\n0.png,CC0,Andr\xe9\n", "not UTF-8"),
    ],
)
def test_a_table_of_licences_that_is_none(content, message, photographs):
    folder = photographs("0.png", "1.png")
    (folder / "licences.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"licences\.csv: {message}"):
        open_data(tiny("", folder), (0, 1), torch.device("cpu"), heldout=True)


def test_shards_that_number_alike_all_have_held_out_photographs(tmp_path):
    """What cannot be read takes no place among those measured on."""
    for shard in range(3):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for i in range(12):
                suffix, content = "txt", b"only a label"
                if shard:
                    file = io.BytesIO()
                    Image.fromarray(photograph(f"{shard}-{i}")).save(file, "png")
                    suffix, content = "png", file.getvalue()
                member = tarfile.TarInfo(f"{i:04d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    keys = [f"{i:04d}" for i in range(12) if is_held_out(f"{i:04d}", 0.3, 0)]
    assert len(keys) >= 2
    settings = replace(tiny("", "").data, heldout_photographs=2 * len(keys))
    config = tiny("", "", images=(), shards=str(tmp_path / "{0..2}.tar"), data=settings)
    data = open_data(config, (0, 1), torch.device("cpu"), heldout=True)
    names = [f"{tmp_path / f'{shard}.tar'}/{key}" for shard in range(3) for key in keys]
    assert {*data.heldout} == {*names[len(keys) :]}
    assert {*data.skipped.reasons} == {*names[: len(keys)]}


def test_the_embedded_photographs_are_the_default(tmp_path, unfinished, capsys):
    train(tiny(tmp_path / "run", "", images=(), steps=2))
    assert "train     4 photographs, kept in memory" in capsys.readouterr().out
    _, about = load_prior(tmp_path / "run" / PRIOR)
    assert "CC BY 2.0" in about["licences"]["sklearn/datasets/images/flower.jpg"]
    assert len(about["licences"]) == about["photographs"] == 4


def test_a_full_disk_leaves_the_old_weights(tmp_path, folder):
    """Files may grow to 4 kB and no further: a real write that fails half way."""
    run = tmp_path / "run"
    run.mkdir()
    code = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from nerfreg.priors import RealNVP, RealNVPConfig, save_prior\n"
        "from pretrain_flow.train import saving\n"
        "from reference_impl.command_line import exit_code\n"
        f"path = Path({str(run / PRIOR)!r})\n"
        "flow = RealNVP(RealNVPConfig(patch_size=4, n_couplings=2, width=8))\n"
        "save_prior(path, flow, {'which': 'old'})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "def save():\n"
        "    with saving(path):\n"
        "        save_prior(path, flow, {'which': 'new'})\n"
        "sys.exit(exit_code(save))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"error: {run / PRIOR}: could not be saved (" in done.stderr
    assert "what was saved before is as it was" in done.stderr
    assert load_prior(run / PRIOR)[1] == {"which": "old"}
    assert [path.name for path in run.iterdir()] == [PRIOR]


def test_saving_names_the_file():
    with (
        pytest.raises(OSError, match=r"x: could not be saved \(full\); what was"),
        saving(Path("x")),
    ):
        raise OSError("full")


def test_a_checkpoint_that_cannot_be_written_ends_in_one_error(
    tmp_path, folder, monkeypatch, capsys
):
    save, calls = checkpoints.save_file, []

    def full(*given):
        calls.append(given)
        if len(calls) > 2:  # the second checkpoint's
            raise OSError(28, "No space left on device")
        save(*given)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"checkpoints: could not be saved \(.*No space left"):
        train(tiny(tmp_path / "run", folder))
    assert checkpoints.latest(tmp_path / "run").step == 3
    weights(tmp_path / "run")


@pytest.mark.parametrize("memory", [1.0, 0.0])
def test_a_stopped_run_keeps_its_last_step_and_goes_on(memory, tmp_path, folder, unfinished):
    """The signal reaches the processes that decode as well, as a scheduler's does."""
    out, data = tmp_path / "run", replace(tiny("", folder).data, memory_gb=memory, workers=1)
    config = tiny(out, folder, steps=100_000, log=LogConfig(1, 50_000, 50_000), data=data)
    save_config(config, tmp_path / "c.json")
    code = (
        "import sys; from pathlib import Path; from pretrain_flow import train as t;"
        "from reference_impl.config import load_config;"
        f"c = load_config(Path({str(tmp_path / 'c.json')!r}), t.Config);"
        "t.parse = lambda _: c; sys.exit(t.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    lines, deadline = out / "log.jsonl", time.monotonic() + 120
    while not (lines.is_file() and lines.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with --resume" in errors
    reached = checkpoints.latest(out).step
    assert reached >= 3
    # Too early for a measurement, so there are weights, and nothing in the log tells.
    assert load_prior(out / "prior.safetensors")[1]["step"] == reached
    assert "heldout" not in lines.read_text()
    save_config(replace(config, steps=reached + 2), out / "config.json")
    train(Config(resume=str(out)))
    assert checkpoints.latest(out).step == reached + 2
    assert load_prior(out / "prior.safetensors")[1]["step"] == reached + 2


def run_in_two(config, folder, change=""):
    """Two processes, as the script starts them."""
    save_config(config, folder / "c.json")
    (folder / "two.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from pretrain_flow import train as t\n"
        "from reference_impl.config import load_config\n"
        f"config = load_config(Path({str(folder / 'c.json')!r}), t.Config)\n"
        "t.parse = lambda _: config\n"
        f"{change}\n"
        "sys.exit(t.main())\n"
    )
    return run_script(str(folder / "two.py"), folder=folder)


def train_in_two(config, folder):
    done = run_in_two(config, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: ") == 1
    return Path(config.resume or config.out)


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            "t.mean_over_photographs = lambda *_: {'mean': float('nan')}",
            3,
            "held-out bits became non-finite at step 2",
        ),
        (
            "def full(*_): raise OSError(28, 'No space left on device')\nt.checkpoints.save = full",
            2,
            "checkpoints: could not be saved ([Errno 28] No space left on device)",
        ),
    ],
    ids=["measuring", "saving"],
)
def test_what_fails_in_the_first_of_two_processes_ends_both(
    change, code, message, tmp_path, folder
):
    done = run_in_two(tiny(tmp_path / "two", folder, devices=2), tmp_path, change)
    assert done.returncode == code, done.stderr
    assert done.stderr.count(message) == 2, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.distributed
def test_two_processes_train_as_one(tmp_path, folder, unfinished):
    """The same batches in two halves: gradients meet, and nothing but rounding differs."""
    two = weights(train_in_two(tiny(tmp_path / "two", folder, devices=2), tmp_path))
    one = weights(train(tiny(tmp_path / "one", folder)))
    assert one.keys() == two.keys()
    for name, value in one.items():
        # Adam divides by the gradient's size: 1e-7 of rounding becomes at most 1e-5 of a step.
        torch.testing.assert_close(two[name], value, rtol=0, atol=2e-6)
    torch.manual_seed(0)
    start = RealNVP(TINY)
    moved = [
        (one[f"flow.{name}"] - value).abs().max().item() for name, value in start.named_parameters()
    ]
    assert max(moved) > 1e-3, "or nothing was compared"


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_stream_and_go_on(tmp_path, folder):
    data = replace(tiny("", folder).data, memory_gb=0.0, workers=1)
    whole = train_in_two(tiny(tmp_path / "whole", folder, devices=2, data=data), tmp_path)
    cut = train_in_two(tiny(tmp_path / "cut", folder, devices=2, data=data), tmp_path)
    forget_the_second_checkpoint(cut)
    train_in_two(Config(resume=str(cut)), tmp_path)
    assert same(weights(whole), weights(cut))
    assert weights(whole)["positions"].shape == (2, 1, 4)


def test_out_must_be_free(tmp_path, folder):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ValueError, match="already exists and is not empty"):
        train(tiny(tmp_path, folder))


def test_missing_matplotlib_is_told_before_anything_is_written(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "nerfreg\[plot\]"'):
        train(tiny(tmp_path / "run", folder))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "nowhere"], "--images nowhere: no such folder"),
        (["--shards", "no{0..1}.tar"], "--shards no{0..1}.tar: 2 of 2 files are not there"),
        (["--images", "a", "--shards", "b"], "--images and --shards: give one of them"),
        (["--heldout", "a"], "--heldout: only together with --images or --shards"),
        (["--steps", "0"], "--steps must be from 1 to inf, got 0"),
        (["--batch", "9", "--devices", "2"], "--batch 9: not a multiple of 2 processes"),
        (["--data.min-downscale", "4"], "--data.min-downscale must be from 1 to 3, got 4.0"),
        (["--optimizer.ema-decay", "1"], "--optimizer.ema-decay must be from 0 to 1, got 1.0"),
        (["--resume", "nowhere"], "--resume nowhere: no config.json there"),
        (["--resume", "nowhere", "--seed", "1"], "no other option than --device can be given"),
        (["--device", "cuda"], "--device cuda: there is no CUDA device here"),
    ],
)
def test_bad_arguments_exit_2_with_one_line_and_leave_nothing(
    tmp_path, arguments, message, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", *arguments])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_the_script_runs_as_a_file_from_anywhere(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--images", "nowhere"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "error: --images nowhere: no such folder\n")


def test_options_reach_the_configuration():
    config = parse(["--images", "a", "b", "--data.workers", "3", "--model.patch-size", "6"])
    assert (config.images, config.data.workers, config.model.patch_size) == (("a", "b"), 3, 6)


def test_a_stop_outside_of_training_says_so(monkeypatch, capsys):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setattr("pretrain_flow.train.train", stop)
    assert main() == 130
    assert "stopped outside of training" in capsys.readouterr().err


def test_a_non_finite_loss_exits_3(monkeypatch, capsys):
    def fail(_):
        raise NonFiniteLossError("term 'loss' became non-finite at step 5")

    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setattr("pretrain_flow.train.train", fail)
    assert main() == 3
    assert capsys.readouterr().err == "error: term 'loss' became non-finite at step 5\n"
