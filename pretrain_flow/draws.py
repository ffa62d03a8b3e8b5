"""Random numbers that depend on what they are for, not on what was drawn before.

Which step, photograph or epoch a draw belongs to is all its seed is made of. So a run that goes on
needs no random state from the past, and a photograph is cut alike whichever process decodes it.
"""

import hashlib

import numpy as np
import torch


def seed_of(*purpose: object) -> int:
    """A seed of 63 bits for a purpose: names and numbers."""
    text = "/".join(map(str, purpose)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def numpy_rng(*purpose: object) -> np.random.Generator:
    """NumPy's generator for a purpose."""
    return np.random.default_rng(seed_of(*purpose))


def torch_rng(device: torch.device | str, *purpose: object) -> torch.Generator:
    """PyTorch's generator for a purpose, on the device that uses it."""
    return torch.Generator(device).manual_seed(seed_of(*purpose))


def fraction_of(*purpose: object) -> float:
    """A number in [0, 1) for a purpose."""
    return seed_of(*purpose) / 2**63
