"""Recipes: each builds for every kind of scene and carries the numbers that were published."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from nerfreg import (
    DepthKL,
    DepthSmoothness,
    FlowColorPrior,
    FrequencyMask,
    Objective,
    SampleSpaceAnnealing,
    occlusion,
)
from nerfreg.recipes import RECIPES, Recipe, regnerf
from nerfreg.schedules import Linear

LONG = 70_000  # about RegNeRF's training on LLFF with 3 views: 69,768 steps
SCENES = list(itertools.product((True, False), (3, 9), (500, LONG)))


def build(name, **scene) -> Recipe:
    more = {"embed": torch.nn.Flatten()} if name == "dietnerf" else {}
    return RECIPES[name](**scene, **more)


def weights_of(recipe: Recipe) -> dict[str, object]:
    terms = recipe.terms
    coarse = {f"{name}, coarse": weight for name, weight in recipe.coarse_weights.items()}
    return {name: weight for name, (_, weight) in terms.items()} | coarse


def value(weight, step) -> float:
    return float(weight(step) if callable(weight) else weight)


def steps(n_steps: int) -> list[int]:
    """Every step of a short run; of a long one its beginning, where schedules act, and a sieve."""
    return sorted({*range(min(n_steps, 1000)), *range(0, n_steps, 997), n_steps - 1})


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("forward_facing", "n_views", "n_steps"), SCENES)
class TestEveryRecipe:
    @pytest.fixture
    def recipe(self, name, forward_facing, n_views, n_steps) -> Recipe:
        return build(name, forward_facing=forward_facing, n_views=n_views, n_steps=n_steps)

    def test_says_its_name_and_source(self, recipe, name):
        assert recipe.name == name
        assert recipe.source.strip()

    def test_rays_and_terms_belong_together(self, recipe):
        """A share of rays that no loss looks at is waste; a loss without rays never runs."""
        assert (recipe.keypoint_share > 0) == bool(recipe.keypoint_terms)
        assert (recipe.unseen_share > 0) == bool(recipe.patch_terms)
        assert (recipe.pair_share > 0) == bool(recipe.pair_terms)
        assert 0 <= recipe.pair_share <= 1
        assert recipe.pair_reach >= 1
        assert recipe.image_every >= 1
        assert 0 <= recipe.keypoint_share < 1, "colour needs rays, too"
        assert 0 <= recipe.unseen_share <= 1
        assert recipe.patch_size >= 2
        kinds = ("ray_terms", "keypoint_terms", "patch_terms", "pair_terms", "image_terms")
        assert sum(len(getattr(recipe, kind)) for kind in kinds) == len(recipe.terms)
        assert recipe.coarse_weights.keys() <= recipe.terms.keys()
        assert recipe.coordinates in ("ndc", "metric")
        assert recipe.encoding in ("integrated", "positional")

    def test_terms_make_an_objective(self, recipe):
        assert Objective(recipe.terms).starved() == list(recipe.terms)

    def test_weights_are_finite_over_the_whole_run(self, recipe, n_steps):
        for name, weight in weights_of(recipe).items():
            values = [value(weight, step) for step in steps(n_steps)]
            assert all(math.isfinite(x) and x >= 0 for x in values), name
            assert max(values) > 0, f"{name} never acts"
            assert value(weight, torch.tensor(n_steps // 3)) == pytest.approx(
                value(weight, n_steps // 3), rel=1e-5
            )

    def test_annealing_stays_within_the_bounds_and_ends_in_time(self, recipe, n_steps):
        if recipe.annealing is None:
            return
        near, far = 0.5, 3.5
        bounds = [recipe.annealing(step, near, far) for step in steps(n_steps)]
        slack = 4 * math.ulp(far)
        for (low, high), (next_low, next_high) in itertools.pairwise(bounds):
            assert near - slack <= next_low <= low + slack
            assert high - slack <= next_high <= far + slack
            assert low < high
        assert bounds[0] != (near, far), "it anneals nothing"
        assert bounds[-1] == (near, far), "the run ends without having sampled whole rays"

    def test_every_octave_appears_and_in_time(self, recipe, n_steps):
        mask = recipe.frequency_mask
        if mask is None:
            return
        assert mask(0, 10).sum() < 10, "it hides nothing"
        assert mask(0, 10).sum() > 0 or recipe.append_position, "it hides everything"
        assert mask(n_steps - 1, 10).eq(1).all(), "the run ends without having seen them all"


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("n_steps", [1, 2, 10])
def test_the_shortest_runs_build(name, n_steps):
    """Schedules that are shares of the run round to 0 steps."""
    recipe = build(name, forward_facing=False, n_views=3, n_steps=n_steps)
    for step in range(n_steps):
        assert all(math.isfinite(value(w, step)) for w in weights_of(recipe).values())
        if recipe.annealing is not None:
            near, far = recipe.annealing(step, 1.0, 2.0)
            assert 1.0 <= near < far <= 2.0


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("mipnerf", "nerf")])
def test_each_term_can_be_left_out(name):
    recipe = build(name, forward_facing=True, n_views=3, n_steps=1000)
    assert recipe.without() == recipe
    for term in recipe.terms:
        rest = recipe.without(term)
        assert rest.terms.keys() == recipe.terms.keys() - {term}
        assert rest.coarse_weights.keys() == recipe.coarse_weights.keys() - {term}
        assert rest.name == f"{name} without {term}"
    nothing = recipe.without(*recipe.terms)
    assert not nothing.terms
    assert (nothing.keypoint_share, nothing.unseen_share, nothing.pair_share) == (0, 0, 0)


def test_the_schedules_that_act_can_be_left_out():
    annealed = RECIPES["regnerf"](forward_facing=True, n_views=3, n_steps=1000)
    assert annealed.parts == ("depth_smoothness", "color_prior", "annealing")
    rest = annealed.without("annealing")
    assert rest == replace(annealed, name="regnerf without annealing", annealing=None)
    masked = RECIPES["freenerf"](forward_facing=True, n_views=3, n_steps=1000)
    assert masked.without("frequency_mask").frequency_mask is None
    assert masked.without("occlusion").frequency_mask == masked.frequency_mask


def test_a_term_that_is_not_there_cannot_be_left_out():
    recipe = RECIPES["dsnerf"](forward_facing=True, n_views=3, n_steps=1000)
    with pytest.raises(ValueError, match=r"dsnerf has no part 'color'; it has depth_kl$"):
        recipe.without("depth_kl", "color")


class TestRegNerf:
    """Niemeyer et al., CVPR 2022, released configurations."""

    @pytest.mark.parametrize("forward_facing", [True, False])
    @pytest.mark.parametrize("n_views", [3, 6, 9])
    def test_weight_falls_from_400_to_a_tenth_in_512_steps(self, forward_facing, n_views):
        recipe = RECIPES["regnerf"](forward_facing=forward_facing, n_views=n_views, n_steps=LONG)
        loss, weight = recipe.patch_terms["depth_smoothness"]
        assert weight == Linear(400.0, 0.1, 512)
        assert [value(weight, s) for s in (0, 256, 512, LONG)] == pytest.approx(
            [400, 200.05, 0.1, 0.1]
        )
        assert isinstance(loss, DepthSmoothness)
        assert (loss.norm, loss.reduction) == ("l2", "mean")
        assert recipe.coarse_weights == {"depth_smoothness": 0.1}
        assert (recipe.opacity_weighting, recipe.patch_size, recipe.unseen_share) == (True, 8, 1)
        assert (recipe.encoding, recipe.coordinates) == ("integrated", "ndc")
        assert not recipe.keypoint_terms

    @pytest.mark.parametrize(
        ("forward_facing", "n_steps", "start", "mid"),
        [(True, 512, 1e-4, 1.0), (False, 256, 0.5, 0.5)],
    )
    def test_annealing_is_the_data_sets_and_off_at_9_views(
        self, forward_facing, n_steps, start, mid
    ):
        def build(n_views):
            recipe = RECIPES["regnerf"](
                forward_facing=forward_facing, n_views=n_views, n_steps=LONG
            )
            return recipe.annealing

        published = SampleSpaceAnnealing(n_steps, start, mid, form="released")
        assert [build(n) for n in (2, 3, 6, 8)] == [published] * 4
        assert [build(n) for n in (9, 20)] == [None, None]

    def test_the_color_prior_warms_up_and_can_be_had_without(self):
        recipe = RECIPES["regnerf"](forward_facing=False, n_views=3, n_steps=2000)
        loss, weight = recipe.patch_terms["color_prior"]
        assert isinstance(loss, FlowColorPrior)
        assert value(weight, 0) == 0
        assert value(weight, 500) == value(weight, 2000) == 1e-3
        geometry = regnerf(forward_facing=False, n_views=3, n_steps=2000, color_prior=False)
        assert list(geometry.terms) == ["depth_smoothness"]

    def test_short_runs_keep_the_published_end_value_as_their_start(self):
        around = RECIPES["regnerf"](forward_facing=False, n_views=3, n_steps=2000)
        forward = RECIPES["regnerf"](forward_facing=True, n_views=3, n_steps=2000)
        for recipe in (around, forward):
            assert value(recipe.patch_terms["depth_smoothness"][1], 0) == pytest.approx(0.1)
        assert around.annealing == SampleSpaceAnnealing(1600, 0.5, 0.5, form="released")
        assert forward.annealing == SampleSpaceAnnealing(200, 1e-4, 1.0, form="released")

    def test_as_released_only_annealing_is_left_on_forward_facing_scenes(self):
        scene = {"n_views": 3, "n_steps": 2000}
        forward = RECIPES["regnerf-released"](forward_facing=True, **scene)
        assert forward.parts == ("annealing",)
        assert forward.annealing == regnerf(forward_facing=True, **scene).annealing
        around = RECIPES["regnerf-released"](forward_facing=False, **scene)
        assert around.parts == ("depth_smoothness", "annealing")

    def test_in_metric_depth_all_scenes_are_alike(self):
        scene = {"n_views": 3, "n_steps": 2000}
        forward, around = (
            RECIPES["regnerf-metric"](forward_facing=f, **scene) for f in (True, False)
        )
        assert forward.coordinates == "metric"
        assert forward.annealing == around.annealing
        assert regnerf(forward_facing=True, **scene).coordinates == "ndc"


def test_dsnerf_as_published_is_the_unnormalised_sum():
    scene = {"forward_facing": False, "n_views": 3, "n_steps": 2000}
    (loss, weight) = RECIPES["dsnerf-published"](**scene).keypoint_terms["depth_kl"]
    (meant, lighter) = RECIPES["dsnerf"](**scene).keypoint_terms["depth_kl"]
    assert (loss.form, meant.form) == ("dsnerf", "kl")
    assert (weight, lighter) == (0.3, 0.03)


@pytest.mark.parametrize(("forward_facing", "n_views", "n_steps"), SCENES)
def test_dsnerf_acts_on_half_of_the_rays(forward_facing, n_views, n_steps):
    """Deng et al., CVPR 2022, released defaults but for the weight; the same for every scene."""
    recipe = RECIPES["dsnerf"](forward_facing=forward_facing, n_views=n_views, n_steps=n_steps)
    loss, weight = recipe.keypoint_terms["depth_kl"]
    assert isinstance(loss, DepthKL)
    assert (weight, recipe.keypoint_share) == (0.03, 0.5)
    assert not recipe.coarse_weights, "the released code supervises the fine level alone"
    assert (recipe.coordinates, recipe.encoding) == ("metric", "positional")
    assert recipe.annealing is None
    assert not recipe.patch_terms


@pytest.mark.parametrize(("name", "encoding"), [("mipnerf", "integrated"), ("nerf", "positional")])
def test_baselines_add_nothing(name, encoding):
    recipe = RECIPES[name](forward_facing=True, n_views=3, n_steps=LONG)
    assert weights_of(recipe) == {}
    assert (recipe.annealing, recipe.encoding) == (None, encoding)


@pytest.mark.parametrize(
    ("n_views", "share"), [(3, 0.9), (4, 0.9), (6, 0.7), (8, 0.7), (9, 0.5), (20, 0.5)]
)
@pytest.mark.parametrize(("forward_facing", "n_near"), [(True, 20), (False, 10)])
def test_freenerf_opens_its_mask_in_time_and_watches_the_nearest_samples(
    n_views, share, forward_facing, n_near
):
    """Yang et al., CVPR 2023, released configurations."""
    recipe = RECIPES["freenerf"](forward_facing=forward_facing, n_views=n_views, n_steps=1000)
    assert recipe.frequency_mask == FrequencyMask(round(1000 * share), start=0.0)
    assert (recipe.mask_directions, recipe.append_position) == (True, True)
    (loss, weight), *others = recipe.terms.values()
    assert (weight, others) == (0.01, [])
    # Of 128 even samples between 0 and 1 the distance takes the first 20 or 10, and means.
    density = torch.rand(4, 128, generator=torch.Generator().manual_seed(0))
    edges = torch.linspace(0, 1, 129).expand(4, 129)
    by_rank = occlusion(density, n_samples=n_near)
    assert loss(density, edges[:, :-1], edges[:, 1:]).item() == pytest.approx(by_rank.item())


@pytest.mark.parametrize(
    ("n_views", "steps"), [(1, 600), (3, 600), (4, 450), (6, 300), (9, 200), (20, 90)]
)
def test_fewview_opens_its_mask_sooner_with_more_views(n_views, steps):
    """More photographs need less of it: docs/results.md, how the settings were chosen."""
    recipe = RECIPES["fewview"](forward_facing=False, n_views=n_views, n_steps=1000)
    assert recipe.frequency_mask == FrequencyMask(steps, start=0.0)


def test_infonerf_weighs_as_released_beside_a_sum_over_rgb():
    """Kim et al., CVPR 2022: 0.001, and 2e-5 halved every 5000 steps, beside a mean over RGB."""
    recipe = RECIPES["infonerf"](forward_facing=False, n_views=4, n_steps=50_000)
    entropy, weight = recipe.ray_terms["ray_entropy"]
    assert weight == pytest.approx(0.003)
    gain = recipe.patch_terms["information_gain"][1]
    assert [gain(s) / 6e-5 for s in (0, 5000, 15_000)] == pytest.approx([1.0, 0.5, 0.125])
    alpha = torch.tensor([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    opacity = torch.tensor([0.75, 0.1, 1.0])  # the second meets too little to count
    assert entropy(alpha, opacity).item() == pytest.approx(1 / 3)
    assert (recipe.unseen_share, recipe.coordinates, recipe.encoding) == (
        1.0,
        "metric",
        "positional",
    )


def test_dietnerf_needs_an_embedder_and_looks_every_tenth_step():
    """Jain et al., ICCV 2021: 0.1 beside a mean over RGB, on both levels."""
    with pytest.raises(ValueError, match="dietnerf: needs embed"):
        RECIPES["dietnerf"](forward_facing=False, n_views=8, n_steps=10)
    embed = torch.nn.Flatten()
    recipe = RECIPES["dietnerf"](forward_facing=False, n_views=8, n_steps=10, embed=embed)
    loss, weight = recipe.image_terms["semantic_consistency"]
    assert loss.embed is embed
    assert (weight, recipe.coarse_weights) == (0.3, {"semantic_consistency": 0.3})
    assert recipe.image_every == 10


@pytest.mark.parametrize(
    ("forward_facing", "rank", "joined"), [(True, 0.5, 0.005), (False, 0.2, 0.2)]
)
def test_sparsenerf_orders_depths_on_top_of_regnerf(forward_facing, rank, joined):
    """Wang et al., ICCV 2023, released configurations."""
    scene = {"forward_facing": forward_facing, "n_views": 3, "n_steps": LONG}
    recipe, base = RECIPES["sparsenerf"](**scene), RECIPES["regnerf"](**scene)
    assert {name: weight for name, (_, weight) in recipe.pair_terms.items()} == {
        "depth_ranking": rank,
        "depth_continuity": joined,
    }
    assert all(loss.margin == 1e-4 for loss, _ in recipe.pair_terms.values())
    assert recipe.coarse_weights == base.coarse_weights
    assert recipe.annealing == base.annealing
    assert recipe.patch_terms["depth_smoothness"][1] == base.patch_terms["depth_smoothness"][1]


def test_no_two_terms_share_a_name():
    term = (DepthSmoothness(), 1.0)
    with pytest.raises(ValueError, match=r"every term needs a name of its own.* a is taken twice"):
        Recipe("mine", "me", ray_terms={"a": term}, patch_terms={"a": term})
    with pytest.raises(ValueError, match="color is taken twice"):
        Recipe("mine", "me", ray_terms={"color": term})
