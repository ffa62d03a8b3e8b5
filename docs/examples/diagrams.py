"""Draw the guide's diagrams: docs/images/*.svg.

$ python docs/examples/diagrams.py [FOLDER]

Each picture brings its own ground and ink, light or dark as the reader's system is, so that it is
legible on any page; text stays text. Where a picture shows numbers, nerfreg computes them.
"""

import sys
from collections.abc import Callable, Sequence
from html import escape
from math import cos, hypot, radians, sin, tau
from pathlib import Path

import torch

from nerfreg import RayTermination, SampleSpaceAnnealing

FOLDER = Path(__file__).parent.parent / "images"

STYLE = """
svg { font: 14px system-ui, "DejaVu Sans", sans-serif; }
.ground { fill: #ffffff } .ink { stroke: #24292f; fill: none } .solid { fill: #24292f }
.faint { stroke: #8c959f; fill: none } .soft { fill: #eaeef2; stroke: #8c959f }
.a { stroke: #0969da; fill: none } .fill-a { fill: #0969da }
.b { stroke: #bc4c00; fill: none } .fill-b { fill: #bc4c00 }
.c { stroke: #1a7f37; fill: none } .fill-c { fill: #1a7f37 }
.fill-faint { fill: #8c959f }
text { fill: #24292f } text[class] { stroke: none }
text.a { fill: #0969da } text.b { fill: #bc4c00 }
text.c { fill: #1a7f37 } text.faint { fill: #59636e }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } .ink { stroke: #e6edf3 } .solid { fill: #e6edf3 }
.faint { stroke: #6e7681 } .soft { fill: #21262d; stroke: #6e7681 }
.a { stroke: #58a6ff } .fill-a { fill: #58a6ff } .b { stroke: #f0883e } .fill-b { fill: #f0883e }
.c { stroke: #3fb950 } .fill-c { fill: #3fb950 } .fill-faint { fill: #6e7681 }
text { fill: #e6edf3 } text.a { fill: #58a6ff } text.b { fill: #f0883e }
text.c { fill: #3fb950 } text.faint { fill: #9198a1 }
}
"""


class Drawing:
    """Shapes, collected as SVG; ``kind`` is a class of the style sheet: ink, faint, a, b or c."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.shapes: list[str] = []

    def add(self, tag: str, kind: str, extra: str = "", **values: float | str) -> None:
        """Add any shape; numbers are rounded so that a picture is the same on every machine."""
        pairs = (
            (k.replace("_", "-"), f"{v:.1f}" if isinstance(v, float) else v)
            for k, v in values.items()
        )
        attributes = " ".join(f'{k}="{v}"' for k, v in pairs)
        self.shapes.append(f'<{tag} class="{kind}" {attributes} {extra}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "ink", **k: str) -> None:
        """Add a straight line."""
        self.add("line", kind, x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **k)

    def arrow(
        self, x1: float, y1: float, x2: float, y2: float, kind: str = "ink", **k: str
    ) -> None:
        """Add a line with a head at its end."""
        self.line(x1, y1, x2, y2, kind, **k)
        length = hypot(x2 - x1, y2 - y1)
        ux, uy = (x2 - x1) / length, (y2 - y1) / length
        head = [(x2 - 8 * ux + side * 4 * uy, y2 - 8 * uy - side * 4 * ux) for side in (1, -1)]
        self.polygon([(x2, y2), *head], "solid" if kind == "ink" else f"fill-{kind}")

    def polygon(self, points: Sequence[tuple[float, float]], kind: str, **k: str) -> None:
        """Add a closed shape."""
        self.add("polygon", kind, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), **k)

    def path(self, points: Sequence[tuple[float, float]], kind: str = "ink", **k: str) -> None:
        """Add an open run of lines."""
        points_text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.add("polyline", kind, points=points_text, **k)

    def box(self, x: float, y: float, w: float, h: float, kind: str = "soft", **k: str) -> None:
        """Add a rectangle."""
        self.add("rect", kind, x=float(x), y=float(y), width=float(w), height=float(h), **k)

    def dot(self, x: float, y: float, r: float, kind: str = "solid", **k: str) -> None:
        """Add a disc or circle."""
        self.add("circle", kind, cx=float(x), cy=float(y), r=float(r), **k)

    def text(self, x: float, y: float, words: str, kind: str = "", at: str = "start") -> None:
        """Add lines of text, the first one's base line at y."""
        for i, line in enumerate(words.split("\n")):
            self.shapes.append(
                f'<text class="{kind}" x="{x:.1f}" y="{y + 18 * i:.1f}" text-anchor="{at}">'
                f"{escape(line)}</text>"
            )

    def camera(self, x: float, y: float, angle: float, kind: str = "ink", **k: str) -> None:
        """Add a camera seen from above, looking along ``angle`` (degrees; 90 is up the page)."""
        corners = [(0, 0), (22, 11), (22, -11)]
        c, s = cos(radians(angle)), sin(radians(angle))
        self.polygon([(x + c * u - s * v, y - s * u - c * v) for u, v in corners], kind, **k)

    def write(self, path: Path) -> None:
        """Write the file."""
        shapes = "\n".join(self.shapes)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' width="{self.width}" height="{self.height}" role="img" stroke-width="1.5">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n"
            f'<rect class="ground" width="{self.width}" height="{self.height}" rx="8"/>\n'
            f"{shapes}\n</svg>\n",
            encoding="utf-8",
        )


