"""What users can name: recorded, documented, alike in function and module, and light to import."""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from torch import nn

import nerfreg
from nerfreg import losses

ROOT = Path(__file__).parent.parent
NAMES = [
    "Cameras",
    "CoRegularization",
    "DepthContinuity",
    "DepthKL",
    "DepthMSE",
    "DepthRanking",
    "DepthSmoothness",
    "Distortion",
    "EdgeAwareSmoothness",
    "Emptiness",
    "FrequencyMask",
    "InformationGain",
    "Interlevel",
    "LineOfSight",
    "MixtureNLL",
    "NormalSmoothness",
    "Objective",
    "ObjectiveValue",
    "Occlusion",
    "OpacityDropout",
    "PatchNormalizedDepth",
    "PearsonDepth",
    "PrefilterAnnealing",
    "RayEntropy",
    "RayTermination",
    "Rays",
    "SampleSpaceAnnealing",
    "ScaleShiftInvariantDepth",
    "SecondOrderSmoothness",
    "SemanticConsistency",
    "TotalVariation",
    "UnseenPatchSampler",
    "check_values",
    "co_regularization",
    "depth_continuity",
    "depth_kl",
    "depth_mse",
    "depth_ranking",
    "depth_smoothness",
    "distortion",
    "edge_aware_smoothness",
    "emptiness",
    "information_gain",
    "interlevel",
    "line_of_sight",
    "mixture_nll",
    "normal_smoothness",
    "occlusion",
    "patch_normalized_depth",
    "pearson_depth",
    "ray_entropy",
    "scale_gradients_by_distance",
    "scale_shift_invariant_depth",
    "second_order_smoothness",
    "semantic_consistency",
    "total_variation",
]
ROOMS = [f"nerfreg.{room.name}" for room in pkgutil.iter_modules(nerfreg.__path__) if room.ispkg]
HEAVY = ["normflows", "pycolmap", "matplotlib", "jax", "lightning_fabric", "tyro"]
MODULES = {
    name: value
    for name, value in ((name, getattr(losses, name)) for name in losses.__all__)
    if inspect.isclass(value)
}
FUNCTIONS = {
    name: value
    for name, value in ((name, getattr(losses, name)) for name in losses.__all__)
    if isinstance(value, FunctionType) and name != "reduce"
}


def snake(name: str) -> str:
    """DepthKL -> depth_kl."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def test_top_level_names():
    """Removing or renaming one breaks users: say so in CHANGELOG.md when this list changes."""
    assert nerfreg.__all__ == NAMES


def test_rooms():
    known = ("losses", "rays", "recipes", "schedules", "supervision", "views")
    assert {f"nerfreg.{room}" for room in known} <= set(ROOMS)


@pytest.mark.parametrize("name", ["nerfreg", *ROOMS])
def test_every_listed_name_exists_once(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, public) for public in module.__all__)


@pytest.mark.parametrize("name", ["nerfreg", *ROOMS])
def test_nothing_public_is_left_out_of_all(name):
    module = importlib.import_module(name)
    defined = {
        public
        for public, value in vars(module).items()
        if not public.startswith("_") and not isinstance(value, ModuleType)
    }
    imported = {"Callable"}  # for the type of RECIPES
    assert defined - imported == set(module.__all__)


def undocumented(owner: object, path: str) -> list[str]:
    """Public functions, classes, and their public methods and properties, that say nothing."""
    if not (inspect.isclass(owner) or isinstance(owner, FunctionType)):
        return []
    text = owner.__doc__ or ""
    # A dataclass without a docstring is given its signature for one.
    missing = [path] if not text.strip() or text.startswith(f"{path.split('.')[-1]}(") else []
    if inspect.isclass(owner):
        for name, member in vars(owner).items():
            if isinstance(member, property):
                member = member.fget
            elif isinstance(member, classmethod | staticmethod):
                member = member.__func__
            if not name.startswith("_") and isinstance(member, FunctionType):
                missing += undocumented(member, f"{path}.{name}")
    return missing


@pytest.mark.parametrize("name", ["nerfreg", *ROOMS])
def test_everything_public_is_documented(name):
    module = importlib.import_module(name)
    found = (undocumented(getattr(module, public), f"{name}.{public}") for public in module.__all__)
    assert [path for paths in found for path in paths] == []


def test_undocumented_things_are_found():
    class Silent:
        @property
        def size(self): ...

        @classmethod
        def make(cls): ...

        def say(self):
            """Say."""

    assert undocumented(Silent, "Silent") == ["Silent", "Silent.size", "Silent.make"]


def test_every_loss_is_a_function_and_a_module():
    assert {snake(name) for name in MODULES} == set(FUNCTIONS)
    assert all(issubclass(module, nn.Module) for module in MODULES.values())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_its_functions_signature(name):
    """Options of the constructor and inputs of forward are together the function's arguments."""

    def parameters(callable_):
        found = inspect.signature(callable_).parameters
        return {n: (p.default, str(p.annotation)) for n, p in found.items() if n != "self"}

    def positional(callable_):
        found = inspect.signature(callable_).parameters.values()
        return [p.name for p in found if p.name != "self" and p.kind is p.POSITIONAL_OR_KEYWORD]

    module, function = MODULES[name], FUNCTIONS[snake(name)]
    options, inputs = parameters(module.__init__), parameters(module.forward)
    assert not options.keys() & inputs.keys()
    assert options | inputs == parameters(function)
    assert "reduction" in options
    assert "valid" in inputs
    n = len(positional(function))
    assert positional(module.forward)[:n] == positional(function)
    returned = inspect.signature(module.forward).return_annotation
    assert str(returned) == str(inspect.signature(function).return_annotation)


@pytest.mark.parametrize("names", [["nerfreg"], ROOMS], ids=["nerfreg", "rooms"])
def test_import_is_light(names):
    """Extras and the flow's library are imported when they are used, not before."""
    code = f"import json, sys, {', '.join(names)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert "torch" in imported
    assert imported.isdisjoint(HEAVY)
