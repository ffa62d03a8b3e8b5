"""Openly licensed photographs are unpacked from a Debian package: tiny ones, written by hand."""

import csv
import io
import lzma
import re
import struct
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from pretrain_flow.data import read_licences
from pretrain_flow.open_photos import LONGEST_SIDE, files_of_resource, read_credits, unpack
from pretrain_flow.photographs import decode
from tests.pretrain_flow.conftest import photograph

ANIMALS = "src/activities/explore_world_animals/resource/animals"
FARM = "src/activities/explore_farm_animals/resource/animals"
RENEWABLE = "src/activities/categorization/resource/images/renewable"
WONDERS = "src/activities/explore_monuments/resource/wonders"


def encoded(name, kind="webp", **options):
    file = io.BytesIO()
    image = Image.fromarray(photograph(name))
    image.save(file, kind, **({"lossless": True} if kind == "webp" else {"quality": 95}) | options)
    return file.getvalue()


def resource(files, version):
    """A Qt resource file of files by path, one of which may be compressed (by its suffix .z)."""
    tree = {}
    for path, content in files.items():
        *folders, name = path.split("/")
        folder = tree
        for part in folders:
            folder = folder.setdefault(part, {})
        folder[name] = content
    nodes, names, data = [], b"", b""
    waiting = [("", tree)]
    while waiting:  # in breadth, so that a folder's children are neighbours
        name, value = waiting.pop(0)
        name_at = len(names)
        if nodes:  # the root has no name
            names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        if isinstance(value, dict):
            first_child = len(nodes) + len(waiting) + 1
            node = struct.pack(">IHII", name_at, 2, len(value), first_child)
            waiting += value.items()
        else:
            flags = 1 if name.endswith(".z") else 0
            node = struct.pack(">IHII", name_at, flags, 0, len(data))
            data += struct.pack(">I", len(value)) + value
        nodes.append(node + bytes(8 if version >= 2 else 0))  # since version 2, when it was changed
    head = 20 + (4 if version >= 3 else 0)
    at_data = head + sum(map(len, nodes))
    offsets = struct.pack(">4i", version, head, at_data, at_data + len(data))
    return b"qres" + offsets + bytes(head - 20) + b"".join(nodes) + data + names


def package(path, files):
    """A Debian package with these files."""
    files = {f"./usr/share/{name}": content for name, content in files.items()}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        folder = tarfile.TarInfo("./usr")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    parts = {  # the first of odd length, after which comes a byte of padding
        b"debian-binary": b"2.0",
        b"control.tar.xz": lzma.compress(b""),
        b"data.tar.xz/": lzma.compress(tar.getvalue()),
    }
    content = b"!<arch>\n"
    for name, part in parts.items():
        content += name.ljust(16) + b"0".ljust(32) + str(len(part)).encode().ljust(10) + b"`\n"
        content += part + b"\n" * (len(part) % 2)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("version", [1, 2, 3])
def test_open_photographs_are_written_with_their_licences(version, tmp_path, capsys):
    animals = {
        f"gcompris/{ANIMALS}/koala.webp": encoded("koala"),
        f"gcompris/{ANIMALS}/tiger.webp": encoded("tiger"),  # not listed
        f"gcompris/{ANIMALS}/koala.svg": b"a drawing",
        f"gcompris/{FARM}/sheep.webp": encoded("sheep"),  # in a folder of the same name
        "gcompris/koala.webp": encoded("elsewhere"),
    }
    others = {
        f"{RENEWABLE}/windmill6.webp": encoded("windmill6"),  # under the GPL
        f"{WONDERS}/petra.webp": encoded("petra"),
        f"{WONDERS}/tajMahal.webp": encoded("tajMahal"),
    }
    deb = package(
        tmp_path / "tiny.deb",
        {
            "gcompris/rcc/animals.rcc": resource(animals, version),
            "gcompris/rcc/others.rcc": resource(others, version),
            f"{ANIMALS}/lemur.webp": encoded("lemur"),  # not in a resource
        },
    )
    out = tmp_path / "new" / "photos"
    unpack(deb, out)
    files = ["animals_koala.png", "animals_sheep.png", "wonders_petra.png", "wonders_tajMahal.png"]
    assert {path.name for path in out.iterdir()} == {*files, "licences.csv"}
    assert f"done: 4 photographs in {out}, 146 are not in the package" in capsys.readouterr().out
    for file in files:
        name = Path(file).stem.partition("_")[2]
        np.testing.assert_array_equal(decode(out / file), photograph(name))
    with (out / "licences.csv").open(encoding="utf-8", newline="") as table:
        rows = [*csv.reader(table)]
    commons = "https://commons.wikimedia.org/wiki/File:"
    assert rows[0] == ["file", "licence", "author", "source"]
    assert [row[0] for row in rows[1:]] == files
    assert rows[1][1:] == ["public domain", "BurningWell", f"{commons}Koala_Perth_Zoo.jpg"]
    assert rows[4][1:] == ["CC-BY-SA-4.0", "Yann", f"{commons}Taj_Mahal,_Agra,_India.jpg"]
    assert read_licences([out])[out / files[3]] == "CC-BY-SA-4.0", "as the training reads the table"


