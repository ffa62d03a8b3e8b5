import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reference_impl.scenes.images import (
    Distortion,
    image_size,
    list_images,
    load_images,
    read_image,
    reduce_image,
)
from reference_impl.scenes.scene import SceneError


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    high = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, high, shape, dtype=dtype, endpoint=True)


def test_colour_comes_as_stored(tmp_path: Path):
    pixels = noise(5, 7, 3)
    read = read_image(save(tmp_path / "a.png", pixels))
    assert read.dtype == torch.uint8
    assert np.array_equal(read.numpy(), pixels)


def test_grey_fills_three_channels(tmp_path: Path):
    pixels = noise(5, 7)
    read = read_image(save(tmp_path / "a.png", pixels)).numpy()
    assert np.array_equal(read, np.repeat(pixels[..., None], 3, -1))


def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path):
    pixels = noise(5, 7, dtype=np.uint16)
    read = read_image(save(tmp_path / "a.png", pixels)).numpy()
    assert np.array_equal(read[..., 0], np.round(pixels / 257).astype(np.uint8))
    white = read_image(save(tmp_path / "b.png", np.full((2, 2), 65535, dtype=np.uint16)))
    assert (white == 255).all()


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_transparency_is_composited(tmp_path: Path, background: float):
    pixels = noise(5, 7, 4)
    pixels[0, 0, 3], pixels[0, 1, 3] = 0, 255
    read = read_image(save(tmp_path / "a.png", pixels), background).numpy()
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + 255 * background * (1 - alpha)
    assert np.abs(read - expected).max() <= 0.5 + 1e-3
    assert (read[0, 0] == 255 * background).all()
    assert (read[0, 1] == pixels[0, 1, :3]).all()


def test_grey_with_alpha_and_palettes(tmp_path: Path):
    grey_alpha = np.stack([np.full((2, 2), 100), np.full((2, 2), 0)], -1).astype(np.uint8)
    assert (read_image(save(tmp_path / "a.png", grey_alpha), 1.0) == 255).all()
    palette = Image.fromarray(noise(4, 4, 3)).quantize(4)
    palette.save(tmp_path / "b.png")
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(read_image(tmp_path / "b.png").numpy(), expected)


def test_exif_rotation_applies_only_where_cameras_saw_it(tmp_path: Path):
    pixels = noise(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    path = save(tmp_path / "a.png", pixels, exif=exif)
    assert np.array_equal(read_image(path).numpy(), pixels)
    assert np.array_equal(read_image(path, size=(6, 4)).numpy(), pixels)
    assert np.array_equal(read_image(path, size=(4, 6)).numpy(), np.rot90(pixels, -1))


def test_damaged_files_are_named(tmp_path: Path):
    path = save(tmp_path / "a.png", noise(64, 64, 3))
    whole = path.read_bytes()
    for end in (0, 4, 20, 50, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:end])
        with pytest.raises(SceneError, match=r"a\.png: (not an image|damaged or truncated)"):
            read_image(path)
    jpeg = save(tmp_path / "b.jpg", noise(64, 64, 3))
    jpeg.write_bytes(jpeg.read_bytes()[:-400])
    with pytest.raises(SceneError, match=r"b\.jpg: damaged or truncated"):
        read_image(jpeg)
    with pytest.raises(SceneError, match=r"c\.png: no such image"):
        read_image(tmp_path / "c.png")


# Pillow refuses the first one and warns of the second one.
@pytest.mark.parametrize("side", [100_000, 10_000])
def test_headers_that_claim_too_many_pixels_are_named(tmp_path: Path, side: int):
    path = save(tmp_path / "a.png", noise(4, 6, 3))
    data = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    for read in (read_image, image_size):
        with pytest.raises(SceneError, match=rf"a\.png: damaged or too large .*{side**2} pixels"):
            read(path)
    with pytest.raises(SceneError, match=r"a\.png: damaged or too large"):
        load_images([path])


