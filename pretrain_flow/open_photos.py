"""Unpack the openly licensed photographs that the shipped weights were trained on.

python pretrain_flow/open_photos.py gcompris-qt-data_*.deb lomiri-wallpapers-*.deb --out photos

Three packages of Debian 12 (``apt-get download`` fetches them) state a licence for each picture. Of
those in the public domain or under CC0, CC BY or CC BY-SA, photographs are written as PNG, with a
table of their licences and authors. Other pictures of theirs are left alone: drawings, and the many
photographs that took the place of the one whose licence the package states.
"""

import csv
import io
import lzma
import re
import struct
import sys
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Annotated

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import tyro
from PIL import Image

from pretrain_flow.photographs import UnusableError, decode
from reference_impl.command_line import exit_code
from reference_impl.run_folder import written_whole

OPEN = re.compile(r"public-domain|CC0-[\d.]+|CC-BY-[\d.]+|CC-BY-SA-[\d.]+")
# What shows what its entry in debian/copyright says, as far as one can see.
PHOTOGRAPHS = (
    "*/explore_world_animals/resource/animals/*.webp",
    "*/categorization/resource/images/monuments/*.webp",
    "*/backgrounds/*.jpg",
)
LEFT_OUT = (
    # Patterns and renderings.
    *("analogpattern*", "umang*", "Fossa*", "Infinite-Sea*", "Painting-Colors*"),
    # Not what their entry names: by day for by night, perched for flying.
    *("IndiaGate", "cathedral", "colosseum", "scarlet_macaw"),
)
LONGEST_SIDE = 1024


def unpack(
    packages: Annotated[list[Path], tyro.conf.Positional], out: Path = Path("photos")
) -> None:
    """Write every openly licensed photograph, and ``licences.csv``.

    Args:
        packages: the .deb files.
        out: folder to write to, made if need be.
    """
    rows: list[list[str]] = []
    for package in packages:
        try:
            files = dict(files_of_package(package.read_bytes()))
            notes = [name for name in files if re.search(r"/doc/[^/]+/copyright$", name)]
            if not notes:
                raise ValueError("it holds no list of licences")
            licences = licences_of(files[notes[0]].decode())
            for name, content in [*pictures_of(files)]:
                # Pictures became .webp after the list was written; in both, the stem is unique.
                path = PurePosixPath(name)
                licence, author, source = licences.get(
                    f"{path.parent.name}/{path.stem}"
                ) or licences.get(path.stem, ("", "", ""))
                if not OPEN.fullmatch(licence):
                    continue
                file = f"{path.parent.name}_{path.stem}.png"
                write(content, name, out / file)
                rows.append([file, licence, author, source])
        except (ValueError, lzma.LZMAError, tarfile.TarError, struct.error) as error:
            raise ValueError(
                f"{package}: not a Debian package that can be used: {error}"
            ) from error
    if not rows:
        raise ValueError(f"{', '.join(map(str, packages))}: no openly licensed photograph in there")
    with (
        written_whole(out / "licences.csv") as partial,
        partial.open("w", encoding="utf-8", newline="") as table,
    ):
        csv.writer(table).writerows([["file", "licence", "author", "source"], *sorted(rows)])
    print(f"done: {len(rows)} photographs in {out}")


def write(content: bytes, name: str, out: Path) -> None:
    """Write a picture as PNG, at most of the size wanted."""
    try:
        picture = Image.fromarray(decode(content))
    except UnusableError as error:
        raise ValueError(f"{name} in it is {error}") from error
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(out)


def pictures_of(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Photographs among a package's files, those inside of Qt's resource files included."""
    for name, content in files.items():
        inside = files_of_resource(content) if name.endswith(".rcc") else [(name, content)]
        for path, picture in inside:
            stem = PurePosixPath(path).stem
            if any(fnmatch(path, pattern) for pattern in PHOTOGRAPHS) and not any(
                fnmatch(stem, pattern) for pattern in LEFT_OUT
            ):
                yield path, picture


def files_of_package(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a Debian package: an ``ar`` archive with a tar archive inside."""
    if not content.startswith(b"!<arch>\n"):
        raise ValueError("it is no ar archive")
    at = 8
    while at + 60 <= len(content):
        name, size = content[at : at + 16].strip(), int(content[at + 48 : at + 58])
        at += 60
        if name.rstrip(b"/") == b"data.tar.xz":
            data = lzma.decompress(content[at : at + size])
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    if file is not None:
                        yield member.name, file.read()
        at += size + size % 2


def files_of_resource(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The uncompressed files of a Qt resource file (.rcc): name and content.

    A tree of fixed-size nodes points to names (UTF-16) and to data, each with its length in front.
    """
    if content[:4] != b"qres":
        raise ValueError("a Qt resource file in it is damaged")
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
    """From ``debian/copyright``: folder/stem and stem of each file -> licence, author, source."""
    found: dict[str, tuple[str, str, str]] = {}
    for paragraph in re.split(r"\n[ \t]*\n", copyright_file):
        fields = dict(re.findall(r"^(\w+):((?:.|\n[ \t])*)", paragraph, re.MULTILINE))
        if {"Files", "License"} <= fields.keys():
            licence = fields["License"].strip().split("\n")[0]
            author = " ".join(fields.get("Copyright", "").split())
            source = " ".join(fields.get("Comment", "").split())
            for path in map(PurePosixPath, fields["Files"].split()):
                found[f"{path.parent.name}/{path.stem}"] = licence, author, source
                found.setdefault(path.stem, (licence, author, source))
    return found


if __name__ == "__main__":
    sys.exit(exit_code(lambda: tyro.cli(unpack)))
