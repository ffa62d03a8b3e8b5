"""Streams give every photograph its turn, and go on after a stop as if there had been none."""

import io
import multiprocessing
import tarfile
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from pretrain_flow.bank import PatchBank
from pretrain_flow.batches import MemoryBatches, StreamBatches
from pretrain_flow.photographs import UnusableError, find
from pretrain_flow.shards import ShardReader, expand
from pretrain_flow.skipped import Skipped
from pretrain_flow.split import is_held_out
from pretrain_flow.stream import Position, Stream, read_file
from tests.pretrain_flow.conftest import photograph


def stream_of(units, read=read_file, workers=1, **changes):
    values = {
        "n": 6,
        "size": 4,
        "factors": (1.0, 2.0),
        "per_photograph": 4,
        "mixed": 3,
        "greyscale": "keep",
        "seed": 0,
        "process": (0, 1),
        "positions": [Position()] * workers,
    }
    return Stream(units, read, **{**values, **changes})


def one_colour(i):
    """A photograph that its patches can be told by."""
    return Image.fromarray(np.full((9, 9, 3), i, np.uint8))


@pytest.fixture
def coloured(tmp_path):
    for i in range(10):
        one_colour(i).save(tmp_path / f"{i}.png")
    return [str(path) for _, path in find(tmp_path, "--images")]


@pytest.fixture
def shards(tmp_path):
    """Four shards of five photographs; one sample has no image and one is damaged."""
    for shard in range(4):
        with tarfile.open(tmp_path / f"{shard:03d}.tar", "w") as tar:
            for i in range(5 * shard, 5 * shard + 5):
                file = io.BytesIO()
                one_colour(i).save(file, "png")
                data = {"png": file.getvalue(), "txt": b"a label"}
                if i == 7:
                    del data["png"]
                if i == 8:
                    data["png"] = data["png"][:40]
                for suffix, content in data.items():
                    member = tarfile.TarInfo(f"{i:04d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return str(tmp_path / "{000..003}.tar")


def colours(items):
    return Counter(int(patch[0, 0, 0]) for item in items for patch in item.patches)


def test_an_epoch_gives_each_photograph_the_same_number_of_patches(coloured):
    # Two workers, five photographs each, in mixtures of five: a batch of 20 is an epoch of one.
    stream = stream_of(coloured, workers=2, mixed=5, n=20)
    first = [next(stream.batches(worker)) for worker in (0, 1)]
    assert colours(first) == dict.fromkeys(range(10), 4)
    second = [next(islice(stream.batches(worker), 1, None)) for worker in (0, 1)]
    assert colours(second) == dict.fromkeys(range(10), 4)
    assert colours(first[:1]) != colours(second[:1]), "another epoch, another order"


def test_processes_share_the_photographs(coloured):
    seen = [
        colours([next(stream_of(coloured, mixed=5, n=20, process=(i, 2)).batches(0))])
        for i in (0, 1)
    ]
    assert not seen[0].keys() & seen[1].keys()
    assert seen[0].keys() | seen[1].keys() == {*range(10)}


def test_patches_of_a_mixture_are_shuffled(coloured):
    item = next(stream_of(coloured, mixed=10, n=10).batches(0))
    assert len(colours([item])) > 4


@pytest.mark.parametrize("kind", ["files", "shards"])
def test_a_stream_goes_on_from_any_position(kind, coloured, shards):
    units, read = (
        (coloured, read_file) if kind == "files" else (expand(shards), ShardReader(0.0, 0))
    )
    stream = stream_of(units, read)
    whole = [*islice(stream.batches(0), 25)]
    assert whole[-1].position.epoch >= 1
    for at in range(24):
        rest = stream_of(units, read, positions=[whole[at].position]).batches(0)
        following = next(rest)
        assert torch.equal(following.patches, whole[at + 1].patches)
        assert following.position == whole[at + 1].position


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_resume_with_the_worker_whose_turn_it_is(workers, coloured):
    def batches():
        return StreamBatches(
            stream_of(coloured, workers=max(workers, 1)), workers, Skipped(), "cpu"
        )

    through, cut = batches(), batches()
    patches = [through.next(step) for step in range(7)]
    for step in range(3):
        assert torch.equal(cut.next(step), patches[step])
    on = batches()
    on.resume(3, cut.positions)
    for step in range(3, 7):
        assert torch.equal(on.next(step), patches[step])
    assert torch.equal(on.positions, through.positions)
    assert through.first_wait > 0
    assert through.waited > 0
    for each in (through, cut, on):
        each.close()
    assert not multiprocessing.active_children()


def test_shards_give_what_is_not_held_out_and_name_what_is_unusable(shards):
    skipped = Skipped()
    read = ShardReader(0.3, seed=0)
    stream = stream_of(expand(shards), read, mixed=4, n=16)
    batches = StreamBatches(stream, 0, skipped, "cpu")
    seen = {int(v) for step in range(20) for v in (batches.next(step)[:, 0, 0, 0] * 255).round()}
    usable = {i for i in range(20) if i not in (7, 8)}
    held_out = {i for i in range(20) if is_held_out(f"{i:04d}", 0.3, 0)}
    assert 3 <= len(held_out) <= 10
    assert seen == usable - held_out
    names = [f"{expand(shards)[i // 5]}/{i:04d}" for i in range(20)]
    assert skipped.reasons.keys() == {names[i] for i in {7, 8} - held_out}
    measured = ShardReader(0.3, seed=0, held_out=True)
    found = {name for url in expand(shards) for name, _ in measured(url)}
    assert found == {names[i] for i in held_out}


def test_a_damaged_shard_is_read_as_far_as_it_goes(shards, tmp_path):
    path = tmp_path / "000.tar"
    path.write_bytes(path.read_bytes()[:4640])  # in the third photograph
    found = [*ShardReader(0.0, 0)(str(path))]
    assert [name for name, _ in found[:-1]] == [f"{path}/0000", f"{path}/0001"]
    name, why = found[-1]
    assert name == str(path)
    assert isinstance(why, UnusableError)
    assert "damaged shard" in str(why)
    (tmp_path / "000.tar").write_bytes(b"no tar")
    ((_, why),) = ShardReader(0.0, 0)(str(path))
    assert "damaged shard" in str(why)
    ((_, why),) = ShardReader(0.0, 0)(str(tmp_path / "gone.tar"))
    assert "unreadable shard" in str(why)


def test_missing_shards_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"--shards .*: 3 of 3 files are not there, first .*7\.tar"
    ):
        expand(str(tmp_path / "{7..9}.tar"))


