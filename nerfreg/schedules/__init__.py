"""What changes during training, as functions of the step: weights, sample ranges, octaves.

Nothing here counts: whoever trains passes ``step``, from 0, so a resumed run continues exactly. A
``step`` that is an int gives a float; a 0-d tensor gives a 0-d tensor on its device, without
waiting for it, so that a compiled training step is not compiled again at every step.
"""

from nerfreg.schedules.frequency import FrequencyMask
from nerfreg.schedules.sample_space import SampleSpaceAnnealing
from nerfreg.schedules.weights import Constant, Cosine, Linear, LogLinear

__all__ = ["Constant", "Cosine", "FrequencyMask", "Linear", "LogLinear", "SampleSpaceAnnealing"]
