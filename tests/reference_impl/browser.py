"""Headless Chromium, driven over its DevTools socket: enough to load, click and take a picture."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class Browser:
    """One page. Close it, or use ``with``.

    Attributes:
        errors: what the page wrote to its console as errors, and exceptions that nobody caught.
    """

    def __init__(self, url: str, folder: Path, size: tuple[int, int] = (1280, 720)) -> None:
        assert CHROMIUM is not None
        self.errors: list[str] = []
        self._ids = itertools.count(1)
        self.process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--enable-unsafe-swiftshader",
                "--use-gl=angle",
                "--use-angle=swiftshader",
                "--remote-debugging-port=0",
                "--no-first-run",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._attach(folder, url, size)
        except BaseException:
            self.close()
            raise

    def _attach(self, folder: Path, url: str, size: tuple[int, int]) -> None:
        written = folder / "DevToolsActivePort"
        self.wait_for(lambda: written.is_file() and "\n" in written.read_text(), pump=False)
        port = written.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            page = next(tab for tab in json.load(answer) if tab["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=None, open_timeout=30)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Page.navigate", url=url)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "socket"):
            self.socket.close()
        self.process.terminate()
        self.process.wait(30)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        number = next(self._ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=120))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, values = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a)) for a in values["args"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(str(values["entry"]))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def text(self) -> str:
        """All text that the page shows."""
        return self.evaluate("document.body.innerText") or ""

    def click(self, x: float, y: float) -> None:
        """Click at a place of the page."""
        self.drag((x, y), (x, y))

    def drag(self, start: tuple[float, float], stop: tuple[float, float], moves: int = 1) -> None:
        """Press the left button, move in some steps, release."""
        self._mouse("mouseMoved", start)
        self._mouse("mousePressed", start)
        for i in range(1, moves + 1):
            share = i / moves
            here = tuple(a + share * (b - a) for a, b in zip(start, stop, strict=True))
            self._mouse("mouseMoved", here)
        self._mouse("mouseReleased", stop)

    def _mouse(self, kind: str, at: tuple[float, ...]) -> None:
        button = "none" if kind == "mouseMoved" else "left"
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button=button, clickCount=1
        )

    def place_of(self, text: str, kind: str = "*") -> tuple[float, float]:
        """The middle of the last visible element whose own text, or value, is ``text``."""
        found = self.evaluate(
            f"""(() => {{
            const all = [...document.querySelectorAll({kind!r})].filter(e => e.offsetWidth && (
                (e.value || '').toString() === {text!r} ||
                [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim() === {text!r})));
            const e = all.pop(); if (!e) return null;
            e.scrollIntoView({{block: 'center'}});
            const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""
        )
        if found is None:
            raise LookupError(f"no element shows {text!r}")
        return found[0], found[1]

    def choose(self, now: str, then: str) -> None:
        """In the dropdown that shows ``now``, choose ``then``."""
        self.click(*self.place_of(now, "input"))
        options = "[...document.querySelectorAll('[role=option] *')]"
        shown = f"{options}.some(e => e.offsetWidth && e.innerText === {then!r})"
        self.wait_for(lambda: self.evaluate(shown))
        time.sleep(0.5)  # until it has slid into its place
        self.click(*self.place_of(then, "[role=option] *"))

    def wait_for(self, condition: Any, seconds: float = 120.0, *, pump: bool = True) -> None:
        """Wait until something holds, reading the page's events meanwhile."""
        stop = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > stop:
                raise TimeoutError(f"still not so after {seconds} s")
            if pump:
                self.call("Runtime.evaluate", expression="0")
            time.sleep(0.2)
