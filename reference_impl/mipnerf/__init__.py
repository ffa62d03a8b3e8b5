"""The mip-NeRF of RegNeRF, in torch."""

from reference_impl.mipnerf.model import Draws, MipNerf, MipNerfConfig, Renderer, render_image
from reference_impl.mipnerf.optimization import clip_gradients_, learning_rate
from reference_impl.mipnerf.photometric import data_loss
from reference_impl.mipnerf.rendering import Rendering, composite

__all__ = [
    "Draws",
    "MipNerf",
    "MipNerfConfig",
    "Renderer",
    "Rendering",
    "clip_gradients_",
    "composite",
    "data_loss",
    "learning_rate",
    "render_image",
]
