"""What changes during training, as functions of the step: weights, sample ranges, octaves, widths.

Nothing here counts: whoever trains passes ``step``, from 0, so a resumed run continues exactly. A
``step`` may be an int, or a 0-d array of torch, JAX or NumPy, which is not waited for, so that a
compiled training step is not compiled again at every step. A weight or a width is then a float, or
a 0-d array of the same library; annealed bounds are what the bounds were, or arrays; a frequency
mask is always an array, of torch where the step is an int.
"""

from nerfreg.schedules.frequency import FrequencyMask
from nerfreg.schedules.opacity_dropout import OpacityDropout
from nerfreg.schedules.prefilter import PrefilterAnnealing
from nerfreg.schedules.sample_space import SampleSpaceAnnealing
from nerfreg.schedules.weights import Constant, Cosine, Linear, LogLinear

__all__ = [
    "Constant",
    "Cosine",
    "FrequencyMask",
    "Linear",
    "LogLinear",
    "OpacityDropout",
    "PrefilterAnnealing",
    "SampleSpaceAnnealing",
]
