"""Unpack the openly licensed photographs that the shipped weights were trained on.

python pretrain_flow/open_photos.py gcompris-qt-data_3.1-2_all.deb --out photos

The package (Debian 12, GCompris' activities) lists a licence for each picture of two activities.
Those in the public domain or under CC0, CC BY or CC BY-SA are written as PNG, with a table of who
made them and where they come from.
"""

import csv
import io
import lzma
import re
import struct
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import tyro
from PIL import Image

from reference_impl.command_line import exit_code

ACTIVITIES = "categorization", "explore_world_animals"
OPEN = re.compile(r"public-domain|CC0-[\d.]+|CC-BY-[\d.]+|CC-BY-SA-[\d.]+")


def unpack(
    package: Annotated[Path, tyro.conf.Positional],
    out: Path = Path("photos"),
) -> None:
    """Write every openly licensed photograph, and ``licences.csv``.

    Args:
        package: the .deb file, from Debian's archive or ``apt-get download gcompris-qt-data``.
        out: folder to write to, made if need be.
    """
    wanted = {f"./usr/share/gcompris-qt/rcc/{activity}.rcc" for activity in ACTIVITIES}
    copyright_name = "./usr/share/doc/gcompris-qt-data/copyright"
    found = dict(files_of_package(package, wanted | {copyright_name}))
    missing = (wanted | {copyright_name}) - found.keys()
    if missing:
        raise ValueError(f"{package}: holds no {sorted(missing)[0]}; expected gcompris-qt-data 3.1")
    licences = licences_of(found.pop(copyright_name).decode())
    out.mkdir(parents=True, exist_ok=True)
    rows: list[list[str]] = []
    for resource in sorted(found):
        for name, content in files_of_resource(found[resource]):
            # Pictures became .webp after the list of licences was written.
            inside = PurePosixPath(name.removeprefix("gcompris/")).with_suffix("")
            if not name.endswith(".webp") or str(inside) not in licences:
                continue
            licence, author, source = licences[str(inside)]
            if not OPEN.fullmatch(licence):
                continue
            file = f"{inside.parent.name}_{inside.name}.png"
            picture = Image.open(io.BytesIO(content)).convert("RGB")
            if share_of_white(picture) > 0.05:  # cut out: no photograph any more
                continue
            picture.save(out / file)
            rows.append([file, licence, author, source])
    with (out / "licences.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["file", "licence", "author", "source"], *sorted(rows)])
    print(f"done: {len(rows)} photographs in {out}")


def share_of_white(picture: Image.Image) -> float:
    """How much of a picture is white, as paper behind a cut-out thing is."""
    return float((np.asarray(picture) >= 254).all(-1).mean())


def files_of_package(package: Path, names: set[str]) -> Iterator[tuple[str, bytes]]:
    """The files of a Debian package: an ``ar`` archive with a tar archive inside."""
    content = package.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise ValueError(f"{package}: not a Debian package")
    at = 8
    while at < len(content):
        name, size = content[at : at + 16].strip(), int(content[at + 48 : at + 58])
        at += 60
        if name.rstrip(b"/") == b"data.tar.xz":
            data = lzma.decompress(content[at : at + size])
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    if member.name in names:
                        file = archive.extractfile(member)
                        assert file is not None
                        yield member.name, file.read()
        at += size + size % 2


def files_of_resource(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The uncompressed files of a Qt resource file (.rcc): name and content.

    A tree of fixed-size nodes points to names (UTF-16) and to data, each with its length in front.
    """
    if content[:4] != b"qres":
        raise ValueError("not a Qt resource file")
    version, tree, data, names = struct.unpack(">4i", content[4:20])
    node_size = 22 if version >= 2 else 14
    folder_flag, compressed_flags = 2, 1 | 4

    def walk(node: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * node_size
        name_at, flags, first, second = struct.unpack(">IHII", content[at : at + 14])
        name = prefix
        if node:  # the root has no name
            length = struct.unpack_from(">H", content, names + name_at)[0]
            start = names + name_at + 6
            name += content[start : start + 2 * length].decode("utf-16-be")
        if flags & folder_flag:
            for child in range(second, second + first):
                yield from walk(child, f"{name}/" if node else "")
        elif not flags & compressed_flags:
            start = data + second
            size = struct.unpack_from(">I", content, start)[0]
            yield name, content[start + 4 : start + 4 + size]

    yield from walk(0, "")


def licences_of(copyright_file: str) -> dict[str, tuple[str, str, str]]:
    """From ``debian/copyright``: path without suffix -> licence, author, source."""
    found: dict[str, tuple[str, str, str]] = {}
    for paragraph in re.split(r"\n[ \t]*\n", copyright_file):
        fields = dict(re.findall(r"^(\w+):((?:.|\n[ \t])*)", paragraph, re.MULTILINE))
        if {"Files", "License"} <= fields.keys():
            licence = fields["License"].strip().split("\n")[0]
            author = " ".join(fields.get("Copyright", "").split())
            source = " ".join(fields.get("Comment", "").split())
            for path in fields["Files"].split():
                if path.startswith("src/activities/"):
                    inside = str(PurePosixPath(path).with_suffix("")).removeprefix(
                        "src/activities/"
                    )
                    found[f"src/activities/{inside}"] = licence, author, source
    return found


if __name__ == "__main__":
    sys.exit(exit_code(lambda: tyro.cli(unpack)))
