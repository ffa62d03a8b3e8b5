"""Priors on disk: safetensors with their architecture, their story and a checksum."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nerfreg.priors.real_nvp import RealNVP, RealNVPConfig

__all__ = ["load_prior", "save_prior"]

FORMAT = "nerfreg prior"
VERSION = 1


def save_prior(path: str | os.PathLike[str], model: RealNVP, about: Mapping[str, Any]) -> None:
    """Write a prior to a file, all of it or nothing: a file that was there survives a failure.

    Args:
        path: of the file, by custom with suffix ``.safetensors``.
        model: the trained flow.
        about: what to know of it, as JSON can hold it: data and licences, seed, held-out bits per
            dimension.

    Raises:
        ValueError: a weight is not finite, or not float32.
        OSError: the file cannot be written.
    """
    target = Path(path)
    tensors = {name: x.detach().cpu().contiguous() for name, x in model.state_dict().items()}
    other = [name for name, x in tensors.items() if x.dtype != torch.float32]
    if other:
        raise ValueError(
            f"save_prior: weights must be float32, but {other[0]} is {tensors[other[0]].dtype}"
        )
    bad = [name for name, x in tensors.items() if not torch.isfinite(x).all()]
    if bad:
        raise ValueError(f"save_prior: weights must be finite, but {bad[0]} is not")
    config = json.dumps(dataclasses.asdict(model.config), sort_keys=True)
    story = json.dumps(about)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": config,
        "about": story,
        "sha256": _fingerprint(tensors, config, story),
    }
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(safetensors.torch.save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def load_prior(path: str | os.PathLike[str]) -> tuple[RealNVP, dict[str, Any]]:
    """Read a prior that :func:`save_prior` wrote. Nothing is ever unpickled.

    Returns:
        The flow, on the CPU, and what its file says about it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, of a later version, cut short or changed; the message names
            the file and what is wrong with it.

    Example:
        >>> import tempfile, pathlib
        >>> from nerfreg.priors import RealNVP, RealNVPConfig
        >>> flow = RealNVP(RealNVPConfig(patch_size=4, n_couplings=2, width=8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "prior.safetensors"
        ...     save_prior(path, flow, {"data": "none: untrained"})
        ...     flow, about = load_prior(path)
        >>> about
        {'data': 'none: untrained'}
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"load_prior: there is no file {source}")
    with source.open("rb") as file:
        start = file.read(4)
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ValueError(
            f"load_prior: {source} is a pickle (as torch.save writes), which could run any code and"
            " is not opened; expected safetensors as save_prior writes"
        )
    try:
        with safetensors.safe_open(source, framework="pt") as file:  # pyright: ignore
            metadata = cast(dict[str, str], file.metadata() or {})  # pyright: ignore
        tensors = safetensors.torch.load_file(source)  # pyright: ignore[reportUnknownMemberType]
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"load_prior: {source} is not safetensors, or was cut short: {error}"
        ) from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"load_prior: {source} holds no {FORMAT} (its metadata say"
            f" format {metadata.get('format')!r})"
        )
    if metadata.get("version") != str(VERSION):
        raise ValueError(
            f"load_prior: {source} is of version {metadata.get('version')}, expected {VERSION}"
        )
    stated = metadata.get("config", ""), metadata.get("about", "")
    if metadata.get("sha256") != _fingerprint(tensors, *stated):
        raise ValueError(
            f"load_prior: {source} was changed after it was written: what it holds does not give"
            " the checksum in it"
        )
    try:
        config = RealNVPConfig(**json.loads(metadata["config"]))
        about: dict[str, Any] = json.loads(metadata["about"])
        model = RealNVP(config)
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"load_prior: {source} has another architecture than this version of nerfreg can"
            f" build: {error}"
        ) from error
    return model, about


def _fingerprint(tensors: Mapping[str, Tensor], config: str, about: str) -> str:
    """SHA-256 of the architecture, the story and every weight."""
    digest = hashlib.sha256(json.dumps([config, about]).encode())
    for name in sorted(tensors):
        x = tensors[name]
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
