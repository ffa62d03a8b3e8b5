"""Pretraining of the colour prior: photographs in, the weights of a RealNVP on patches out."""

from importlib.util import find_spec

# Each program looks here before it imports the rest, so that one line says what to install.
_missing = [
    n for n in ("lightning_fabric", "matplotlib", "PIL", "tqdm", "tyro") if find_spec(n) is None
]
if _missing:
    raise ImportError(
        f"pretrain_flow needs {', '.join(_missing)}:"
        ' python -m pip install -c constraints.txt -e ".[pretrain]"'
    )