def test_missing_webdataset_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "webdataset", None)
    with pytest.raises(ImportError, match=r'pip install "nerfreg\[shards\]"'):
        expand("a.tar")


def test_a_stream_of_unusable_files_ends_in_one_error(tmp_path):
    units = []
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"nothing")
        units.append(str(tmp_path / f"{i}.png"))
    batches = StreamBatches(stream_of(units), 0, Skipped(), "cpu")
    with pytest.raises(ValueError, match=r"none of the 3 files is a usable .*png: unreadable"):
        batches.next(0)


def write_shard(path, images):
    """A tar file with these files as its images, numbered from 0000 as in every shard."""
    with tarfile.open(path, "w") as tar:
        for i, content in enumerate(images):
            member = tarfile.TarInfo(f"{i:04d}.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


def as_png(image):
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def test_workers_outlive_a_shard_without_a_usable_photograph(tmp_path):
    units = [
        write_shard(tmp_path / "bad.tar", [b"no image"] * 6),
        write_shard(tmp_path / "good.tar", [as_png(one_colour(i)) for i in range(6)]),
    ]
    for seed in range(40):  # also where the same worker gets the same shard for many epochs
        stream = stream_of(units, ShardReader(0.0, 0), workers=2, mixed=6, n=24, seed=seed)
        for worker in (0, 1):
            assert colours([next(stream.batches(worker))]) == dict.fromkeys(range(6), 4)


def test_the_only_shard_of_a_worker_goes_on_from_its_end(tmp_path):
    """Where a mixture ends with the shard, nothing usable is left of the epoch."""
    images = [as_png(one_colour(i)) for i in range(6)]
    units = [write_shard(tmp_path / f"{i}.tar", images) for i in range(2)]
    stream = stream_of(units[:1], ShardReader(0.0, 0))
    whole = [*islice(stream.batches(0), 6)]
    at_end = Position(0, 0, 3, 2)
    assert whole[3].position == at_end, "the second mixture's last batch: samples 3 to 5"
    for start in (at_end, Position(0, 0, 6, 0), Position(0, 0, 6, 1)):
        for count, workers in ((1, 1), (2, 2)):
            some = replace(
                stream, units=units[:count], positions=[start] + [Position()] * (workers - 1)
            )
            item = next(some.batches(0))
            assert item.error == ""
            assert len(item.patches) == 6


def test_any_number_of_processes_draws_one_batch_from_memory():
    bank = PatchBank.of([[photograph("a")], [photograph("b")]], "cpu")
    (whole,) = (MemoryBatches(bank, 12, 8, 0, (0, 1)).next(5),)
    parts = [MemoryBatches(bank, 12, 8, 0, (i, 3)).next(5) for i in range(3)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


def test_the_list_of_skipped_files_has_each_once(tmp_path):
    skipped = Skipped()
    skipped.add([("a", "bad"), ("a", "bad")])
    skipped.write_to(tmp_path / "skipped.txt")
    skipped.add([("b", "worse"), ("a", "bad")])
    assert (tmp_path / "skipped.txt").read_text() == "a: bad\nb: worse\n"
    assert len(skipped) == 2
    later = Skipped()
    later.add([("c", "new"), ("a", "bad")])
    later.write_to(tmp_path / "skipped.txt")
    assert (tmp_path / "skipped.txt").read_text() == "a: bad\nb: worse\nc: new\n"
    assert len(later) == 3
