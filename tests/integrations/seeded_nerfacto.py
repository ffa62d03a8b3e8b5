"""The baseline of the slow tests, which nerfstudio finds through its environment variable."""

import copy
import importlib
from typing import Any


def method() -> Any:
    """Make nerfacto as nerfreg-nerfacto has it, but for the regularizers.

    One camera and one appearance for all, and rays drawn by the seed, so that the same photographs'
    rays are seen in the same order. nerfstudio calls this while it is being imported, so it imports
    no more of it than it must.
    """
    methods, managers, parsers, types = (
        importlib.import_module(f"nerfstudio.{name}")
        for name in (
            "configs.method_configs",
            "data.datamanagers.base_datamanager",
            "data.dataparsers.nerfstudio_dataparser",
            "plugins.types",
        )
    )
    config = copy.deepcopy(methods.method_configs["nerfacto"])
    config.method_name = "seeded-nerfacto"
    config.pipeline.model.camera_optimizer.mode = "off"
    config.pipeline.model.use_appearance_embedding = False
    config.pipeline.datamanager = managers.VanillaDataManagerConfig(
        dataparser=parsers.NerfstudioDataParserConfig(),
        train_num_rays_per_batch=4096,
        eval_num_rays_per_batch=4096,
    )
    return types.MethodSpecification(config, "nerfacto whose rays follow the seed")
