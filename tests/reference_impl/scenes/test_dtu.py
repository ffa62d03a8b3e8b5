"""DTU's scans: the release and its copies in IDR's layout, written in miniature."""

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerfreg.views import recenter_poses
from reference_impl.protocols import DTU
from reference_impl.scenes import SceneError, load_scene
from tests.golden import golden

from .captures import FOCAL, SIZE, World, write_idr, write_masks, write_model, write_rectified

WORLD = World(49)


def in_regnerfs_world(c2w):
    recentred = recenter_poses(torch.from_numpy(c2w))
    recentred[..., 3] /= recentred[..., 3].abs().max()
    return recentred.float()


def test_regnerfs_world_is_upstreams():
    """The formula above, which the tests below hold the loader to, against the golden poses."""
    upstream = golden("poses", 0)
    ours = in_regnerfs_world(upstream["ob"].numpy())
    torch.testing.assert_close(ours, upstream["dtu_recentered_rescaled"].float())


def check_scan(scene, n_views):
    assert scene.train == list(DTU.train[:n_views])
    assert scene.test == list(DTU.test)
    assert (scene.near, scene.far, scene.background, scene.ndc_near) == (0.5, 3.5, 0.0, None)
    assert len(scene.images) == 49
    torch.testing.assert_close(
        scene.cameras.c2w, in_regnerfs_world(WORLD.c2w), atol=1e-6, rtol=1e-6
    )
    intrinsics = torch.tensor([[FOCAL, 0, SIZE[0] / 2], [0, FOCAL, SIZE[1] / 2], [0, 0, 1]])
    torch.testing.assert_close(
        scene.cameras.intrinsics, intrinsics.expand(49, 3, 3), atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("n_views", [1, 3, 9])
def test_the_release(tmp_path: Path, n_views: int):
    scene = load_scene(write_rectified(tmp_path, WORLD), n_views)
    check_scan(scene, n_views)
    assert (scene.name, scene.masks) == ("scan8", {})
    assert scene.names[25] == "rect_026_3_r5000.png"


@pytest.mark.parametrize("place", ["idrmasks/scan8/mask", "idrmasks/scan8", "Rectified/scan8/mask"])
def test_masks_of_the_release(tmp_path: Path, place: str):
    folder = write_rectified(tmp_path, WORLD)
    write_masks(tmp_path / place, 49)
    scene = load_scene(folder, 3)
    expected = torch.zeros(SIZE[1], SIZE[0], dtype=torch.bool)
    expected[6:, 8:] = True  # what is nearly white does not count
    assert sorted(scene.masks) == list(range(49))
    assert torch.equal(scene.masks[1], expected)
    # Reduced, a pixel counts where all it covers does.
    half = load_scene(folder, 3, width=SIZE[0] // 2).masks[1]
    assert torch.equal(half, expected[::2, ::2])
    third = load_scene(folder, 3, width=SIZE[0] // 3).masks[1]
    assert third[2:, 3:].all()
    assert not third[:2].any()
    assert not third[:, :3].any()


@pytest.mark.parametrize("scale", [1.0, 4.0, 1600 / SIZE[0]])
@pytest.mark.parametrize("file", ["cameras.npz", "cameras_sphere.npz"])
def test_copies_in_idrs_layout(tmp_path: Path, file: str, scale: float):
    """Matrices for the photographs themselves (pixelNeRF) or for the originals (NeuS)."""
    folder = tmp_path / "rs_dtu_4" / "DTU" / "scan8"
    write_idr(folder, WORLD, file=file, scale=scale)
    scene = load_scene(folder, 3)
    check_scan(scene, 3)
    assert sorted(scene.masks) == list(range(49))


def test_sixty_four_views_are_the_first_forty_nine(tmp_path: Path):
    write_idr(tmp_path / "scan82", World(64))
    scene = load_scene(tmp_path / "scan82", 6)
    assert len(scene.images) == len(scene.masks) == 49
    assert scene.test == list(DTU.test)


def test_keypoints_of_a_scan(tmp_path: Path):
    folder = tmp_path / "scan24"
    names = write_idr(folder, WORLD)
    write_model(folder / "sparse_train3" / "0", WORLD, dict(enumerate(names)), [25, 22, 28])
    scene = load_scene(folder, 3)
    assert sorted(scene.keypoints) == [22, 25, 28]
    unit = recenter_poses(torch.from_numpy(WORLD.c2w))[..., 3].abs().max()
    depth = torch.from_numpy(WORLD.seen(25)[1]) / unit
    torch.testing.assert_close(scene.keypoints[25].depth, depth.float(), rtol=1e-4, atol=0)
    assert load_scene(folder, 3, keypoints=False).keypoints == {}


def test_another_capture_in_idrs_layout_is_centred(tmp_path: Path):
    folder = tmp_path / "figure"
    write_idr(folder, World(10), scale=2.0)
    scene = load_scene(folder, 3)
    assert (scene.train, scene.test) == ([1, 5, 9], [0, 8])
    assert (scene.near, scene.far) == (1.0, 10.0)
    distances = scene.cameras.c2w[:, :, 3].norm(dim=-1)
    assert float(distances.mean()) == pytest.approx(4.0, rel=0.05)
    assert sorted(scene.masks) == list(range(10))


def test_a_scan_with_too_few_photographs_is_some_capture(tmp_path: Path):
    write_idr(tmp_path / "scan24", World(10))
    assert load_scene(tmp_path / "scan24", 3).split.startswith("every 8th of 10")


def drop(path: str):
    return lambda root: (root / path).unlink()


def write(path: str, content: bytes):
    return lambda root: (root / path).write_bytes(content)


def resave(path: str, size: tuple[int, int], value: int = 255):
    pixels = np.full(size[::-1], value, np.uint8)
    return lambda root: Image.fromarray(pixels).save(root / path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("Rectified/scan8/rect_026_3_r5000.png"), "1 of 49 .* rect_026_3_r5000.png"),
        (
            lambda root: shutil.rmtree(root / "Calibration"),
            "no cameras: expected Calibration/cal18",
        ),
        (drop("Calibration/cal18/pos_007.txt"), "pos_007.txt: no such camera file"),
        (write("Calibration/cal18/pos_007.txt", b"1 2 3 x\n" * 3), "pos_007.txt: damaged, or not"),
        (write("Calibration/cal18/pos_007.txt", b"1 2 3 4\n" * 2), r"3×4 .*, got \(2, 4\)"),
        (write("Calibration/cal18/pos_007.txt", b"\xff\xfe\x00"), "pos_007.txt: damaged"),
        (write("Calibration/cal18/pos_007.txt", b"0 0 0 0\n" * 3), r"view\(s\) \[6\] is singular"),
        (drop("idrmasks/scan8/001.png"), "no mask 001.png, of a view that the protocol tests"),
        (
            resave("idrmasks/scan8/001.png", (24, 18)),
            "a mask of 24×18 pixels for photographs of 48×36",
        ),
        (resave("idrmasks/scan8/001.png", SIZE, 1), r"no pixel is white \(255\)"),
        (write("idrmasks/scan8/001.png", b"no image"), "001.png: not an image"),
    ],
)
def test_damage_to_the_release(tmp_path: Path, damage, message: str):
    folder = write_rectified(tmp_path, WORLD)
    write_masks(tmp_path / "idrmasks" / "scan8", 49)
    damage(tmp_path)
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 3)


