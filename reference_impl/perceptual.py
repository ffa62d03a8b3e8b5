"""LPIPS through the package of its authors, from weights on disk or downloaded."""

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

__all__ = ["NETWORKS", "WEIGHTS_FORMAT", "LpipsNetwork", "check_networks", "load_networks"]

NETWORKS = ("vgg", "alex", "squeeze")
WEIGHTS_FORMAT = "nerfreg-lpips-1"
# The networks halve the image four or five times: of less nothing would be left.
SMALLEST = 32
INSTALL = 'LPIPS needs: pip install "nerfreg[lpips]"'

# Schemas declared for an incomplete torchvision, which live as long as this list does.
_declared: list[torch.library.Library] = []


class LpipsNetwork:
    """LPIPS v0.1 of one network; built to be called as :class:`reference_impl.metrics.Lpips`.

    Args:
        name: one of :data:`NETWORKS`.
        weights: safetensors that ``convert_lpips.py`` wrote; empty: the package's own linear layers
            on torchvision's ImageNet weights, which are downloaded once.

    Raises:
        ImportError: the package is missing.
        ValueError: the file lacks this network, or holds another one.
        OSError: the weights cannot be downloaded.
    """

    def __init__(self, name: str, weights: str = "") -> None:
        lpips = import_lpips()
        with warnings.catch_warnings():
            # torchvision has renamed an argument that lpips still uses.
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
            # The linear layers come below: the package would unpickle them without restriction.
            self.model: Any = lpips.LPIPS(
                net=name, pretrained=False, pnet_rand=bool(weights), verbose=False
            )
        with torch.no_grad():
            if weights:
                _fill(self.model, name, weights)
            else:
                heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{name}.pth"
                state = torch.load(heads, map_location="cpu", weights_only=True)
                for i, linear in enumerate(self.model.lins):
                    linear.model[-1].weight.copy_(state[f"lin{i}.model.1.weight"])

    @torch.no_grad()
    def __call__(self, image: Tensor, truth: Tensor, *, scaled: bool = True) -> float:
        """Compare two images (H, W, 3) in [0, 1]; ``scaled``: to [−1, 1] first, as is meant."""
        a, b = (x.permute(2, 0, 1)[None].float() for x in (image, truth))
        return float(self.model(a, b, normalize=scaled))


def check_networks(names: str, weights: str) -> list[str]:
    """Read which networks are asked for.

    Args:
        names: of networks, comma-separated; empty: those that ``weights`` holds.
        weights: safetensors, or empty.

    Raises:
        ValueError: a name is unknown; the file is missing, damaged, of another kind, or lacks one.
    """
    asked = [name for name in names.split(",") if name]
    unknown = [name for name in asked if name not in NETWORKS]
    if unknown:
        raise ValueError(f"--lpips {names}: choose of {', '.join(NETWORKS)}")
    if not weights:
        return asked
    held = _held(weights)
    lacking = [name for name in asked if name not in held]
    if lacking:
        raise ValueError(
            f"--lpips {names}: {weights} has no {', '.join(lacking)}, only {', '.join(held)}"
        )
    return asked or held


def load_networks(
    names: str, weights: str, size: tuple[int, int]
) -> tuple[dict[str, LpipsNetwork], dict[str, str]]:
    """Load the networks asked for; never fail, as a training may have gone before.

    Args:
        names: of networks, comma-separated; empty: those that ``weights`` holds.
        weights: safetensors, or empty.
        size: (width, height) of the images to compare.

    Returns:
        Networks by name, and by the name of its number why another one, or ``lpips`` altogether, is
        not there.
    """
    if not names and not weights:
        why = "give --lpips-weights FILE, or --lpips vgg to download the weights"
        return {}, {"lpips": why}
    if min(size) < SMALLEST:
        why = f"images of {size[0]}x{size[1]} pixels, {SMALLEST} is the least on either side"
        return {}, {"lpips": why}
    networks: dict[str, LpipsNetwork] = {}
    missing: dict[str, str] = {}
    try:
        asked = check_networks(names, weights)
    except ValueError as error:
        return {}, {f"lpips_{name}".rstrip("_"): str(error) for name in names.split(",")}
    for name in asked:
        try:
            networks[name] = LpipsNetwork(name, weights)
        except (ImportError, ValueError, OSError, RuntimeError) as error:
            missing[f"lpips_{name}"] = " ".join(str(error).split())
    return networks, missing


def import_lpips() -> Any:
    """Import the package, also beside a torchvision that was built for another torch.

    Raises:
        ImportError: lpips or torchvision is not installed.
    """
    try:
        return importlib.import_module("lpips")
    except ImportError as error:
        raise ImportError(INSTALL) from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    # A torchvision for CUDA beside a torch for CPUs: its operators are missing, and describing them
    # fails. LPIPS calls none, so it is enough that their names exist.
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declared.append(library)
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(operator + boxes)
    for name in [n for n in sys.modules if n.partition(".")[0] in ("lpips", "torchvision")]:
        del sys.modules[name]
    return importlib.import_module("lpips")


def _held(weights: str) -> list[str]:
    """Names of the networks in a file."""
    path = Path(weights)
    if not path.is_file():
        raise ValueError(f"--lpips-weights {path}: no such file; convert_lpips.py makes one")
    try:
        with safe_open(path, framework="pt") as file:
            kind, keys = (file.metadata() or {}).get("format"), list(file.keys())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"--lpips-weights {path}: not safetensors, or damaged ({error})") from None
    if kind != WEIGHTS_FORMAT:
        raise ValueError(
            f"--lpips-weights {path}: expected the format {WEIGHTS_FORMAT}, which convert_lpips.py"
            f" writes, got {kind}"
        )
    return sorted({key.partition(".")[0] for key in keys})


def _fill(model: Any, name: str, weights: str) -> None:
    """Copy weights into the network, in the order of its layers."""
    layers: list[nn.Conv2d] = [m for m in model.net.modules() if isinstance(m, nn.Conv2d)]
    linear: list[nn.Conv2d] = [head.model[-1] for head in model.lins]
    tensors = {
        f"{name}.{kind}.{i}.{part}": parameter
        for kind, modules in (("conv", layers), ("linear", linear))
        for i, module in enumerate(modules)
        for part, parameter in module.named_parameters()
    }
    try:
        with safe_open(weights, framework="pt") as file:
            mine = [key for key in list(file.keys()) if key.startswith(f"{name}.")]
            theirs = {key: file.get_tensor(key) for key in mine}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"--lpips-weights {weights}: {error}") from None
    if theirs.keys() != tensors.keys():
        differ = ", ".join(sorted(theirs.keys() ^ tensors.keys())[:4])
        raise ValueError(f"--lpips-weights {weights}: not the layers of {name}: {differ}")
    for key, parameter in tensors.items():
        if theirs[key].shape != parameter.shape:
            shapes = f"{tuple(theirs[key].shape)}, expected {tuple(parameter.shape)}"
            raise ValueError(f"--lpips-weights {weights}: {key} is {shapes}")
        parameter.copy_(theirs[key])
