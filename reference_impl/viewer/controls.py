"""The page's panel: what to show, of which checkpoint, and how training is doing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reference_impl.scenes import Scene
from reference_impl.viewer.followed_run import FollowedRun
from reference_impl.viewer.landmarks import GROUPS, Landmarks
from reference_impl.viewer.layers import Colors, Layer, layers_of

EMPTY_LEGEND = np.full((1, 1, 3), 255, np.uint8)


@dataclass(frozen=True)
class Settings:
    """What all browsers are shown.

    Attributes:
        layer: of the field.
        step: of the checkpoint.
        split: share of the picture that belongs to the first run.
        height: of the finest picture, in rows.
    """

    layer: Layer
    step: int
    split: float
    height: int


class Controls:
    """The panel beside the scene; one for all browsers.

    Args:
        gui: viser's.
        runs: one or two.
        landmarks: that the check boxes show and hide.
        colors: of the pictures.
        changed: called when a picture must be drawn anew.
        jump: called with a client and a view that is to be looked through.
    """

    def __init__(
        self,
        gui: Any,
        runs: Sequence[FollowedRun],
        landmarks: Landmarks,
        colors: Colors,
        changed: Callable[[], None],
        jump: Callable[[Any, int], None],
    ) -> None:
        self.gui, self.runs, self.colors, self.changed = gui, runs, colors, changed
        scene = runs[0].run.scene
        self.status = gui.add_markdown("")
        self.checkpoint = gui.add_slider(
            "checkpoint", 0, 0, 1, 0, hint="step of the checkpoint whose field is shown"
        )
        self.newest = True
        self.failure = ""  # of the last picture, until one succeeds
        with gui.add_folder("field"):
            self.layer = gui.add_dropdown("show", layers_of(scene))
            self.layer.on_update(lambda _: self._relayer())
            self.legend = gui.add_image(EMPTY_LEGEND, visible=False)
            self.height = gui.add_slider(
                "rows", 60, 720, 60, 240, hint="of the finest picture: more is sharper and slower"
            )
            self.height.on_update(lambda _: changed())
            self.split = gui.add_slider(
                "split",
                0.0,
                1.0,
                0.01,
                0.5,
                visible=len(runs) > 1,
                hint="left of it the first run, right of it the second",
            )
            self.split.on_update(lambda _: changed())
        with gui.add_folder("look through"):
            self._add_viewpoints(gui, scene, jump)
        with gui.add_folder("around it"):
            for group, (_, meaning) in GROUPS.items():
                box = gui.add_checkbox(group, True, hint=meaning)
                box.on_update(_shower(landmarks, group, box))
            gui.add_html(_color_legend())
            if landmarks.std_colors is not None:
                gui.add_image(landmarks.std_colors.legend())
            self.patches = gui.add_markdown("")
        self.refresh()
        self.checkpoint.on_update(self._chosen)

    @property
    def settings(self) -> Settings:
        """What is chosen now."""
        return Settings(
            self.layer.value, int(self.checkpoint.value), self.split.value, int(self.height.value)
        )

    def refresh(self) -> None:
        """Say how training is doing, and let the slider reach the checkpoints that have come."""
        steps = sorted({step for run in self.runs for step in run.snapshots})
        if steps:
            _set(self.checkpoint, "max", steps[-1])
            _set(self.checkpoint, "min", steps[0])
            _set(self.checkpoint, "step", math.gcd(*(step - steps[0] for step in steps)) or 1)
            if self.newest:
                _set(self.checkpoint, "value", steps[-1])
        lines = [self._describe(run) for run in self.runs]
        if self.failure:
            lines.append(f"⚠ {self.failure}")
        text = "\n\n".join(lines)
        _set(self.status, "content", text)

    def _describe(self, run: FollowedRun) -> str:
        side = ""
        if len(self.runs) > 1:
            side = "left: " if run is self.runs[0] else "right: "
        shown = run.nearest(int(self.checkpoint.value))
        field = "waiting for the first checkpoint" if shown is None else f"shown: step {shown}"
        lines = [f"**{side}{run.label}**", f"trained: {run.progress()}", field]
        if run.problem:
            lines.append(f"⚠ {run.problem}")
        return "  \n".join(lines)

    def _chosen(self, event: Any) -> None:
        """Somebody moved the slider: stay there, or follow the newest if that is where it is."""
        if event.client is None:  # moved by :meth:`refresh`
            return
        self.newest = self.checkpoint.value == self.checkpoint.max
        self.refresh()
        self.changed()

    def _relayer(self) -> None:
        legend = self.colors.legend(self.layer.value)
        if legend is not None:
            self.legend.image = legend
        self.legend.visible = legend is not None
        self.changed()

    def _add_viewpoints(self, gui: Any, scene: Scene, jump: Callable[[Any, int], None]) -> None:
        names = {f"{scene.names[view]} (training)": view for view in scene.train}
        names |= {f"{scene.names[view]} (test)": view for view in scene.test}
        chosen = gui.add_dropdown("camera", list(names))
        go = gui.add_button("go there", hint="or click on a camera in the scene")
        go.on_click(lambda event: jump(event.client, names[chosen.value]))


def _set(element: Any, name: str, value: Any) -> None:
    """Change a property of an element, and tell the browsers, if it differs."""
    if getattr(element, name) != value:
        setattr(element, name, value)


def _color_legend() -> str:
    """A swatch for each group that has one colour."""
    swatches = [
        f'<span style="color: rgb{color}">■</span> {group}'
        for group, (color, _) in GROUPS.items()
        if color is not None
    ]
    return f'<div style="padding: 0 1em; font-size: 0.8em">{" &nbsp; ".join(swatches)}</div>'


def _shower(landmarks: Landmarks, group: str, box: Any) -> Callable[[Any], None]:
    return lambda _: landmarks.show(group, box.value)
