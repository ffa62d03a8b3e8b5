"""Cameras and rays that several tests start from."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from nerfreg.views import Cameras, look_at

seeds = st.integers(0, 2**31 - 1)


def rotations(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random rotations, uniform over all of them."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(n, 3, 3, generator=generator, dtype=torch.float64))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    return (q * torch.linalg.det(q).sign()[:, None, None]).to(dtype)


def any_poses(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    positions = 3 * torch.randn(n, 3, 1, generator=generator, dtype=torch.float64)
    return torch.cat([rotations(n, seed), positions], -1).to(dtype)


def any_intrinsics(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Intrinsics with two focal lengths, skew and an off-centre principal point, all different."""
    generator = torch.Generator().manual_seed(seed + 2)
    u = torch.rand(n, 5, generator=generator, dtype=torch.float64)
    k = torch.zeros(n, 3, 3, dtype=torch.float64)
    k[:, 0, 0], k[:, 1, 1] = 40 + 40 * u[:, 0], 40 + 40 * u[:, 1]
    k[:, 0, 1] = 4 * u[:, 2] - 2
    k[:, 0, 2], k[:, 1, 2] = 24 + 16 * u[:, 3], 16 + 16 * u[:, 4]
    k[:, 2, 2] = 1
    return k.to(dtype)


def any_cameras(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Cameras:
    return Cameras.from_opencv(any_poses(n, seed, dtype), any_intrinsics(n, seed, dtype), 64, 48)


def ring_poses(n: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    """Cameras on an arc in front of the point (0.3, 0.2, 1), at different heights."""
    angle = torch.linspace(-0.5, 0.6, n, dtype=torch.float64)
    position = torch.stack([3 * angle.sin(), 0.4 * (5 * angle).cos(), -3 * angle.cos()], -1)
    up = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    return look_at(position, torch.tensor([0.3, 0.2, 1.0]).double(), up).to(dtype)


def forward_facing_poses(n: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    """Cameras side by side that look along −z, as NDC needs them, each turned a little."""
    s = torch.linspace(-1, 1, n, dtype=torch.float64)
    position = torch.stack([0.5 * s, 0.2 * (4 * s).sin(), 0.1 * s**2], -1)
    target = position + torch.stack([0.1 * s, -0.05 * s, -torch.ones_like(s)], -1)
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    return look_at(position, target, up).to(dtype)
