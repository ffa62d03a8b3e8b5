"""Draw what each regularizer does, by itself: a held-out view without and with it.

$ python docs/examples/picture_pairs.py                    all of them, some minutes each
$ python docs/examples/picture_pairs.py --only depth_kl    one
$ python docs/examples/picture_pairs.py --steps 20         to try the script out

The embedded scene is trained from 3 views by the reference trainer, with the colour loss alone and
with one regularizer beside it: same seed, same number of steps, the weight that its page says to
start with. What the trainer has no input for is shown on a small problem of its own, in
docs/examples/fitted_maps.py. Stopped, the script goes on where it was; what is drawn is not drawn
again. A picture's page then gets the line that shows it.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import imageio.v3 as iio
import numpy as np
import tyro
from fitted_maps import FITTED, pair
from torch import Tensor

from nerfreg.losses import (
    DepthContinuity,
    DepthKL,
    DepthMSE,
    DepthRanking,
    DepthSmoothness,
    Distortion,
    EdgeAwareSmoothness,
    Emptiness,
    FlowColorPrior,
    InformationGain,
    LineOfSight,
    Occlusion,
    RayEntropy,
    SecondOrderSmoothness,
    TotalVariation,
)
from nerfreg.recipes import RECIPES, Recipe
from nerfreg.schedules import FrequencyMask, Linear, LogLinear, SampleSpaceAnnealing
from reference_impl.command_line import training_exit_code
from reference_impl.config import LogConfig, small
from reference_impl.report import save_image
from reference_impl.scenes import load_scene
from reference_impl.train import train

DOCS = Path(__file__).resolve().parents[1]
PICTURES = DOCS / "images" / "regularizers"
RUNS = Path("runs") / "picture_pairs"
VIEW = "view10"  # between the three that train
SUM = 3.0  # the trainer's colour loss sums over RGB, where these authors' takes the mean


def relative(rendered: Tensor, depth: Tensor) -> Tensor:
    """DepthMSE in parts of the depth, without the std that keypoints come with."""
    return DepthMSE(relative=True)(rendered, depth)


def alphas(alpha: Tensor, opacity: Tensor) -> Tensor:
    """Entropy of where the matter is, as InfoNeRF has it."""
    return RayEntropy()(alpha, opacity)


def edges_of_inverse(depth: Tensor, rgb: Tensor) -> Tensor:
    """On inverse depth, as Monodepth2 has it."""
    return EdgeAwareSmoothness(normalize=True)(1 / depth, rgb)


def trained(n: int) -> dict[str, Recipe]:
    """One regularizer each, beside mip-NeRF's colour loss, in a run of n steps."""
    alone = partial(Recipe, source="docs/regularizers")
    keypoints = partial(alone, keypoint_share=0.25)
    patches = partial(alone, unseen_share=0.5)
    pairs = partial(alone, pair_share=0.5)
    fading = LogLinear(SUM * 2e-5, SUM * 2e-5 * 0.5 ** (n / 5000), n)
    warming = Linear(0.0, 1e-3, max(n // 4, 1))
    smooth = LogLinear(0.1, 0.01, n)
    recipes = [
        alone("nothing"),
        keypoints("depth_kl", keypoint_terms={"term": (DepthKL(), 0.03)}),
        keypoints("depth_mse", keypoint_terms={"term": (relative, 0.1)}),
        keypoints("line_of_sight", keypoint_terms={"term": (LineOfSight(relative=True), 0.1)}),
        alone("distortion", ray_terms={"term": (Distortion(), 0.01)}),
        alone("ray_entropy", ray_terms={"term": (alphas, SUM * 0.001)}, unseen_share=1.0),
        patches("information_gain", patch_terms={"term": (InformationGain(), fading)}),
        alone("occlusion", ray_terms={"term": (Occlusion(distance=10 / 128), 0.01)}),
        alone("emptiness", ray_terms={"term": (Emptiness(), 1e-3)}),
        pairs("depth_ranking", pair_terms={"term": (DepthRanking(), 0.2)}),
        pairs("depth_continuity", pair_terms={"term": (DepthContinuity(), 0.2)}),
        patches("depth_smoothness", patch_terms={"term": (DepthSmoothness(), smooth)}),
        patches("edge_aware_smoothness", patch_terms={"term": (edges_of_inverse, 0.001)}),
        patches("second_order_smoothness", patch_terms={"term": (SecondOrderSmoothness(), 0.1)}),
        patches("total_variation", patch_terms={"term": (TotalVariation(), 0.001)}),
        patches(
            "flow_color_prior", patch_terms={"term": (FlowColorPrior.from_pretrained(), warming)}
        ),
        alone(
            "sample_space_annealing",
            annealing=SampleSpaceAnnealing(round(0.8 * n), 0.5, 0.5, "released"),
        ),
        alone("frequency_mask", frequency_mask=FrequencyMask(round(0.9 * n))),
    ]
    return {recipe.name: recipe for recipe in recipes}


def train_once(recipe: Recipe, steps: int) -> Path:
    """Train, or go on, or find it done; returns the run's folder."""
    folder = RUNS / f"{recipe.name}-{steps}"
    RECIPES[recipe.name] = lambda **scene: recipe
    if (folder / "metrics.json").is_file():
        return folder
    if (folder / "config.json").is_file():
        return train(small(resume=str(folder)))
    maps = str(exact_depth_maps()) if recipe.pair_terms else ""
    return train(
        small(
            recipe=recipe.name,
            steps=steps,
            out=str(folder),
            log=LogConfig(frames=0),
            depth_maps=maps,
            depth_maps_kind="depth",
        )
    )


def exact_depth_maps() -> Path:
    """The scene's own depth, in the place of a monocular network's: its order is what is used."""
    folder = RUNS / "depth_maps"
    folder.mkdir(parents=True, exist_ok=True)
    scene = load_scene("embedded", 3)
    for view in scene.train:
        np.save(folder / f"{scene.names[view]}.npy", scene.depth[view].numpy())
    return folder


def side(run: Path, label: str) -> tuple[str, list[np.ndarray]]:
    """One half of a pair: its title with the view's figures, its colour and depth."""
    figures = json.loads((run / "metrics.json").read_text())["images"][VIEW]
    title = f"{label}: {figures['psnr']:.1f} dB, depth error {figures['depth_mae']:.2f}"
    return title, [iio.imread(run / "test" / f"{VIEW}_{kind}.png") for kind in ("rgb", "depth")]


def show_on_page(name: str, caption: str) -> None:
    """Put the picture and what made it under the page's first lines, in the place of an older."""
    page = DOCS / "regularizers" / f"{name}.md"
    title, names, rest = page.read_text().split("\n\n", 2)
    image = f"![Without and with it](../images/regularizers/{name}.png)"
    if rest.startswith(image):
        rest = rest.split("\n\n", 2)[2]
    page.write_text("\n\n".join([title, names, image, f"*{caption}*", rest]))


def main(only: tuple[str, ...] = (), steps: int = 2000) -> None:
    """Draw pairs of pictures and show them on their pages.

    Args:
        only: names of regularizers, as their pages are called; all by default.
        steps: of each training.
    """
    recipes = trained(steps)
    baseline = recipes.pop("nothing")
    makers: dict[str, Callable[[], None]] = {
        **{
            name: partial(draw_trained, baseline, recipe, steps) for name, recipe in recipes.items()
        },
        **{name: partial(draw_fitted, name) for name in FITTED},
    }
    unknown = set(only) - set(makers)
    if unknown:
        raise ValueError(f"--only {sorted(unknown)[0]}: choose from {', '.join(makers)}")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, draw in makers.items():
        if not only or name in only:
            draw()
    pages = sorted(page.stem for page in (DOCS / "regularizers").glob("*.md"))
    lacking = [name for name in pages if name in makers and not picture(name).is_file()]
    print(f"pages without their picture: {', '.join(lacking) or 'none'}")


def picture(name: str) -> Path:
    """Where a regularizer's picture lies."""
    return PICTURES / f"{name}.png"


def draw_trained(baseline: Recipe, recipe: Recipe, steps: int) -> None:
    """Train both and set them side by side."""
    halves = [
        side(train_once(baseline, steps), "without"),
        side(train_once(recipe, steps), "with"),
    ]
    save_image(pair(*halves), picture(recipe.name))
    show_on_page(
        recipe.name,
        f"A held-out view of the embedded scene, without and with it alone; 3 views, {steps} steps,"
        f" seed 0, error in scene units:"
        f" `python docs/examples/picture_pairs.py --only {recipe.name} --steps {steps}`.",
    )


def draw_fitted(name: str) -> None:
    """Draw a small problem."""
    draw, said = FITTED[name]
    save_image(draw(), picture(name))
    show_on_page(name, f"{said}: `python docs/examples/picture_pairs.py --only {name}`.")


if __name__ == "__main__":
    sys.exit(training_exit_code(lambda: tyro.cli(main, description=__doc__)))
