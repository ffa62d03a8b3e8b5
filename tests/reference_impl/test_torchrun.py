"""Processes by option, or as torchrun started them."""

from reference_impl.torchrun import processes


def test_torchruns_processes_are_taken_from_it(monkeypatch):
    """Or each of them would take itself for the only one, and all write one folder."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert processes(3) == (3, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert processes(3) == (4, 2)