DASHED = {"stroke_dasharray": "5 4"}


def fog() -> Drawing:
    """Why three photographs do not determine geometry."""
    d = Drawing(720, 330, "Two scenes that give the same three photographs")
    for left, title in ((0, "what was there"), (360, "what three photos allow as well")):
        d.text(left + 180, 26, title, at="middle")
        wall = [(left + 60 + 6 * i, 80 - 22 * sin(tau * i / 55)) for i in range(41)]
        cameras = ((left + 80, 245, 78), (left + 180, 258, 90), (left + 280, 245, 102))
        if left:
            d.path(wall, "faint", **DASHED)
        else:
            d.path(wall, "ink", stroke_width="4")
        for x, y, angle in cameras:
            for swing in (-14, 0, 14):
                a = radians(angle + swing)
                reach = 52.0
                while not left and y - reach * sin(a) > 80 - 22 * sin(
                    tau * (x + reach * cos(a) - 60) / 330
                ):
                    reach += 1
                d.line(x, y, x + reach * cos(a), y - reach * sin(a), "faint")
            if left:
                for swing in range(-16, 17, 4):
                    a = radians(angle + swing)
                    d.dot(x + 58 * cos(a), y - 58 * sin(a), 7, "fill-b", fill_opacity="0.45")
            d.camera(x, y, angle, "soft")
        if left:
            d.camera(left + 232, 275, 96, "b", **DASHED)
            d.line(left + 230, 250, left + 216, 100, "b", **DASHED)
            d.text(left + 250, 292, "an unseen view\nmeets nothing", "b")
            d.text(left + 14, 128, "each photo,\npainted on a\ncloud of its own", "b")
    d.line(360, 40, 360, 310, "faint")
    d.text(24, 292, "three training cameras", "faint")
    return d


def families() -> Drawing:
    """Where each family of regularizers acts."""
    d = Drawing(880, 330, "Where each family of regularizers acts, from views to the loss")
    stages = (
        (
            "views",
            "where to look",
            "a",
            "UnseenPatchSampler\nAroundFocusPoses\nForwardFacingPoses\n"
            "HemispherePoses\nInterpolatedPoses",
        ),
        (
            "your renderer",
            "what it may see",
            "c",
            "SampleSpaceAnnealing\nFrequencyMask\n"
            "PrefilterAnnealing\nOpacityDropout\ngradient scaling",
        ),
        (
            "rays",
            "where they stop",
            "b",
            "DepthKL\nLineOfSight\nDistortion\nRayEntropy\nOcclusion\nand others",
        ),
        (
            "patches, maps",
            "what came out",
            "b",
            "DepthSmoothness\nDepthMSE\nPearsonDepth\nFlowColorPrior\nTotalVariation\nand others",
        ),
        (
            "Objective",
            "× weight(step)",
            "a",
            "one scalar to\ncall backward on;\nevery term logged\nunweighted",
        ),
    )
    for i, (name, what, kind, inside) in enumerate(stages):
        x = 14 + 173 * i
        d.box(x, 62, 148, 56, rx="6")
        d.text(x + 74, 86, name, at="middle")
        d.text(x + 74, 106, what, "faint", at="middle")
        if i < 4:
            d.arrow(x + 148, 90, x + 173, 90)
        d.line(x + 74, 118, x + 74, 146, kind)
        d.text(x, 166, inside, kind)
    d.text(16, 32, "training photographs and poses", "faint")
    d.arrow(88, 38, 88, 62, "faint")
    d.text(360, 32, "keypoints, depth maps: targets beside the rays", "faint")
    d.arrow(434, 38, 434, 62, "faint")
    d.path([(780, 240), (780, 300), (261, 300), (261, 282)], "faint")
    d.arrow(261, 284, 261, 266, "faint")
    d.text(500, 294, "gradient", "faint", at="middle")
    return d


