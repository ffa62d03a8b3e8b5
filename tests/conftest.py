"""What every test starts from."""

from collections.abc import Iterator

import hypothesis
import jaxtyping
import pytest
import torch

# One seed, one outcome: a law that fails here fails everywhere.
# No deadline: it would measure the machine, not the law.
hypothesis.settings.register_profile("nerfreg", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("nerfreg")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Start each test from one global random state."""
    torch.manual_seed(0)


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Switch the checks of shape annotations off, as they are for users.

    Needed where our own error must be seen instead of the hook's, and under ``torch.compile``,
    which cannot trace the hook.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
