"""The CLIP embedder: on a stand-in of open_clip, and on open_clip itself where it is installed."""

import importlib
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerfreg.integrations.open_clip import OpenClipEmbedder
from nerfreg.losses import SemanticConsistency

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class StandIn(nn.Module):
    """What the embedder uses of an open_clip model, small."""

    def __init__(self, image_size: Any = 8) -> None:
        super().__init__()
        self.visual = SimpleNamespace(image_size=image_size, image_mean=MEAN, image_std=STD)
        height, width = (image_size,) * 2 if isinstance(image_size, int) else image_size
        self.layer = nn.Linear(3 * height * width, 6)
        self.dropout = nn.Dropout(0.5)

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        assert not normalize
        self.seen = image
        return self.dropout(self.layer(image.flatten(1)))


@pytest.fixture
def open_clip(monkeypatch) -> ModuleType:
    """Put a stand-in in open_clip's place, which notes what it is asked for."""
    module = ModuleType("open_clip")
    module.image_size, module.asked = 8, []

    def create_model_and_transforms(model_name: str, pretrained: str | None = None, **more: Any):
        module.asked.append((model_name, pretrained, more))
        if model_name == "no such model":
            raise RuntimeError("Model config for no such model not found")
        return StandIn(module.image_size), None, None

    module.create_model_and_transforms = create_model_and_transforms
    monkeypatch.setitem(sys.modules, "open_clip", module)
    return module


def test_hands_on_what_is_asked_for(open_clip, tmp_path) -> None:
    OpenClipEmbedder()
    OpenClipEmbedder("ViT-L-14", "datacomp_xl_s13b_b90k")
    OpenClipEmbedder("RN50-quickgelu", tmp_path / "weights.pt")
    OpenClipEmbedder(pretrained=None)
    assert open_clip.asked == [
        ("ViT-B-32", "openai", {"force_quick_gelu": True}),
        ("ViT-L-14", "datacomp_xl_s13b_b90k", {"force_quick_gelu": False}),
        ("RN50-quickgelu", str(tmp_path / "weights.pt"), {"force_quick_gelu": False}),
        ("ViT-B-32", None, {"force_quick_gelu": False}),
    ]


@pytest.mark.usefixtures("open_clip")
def test_normalises_channels_first() -> None:
    embed = OpenClipEmbedder()
    rgb = torch.rand(2, 8, 8, 3)
    embed(rgb)
    expected = (rgb - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(embed.clip.seen, expected.permute(0, 3, 1, 2))


@pytest.mark.parametrize("size", [8, (8, 8), (6, 10)])
def test_resizes_without_aliasing(open_clip, size) -> None:
    open_clip.image_size = size
    embed = OpenClipEmbedder()
    height, width = (size, size) if isinstance(size, int) else size
    rows = torch.arange(64) % 2
    stripes = rows[:, None, None].float().expand(64, 40, 3)[None]
    embed(stripes)
    assert embed.clip.seen.shape == (1, 3, height, width)
    # Stripes of single pixels are grey from afar; sampled, they would be black or white.
    rgb = embed.clip.seen * embed.std + embed.mean
    torch.testing.assert_close(rgb, torch.full_like(rgb, 0.5), rtol=0, atol=0.05)


@pytest.mark.usefixtures("open_clip")
def test_renders_may_be_small_and_oblong() -> None:
    """Nothing is cut off: each pixel reaches the embedding."""
    rgb = torch.rand(1, 3, 5, 3, requires_grad=True)
    OpenClipEmbedder()(rgb).pow(2).sum().backward()
    assert (rgb.grad != 0).all()


@pytest.mark.usefixtures("open_clip")
def test_stays_frozen_and_in_evaluation_mode() -> None:
    embed = OpenClipEmbedder()
    loss = SemanticConsistency(embed=embed).train()
    assert not any(module.training for module in embed.modules())
    photos = torch.rand(2, 8, 8, 3)
    assert torch.equal(embed(photos), embed(photos))  # no dropout
    renders = torch.rand(2, 8, 8, 3, requires_grad=True)
    loss(renders, embed(photos)).backward()
    assert renders.grad.any()
    assert not any(p.requires_grad for p in embed.parameters())


@pytest.mark.usefixtures("open_clip")
def test_takes_the_precision_of_its_weights() -> None:
    embed = OpenClipEmbedder().double()
    assert embed(torch.rand(1, 8, 8, 3)).dtype == torch.float64


@pytest.mark.usefixtures("open_clip", "unhooked")
@pytest.mark.parametrize(
    ("error", "message", "rgb"),
    [
        (ValueError, r"must be \(B, H, W, 3\).* got \(1, 3, 8, 8\)", torch.rand(1, 3, 8, 8)),
        (ValueError, r"must be \(B, H, W, 3\).* got \(8, 8, 3\)", torch.rand(8, 8, 3)),
        (TypeError, r"rgb must be floating point", torch.ones(1, 8, 8, 3).byte()),
    ],
)
def test_says_what_is_wrong(error, message, rgb) -> None:
    embed = OpenClipEmbedder()
    with pytest.raises(error, match="^OpenClipEmbedder: .*" + message):
        embed(rgb)


@pytest.mark.usefixtures("open_clip")
def test_names_the_model_that_cannot_be_made() -> None:
    with pytest.raises(
        ValueError, match=r"cannot make model 'no such model' with weights 'openai': Model config"
    ):
        OpenClipEmbedder("no such model")


def test_a_missing_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ImportError, match=r"pip install 'nerfreg\[clip\]'"):
        OpenClipEmbedder()


