import dataclasses
from typing import Any

import pytest
import torch

from nerfreg.supervision import Keypoints
from nerfreg.views import Cameras, HemispherePoses, pinhole
from reference_impl.scenes import Scene, SceneError, load_scene


def scene(**changes: Any) -> Scene:
    given = {
        "name": "made up",
        "images": torch.zeros(3, 4, 6, 3, dtype=torch.uint8),
        "cameras": Cameras.from_opencv(torch.eye(4).repeat(3, 1, 1), pinhole(5.0, 6, 4), 6, 4),
        "names": ["a", "b", "c"],
        "train": [0, 1],
        "test": [2],
        "near": 1.0,
        "far": 2.0,
        "unseen": HemispherePoses.blender(),
        "split": "by hand",
    }
    return Scene(**{**given, **changes})


def keypoints(k: int = 1) -> Keypoints:
    x, n = torch.ones(k), torch.ones(k, dtype=torch.int64)
    return Keypoints("a", 1, torch.ones(k, 2), x, x, x, x, n, n, 1.0)


def test_a_scene_as_it_should_be():
    made = scene(keypoints={0: keypoints()}, depth=torch.ones(3, 4, 6))
    assert len(made.cameras) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(3, 4, 6, 3)}, r"images must be uint8 .* got torch\.float32"),
        ({"images": torch.zeros(3, 4, 6, 4, dtype=torch.uint8)}, "images must be uint8"),
        ({"images": torch.zeros(4, 6, 3, dtype=torch.uint8)}, "images must be uint8"),
        ({"names": ["a", "b"]}, "3 images, 3 cameras, 2 names"),
        ({"images": torch.zeros(3, 6, 4, 3, dtype=torch.uint8)}, "images are 4×6 .* cameras 6×4"),
        ({"train": [0, 3]}, r"views \[3\] do not exist: the scene has 3 images"),
        ({"test": [-1]}, r"views \[-1\] do not exist"),
        ({"train": []}, "no training view"),
        ({"test": []}, "no test view"),
        ({"train": [0, 2]}, r"views \[2\] are both for training and for testing"),
        ({"near": 2.0}, "expected 0 < near < far"),
        ({"near": 0.0}, "expected 0 < near < far"),
        ({"far": float("nan")}, "expected 0 < near < far"),
        (
            {"keypoints": {2: keypoints()}},
            r"keypoints of views \[2\], which are not training views",
        ),
        (
            {"keypoints": {1: dataclasses.replace(keypoints(2), std=torch.tensor([0.1, -0.5]))}},
            r"keypoints of b: std must be > 0, got -0\.5",
        ),
        ({"masks": {2: torch.ones(4, 6)}}, r"the mask of c must be bool \(4, 6\) .*float32"),
        ({"masks": {2: torch.ones(6, 4, dtype=torch.bool)}}, r"the mask of c .* got .*\(6, 4\)"),
        ({"masks": {2: torch.zeros(4, 6, dtype=torch.bool)}}, "show the object .*, 0 pixels"),
        ({"depth": torch.ones(3, 6, 4)}, r"depth must be \(3, 4, 6\)"),
    ],
)
def test_contradictions_are_told(changes: dict[str, Any], message: str):
    with pytest.raises(SceneError, match=f"made up: .*{message}"):
        scene(**changes)


def test_scenes_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        scene().near = 3.0


def test_the_embedded_scene_has_a_name():
    made = load_scene("embedded", 3, width=32)
    assert (made.name, made.images.shape[2]) == ("embedded", 32)


def test_validation_leaves_the_test_views_alone():
    made = load_scene("embedded", 3, width=32)
    other = made.for_validation()
    assert other.train == made.train
    assert len(other.test) == 8
    assert not set(other.test) & {*made.train, *made.test}
    assert other.split.endswith("8 of the others validate")
    with pytest.raises(SceneError, match="none is left for --evaluate-on validation"):
        dataclasses.replace(
            made, test=[i for i in range(24) if i not in made.train]
        ).for_validation()
