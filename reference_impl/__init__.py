"""The reference trainer: a worked example of nerfreg in a mip-NeRF, written to be copied."""
