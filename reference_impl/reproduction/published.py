"""The papers' own numbers, as data. Nothing here was measured with nerfreg."""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]

REGNERF = "Niemeyer et al., RegNeRF, CVPR 2022"
FREENERF = "Yang, Pavone, Wang, FreeNeRF, CVPR 2023"
DSNERF = "Deng et al., Depth-supervised NeRF, CVPR 2022"

UNCHECKED = "from memory, not checked against the paper"
COPIED = "as later papers print it"
PLOT = (
    "read off the paper's plot, to 0.3 dB; as high as its table of the object's pixels, so taken"
    " for such"
)


@dataclass(frozen=True)
class Published:
    """A row of a paper's table.

    Numbers are text, with as many digits as were printed; "": the paper has none, or it is not
    known.

    Attributes:
        table: of ours beside which it stands.
        method: the paper's word for it.
        views: training views.
        scenes: what the row averages over.
        source: the paper that prints it.
        remark: how the number was read, where not from the paper's table itself.
    """

    table: str
    method: str
    views: int
    scenes: str
    psnr: str
    ssim: str = ""
    lpips: str = ""
    average: str = ""
    masked: bool = False
    source: str = REGNERF
    remark: str = ""


def _per_views(
    table: str,
    method: str,
    psnr: str,
    ssim: str,
    lpips: str,
    average: str,
    *,
    scenes: str,
    masked: bool = False,
    source: str = REGNERF,
    remark: str = "",
) -> list[Published]:
    """Rows of 3, 6 and 9 views from a line of the paper's table."""
    columns = zip(psnr.split(), ssim.split(), lpips.split(), average.split(), strict=True)
    return [
        Published(
            f"{table}{views}",
            method,
            views,
            scenes,
            **_numbers(*numbers),
            masked=masked,
            source=source,
            remark=remark,
        )
        for views, numbers in zip((3, 6, 9), columns, strict=True)
    ]


def _numbers(*printed: str) -> dict[str, str]:
    """The metrics of a row, in the order in which the papers print them."""
    return dict(zip(("psnr", "ssim", "lpips", "average"), printed, strict=False))


# (method, PSNR, SSIM, LPIPS, average) at 3, 6 and 9 views.
_LLFF = (
    ("mip-NeRF", "14.62 20.87 24.26", ".351 .692 .805", ".495 .255 .172", ".246 .114 .073"),
    ("DietNeRF", "14.94 21.75 24.28", ".370 .717 .801", ".496 .248 .183", ".240 .105 .073"),
    ("RegNeRF", "19.08 23.10 24.86", ".587 .760 .820", ".336 .206 .161", ".146 .086 .067"),
)
_DTU = (
    ("mip-NeRF", "8.68 16.54 23.58", ".571 .741 .879", ".353 .198 .092", ".323 .148 .056"),
    ("DietNeRF", "11.85 20.63 23.83", ".633 .778 .823", ".314 .201 .173", ".243 .101 .068"),
    ("RegNeRF", "18.89 22.20 24.93", ".745 .841 .884", ".190 .117 .089", ".112 .071 .047"),
)
_LLFF_LATER = (
    ("FreeNeRF", "19.63 23.73 25.13", ".612 .779 .827", ".308 .195 .160", ".134 .075 .064"),
    (
        "mip-NeRF as in FreeNeRF",
        "16.11 22.91 24.88",
        ".401 .756 .826",
        ".460 .213 .160",
        ".215 .090 .066",
    ),
)
_DTU_LATER = (
    ("FreeNeRF", "19.92 23.25 25.38", ".787 .844 .888", ".182 .137 .096", ".098 .068 .046"),
    (
        "mip-NeRF as in FreeNeRF",
        "9.10 16.84 23.56",
        ".578 .754 .877",
        ".348 .197 .100",
        ".311 .144 .057",
    ),
)
_ABLATION = (
    ("RegNeRF", "18.89", ".745", ".190", ".112"),
    ("RegNeRF without sample-space annealing", "10.17", ".613", ".332", ".291"),
    ("RegNeRF without geometry regularization", "14.34", ".689", ".246", ".188"),
    ("RegNeRF without appearance regularization", "18.34", ".742", ".191", ".117"),
)
_BLENDER = (
    ("RegNeRF", "23.86", ".852", ".105"),
    ("FreeNeRF", "24.26", ".883", ".098"),
    ("SparseNeRF", "24.04", ".876", ".113"),
)
# Of a table: scenes, training views, then (method, PSNR at each of them).
_DSNERF = {
    "dsnerf-llff": (
        "mean of 8",
        (2, 5, 10),
        ("NeRF", "13.5 18.2 22.5"),
        ("DS-NeRF, MSE", "19.5 22.2 24.7"),
        ("DS-NeRF, KL", "20.2 22.6 24.9"),
    ),
    "dsnerf-dtu": (
        "mean of 15",
        (3, 6, 9),
        ("NeRF", "9.9 18.6 22.1"),
        ("DS-NeRF", "16.5 20.5 22.2"),
    ),
    "dsnerf-redwood": (
        "mean",
        (2, 5, 10),
        ("NeRF", "10.5 22.4 23.4"),
        ("DS-NeRF, points", "18.1 22.9 23.8"),
        ("DS-NeRF, RGB-D", "20.3 23.4 23.9"),
    ),
}
_EFFICIENCY = (
    ("mip-NeRF", "9.4 17.3 24.2 25.2 25.6 26.4"),
    ("RegNeRF", "19.3 21.6 24.7 25.5 25.7 26.7"),
)

PUBLISHED: tuple[Published, ...] = (
    *(row for line in _LLFF for row in _per_views("llff", *line, scenes="mean of 8")),
    *(
        row
        for line in _LLFF_LATER
        for row in _per_views("llff", *line, scenes="mean of 8", source=FREENERF, remark=COPIED)
    ),
    *(row for line in _DTU for row in _per_views("dtu", *line, scenes="mean of 15", masked=True)),
    *(
        row
        for line in _DTU_LATER
        for row in _per_views(
            "dtu", *line, scenes="mean of 15", masked=True, source=FREENERF, remark=COPIED
        )
    ),
    *(
        Published("ablation", method, 3, "mean of DTU's 15", **_numbers(*numbers), masked=True)
        for method, *numbers in _ABLATION
    ),
    *(
        Published(
            "blender8",
            method,
            8,
            "mean of 8",
            **_numbers(*numbers),
            masked=False,
            source="Zhang et al., CoR-GS, ECCV 2024",
            remark="which prints it for the method",
        )
        for method, *numbers in _BLENDER
    ),
    *(
        Published(table, method, n_views, scenes, psnr, source=DSNERF, remark=UNCHECKED)
        for table, (scenes, views, *lines) in _DSNERF.items()
        for method, line in lines
        for n_views, psnr in zip(views, line.split(), strict=True)
    ),
    *(
        Published(
            "data-efficiency", method, views, "mean of DTU's 15", psnr, masked=True, remark=PLOT
        )
        for method, line in _EFFICIENCY
        for views, psnr in zip((3, 6, 9, 12, 15, 18), line.split(), strict=True)
    ),
)

_FEWER = (
    f"RegNeRF's 3 views equal mip-NeRF's 6.8 on DTU: 55 % fewer images ({REGNERF}). Its LLFF table,"
    " interpolated, gives about 5."
)
# What the papers say in words, beside the figure that it is about.
CLAIMS = {
    "data-efficiency": _FEWER,
    "data-efficiency-dtu": _FEWER,
    "convergence": f"DS-NeRF trains 2 to 3 times faster ({DSNERF}, abstract).",
}
