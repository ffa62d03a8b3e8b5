"""Compile everything from pixels to rays and depths as one graph, and compare with eager.

A program of its own: under pytest the shape hook sits inside the constructor of ``Rays``, where
``torch.compile`` cannot look through it.
"""

import torch
from torch import Tensor

from nerfreg.views import Cameras, depth_to_ndc, ndc_to_depth, pinhole, shift_origins
from tests.views.scenes import forward_facing_poses


def main() -> None:
    k = pinhole(50.0, 64, 48)
    cameras = Cameras.from_opencv(forward_facing_poses(dtype=torch.float32), k, 64, 48)

    def step(index: Tensor, xy: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        rays, ndc = cameras.rays(index, xy), cameras.ndc_rays(index, xy)
        depth = ndc_to_depth(t, rays)
        points, z = cameras.project(rays.at(depth)[:, 0], index)
        moved = shift_origins(rays, -0.5)
        return rays.viewdirs, ndc.radii, depth_to_ndc(depth, rays), moved.origins, points, z

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    torch.manual_seed(0)
    arguments = torch.tensor([0, 4, 2]), 48 * torch.rand(3, 2), torch.rand(3, 5)
    for actual, expected in zip(compiled(*arguments), step(*arguments), strict=True):
        torch.testing.assert_close(actual, expected)


if __name__ == "__main__":
    main()
