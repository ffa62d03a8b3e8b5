"""Processes by option, or as torchrun started them."""

import pytest
import torch

from reference_impl.torchrun import processes, require_gpus


def test_torchruns_processes_are_taken_from_it(monkeypatch):
    """Or each of them would take itself for the only one, and all write one folder."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert processes(3) == (3, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert processes(3) == (4, 2)


def test_too_few_gpus_are_told_to_whoever_asked_for_more(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    require_gpus(2)
    with pytest.raises(ValueError, match=r"^--devices 3: there are 2 GPUs"):
        require_gpus(3)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(ValueError, match=r"^torchrun's 3 processes: there are 2 GPUs"):
        require_gpus(3)
