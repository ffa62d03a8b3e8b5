"""The photographs of natural scenes that scikit-image and scikit-learn carry: nothing to download.

Left out of what they carry: micrographs, drawings, telescope pictures, greyscale, and the
motorcycle of the Middlebury benchmark, for which no licence is named.
"""

from importlib.util import find_spec
from pathlib import Path

LICENCES = {
    "skimage/data/astronaut.png": "public domain (NASA)",
    "skimage/data/chelsea.png": "CC0 (Stefan van der Walt)",
    "skimage/data/coffee.png": "CC0 (Rachel Michetti)",
    "skimage/data/rocket.jpg": "public domain (SpaceX)",
    "sklearn/datasets/images/china.jpg": "CC BY 2.0 (danielbuechele)",
    "sklearn/datasets/images/flower.jpg": "CC BY 2.0 (vultilion)",
}
# Fixed: by chance, six photographs could leave the texture of fur or of stone to one side alone.
HELDOUT = ("skimage/data/chelsea.png", "sklearn/datasets/images/china.jpg")


def embedded_photographs() -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    """Names and paths of the photographs to train on, and of those held out.

    Raises:
        ImportError: a package that carries them is missing; the message says how to install it.
    """
    roots = {}
    for package in ("skimage", "sklearn"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ImportError(
                f"the embedded photographs lie in {package}, which is not installed: pip install"
                ' "nerfreg[pretrain]", or give --images'
            )
        roots[package] = Path(spec.origin).parent.parent
    paths = {name: roots[name.partition("/")[0]] / name for name in LICENCES}
    return (
        [(name, path) for name, path in paths.items() if name not in HELDOUT],
        [(name, paths[name]) for name in HELDOUT],
    )