def test_importing_the_adapter_imports_no_open_clip() -> None:
    assert importlib.import_module("nerfreg.integrations").__all__ == []
    source = importlib.import_module("nerfreg.integrations.open_clip")
    assert "open_clip" not in vars(source)


# open_clip itself


@pytest.fixture
def tiny(tmp_path) -> tuple[str, Any]:
    """Describe a small model to open_clip, and save random weights of it."""
    try:
        # A torchvision that was built for another torch fails with a RuntimeError.
        library: Any = importlib.import_module("open_clip")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"open_clip cannot be imported: {error}")
    name = "nerfreg-tiny"
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 8,
            "vocab_size": 64,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    (tmp_path / f"{name}.json").write_text(json.dumps(config))
    library.add_model_config(tmp_path / f"{name}.json")
    model = library.create_model(name)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    return name, tmp_path / "weights.pt"


def test_loads_a_checkpoint_into_open_clip(tiny) -> None:
    name, weights = tiny
    embed = OpenClipEmbedder(name, weights)
    again = OpenClipEmbedder(name, str(weights))
    other = OpenClipEmbedder(name, None)
    rgb = torch.rand(2, 20, 30, 3)
    assert embed(rgb).shape == (2, 16)
    assert torch.equal(embed(rgb), again(rgb))
    assert not torch.allclose(embed(rgb), other(rgb))


def test_embeds_as_open_clip_does(tiny) -> None:
    """Its own transform, on an image that needs no resizing."""
    library: Any = importlib.import_module("open_clip")
    transforms: Any = importlib.import_module("torchvision.transforms.functional")
    name, weights = tiny
    model, _, preprocess = library.create_model_and_transforms(name, pretrained=str(weights))
    image = (255 * torch.rand(3, 32, 32)).byte()
    with torch.no_grad():
        expected = model.eval().encode_image(preprocess(transforms.to_pil_image(image))[None])
    got = OpenClipEmbedder(name, weights)((image / 255.0).permute(1, 2, 0)[None])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_render_learns_to_look_like_a_photograph(tiny) -> None:
    embed = OpenClipEmbedder(*tiny)
    before = [p.clone() for p in embed.parameters()]
    loss = SemanticConsistency(embed=embed)
    photo = F.interpolate(torch.rand(1, 3, 4, 4), 16).movedim(1, -1)
    target = embed(photo)
    render = torch.full((1, 16, 16, 3), 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([render], lr=0.02)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(render, target)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.2 * values[0]
    assert all(torch.equal(a, b) for a, b in zip(before, embed.parameters(), strict=True))


def test_open_clip_refuses_what_it_does_not_know(tiny) -> None:
    with pytest.raises(ValueError, match=r"cannot make model 'nerfreg-tiny' with weights 'no'"):
        OpenClipEmbedder(tiny[0], "no")
    with pytest.raises(ValueError, match=r"cannot make model 'no-such-model'"):
        OpenClipEmbedder("no-such-model", None)