def termination() -> Drawing:
    """Weights of one ray over intervals with a gap; opacity, expected and median depth."""
    starts = torch.tensor([1.0, 1.5, 2.0, 3.25, 3.75, 4.25, 5.0])
    ends = torch.tensor([1.5, 2.0, 2.5, 3.75, 4.25, 5.0, 6.0])
    density = torch.tensor([0.05, 0.1, 0.1, 0.5, 1.6, 0.9, 0.2])
    ray = RayTermination.from_density(density[None], starts[None], ends[None])
    weights = ray.weights[0].tolist()

    def x(t: float) -> float:
        return 50 + 105 * (t - 0.5)

    d = Drawing(720, 330, "The distribution of where one ray stops")
    d.camera(30, 240, 0, "soft")
    d.arrow(56, 240, 690, 240)
    d.text(690, 262, "t", at="end")
    for start, end, weight in zip(starts.tolist(), ends.tolist(), weights, strict=True):
        height = 360 * weight
        d.box(x(start), 240 - height, x(end) - x(start), height, "fill-a", fill_opacity="0.35")
        d.box(x(start), 240 - height, x(end) - x(start), height, "a")
    d.text((x(2.5) + x(3.25)) / 2, 228, "gap", "faint", at="middle")
    d.text((x(2.5) + x(3.25)) / 2, 262, "skipped", "faint", at="middle")
    k = 4
    for t, name, at in (
        (starts[k].item(), f"starts[{k}]", "end"),
        (ends[k].item(), f"ends[{k}]", "start"),
    ):
        d.line(x(t), 240, x(t), 274, "faint")
        d.text(x(t), 290, name, "faint", at=at)
    top = 240 - 360 * weights[k]
    d.text(x(starts[k].item()) - 6, top + 6, f"weights[{k}] = {weights[k]:.2f}", "a", at="end")
    for t, name, kind, y in (
        (ray.expected_depth().item(), "expected_depth", "b", 62),
        (ray.median_depth().item(), "median_depth", "c", 40),
    ):
        d.line(x(t), y, x(t), 240, kind, **DASHED)
        d.text(x(t) + 8, y + 4, f"{name} {t:.2f}", kind)
    d.text(60, 40, f"opacity = Σ weights = {ray.opacity().item():.2f}")
    d.text(60, 60, f"the other {1 - ray.opacity().item():.2f} passes through", "faint")
    d.text(60, 312, "a bar's height is the probability of stopping there", "faint")
    return d


def layouts() -> Drawing:
    """Dense against packed samples of the same three rays."""
    d = Drawing(720, 290, "The same samples, dense and packed")
    d.text(24, 30, "dense: weights, starts, ends (R, S)")
    d.text(390, 30, "packed: (N,) and whose ray each is")
    kinds = ("fill-a", "fill-b", "fill-c")
    counts = (3, 0, 2)
    for ray in range(3):
        y = 56 + 48 * ray
        d.text(24, y + 22, f"ray {ray}")
        for sample in range(5):
            d.box(76 + 52 * sample, y, 44, 30, "soft", rx="4")
            d.box(76 + 52 * sample, y, 44, 30, kinds[ray], rx="4", fill_opacity="0.45")
    x = 390
    for ray, count in enumerate(counts):
        for _ in range(count):
            d.box(x, 92, 44, 30, "soft", rx="4")
            d.box(x, 92, 44, 30, kinds[ray], rx="4", fill_opacity="0.45")
            d.text(x + 22, 144, str(ray), at="middle")
            x += 52
    d.text(390, 80, "weights, starts, ends", "faint")
    d.text(390, 168, "ray_indices, sorted", "faint")
    d.text(390, 196, "n_rays = 3: ray 1 met nothing,\nand still counts as a ray", "b")
    d.text(24, 232, "the same number of samples\non each ray: mip-NeRF, nerfacto", "faint")
    d.text(390, 250, "empty space was skipped:\ninstant-ngp, nerfacc", "faint")
    return d


