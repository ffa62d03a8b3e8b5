"""What a recipe is: a paper's settings as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nerfreg.objective import Schedule
from nerfreg.schedules import FrequencyMask, SampleSpaceAnnealing

__all__ = ["Recipe"]

Term = tuple[Any, float | Schedule]


@dataclass(frozen=True)
class Recipe:
    """The regularizers of one method, when they act, how strongly, and the rays they need.

    A recipe holds no model and no optimiser: it says what to add to the colour loss of whatever
    trains.

    Each term is name -> (loss, weight). A loss, a module or a function, is called with those of its
    kind's inputs that it names, so that one of one's own takes part without a word to anybody.

    Raises:
        ValueError: two terms have one name, or one is named as the colour loss: ``color``.

    Attributes:
        name: what users type.
        source: the paper, and where its numbers were read.
        ray_terms: losses on where colour and unseen rays stop; inputs ``weights, starts, ends``
            with bounds from 0 (near) to 1 (far), ``density, alpha``, and the ray's ``opacity``.
        keypoint_terms: losses on rays through keypoints; inputs ``weights, starts, ends`` and
            ``rendered`` depth, the keypoint's ``depth`` and its ``std``, all in z-depth.
        patch_terms: losses on patches seen from unseen poses; inputs ``depth, opacity, rgb``
            (n, P, P, …) and, of rays to their right neighbours in the patch, ``weights, starts,
            ends, neighbor_weights, neighbor_starts, neighbor_ends``.
        pair_terms: losses on pairs of pixels of a photograph with a given depth map (monocular);
            inputs ``valid`` (n,), ``rendered`` (n, 2) from 0 (near) to 1 (far), and the given
            ``depth`` (n, 2) from 1 (nearest) to 2 (farthest).
        image_terms: losses on small whole images from unseen poses; inputs ``rgb`` (1, S, S, 3) and
            ``target``, a training photograph's embedding.
        coarse_weights: name -> weight of the same loss on the coarse level of a two-level sampler;
            a loss not named acts on the fine level alone.
        annealing: of the sample space of colour and patch rays; ``None``: off. Keypoint rays are
            never annealed: their target would fall outside of the samples.
        frequency_mask: of the position's encoding; ``None``: all octaves from the first step.
        mask_directions: lay the same mask over the view direction's encoding.
        keypoint_share: share of the colour rays' budget spent on keypoint rays, where a view has
            keypoints.
        unseen_share: rays of unseen patches per colour ray.
        pair_share: share of the colour rays that are drawn in pairs.
        pair_reach: pixels between the two of a pair, at most, along each axis.
        image_size: side of those images, in pixels.
        image_every: steps between two of them.
        opacity_weighting: pass the (detached) opacity to patch losses.
        patch_size: side of a patch in pixels.
        coordinates: of forward-facing scenes: ``"ndc"`` or ``"metric"``; other scenes are always
            metric.
        encoding: ``"integrated"`` (mip-NeRF) or ``"positional"`` (NeRF).
        append_position: put the position itself before its encoding.
    """

    name: str
    source: str
    ray_terms: Mapping[str, Term] = field(default_factory=dict[str, Term])
    keypoint_terms: Mapping[str, Term] = field(default_factory=dict[str, Term])
    patch_terms: Mapping[str, Term] = field(default_factory=dict[str, Term])
    pair_terms: Mapping[str, Term] = field(default_factory=dict[str, Term])
    image_terms: Mapping[str, Term] = field(default_factory=dict[str, Term])
    coarse_weights: Mapping[str, float | Schedule] = field(
        default_factory=dict[str, float | Schedule]
    )
    annealing: SampleSpaceAnnealing | None = None
    frequency_mask: FrequencyMask | None = None
    mask_directions: bool = False
    keypoint_share: float = 0.0
    unseen_share: float = 0.0
    pair_share: float = 0.0
    pair_reach: int = 8
    image_size: int = 32
    image_every: int = 10
    opacity_weighting: bool = True
    patch_size: int = 8
    coordinates: Literal["ndc", "metric"] = "ndc"
    encoding: Literal["integrated", "positional"] = "integrated"
    append_position: bool = False

    def __post_init__(self) -> None:
        kinds = (self.ray_terms, self.keypoint_terms, self.patch_terms, self.pair_terms)
        names = ["color", *(name for terms in (*kinds, self.image_terms) for name in terms)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"Recipe: every term needs a name of its own, beside the colour loss's «color»;"
                f" {', '.join(twice)} is taken twice"
            )

    @property
    def terms(self) -> dict[str, Term]:
        """All terms, whatever they look at."""
        kinds = self.ray_terms, self.keypoint_terms, self.patch_terms
        return {
            name: term
            for terms in (*kinds, self.pair_terms, self.image_terms)
            for name, term in terms.items()
        }

    @property
    def parts(self) -> tuple[str, ...]:
        """What can be left out: the terms, and those of the two schedules that act."""
        schedules = ("annealing", "frequency_mask")
        return *self.terms, *(name for name in schedules if getattr(self, name) is not None)

    def without(self, *names: str) -> "Recipe":
        """Leave parts out, to see what each one does.

        Rays that only they looked at are not drawn any more; all else stays.

        Args:
            names: of terms, or ``annealing`` or ``frequency_mask``.

        Raises:
            ValueError: the recipe has no part of that name.

        Example:
            >>> from nerfreg.recipes import regnerf
            >>> recipe = regnerf(forward_facing=False, n_views=3, n_steps=2000)
            >>> ablated = recipe.without("color_prior")
            >>> ablated.name, list(ablated.terms)
            ('regnerf without color_prior', ['depth_smoothness'])
        """
        unknown = sorted(set(names) - set(self.parts))
        if unknown:
            raise ValueError(
                f"Recipe.without: {self.name} has no part {unknown[0]!r}; it has"
                f" {', '.join(self.parts) or 'none'}"
            )

        def rest(terms: Mapping[str, Any]) -> dict[str, Any]:
            return {name: term for name, term in terms.items() if name not in names}

        keypoints, patches = rest(self.keypoint_terms), rest(self.patch_terms)
        pairs = rest(self.pair_terms)
        return replace(
            self,
            name=f"{self.name} without {', '.join(names)}" if names else self.name,
            ray_terms=rest(self.ray_terms),
            keypoint_terms=keypoints,
            patch_terms=patches,
            pair_terms=pairs,
            image_terms=rest(self.image_terms),
            coarse_weights=rest(self.coarse_weights),
            annealing=None if "annealing" in names else self.annealing,
            frequency_mask=None if "frequency_mask" in names else self.frequency_mask,
            keypoint_share=self.keypoint_share if keypoints else 0.0,
            unseen_share=self.unseen_share if patches else 0.0,
            pair_share=self.pair_share if pairs else 0.0,
        )