def test_credits_are_whole_and_open():
    credits = read_credits()
    assert len(credits) >= 100, "the card says how many the weights have seen"
    for picture, (licence, author, source) in credits.items():
        assert licence in {"public domain", "CC0", "CC-BY-SA-4.0"}, picture
        assert author, picture
        assert source.startswith("https://"), picture
    names = [f"{PurePosixPath(p).parent.name}_{PurePosixPath(p).stem}" for p in credits]
    assert len(set(names)) == len(names), "files would overwrite each other"
    sources = [source for _, _, source in credits.values()]
    assert len(set(sources)) == len(sources), "one picture twice"


def test_pictures_are_decoded_as_for_training_and_made_smaller(tmp_path):
    """Transparency is on white, and the orientation is as EXIF says."""
    clear = io.BytesIO()
    Image.new("RGBA", (2 * LONGEST_SIDE, 8), (0, 0, 0, 0)).save(clear, "webp", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    files = {
        f"{ANIMALS}/koala.webp": clear.getvalue(),
        f"{ANIMALS}/lemur.webp": encoded("lemur", exif=exif),
    }
    unpack(package(tmp_path / "tiny.deb", {"a.rcc": resource(files, 2)}), tmp_path)
    koala = decode(tmp_path / "animals_koala.png")
    assert koala.shape == (4, LONGEST_SIDE, 3)
    assert koala.min() == 255
    height, width, _ = photograph("lemur").shape
    assert decode(tmp_path / "animals_lemur.png").shape == (width, height, 3)


def test_compressed_files_of_a_resource_are_left_out():
    files = {"a/b.txt": b"plain", "a/c.z": b"compressed", "d": b""}
    assert dict(files_of_resource(resource(files, 2))) == {"a/b.txt": b"plain", "d": b""}


def damage(deb, how):
    content = deb.read_bytes()
    start = content.index(b"\xfd7zXZ", content.index(b"data.tar.xz"))
    deb.write_bytes(
        {
            "another": b"PK" + content,
            "cut": content[:-40],
            "flipped": content[: start + 30] + b"\0" * 8 + content[start + 38 :],
        }[how]
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("another", "it is no ar archive"),
        ("cut", "Compressed data ended before"),
        ("flipped", ""),
    ],
)
def test_a_damaged_package_is_named(how, message, tmp_path):
    koala = resource({f"{ANIMALS}/koala.webp": encoded("koala")}, 2)
    deb = package(tmp_path / "bad.deb", {"a.rcc": koala})
    damage(deb, how)
    with pytest.raises(ValueError, match=rf"bad\.deb: not a Debian package .*{message}"):
        unpack(deb, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "a Qt resource file in it is damaged"),
        (resource({"x/y": b"z"}, 2)[:40], "unpack"),
        (
            resource({f"{ANIMALS}/koala.webp": b"RIFF"}, 2),
            r"animals/koala\.webp in it is unreadable",
        ),
    ],
)
def test_a_package_with_something_damaged_is_named(content, message, tmp_path):
    deb = package(tmp_path / "bad.deb", {"a.rcc": content})
    with pytest.raises(ValueError, match=rf"bad\.deb: not a Debian package .*{message}"):
        unpack(deb, tmp_path / "out")


@pytest.mark.parametrize("files", [{}, {f"{ANIMALS}/tiger.webp": b"not looked at"}])
def test_packages_without_an_open_photograph(files, tmp_path):
    deb = package(tmp_path / "a.deb", {"a.rcc": resource(files, 2)} if files else {})
    with pytest.raises(ValueError, match=rf"^{re.escape(str(deb))}: none of the photographs in"):
        unpack(deb, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_script_runs_as_a_file(tmp_path):
    script = Path(__file__).resolve().parents[2] / "pretrain_flow" / "open_photos.py"
    done = subprocess.run(
        [sys.executable, str(script), "no.deb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "no.deb" in done.stderr
    assert "Traceback" not in done.stderr
