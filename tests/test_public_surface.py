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
    "FlowColorPrior",
    "FrequencyMask",
    "GradientShares",
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
    "flow_color_prior",
    "gradient_shares",
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
DOCS = ROOT / "docs" / "regularizers"
SECTIONS = ["Args", "Returns", "Raises", "Numerics", "Source", "Example"]
CHAPTERS = ["Idea", "Formula", "When it helps", "When it hurts", "Starting weight", "Source"]
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
    known = ("losses", "priors", "rays", "recipes", "schedules", "supervision", "views")
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
    imported = {"Callable", "partial"}  # for RECIPES
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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_regularizer_says_all_there_is_to_say(name):
    """One imperative sentence, the formula, and the sections in their order."""
    text = inspect.getdoc(FUNCTIONS[name])
    first = text.partition("\n")[0]
    assert re.fullmatch(r"[A-Z][a-z]+ .*[^.]\.", first)
    assert ".. math::" in text.partition("Args:")[0]
    assert re.findall(rf"^({'|'.join(SECTIONS)}):", text, re.MULTILINE) == SECTIONS
    described = text.partition("Args:")[2].partition("Returns:")[0]
    documented = re.findall(r"^    (\w+): ", described, re.MULTILINE)
    assert documented == list(inspect.signature(FUNCTIONS[name]).parameters)
    assert ">>>" in text.partition("Example:")[2]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(name):
    """A sentence, its function, the options, an example."""
    text = inspect.getdoc(MODULES[name])
    assert f":func:`{snake(name)}`" in text.partition("Args:")[0]
    described = text.partition("Args:")[2].partition("Example:")[0]
    documented = re.findall(r"^    (\w+): ", described, re.MULTILINE)
    assert documented == list(inspect.signature(MODULES[name]).parameters)
    assert ">>>" in text.partition("Example:")[2]


@pytest.mark.parametrize("name", MODULES)
def test_a_regularizer_has_a_page(name):
    page = (DOCS / f"{snake(name)}.md").read_text()
    assert page.startswith("# ")
    assert f"`{name}` · `nerfreg.{snake(name)}`" in page.split("\n\n")[1]
    chapters = [chapter for chapter in re.findall(r"^\*\*(.+?)\.\*\*", page, re.MULTILINE)]
    assert [chapter for chapter in chapters if chapter in CHAPTERS] == CHAPTERS
    assert "```python" in page


def test_the_index_has_a_row_for_each_page():
    index = (DOCS / "README.md").read_text()
    rows = dict(re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\) \|", index, re.MULTILINE))
    assert {name: snake(name) for name in MODULES}.items() <= rows.items()
    assert set(rows.values()) == {page.stem for page in DOCS.glob("*.md")} - {"README"}


# The one room that is built of the flow's library; nobody opens it before a flow is used.
LIGHT = [room for room in ROOMS if room != "nerfreg.priors"]


@pytest.mark.parametrize("names", [["nerfreg"], LIGHT], ids=["nerfreg", "rooms"])
def test_import_is_light(names):
    """Extras and the flow's library are imported when they are used, not before."""
    code = f"import json, sys, {', '.join(names)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert "torch" in imported
    assert imported.isdisjoint(HEAVY)