def test_photographs_of_another_shape(tmp_path: Path):
    folder = write_rectified(tmp_path, WORLD)
    for path in folder.glob("rect_*_3_*.png"):
        Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(path)
    with pytest.raises(SceneError, match="48×40 pixels, not of the shape 1600×1200"):
        load_scene(folder, 3)


def test_the_release_comes_in_the_protocols_size(tmp_path: Path):
    folder = write_rectified(tmp_path, WORLD)
    large = np.zeros((360, 480, 3), np.uint8)
    for i in range(49):
        Image.fromarray(large).save(folder / f"rect_{i + 1:03d}_3_r5000.png")
    assert load_scene(folder, 3).images.shape == (49, 300, 400, 3)
    assert load_scene(folder, 3, width=480).images.shape == (49, 360, 480, 3)


def test_too_many_views(tmp_path: Path):
    with pytest.raises(SceneError, match="1 to 18 training views, not 19"):
        load_scene(write_rectified(tmp_path, WORLD), 19)


def change_npz(**changes):
    def change(folder):
        path = folder / "cameras_sphere.npz"
        with np.load(path) as arrays:
            content = {key: arrays[key] for key in arrays.files}
        kept = {key: value for key, value in {**content, **changes}.items() if value is not None}
        np.savez(path, **kept)

    return change


