"""Any pipeline of nerfstudio, with regularizers in its training step."""

import functools
import importlib
from dataclasses import field, is_dataclass, make_dataclass
from typing import Any

from nerfreg.integrations.nerfstudio.installation import nerfstudio
from nerfreg.integrations.nerfstudio.options import RegularizersConfig
from nerfreg.integrations.nerfstudio.regularization import Regularization
from nerfreg.objective import ObjectiveValue

__all__ = ["RegularizedPipeline", "around", "config_around"]


class RegularizedPipeline:
    """Goes before a pipeline class of nerfstudio, see :func:`around`.

    A training step's losses gain one entry, ``nerfreg``: the weighted sum. Its metrics gain every
    term's value before its weight, and that weight.
    """

    config: Any
    model: Any
    datamanager: Any
    regularization: Regularization

    def __init__(
        self,
        config: Any,
        device: str,
        test_mode: str = "val",
        world_size: int = 1,
        local_rank: int = 0,
        grad_scaler: Any = None,
    ) -> None:
        if world_size > 1:
            raise ValueError(
                f"nerfreg's methods train on one device, got {world_size}: a second rendering in a"
                " step does not go together with nerfstudio's distributed training"
            )
        base: Any = super()
        base.__init__(config, device, test_mode, world_size, local_rank, grad_scaler)

    def get_training_callbacks(self, training_callback_attributes: Any) -> list[Any]:
        """Build the regularizers, which only a training needs, and anneal around its steps."""
        base: Any = super()
        found: list[Any] = base.get_training_callbacks(training_callback_attributes)
        seed = training_callback_attributes.trainer.config.machine.seed
        self.regularization = Regularization(
            self.config.regularizers, self.model, self.datamanager, seed
        )
        if self.regularization.annealing is not None:
            callbacks = nerfstudio("engine.callbacks")
            where = callbacks.TrainingCallbackLocation
            annealing = self.regularization.annealing
            found += [
                callbacks.TrainingCallback([where.BEFORE_TRAIN_ITERATION], annealing.begin),
                callbacks.TrainingCallback([where.AFTER_TRAIN_ITERATION], annealing.end),
            ]
        return found

    def get_train_loss_dict(self, step: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Run the wrapped pipeline's step, and the regularizers behind it.

        nerfacto's proposal networks learn in the first rendering of a step alone, so the training
        rays come first. Gaussian models densify by what the last rendering left behind, so there
        they come last.
        """
        base: Any = super()
        value: ObjectiveValue | None = None
        if self.regularization.gaussian:
            value = self.regularization(step)
        outputs, losses, metrics = base.get_train_loss_dict(step)
        if not self.regularization.gaussian:
            value = self.regularization(step)
        if value is not None:
            losses = losses | {"nerfreg": value.total}
            for name, unweighted in value.values.items():
                metrics[f"nerfreg_{name}"] = unweighted
                metrics[f"nerfreg_{name}_weight"] = value.weights[name]
        return outputs, losses, metrics


@functools.cache
def around(pipeline: type) -> type:
    """Put :class:`RegularizedPipeline` before a pipeline class of nerfstudio."""
    return type(_name(pipeline), (RegularizedPipeline, pipeline), {"__module__": __name__})


@functools.cache
def config_around(config: type) -> type:
    """Add the regularizers' options to a pipeline's config class."""
    return make_dataclass(
        _name(config),
        [("regularizers", RegularizersConfig, field(default_factory=RegularizersConfig))],
        bases=(config,),
        namespace={"__module__": __name__},
    )


def _name(wrapped: type) -> str:
    """Name a wrapping class so that :func:`__getattr__` finds it again."""
    return f"{wrapped.__module__}.{wrapped.__qualname__}".replace(".", "__")


def __getattr__(name: str) -> Any:
    """Build a wrapping class by its name: config.yml of a run names them, and nothing else."""
    module, _, wrapped = name.replace("__", ".").rpartition(".")
    if not module.partition(".")[0]:  # a dunder that Python itself looks for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(importlib.import_module(module), wrapped)
    except (ImportError, ValueError):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return (config_around if is_dataclass(found) else around)(found)
