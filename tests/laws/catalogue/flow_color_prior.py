"""Flow colour prior."""

import numpy as np
from torch import Tensor

from nerfreg.losses import FlowColorPrior, flow_color_prior
from tests.laws.catalogue import Regularizer


class SmoothColors:
    """A density of 2×2 patches whose neighbouring numbers are alike; not a flow, and not scaled."""

    patch_size = 2

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * (x - 0.4).square().sum(-1) - 2.0 * x.diff(dim=-1).square().sum(-1)


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"rgb": rng.uniform(0.0, 1.0, (n, 3, 5, 3))}


MODEL = SmoothColors()
REGULARIZER = Regularizer(
    flow_color_prior,
    FlowColorPrior,
    draw,
    options=(
        {"model": MODEL},
        {"model": MODEL, "patch_size": 2, "stride": 2},
        {"model": MODEL, "max_gradient": None},
    ),
    least=None,
    libraries=("torch",),
    law_options={"model": MODEL},
    targets=("rgb",),
)
