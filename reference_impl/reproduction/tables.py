"""The tables and figures that can be reproduced, as data: scenes × recipes × views.

Paper sizes are those of the protocols; what differs from a paper is said in a table's notes.
"""

from dataclasses import dataclass

from reference_impl.protocols import PROTOCOLS

__all__ = ["TABLES", "Block", "Figure", "Table", "Variant"]

LLFF, DTU, BLENDER = (PROTOCOLS[name].scenes for name in ("llff-regnerf", "dtu", "blender-8"))


@dataclass(frozen=True)
class Variant:
    """A recipe, and what of it is left out."""

    recipe: str
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a run's metrics.json names it."""
        left_out = f" without {', '.join(self.without)}" if self.without else ""
        return f"{self.recipe}{left_out}"


@dataclass(frozen=True)
class Block:
    """Every variant with every number of views."""

    variants: tuple[Variant, ...]
    views: tuple[int, ...]


@dataclass(frozen=True)
class Figure:
    """A figure that compares variants with a baseline.

    Attributes:
        kind: ``"views"``: PSNR against training views; ``"convergence"``: against iterations and
            seconds; ``"ablation"``: bars.
        baseline: variant that the others are compared with; of an ablation: whole recipes have
            none, each is compared with what is left of it.
    """

    kind: str
    baseline: str = ""


@dataclass(frozen=True)
class Table:
    """What one command reproduces.

    Attributes:
        name: what users type.
        title: what it shows.
        scenes: names of folders below ``--data``, or ``"embedded"``; none: those asked for, as the
            paper does not name its own.
        blocks: what runs on each of the scenes. What a variant's recipe has not got on a scene is
            not left out there, and what is then twice the same runs once.
        size: (width, height) that the paper's preset trains and measures at; ``None``: that of
            RegNeRF's protocol for each scene.
        points: evaluations on the way, evenly spread over the steps.
        published: names of the papers' tables to show beside it.
        figure: beside the image sheet.
        notes: departures from the papers that hold whatever is at hand.
    """

    name: str
    title: str
    scenes: tuple[str, ...]
    blocks: tuple[Block, ...]
    size: tuple[int, int] | None = None
    points: int = 0
    published: tuple[str, ...] = ()
    figure: Figure | None = None
    notes: tuple[str, ...] = ()

    def size_of(self, scene: str) -> tuple[int, int] | None:
        """(width, height) for the paper's preset; ``None``: the scene as it comes."""
        if scene == "embedded":
            return None
        if self.size:
            return self.size
        protocols = (PROTOCOLS[name] for name in ("llff-regnerf", "dtu", "blender-8"))
        return next((protocol.size for protocol in protocols if scene in protocol.scenes), None)


def _whole(*recipes: str) -> tuple[Variant, ...]:
    return tuple(Variant(recipe) for recipe in recipes)


def _ablation(recipe: str, parts: tuple[str, ...]) -> tuple[Variant, ...]:
    """The recipe, the recipe without each of its parts, and each part alone."""
    left_out = [Variant(recipe, (part,)) for part in parts]
    alone = [Variant(recipe, tuple(p for p in parts if p != part)) for part in parts]
    return Variant(recipe), *left_out, *(v for v in alone if v not in left_out)


_COLOR_PRIOR = (
    "recipe regnerf has nerfreg's own colour prior: RegNeRF's, trained on photographs that are not"
    " public, was never released"
)
_SMOOTHNESS = (
    "recipe regnerf smooths depth on LLFF scenes, at poses drawn anew each step; RegNeRF's release"
    " multiplies the term by zero there and draws one pose"
)
_MASKED = "the figure's PSNR is of the object's pixels where a scene has masks"
_FEWVIEW = "recipe fewview is nerfreg's own; it takes keypoints where a scene has them"


