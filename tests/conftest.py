"""What every test starts from."""

import hypothesis
import pytest
import torch

# One seed, one outcome: a law that fails here fails everywhere. Deadlines measure the machine, not the law.
hypothesis.settings.register_profile("nerfreg", deadline=None, derandomize=True)
hypothesis.settings.load_profile("nerfreg")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Start each test from the same global random state; tests that draw much use their own generator."""
    torch.manual_seed(0)