def truncate(folder):
    path = folder / "cameras_sphere.npz"
    path.write_bytes(path.read_bytes()[:2000])


def flip_bits(folder):
    path = folder / "cameras_sphere.npz"
    with np.load(path) as arrays:
        content = {key: arrays[key] for key in arrays.files}
    np.savez_compressed(path, **content)
    data = bytearray(path.read_bytes())
    for i in range(60, len(data) // 2):
        data[i] ^= 0x5A
    path.write_bytes(bytes(data))


class Payload:
    """Would show that it was unpickled."""

    def __reduce__(self):
        return (zlib.crc32, (b"",))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_npz(world_mat_3=None), "9 cameras .*, but 10 photographs"),
        (change_npz(world_mat_3=None, world_mat_30=np.eye(4)), "world_mat_3: .*, got nothing"),
        (change_npz(world_mat_3=np.eye(3)), r"world_mat_3: .*, got float64 \(3, 3\)"),
        (change_npz(world_mat_3=np.full((4, 4), "x")), "world_mat_3: .*, got <U1"),
        (change_npz(world_mat_3=np.full((4, 4), np.inf)), "NaN or infinity"),
        (change_npz(world_mat_3=np.array([[Payload()]])), "damaged, or not an npz of arrays"),
        (truncate, "damaged, or not an npz of arrays"),
        (flip_bits, "damaged, or not an npz of arrays"),
        (write("cameras_sphere.npz", b"PK"), "damaged, or not an npz of arrays"),
        (lambda folder: np.save(folder / "a.npy", np.eye(4)), None),
        (drop("image/000003.png"), "10 cameras .*, but 9 photographs"),
        (lambda folder: shutil.rmtree(folder / "image"), "no images; expected a folder image"),
        (drop("mask/003.png"), "9 masks, but 10 photographs"),
        (resave("mask/003.png", (5, 5)), "a mask of 5×5 pixels"),
        (
            change_npz(**{f"world_mat_{i}": np.diag([3.0, 3.0, 1.0, 1.0]) for i in range(10)}),
            "cameras are for photographs of about 0×0, these are 48×36",
        ),
    ],
)
def test_damage_to_idrs_layout(tmp_path: Path, damage, message: str | None):
    folder = tmp_path / "figure"
    write_idr(folder, World(10))
    damage(folder)
    if message is None:  # what nobody looks at may be anything
        load_scene(folder, 3)
        return
    with pytest.raises(SceneError, match=message):
        load_scene(folder, 3)


def test_a_lone_array_under_the_name_of_an_npz(tmp_path: Path):
    folder = tmp_path / "figure"
    write_idr(folder, World(10))
    np.save(folder / "array.npy", np.eye(4))
    (folder / "array.npy").rename(folder / "cameras_sphere.npz")
    with pytest.raises(SceneError, match="damaged, or not an npz of arrays"):
        load_scene(folder, 3)


def test_photographs_of_a_size_that_no_matrix_is_for(tmp_path: Path):
    write_idr(tmp_path / "figure", World(10), scale=3.0)
    with pytest.raises(SceneError, match="photographs of about 144×108, these are 48×36"):
        load_scene(tmp_path / "figure", 3)
