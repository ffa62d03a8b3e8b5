"""Weights on disk: whole, unchanged, never unpickled."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from nerfreg.priors import RealNVP, RealNVPConfig, load_prior, save_prior

SMALL = RealNVPConfig(patch_size=2, n_couplings=2, width=5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    flow = RealNVP(SMALL)
    flow.standardize_(torch.rand(100, 2, 2, 3))
    save_prior(tmp_path / "prior.safetensors", flow, {"seed": 0, "licences": ["CC0"]})
    return tmp_path / "prior.safetensors"


def refuses(path: Path, message: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error, match=f"^load_prior: .*{re.escape(str(path))}.*{message}"):
        load_prior(path)


def rewrite(path: Path, **changes: Any) -> None:
    """Write the file anew with other metadata."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, {**metadata, **changes})


def test_round_trip(saved: Path) -> None:
    flow, about = load_prior(saved)
    assert about == {"seed": 0, "licences": ["CC0"]}
    assert flow.config == SMALL
    save_prior(saved.with_name("again.safetensors"), flow, about)
    again, _ = load_prior(saved.with_name("again.safetensors"))
    x = torch.rand(7, 12)
    assert torch.equal(flow.log_prob(x), again.log_prob(x))
    torch.testing.assert_close(flow.sample(2, torch.Generator().manual_seed(0)).shape, (2, 2, 2, 3))


def test_the_path_may_be_a_string(saved: Path) -> None:
    assert load_prior(str(saved))[1]["seed"] == 0


def test_no_file(tmp_path: Path) -> None:
    refuses(tmp_path / "none.safetensors", "", FileNotFoundError)


@pytest.mark.parametrize("length", [0, 5, 200, -1])
def test_a_file_cut_short(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    refuses(saved, "is not safetensors, or was cut short")


def test_a_changed_weight(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-2] ^= 1
    saved.write_bytes(bytes(content))
    refuses(saved, "was changed after it was written")


def test_a_changed_architecture(saved: Path) -> None:
    with safetensors.safe_open(saved, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    rewrite(saved, config=json.dumps({**config, "max_log_scale": 9.0}, sort_keys=True))
    refuses(saved, "was changed after it was written")


def test_a_changed_story(saved: Path) -> None:
    rewrite(saved, about=json.dumps({"licences": ["mine"]}))
    refuses(saved, "was changed after it was written")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_not_opened(tmp_path: Path, zipped: bool) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "unpickled"),)

    path = tmp_path / "weights.pt"
    torch.save({"weights": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    refuses(path, "is a pickle")
    assert not (tmp_path / "unpickled").exists()


def test_other_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(3)}, path)
    refuses(path, "holds no nerfreg prior")


def test_a_later_version(saved: Path) -> None:
    rewrite(saved, version="2")
    refuses(saved, "is of version 2, expected 1")


def test_an_architecture_of_a_later_nerfreg(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerfreg.priors.prior_file._fingerprint", lambda *_: "same")
    rewrite(saved, config=json.dumps({"attention": 3}), sha256="same")
    refuses(saved, "has another architecture than this version of nerfreg can build.*attention")


def test_weights_that_do_not_fit_their_architecture(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerfreg.priors.prior_file._fingerprint", lambda *_: "same")
    rewrite(
        saved, config=json.dumps({"patch_size": 2, "n_couplings": 2, "width": 6}), sha256="same"
    )
    with pytest.raises(ValueError, match=r"another architecture(.|\n)*size mismatch"):
        load_prior(saved)


def test_a_full_disk_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_prior(saved, RealNVP(SMALL), {})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    flow = RealNVP(SMALL)
    with torch.no_grad():
        next(flow.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match=r"^save_prior: weights must be finite, but flow.* is not"):
        save_prior(tmp_path / "prior.safetensors", flow, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_another_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    message = rf"^save_prior: weights must be float32, but flow.* is {dtype}"
    with pytest.raises(ValueError, match=message):
        save_prior(tmp_path / "prior.safetensors", RealNVP(SMALL).to(dtype), {})
    assert not list(tmp_path.iterdir())
