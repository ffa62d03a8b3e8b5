"""Every kind of file that people have becomes 8-bit RGB, upright; the others say why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pretrain_flow.photographs import UnusableError, decode, find
from tests.pretrain_flow.conftest import photograph

RGB = photograph("any", 12, 9)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "bmp", "ppm", "tiff"])
def test_lossless_files_come_back_exactly(kind, tmp_path):
    data = saved(Image.fromarray(RGB), kind)
    np.testing.assert_array_equal(decode(data), RGB)
    (tmp_path / "x").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "x"), RGB)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, RGB), (2, RGB[:, ::-1]), (3, RGB[::-1, ::-1]), (6, np.rot90(RGB, -1)), (8, np.rot90(RGB))],
)
def test_exif_orientation_is_applied(orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(RGB), "png", exif=exif)
    np.testing.assert_array_equal(decode(data), upright)


def png16(values):
    """A PNG of 16 bits a channel, which Pillow reads but does not write."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if values.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_of_16_bits_the_upper_eight_are_kept():
    lower = np.random.default_rng(0).integers(0, 256, RGB.shape)
    np.testing.assert_array_equal(decode(png16(RGB * np.uint16(256) + lower)), RGB)
    grey = decode(png16(RGB[..., 0] * np.uint16(256) + lower[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(RGB[..., :1], 3, -1))


def test_transparency_is_composited_on_white():
    alpha = np.zeros((*RGB.shape[:2], 1), np.uint8)
    alpha[:, 6:] = 255
    found = decode(saved(Image.fromarray(np.concatenate([RGB, alpha], -1)), "png"))
    assert (found[:, :6] == 255).all()
    np.testing.assert_array_equal(found[:, 6:], RGB[:, 6:])
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    found = decode(saved(palette, "png", transparency=1))
    assert found.tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_greyscale_becomes_three_equal_channels_or_is_refused():
    data = saved(Image.fromarray(RGB[..., 0]), "png")
    np.testing.assert_array_equal(decode(data), np.repeat(RGB[..., :1], 3, -1))
    with pytest.raises(UnusableError, match="greyscale"):
        decode(data, "skip")
    with pytest.raises(UnusableError, match="greyscale"):
        decode(png16(RGB[..., 0] * np.uint16(256)), "skip")
    np.testing.assert_array_equal(decode(saved(Image.fromarray(RGB), "png"), "skip"), RGB)


def test_cmyk_is_converted():
    found = decode(saved(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "jpeg", quality=100))
    assert abs(found.reshape(-1, 3).mean(0) - [255, 0, 0]).max() < 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "unreadable"),
        (b"not an image", "unreadable: cannot identify image file"),
        (saved(Image.fromarray(RGB), "png")[:150], "unreadable"),
        (saved(Image.fromarray(photograph("big", 200, 200)), "jpeg")[:2000], "truncated"),
        (saved(Image.new("F", (9, 9)), "tiff"), "floating-point values"),
        (saved(Image.new("I", (9, 9), 70000), "tiff"), "32-bit integers"),
    ],
)
def test_what_cannot_be_used_says_why(data, message):
    with pytest.raises(UnusableError, match=message):
        decode(data)


def test_files_are_found_below_and_in_order(folder):
    names = [name for name, _ in find(folder, "--images")]
    assert names == [*(f"{i}.png" for i in range(6)), "deep/6.jpg", "deep/er/7.webp"]


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^--images .*nowhere: no such folder"):
        find(tmp_path / "nowhere", "--images")
    (tmp_path / "readme.txt").write_text("none here")
    with pytest.raises(ValueError, match=r"^--heldout .*: no image in it or below \(looked for"):
        find(tmp_path, "--heldout")