def _llff(views: int) -> Table:
    return Table(
        f"llff{views}",
        f"LLFF, {views} views, RegNeRF's protocol",
        LLFF,
        (Block(_whole("mipnerf", "regnerf", "fewview"), (views,)),),
        size=(504, 378),
        published=(f"llff{views}",),
        notes=(_COLOR_PRIOR, _SMOOTHNESS, _FEWVIEW),
    )


def _dtu(views: int) -> Table:
    return Table(
        f"dtu{views}",
        f"DTU, {views} views, pixelNeRF's protocol as in RegNeRF",
        DTU,
        (Block(_whole("mipnerf", "regnerf", "fewview"), (views,)),),
        size=(400, 300),
        published=(f"dtu{views}",),
        notes=(
            _COLOR_PRIOR,
            _FEWVIEW,
            "the papers' numbers count the object's pixels alone: beside them belong the columns"
            " that end in _masked",
        ),
    )


_SPREAD = "DS-NeRF never published its training views: they are spread evenly here"


def _dsnerf(
    name: str,
    title: str,
    scenes: tuple[str, ...],
    views: tuple[int, ...],
    size: tuple[int, int],
    *notes: str,
) -> Table:
    return Table(
        f"dsnerf-{name}",
        f"{title}, {', '.join(map(str, views[:-1]))} and {views[-1]} views, after DS-NeRF",
        scenes,
        (Block(_whole("nerf", "dsnerf", "fewview"), views),),
        size=size,
        published=(f"dsnerf-{name}",),
        notes=(
            *notes,
            "recipe dsnerf has each keypoint's own standard deviation and a true divergence;"
            " DS-NeRF's release has one deviation for all and an unnormalised sum",
            "nerf and dsnerf have the reference trainer's network and steps, not DS-NeRF's",
            _FEWVIEW,
        ),
    )


