"""nerfstudio's methods with regularizers: three ready ones, and a way to make more."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nerfreg.integrations.nerfstudio.installation import nerfstudio
from nerfreg.integrations.nerfstudio.options import RegularizersConfig
from nerfreg.integrations.nerfstudio.pipeline import around, config_around

__all__ = ["regularized"]


def regularized(config: Any, regularizers: RegularizersConfig | None = None, *, name: str) -> Any:
    """Give regularizers to any method of nerfstudio.

    Args:
        config: the method's ``TrainerConfig``; it stays as it is.
        regularizers: what acts; by default what :class:`RegularizersConfig` says, fading over the
            method's own number of steps.
        name: of the new method.

    Returns:
        A ``TrainerConfig`` whose pipeline is the method's own with regularizers in its training
        step, and with ``--pipeline.regularizers.…`` on the command line. Gaussian models give
        depth while training, at full resolution.

    Raises:
        ImportError: nerfstudio is missing, or a release that is not known.
        TypeError: ``config`` has no pipeline to wrap.

    Example:
        >>> from nerfstudio.configs.method_configs import method_configs  # doctest: +SKIP
        >>> config = regularized(method_configs["instant-ngp"], name="my-ngp")  # doctest: +SKIP
    """
    nerfstudio("engine.trainer")
    if not hasattr(getattr(config, "pipeline", None), "_target"):
        got = config.__class__.__name__
        raise TypeError(f"regularized: config must be a TrainerConfig, got {got}")
    config = copy.deepcopy(config)
    inner = config.pipeline
    if regularizers is None:
        regularizers = RegularizersConfig(fade_steps=config.max_num_iterations)
    values = {f.name: getattr(inner, f.name) for f in dataclasses.fields(inner) if f.init}
    values["_target"] = around(inner._target)
    config.pipeline = config_around(inner.__class__)(**values, regularizers=regularizers)
    if hasattr(config.pipeline.model, "output_depth_during_training"):
        config.pipeline.model.output_depth_during_training = True
        config.pipeline.model.num_downscales = 0
    config.method_name = name
    return config


def _nerfacto() -> tuple[Any, str]:
    config = regularized(_method("nerfacto"), name="nerfreg-nerfacto")
    _few_views(config)
    return config, "Nerfacto for few photographs: depth smoothness in unseen views."


def _depth_nerfacto() -> tuple[Any, str]:
    config = regularized(_method("nerfacto"), name="nerfreg-depth-nerfacto")
    _few_views(config)
    # Where ns-process-data leaves its model.
    config.pipeline.regularizers.colmap = Path("colmap/sparse/0")
    return config, "The same, with rays through COLMAP's keypoints that know their depth."


def _splatfacto() -> tuple[Any, str]:
    # Few large patches: each is a rendering of its own.
    options = RegularizersConfig(patches=1, patch_size=64)
    config = regularized(_method("splatfacto"), options, name="nerfreg-splatfacto")
    return config, "Splatfacto for few photographs: depth smoothness in unseen views."


def _few_views(config: Any) -> None:
    """Set what a few views cannot determine, and draw rays by the seed."""
    config.pipeline.regularizers.annealing_steps = 512
    # A camera and an appearance of its own explain each of three photographs without a scene.
    config.pipeline.model.camera_optimizer.mode = "off"
    config.pipeline.model.use_appearance_embedding = False
    parallel = config.pipeline.datamanager
    vanilla = nerfstudio("data.datamanagers.base_datamanager").VanillaDataManagerConfig
    names = {field.name for field in dataclasses.fields(vanilla)} - {"_target"}
    # nerfacto's data manager draws in processes that no seed reaches. A few photographs need none.
    config.pipeline.datamanager = vanilla(**{name: getattr(parallel, name) for name in names})


def _method(name: str) -> Any:
    return nerfstudio("configs.method_configs").method_configs[name]


METHODS: dict[str, Callable[[], tuple[Any, str]]] = {
    "nerfacto": _nerfacto,
    "depth_nerfacto": _depth_nerfacto,
    "splatfacto": _splatfacto,
}


def __getattr__(name: str) -> Any:
    """Make a method when nerfstudio asks for it, as entry points do.

    Not before: nerfstudio collects methods while it is being imported. Under a release that is not
    known the error is returned, not raised: nerfstudio prints it and goes on with its own methods.
    """
    if name not in METHODS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        config, description = METHODS[name]()
        return nerfstudio("plugins.types").MethodSpecification(config, description)
    except ImportError as error:
        return error
