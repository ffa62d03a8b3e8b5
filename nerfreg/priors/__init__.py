"""Priors on image patches: RealNVP, its weights on disk, and what a likelihood is worth.

The only room that imports normflows; :class:`nerfreg.FlowColorPrior` opens it when it is asked to
load weights, and not before.
"""

from nerfreg.priors.dequantization import bits_per_dim, dequantize
from nerfreg.priors.prior_file import load_prior, save_prior
from nerfreg.priors.real_nvp import RealNVP, RealNVPConfig

__all__ = [
    "RealNVP",
    "RealNVPConfig",
    "bits_per_dim",
    "dequantize",
    "load_prior",
    "save_prior",
]
