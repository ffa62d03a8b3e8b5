"""Unpack the openly licensed photographs that the shipped weights were trained on.

$ python pretrain_flow/open_photos.py gcompris-qt-data_*.deb --out photos

The package is Debian 12's (``apt-get download gcompris-qt-data``). ``open_photos.csv`` lists the
photographs of it that are in the public domain, under CC0 or CC BY-SA, with licence, author and
source as GCompris states them in the README beside each folder's pictures, in the revisions that
brought these pictures. (The package's own list is of pictures that they took the place of.) Not
listed: what has no entry there, one photograph under the GPL, a drawing, one in black and white,
one with a slide's frame, and second copies.
"""

import csv
import io
import lzma
import struct
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("pretrain_flow")  # which says what is not installed

import tyro
from PIL import Image

from pretrain_flow.photographs import UnusableError, decode
from reference_impl.command_line import exit_code
from reference_impl.run_folder import written_whole

CREDITS = Path(__file__).with_suffix(".csv")
LONGEST_SIDE = 1024


def unpack(package: Annotated[Path, tyro.conf.Positional], out: Path = Path("photos")) -> None:
    """Write every openly licensed photograph, and ``licences.csv``.

    Args:
        package: the .deb file.
        out: folder to write to, made if need be.
    """
    credits = read_credits()
    rows: list[list[str]] = []
    try:
        for path, content in pictures_of(package.read_bytes()):
            if path in credits:
                file = f"{PurePosixPath(path).parent.name}_{PurePosixPath(path).stem}.png"
                # Farm's and world's animals lie in folders of one name: no stem is in both.
                write(content, path, out / file)
                rows.append([file, *credits[path]])
    except (ValueError, lzma.LZMAError, tarfile.TarError, struct.error) as error:
        raise ValueError(f"{package}: not a Debian package that can be used: {error}") from error
    if not rows:
        raise ValueError(f"{package}: none of the photographs in {CREDITS.name} is in it")
    with (
        written_whole(out / "licences.csv") as partial,
        partial.open("w", encoding="utf-8", newline="") as table,
    ):
        csv.writer(table).writerows([["file", "licence", "author", "source"], *sorted(rows)])
    missing = len(credits) - len(rows)
    print(
        f"done: {len(rows)} photographs in {out}"
        + (f", {missing} are not in the package" if missing else "")
    )


def read_credits() -> dict[str, tuple[str, str, str]]:
    """A picture's path below GCompris' activities -> its licence, author and source."""
    with CREDITS.open(encoding="utf-8", newline="") as table:
        return {
            row["picture"]: (row["licence"], row["author"], row["source"])
            for row in csv.DictReader(table)
        }


def write(content: bytes, name: str, out: Path) -> None:
    """Write a picture as PNG, at most of the size wanted."""
    try:
        picture = Image.fromarray(decode(content))
    except UnusableError as error:
        raise ValueError(f"{name} in it is {error}") from error
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(out)


def pictures_of(package: bytes) -> Iterator[tuple[str, bytes]]:
    """What Qt's resource files in a package hold below ``src/activities``: path there, content."""
    for name, content in files_of_package(package):
        if name.endswith(".rcc"):
            for path, picture in files_of_resource(content):
                _, found, below = path.partition("src/activities/")
                if found:
                    yield below, picture


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


if __name__ == "__main__":
    sys.exit(exit_code(lambda: tyro.cli(unpack)))