def unseen() -> Drawing:
    """Unseen poses between the training cameras, and a patch of pixels."""
    d = Drawing(740, 340, "Patches of rays from poses where no photograph was taken")
    d.add("ellipse", "soft", cx=210.0, cy=96.0, rx=110.0, ry=42.0)
    d.text(210, 101, "scene", at="middle")
    for x, y, angle in ((80, 270, 57), (210, 290, 90), (340, 270, 123)):
        d.camera(x, y, angle, "soft")
    d.box(62, 244, 296, 62, "faint", **DASHED)
    d.text(62, 328, "poses are drawn inside the cameras' box, looking near the focus", "faint")
    for x, y, angle, target in ((150, 268, 72, 175), (285, 282, 106, 245)):
        d.camera(x, y, angle, "b", **DASHED)
        for off in (-9, 9):
            d.line(x, y, target + off, 128 - abs(target - 210) * 0.1, "b")
    d.text(356, 160, "unseen pose,\nnarrow frustum\nof one patch", "b")
    left, top, cell = 500, 66, 12
    d.box(left, top, 16 * cell, 12 * cell, "soft")
    for i in range(17):
        d.line(left + i * cell, top, left + i * cell, top + 12 * cell, "faint", stroke_width="0.5")
    for i in range(13):
        d.line(left, top + i * cell, left + 16 * cell, top + i * cell, "faint", stroke_width="0.5")
    patch = left + 5 * cell, top + 2 * cell
    d.box(*patch, 8 * cell, 8 * cell, "fill-b", fill_opacity="0.3")
    d.box(*patch, 8 * cell, 8 * cell, "b", stroke_width="2.5")
    d.text(left, top - 12, "of its image, 8×8 rays")
    d.text(
        left,
        top + 12 * cell + 24,
        "row by row, contiguous pixels:\ndepth (…, 8, 8), rgb (…, 8, 8, 3)",
    )
    return d


def annealing() -> Drawing:
    """How near and far open over the steps, for RegNeRF's two settings."""
    d = Drawing(720, 320, "The sampled part of each ray opens with the steps")
    panels = (
        (60, "middle first: start 0.5, mid 0.5", {"start": 0.5, "mid": 0.5}),
        (410, "far first: start 0.75, mid 1", {"start": 0.75, "mid": 1.0}),
    )
    n, near, far, width, height = 100, 2.0, 6.0, 270, 170
    for left, title, values in panels:
        d.text(left, 34, title)
        d.line(left, 230, left + width + 8, 230, "faint")
        d.line(left, 230, left, 52, "faint")
        for form, kind in (("paper", "a"), ("released", "b")):
            anneal = SampleSpaceAnnealing(n_steps=n, form=form, **values)  # pyright: ignore[reportArgumentType]
            steps = range(0, n + 31, 5)  # the bounds are straight between

            def at(step: int, t: float, left: int = left) -> tuple[float, float]:
                return left + width * step / (n + 30), 230 - height * (t - near) / (far - near)

            lower = [at(step, anneal(step, near, far)[0]) for step in steps]
            upper = [at(step, anneal(step, near, far)[1]) for step in steps]
            d.polygon(lower + upper[::-1], f"fill-{kind}", fill_opacity="0.15")
            d.path(lower, kind, stroke_width="2.5")
            d.path(upper, kind, stroke_width="2.5")
        d.text(left - 8, 234, "near", "faint", at="end")
        d.text(left - 8, 64, "far", "faint", at="end")
        end = left + width * n / (n + 30)
        d.line(end, 52, end, 236, "faint", **DASHED)
        d.text(end, 252, "n_steps", "faint", at="middle")
        d.text(left, 252, "step 0", "faint")
    d.text(60, 290, 'form="paper" waits, then opens', "a")
    d.text(410, 290, 'form="released" opens from the first step', "b")
    return d


