"""What changes during training, as functions of the step: weights, sample ranges, octaves.

Nothing here counts: whoever trains passes ``step``, from 0, so a resumed run continues exactly. A
``step`` may be an int or a 0-d tensor, which is not waited for, so that a compiled training step is
not compiled again at every step. A weight is then a float or a 0-d tensor; annealed bounds are what
the bounds were, or tensors; a frequency mask is one weight an octave, always a tensor.
"""

from nerfreg.schedules.frequency import FrequencyMask
from nerfreg.schedules.sample_space import SampleSpaceAnnealing
from nerfreg.schedules.weights import Constant, Cosine, Linear, LogLinear

__all__ = ["Constant", "Cosine", "FrequencyMask", "Linear", "LogLinear", "SampleSpaceAnnealing"]
