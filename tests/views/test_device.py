"""On a GPU: draws come from the device, and nothing makes the host wait for it."""

import pytest
import torch

from nerfreg.views import (
    AroundFocusPoses,
    Cameras,
    ForwardFacingPoses,
    HemispherePoses,
    InterpolatedPoses,
    UnseenPatchSampler,
    pinhole,
)
from tests.views.scenes import forward_facing_poses, ring_poses

pytestmark = pytest.mark.gpu

DISTRIBUTIONS = {
    "forward-facing": ForwardFacingPoses.from_cameras(ring_poses(), near=1.0, far=10.0),
    "around focus": AroundFocusPoses.from_cameras(ring_poses()),
    "hemisphere": HemispherePoses.from_cameras(ring_poses()),
    "interpolated": InterpolatedPoses.from_cameras(ring_poses()),
    "fixed": ring_poses(),
}


@pytest.mark.parametrize("near", [None, 1.0])
@pytest.mark.parametrize("poses", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
def test_sampling_waits_for_nothing(poses, near: float | None) -> None:
    k = pinhole(50.0, 64, 48, dtype=torch.float64)
    sampler = UnseenPatchSampler(poses, k, image_size=(64, 48), ndc_near=near).to("cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    sampler.sample(64, generator)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        patches = sampler.sample(64, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert patches.rays.origins.device.type == "cuda"
    assert patches.rays.origins.isfinite().all()


def test_rays_wait_for_nothing() -> None:
    k = pinhole(50.0, 64, 48, dtype=torch.float64)
    cameras = Cameras.from_opencv(forward_facing_poses(), k, 64, 48).to("cuda")
    index = torch.randint(5, (4096,), device="cuda")
    xy = torch.rand(4096, 2, device="cuda") * 48
    cameras.ndc_rays(index, xy)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        rays, ndc = cameras.rays(index, xy), cameras.ndc_rays(index, xy)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert rays.radii.isfinite().all()
    assert ndc.radii.isfinite().all()
