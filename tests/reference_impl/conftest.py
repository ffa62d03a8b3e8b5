"""What some recipes need beside a scene."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reference_impl.scenes.embedded import load_embedded


@pytest.fixture(scope="session")
def options_of(tmp_path_factory) -> Callable[[str], dict[str, Any]]:
    """Command-line options that a recipe needs on the embedded scene, by its name."""
    folder = tmp_path_factory.mktemp("depth_maps")
    scene = load_embedded(3, width=24)
    for view in scene.train:
        # As a monocular network answers: disparity, up to scale and shift.
        stem = scene.names[view].rsplit(".", 1)[0]
        np.save(folder / f"{stem}.npy", 3.0 / scene.depth[view].numpy() + 0.5)
    options = {"sparsenerf": {"depth_maps": str(folder)}, "dietnerf": {"embedder": "random"}}
    return lambda recipe: options.get(recipe, {})
