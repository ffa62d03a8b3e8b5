"""The door to nerfstudio: is it there, and is it a release that we know?"""

import importlib
import importlib.metadata
from typing import Any

__all__ = ["KNOWN", "nerfstudio"]

# Data managers and splatfacto's insides differ already on its main branch, of which there has been
# no release since.
KNOWN = "1.1."


def nerfstudio(module: str) -> Any:
    """Import ``nerfstudio.MODULE``.

    Raises:
        ImportError: nerfstudio is not installed, or is not a release that was tried.
    """
    try:
        found = importlib.metadata.version("nerfstudio")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(
            "nerfreg.integrations.nerfstudio needs nerfstudio: pip install 'nerfreg[nerfstudio]'"
        ) from None
    if not found.startswith(KNOWN):
        raise ImportError(
            f"nerfreg.integrations.nerfstudio knows nerfstudio {KNOWN}x, found {found}:"
            " pip install 'nerfreg[nerfstudio]'"
        )
    return importlib.import_module(f"nerfstudio.{module}")
