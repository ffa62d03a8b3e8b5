"""A browser's end of the viewer's socket: what a page is told, and what it answers."""

import io
import threading
import time
from typing import Any

import msgspec
import numpy as np
import zstandard
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Page:
    """One page that is open. Close it, or use ``with``.

    Attributes:
        nodes: names of the 3D scene's nodes.
        gui: properties of the panel's elements, by their uuid.
        pictures: every picture of the field that came, as (H, W, 3) pixels.
        depths: z-depth of each, browser units.
        camera: the last message of each kind that moved its camera.
    """

    def __init__(self, url: str) -> None:
        import viser

        self.nodes: set[str] = set()
        self.gui: dict[str, dict[str, Any]] = {}
        self.pictures: list[np.ndarray] = []
        self.depths: list[np.ndarray] = []
        self.camera: dict[str, Any] = {}
        protocol: Any = f"viser-v{viser.__version__}"
        address = url.replace("http", "ws", 1)
        self.socket = connect(address, subprotocols=[protocol], max_size=None, compression=None)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()
        self.reader.join()

    def _read(self) -> None:
        while True:
            try:
                data = self.socket.recv()
            except ConnectionClosed:
                return
            size, packed = (int.from_bytes(data[i : i + 8], "little") for i in (0, 8))
            inner = zstandard.ZstdDecompressor().decompress(data[16 : 16 + packed], size)
            for message in msgspec.msgpack.decode(inner)["messages"]:
                self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "BackgroundImageMessage":
            if message["rgb_data"] is None:  # sent at the start, to clear
                return
            image = Image.open(io.BytesIO(message["rgb_data"])).convert("RGB")
            high, middle, low = np.moveaxis(
                np.asarray(Image.open(io.BytesIO(message["depth_data"])), dtype=int)[..., :3], -1, 0
            )
            self.depths.append((low + 256 * middle + 256**2 * high) / 100_000)
            self.pictures.append(np.asarray(image).astype(int))
        elif kind == "GuiUpdateMessage":
            self.gui[message["uuid"]].update(message["updates"])
        elif kind.startswith("Gui") and "props" in message:
            given = {"value": message.get("value")}
            self.gui[message["uuid"]] = {**message["props"], **given}
        elif kind.startswith("SetCamera") and not message["initial"]:
            self.camera[kind] = message
        elif "name" in message and "props" in message:
            self.nodes.add(message["name"])

    def send(self, kind: str, **values: Any) -> None:
        """Say something as the page does."""
        self.socket.send(msgspec.msgpack.encode({"type": kind, **values}))

    def look(self, c2w: Any, scale: float, fov: float, size: tuple[int, int] = (32, 24)) -> None:
        """Stand at a pose (3, 4) of the scene."""
        from nerfreg.views import rotation_to_quaternion

        position = c2w[:, 3] * scale
        self.send(
            "ViewerCameraMessage",
            wxyz=rotation_to_quaternion(c2w[:, :3]).tolist(),
            position=position.tolist(),
            fov=fov,
            near=0.01,
            far=1000.0,
            image_width=size[0],
            image_height=size[1],
            look_at=(position + c2w[:, 2]).tolist(),
            up_direction=(-c2w[:, 1]).tolist(),
        )

    def element(self, label: str) -> str:
        """The uuid of the panel's element with a label."""
        return next(uuid for uuid, props in list(self.gui.items()) if props.get("label") == label)

    def set(self, label: str, value: Any) -> None:
        """Move a control."""
        self.send("GuiUpdateMessage", uuid=self.element(label), updates={"value": value})

    def press(self, label: str) -> None:
        """Press a button."""
        self.set(label, True)

    def text(self) -> str:
        """What the panel's paragraphs say."""
        texts = [p.get("_markdown") or p.get("content") for p in list(self.gui.values())]
        return "\n".join(text for text in texts if isinstance(text, str))


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    """Wait until something holds."""
    stop = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > stop:
            raise TimeoutError(f"still not so after {seconds} s")
        time.sleep(0.02)