TABLES = {
    table.name: table
    for table in (
        Table(
            "embedded",
            "The embedded scene, 3 views",
            ("embedded",),
            (Block(_whole("mipnerf", "regnerf", "dsnerf", "fewview"), (3,)),),
            notes=("the embedded scene is traced, small, and in no paper", _COLOR_PRIOR),
        ),
        *(_llff(views) for views in (3, 6, 9)),
        *(_dtu(views) for views in (3, 6, 9)),
        _dsnerf(
            "llff", "LLFF", LLFF, (2, 5, 10), (1008, 756), f"{_SPREAD}, as in RegNeRF's protocol"
        ),
        _dsnerf(
            "dtu",
            "DTU",
            DTU,
            (3, 6, 9),
            (400, 300),
            "DS-NeRF's training views were never published: they are pixelNeRF's here",
            "the paper does not say whether its numbers are of all pixels, beside which they stand",
            "a scan has keypoints only with --keypoints triangulate, or a model beside it",
        ),
        _dsnerf(
            "redwood",
            "Redwood",
            (),
            (2, 5, 10),
            (640, 480),
            f"{_SPREAD}; nor does it name its scans",
            "dsnerf's keypoints are of the depth images, as in the row «DS-NeRF, RGB-D», unless"
            " others are asked for",
        ),
        Table(
            "blender8",
            "Blender, 8 views",
            BLENDER,
            (Block(_whole("mipnerf", "regnerf", "freenerf", "fewview"), (8,)),),
            size=(400, 400),
            published=("blender8",),
            notes=(
                "which 8 views the papers' tables have is known of some of them alone",
                "RegNeRF's release has no setting for Blender scenes: recipe regnerf takes DTU's",
                _COLOR_PRIOR,
                _FEWVIEW,
            ),
        ),
        Table(
            "ablation",
            "What each part does, alone and left out, 3 views",
            ("embedded", *LLFF, *DTU),
            (
                Block(
                    tuple(
                        dict.fromkeys(
                            (
                                *_ablation(
                                    "regnerf", ("annealing", "depth_smoothness", "color_prior")
                                ),
                                *_ablation(
                                    "fewview",
                                    ("frequency_mask", "occlusion", "depth_smoothness", "depth_kl"),
                                ),
                            )
                        )
                    ),
                    (3,),
                ),
            ),
            published=("ablation",),
            figure=Figure("ablation"),
            notes=(
                "the paper's ablation is of DTU's 15 scans, the object's pixels alone",
                _MASKED,
                _COLOR_PRIOR,
                _SMOOTHNESS,
            ),
        ),
        Table(
            "intent",
            "What papers mean against what their code does, 3 views",
            LLFF,
            (
                Block(
                    (
                        Variant("regnerf"),
                        Variant("regnerf", ("color_prior",)),
                        *_whole("regnerf-released", "regnerf-metric", "nerf"),
                        *_whole("dsnerf", "dsnerf-published"),
                    ),
                    (3,),
                ),
            ),
            size=(504, 378),
            figure=Figure("ablation"),
            notes=(
                "regnerf-released has annealing alone: the release multiplies its smoothness by"
                " zero on LLFF scenes, where the one pose that it draws then makes no difference",
                "regnerf-metric smooths metric depth, regnerf NDC's",
                "dsnerf-published has each keypoint's own standard deviation, as the paper says;"
                " the release has one for all, and cannot switch the term on",
                _COLOR_PRIOR,
            ),
        ),
        Table(
            "recipes",
            "Every recipe that needs photographs, poses and keypoints alone, 3 views",
            ("embedded", *LLFF),
            (
                Block(
                    (
                        *_whole("mipnerf", "regnerf", "freenerf"),
                        *_whole("nerf", "infonerf", "dsnerf", "fewview"),
                    ),
                    (3,),
                ),
            ),
            size=(504, 378),
            published=("llff3",),
            notes=(
                "infonerf's and dsnerf's baseline is nerf: without NDC, and NeRF's encoding",
                "InfoNeRF's setting is Blender, 4 views; DS-NeRF's are LLFF, 2, 5 and 10",
                _COLOR_PRIOR,
                _SMOOTHNESS,
                _FEWVIEW,
            ),
        ),
        Table(
            "data-efficiency",
            "PSNR against the number of training views",
            ("embedded", *LLFF, *DTU),
            (
                Block(_whole("mipnerf"), (3, 4, 5, 6, 7, 8, 9)),
                Block(_whole("regnerf", "fewview"), (3, 6, 9)),
            ),
            published=("data-efficiency",),
            figure=Figure("views", baseline="mipnerf"),
            notes=(
                "the paper's figure is of DTU, 3 to 18 views, read off a plot to 0.3 dB: see table"
                " data-efficiency-dtu",
                _MASKED,
                _COLOR_PRIOR,
                _SMOOTHNESS,
                _FEWVIEW,
            ),
        ),
        Table(
            "data-efficiency-dtu",
            "PSNR against the number of training views, DTU, 3 to 18 views",
            DTU,
            (Block(_whole("mipnerf", "regnerf", "fewview"), (3, 6, 9, 12, 15, 18)),),
            size=(400, 300),
            published=("data-efficiency",),
            figure=Figure("views", baseline="mipnerf"),
            notes=(
                "the paper's numbers are read off a plot to 0.3 dB",
                "with more than 9 views 16 are left to measure on, with fewer 25; which ones the"
                " paper has is not said",
                _MASKED,
                _COLOR_PRIOR,
                _FEWVIEW,
            ),
        ),
        Table(
            "convergence",
            "PSNR against iterations and seconds, 3 views",
            ("embedded", *LLFF),
            (Block(_whole("mipnerf", "nerf", "dsnerf", "fewview"), (3,)),),
            points=25,
            figure=Figure("convergence", baseline="mipnerf"),
            notes=(
                "DS-NeRF compares with NeRF, and stops neither early; the learning rate falls here"
                " with the run, whose length is the preset's",
                _FEWVIEW,
            ),
        ),
    )
}