def conventions() -> Drawing:
    """The one picture: z-depth against distance, half pixels, axes."""
    d = Drawing(760, 640, "z-depth against distance; pixel centres; camera axes")
    d.text(24, 30, "1  z-depth against distance")
    eye_x, eye_y, wall, top = 70, 190, 430, 50
    d.camera(eye_x - 22, eye_y, 0, "soft")
    d.line(wall, top, wall, 330, "ink", stroke_width="4")
    d.text(wall + 12, 66, "a wall parallel\nto the image")
    d.line(160, 120, 160, 260, "faint")
    d.text(160, 112, "image plane, camera z = 1", "faint", at="middle")
    hit = (wall, 320)
    d.arrow(eye_x, eye_y, wall, eye_y, "a", stroke_width="2.5")
    d.arrow(eye_x, eye_y, *hit, "b", stroke_width="2.5")
    d.dot(*hit, 5, "fill-b")
    d.text(170, eye_y - 12, "z-depth: along the optical axis", "a")
    d.text(200, 310, "distance = t·‖d‖", "b", at="middle")
    foot = eye_x + 0.25 * (wall - eye_x), eye_y + 0.25 * (320 - eye_y)
    d.dot(*foot, 4)
    d.text(foot[0] + 8, foot[1] - 4, "d = K⁻¹·(x, y, 1)")
    d.text(
        wall + 12,
        190,
        "all of the wall has one z-depth;\nits distance grows off the axis,\n"
        "at the corner of a 90° image\nby √3",
    )
    d.text(wall + 12, 290, "our rays: ‖d‖ ≥ 1, t is z-depth\nunit rays: ‖d‖ = 1, t is distance")

    d.line(24, 352, 736, 352, "faint")
    d.text(24, 382, "2  pixels")
    left, up, cell = 50, 420, 46
    for i in range(3):
        for j in range(3):
            d.box(left + cell * i, up + cell * j, cell, cell, "soft")
            d.dot(left + cell * (i + 0.5), up + cell * (j + 0.5), 3)
    d.dot(left, up, 5, "fill-b")
    d.text(left - 4, up - 10, "(0, 0), the corner", "b")
    d.dot(left + cell / 2, up + cell / 2, 5, "fill-a")
    d.text(left + 3 * cell + 12, up + 28, "(0.5, 0.5), the first centre", "a")
    d.text(left + 3 * cell + 12, up + 3 * cell, "(width, height)", "b")
    d.dot(left + 3 * cell, up + 3 * cell, 5, "fill-b")
    d.text(left + 3 * cell + 12, up + 62, "column i, row j:\n(i + 0.5, j + 0.5)")

    d.line(396, 362, 396, 624, "faint")
    d.text(412, 382, "3  camera axes")
    for x, title, names in (
        (460, "OpenCV, COLMAP:\ninside nerfreg", ("x right", "y down", "z forward")),
        (640, "OpenGL, Blender,\nnerfstudio: at the door", ("x right", "y up", "z backward")),
    ):
        y = 500
        opencv = names[1] == "y down"
        d.text(x - 48, 412, title)
        d.arrow(x, y, x + 62, y, "a", stroke_width="2.5")
        d.text(x + 20, y - 8, names[0], "a")
        d.arrow(x, y, x, y + 58 if opencv else y - 44, "c", stroke_width="2.5")
        d.text(x + 8, y + 56 if opencv else y - 32, names[1], "c")
        sign = 1 if opencv else -1
        d.arrow(x, y, x + sign * 34, y - sign * 34, "b", stroke_width="2.5")
        d.text(
            x + sign * 38,
            y - sign * 40 + (0 if opencv else 6),
            names[2],
            "b",
            at="start" if opencv else "middle",
        )
    d.text(
        412,
        590,
        "c2w (3, 4) = [ right | down | forward | position ]\n"
        "from_opengl flips the signs of columns y and z",
    )
    return d


DIAGRAMS: dict[str, Callable[[], Drawing]] = {
    "fog": fog,
    "families": families,
    "termination": termination,
    "layouts": layouts,
    "unseen": unseen,
    "annealing": annealing,
    "conventions": conventions,
}


def main(folder: Path = FOLDER) -> None:
    """Draw them all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DIAGRAMS.items():
        draw().write(folder / f"{name}.svg")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