def test_sizes_of_damaged_files(tmp_path: Path):
    path = save(tmp_path / "a.tif", noise(4, 6, 3))
    assert image_size(path) == (6, 4)
    data = path.read_bytes()
    # The first entry of the directory, the width, becomes a list of signed numbers.
    start = struct.unpack("<I", data[4:8])[0] + 2
    path.write_bytes(data[: start + 2] + b"\x05" + data[start + 3 :])
    with pytest.raises(SceneError, match=r"a\.tif: not an image that can be read"):
        image_size(path)
    with pytest.raises(SceneError, match=r"b\.tif: no such image"):
        image_size(tmp_path / "b.tif")


def test_listing(tmp_path: Path):
    with pytest.raises(SceneError, match="no images"):
        list_images(tmp_path)
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG"]
    with pytest.raises(SceneError, match="nowhere: no such folder"):
        list_images(tmp_path / "nowhere")


def test_images_of_different_sizes_are_named(tmp_path: Path):
    paths = [save(tmp_path / "a.png", noise(4, 6, 3)), save(tmp_path / "b.png", noise(4, 8, 3))]
    with pytest.raises(SceneError, match=r"b\.png: 8×4 pixels, but a\.png has 6×4"):
        load_images(paths)
    with pytest.raises(SceneError, match=r"a\.png: width must be in 1…6"):
        load_images(paths[:1], width=7)
    with pytest.raises(SceneError, match="width must be in"):
        load_images(paths[:1], width=0)


def test_reducing_by_a_whole_factor_is_the_mean_of_blocks():
    image = torch.from_numpy(noise(12, 20, 3))
    blocks = image.double().reshape(3, 4, 5, 4, 3).mean((1, 3))
    assert (reduce_image(image, 5).double() - blocks).abs().max() <= 0.5 + 1e-3


def test_reducing_by_any_factor_weighs_by_area():
    # 3 pixels to 2: each takes one whole and half of the middle one.
    image = torch.tensor([[0, 90, 240]], dtype=torch.uint8)[..., None].repeat(3, 1, 3)
    assert reduce_image(image, 2)[0, :, 0].tolist() == [30, 190]


def test_reducing_keeps_flat_colours_and_the_mean():
    for value in (0, 127, 255):
        flat = torch.full((37, 53, 3), value, dtype=torch.uint8)
        assert (reduce_image(flat, 17) == value).all()
    image = torch.from_numpy(noise(37, 53, 3))
    assert reduce_image(image, 53).equal(image)
    assert float(reduce_image(image, 10).double().mean()) == pytest.approx(
        float(image.double().mean()), abs=0.5
    )


def test_undistorted_photos_show_straight_what_the_lens_bent():
    """Photograph a smooth pattern through a lens; undistorted, it is the pinhole's picture."""
    lens = Distortion(k1=0.1, k2=-0.05, p1=0.002, p2=-0.003)
    size, focal, centre = 64, 60.0, 32.0
    intrinsics = torch.tensor([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    pixels = (torch.stack([x, y], -1).double() - centre) / focal

    def pattern(rays: torch.Tensor) -> torch.Tensor:
        waves = torch.sin(rays @ torch.tensor([[5.0, 2, -3], [1, 6, 4]], dtype=torch.float64))
        return (127.5 + 120 * waves).round().to(torch.uint8)

    # Where the lens puts a ray is known in closed form; what a pixel of the photo sees is not.
    rays = pixels.clone()
    for _ in range(50):
        rays = rays - (lens.distort(rays) - pixels)
    photo, pinhole = pattern(rays), pattern(pixels)
    straight = lens.undistort(photo, intrinsics)
    inside = (lens.distort(pixels).abs() < (size / 2 - 1) / focal).all(-1)
    difference = (straight.double() - pinhole.double()).abs()[inside]
    # Bilinear interpolation of 8-bit values: within 2 levels here, 16 without undistorting.
    assert float(difference.max()) <= 2
    assert float((photo.double() - pinhole.double()).abs()[inside].max()) > 10


def test_a_perfect_lens_leaves_photos_alone():
    image = torch.from_numpy(noise(4, 6, 3))
    assert Distortion().undistort(image, torch.eye(3)) is image
