"""Semantic consistency: cosines, what flows where, what reaches the embedder, wrong embedders."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from nerfreg.losses import SemanticConsistency, semantic_consistency


def mean_colour(images):
    return images.mean((1, 2))


def slow_semantic_consistency(embeddings, target) -> np.ndarray:
    """1 − cos, image by image."""
    values = []
    for a, b in zip(embeddings, target, strict=True):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        lengths = [math.sqrt(sum(x * x for x in v)) for v in (a, b)]
        values.append(1 - dot / (lengths[0] * lengths[1]))
    return np.array(values)


@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(with_valid) -> None:
    rng = np.random.default_rng(0)
    rgb, target = rng.random((5, 4, 6, 3)), rng.normal(size=(5, 3))
    valid = np.array([True, False, True, True, False]) if with_valid else np.ones(5, bool)
    expected = slow_semantic_consistency(rgb.mean((1, 2)), target) * valid
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / valid.sum()),
    ]:
        got = semantic_consistency(
            torch.from_numpy(rgb),
            torch.from_numpy(target),
            embed=mean_colour,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_by_hand() -> None:
    """Embeddings (1, 0, 0) and (3, 4, 0): cos = 3/5."""
    red = torch.tensor([1.0, 0.0, 0.0]).expand(1, 2, 2, 3)
    value = semantic_consistency(red, torch.tensor([[3.0, 4.0, 0.0]]), embed=mean_colour)
    assert value.item() == pytest.approx(0.4)


@pytest.mark.parametrize(("target", "value"), [((1, 1, 1), 0.0), ((-1, -1, -1), 2.0)])
def test_spans_0_to_2(target, value) -> None:
    grey = torch.full((1, 2, 2, 3), 0.5)
    got = semantic_consistency(grey, torch.tensor([target]).float(), embed=mean_colour)
    assert got.item() == pytest.approx(value)


def test_the_gradient_is_that_of_the_published_minus_cosine() -> None:
    target = torch.randn(3, 3)
    ours, theirs = (torch.rand(3, 4, 4, 3).requires_grad_() for _ in range(2))
    theirs.data.copy_(ours.data)
    semantic_consistency(ours, target, embed=mean_colour).backward()
    (-torch.cosine_similarity(mean_colour(theirs), target)).mean().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


class Embedder(nn.Module):
    """A network of its own, with dropout to be seen in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images
        return self.layer(images.flatten(1))


def test_gradients_reach_the_render_and_not_the_photograph() -> None:
    embed = Embedder().requires_grad_(False)
    photo, render = (torch.rand(2, 2, 2, 3).requires_grad_() for _ in range(2))
    target = embed(photo)
    semantic_consistency(render, target, embed=embed).backward()
    assert render.grad.any()
    assert photo.grad is None
    assert all(p.grad is None for p in embed.parameters())


def test_a_cached_target_is_the_same_target() -> None:
    embed = Embedder()
    photos, renders = torch.rand(3, 2, 2, 3), torch.rand(6, 2, 2, 3)
    with torch.no_grad():
        cached = embed(photos)
    which = torch.tensor([0, 2, 1, 1, 0, 2])
    loss = SemanticConsistency(embed=embed)
    torch.testing.assert_close(
        loss(renders, cached[which]), loss(renders, embed(photos[which])), rtol=1e-5, atol=1e-6
    )


def test_the_embedder_sees_float32_and_no_rubbish() -> None:
    embed = Embedder()
    rgb = torch.full((2, 2, 2, 3), 0.5, dtype=torch.float16)
    rgb[1] = torch.nan
    valid = torch.tensor([True, False])
    semantic_consistency(rgb, torch.rand(2, 5), embed=embed, valid=valid)
    assert embed.seen.dtype == torch.float32
    assert (embed.seen[0] == 0.5).all()
    assert (embed.seen[1] == 0.0).all()


def test_half_precision_embeddings_are_compared_in_float32() -> None:
    def embed(images):
        return (3e4 * images.mean((1, 2))).half()  # whose squares overflow float16

    rgb = torch.rand(2, 4, 4, 3)
    value = semantic_consistency(rgb, embed(rgb), embed=embed)
    assert value.dtype == torch.float32
    assert value.item() == 0.0


def test_an_embedding_of_zeros_is_half_way_and_receives_no_gradient() -> None:
    black = torch.zeros(2, 2, 2, 3, requires_grad=True)
    target = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    value = semantic_consistency(black, target, embed=mean_colour, reduction="none")
    value.sum().backward()
    torch.testing.assert_close(value, torch.tensor([0.5, 0.0]))
    assert not black.grad.any()


def test_small_angles_keep_their_digits() -> None:
    target = torch.tensor([[1.0, 1.0, 1.0]])
    rgb = torch.tensor([0.5, 0.5, 0.5 + 1e-4]).expand(1, 2, 2, 3)
    exact = semantic_consistency(rgb.double(), target.double(), embed=mean_colour).item()
    assert 1e-9 < exact < 1e-8  # float32's 1 − cos would be 0
    got = semantic_consistency(rgb, target, embed=mean_colour).item()
    assert got == pytest.approx(exact, rel=1e-2)


def test_an_embedder_that_is_a_module_is_a_child() -> None:
    loss = SemanticConsistency(embed=Embedder(), reduction="sum")
    assert [name for name, _ in loss.named_children()] == ["embed"]
    assert next(loss.double().embed.parameters()).dtype == torch.float64
    assert "embed=" not in repr(loss)
    assert "reduction='sum'" in repr(loss)
    assert "Linear" in repr(loss)
    plain = SemanticConsistency(embed=mean_colour)
    assert repr(plain) == f"SemanticConsistency(embed={mean_colour!r}, reduction='mean')"


RGB, TARGET = torch.ones(3, 2, 2, 3), torch.ones(3, 3)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (
            ValueError,
            r"rgb must be \(B, H, W, 3\), channels last, got \(3, 3, 2, 2\)",
            (RGB.movedim(-1, 1), TARGET),
            {},
        ),
        (ValueError, r"rgb must be .* got \(2, 2, 3\)", (RGB[0], TARGET), {}),
        (
            ValueError,
            r"target must be \(B, D\), an embedding for each of 3 images .* got \(3, 2, 2, 3\)",
            (RGB, RGB),
            {},
        ),
        (ValueError, r"target must be .* got \(1, 3\)", (RGB, TARGET[:1]), {}),
        (
            ValueError,
            r"embed must return what target holds, \(3, 4\), got \(3, 3\)",
            (RGB, torch.ones(3, 4)),
            {},
        ),
        (TypeError, r"embed must be callable, got str", (RGB, TARGET), {"embed": "ViT-B-32"}),
        (
            TypeError,
            r"embed must return a floating-point array, got torch.int64",
            (RGB, TARGET),
            {"embed": lambda x: x.mean((1, 2)).long()},
        ),
        (
            TypeError,
            r"embed must return a floating-point array, got tuple",
            (RGB, TARGET),
            {"embed": lambda x: (x, x)},
        ),
        (ValueError, r"reduction must be", (RGB, TARGET), {"reduction": "max"}),
        (ValueError, r"valid must be boolean of shape \(3,\)", (RGB, TARGET), {"valid": TARGET}),
        (ValueError, r"one device", (RGB, TARGET.to("meta")), {}),
        (TypeError, r"rgb must be floating point, got torch.uint8", (RGB.byte(), TARGET), {}),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^semantic_consistency: .*" + message):
        semantic_consistency(*arguments, **{"embed": mean_colour, **options})
