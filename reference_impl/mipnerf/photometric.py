"""The data term."""

from torch import Tensor

__all__ = ["data_loss"]


def data_loss(rgb: Tensor, target: Tensor) -> Tensor:
    """Give the squared colour error: the sum over channels, the mean over rays.

    Three times the usual mean over all numbers. RegNeRF's weights are meant relative to this sum.

    Args:
        rgb: (R, 3) rendered.
        target: (R, 3) of the photo.
    """
    return (rgb - target).square().sum(-1).mean()
