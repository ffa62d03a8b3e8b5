"""Pretraining of the colour prior: photographs in, the weights of a RealNVP on patches out."""
