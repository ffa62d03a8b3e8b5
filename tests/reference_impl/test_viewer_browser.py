"""The viewer's page in a real browser: it loads without errors, and its controls work."""

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference_impl.train import train
from tests.reference_impl.browser import CHROMIUM, Browser
from tests.reference_impl.test_viewer import tiny

ROOT = Path(__file__).resolve().parents[2]
SIZE = (900, 560)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


@pytest.fixture
def url(tmp_path):
    folder = train(tiny(tmp_path / "run"))
    command = [sys.executable, "reference_impl/view.py", str(folder), "--port", "8765"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    viewer = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    address = re.search(r"http://127\.0\.0\.1:\d+", viewer.stdout.readline())
    assert address is not None
    yield address[0]
    viewer.send_signal(signal.SIGINT)
    rest, _ = viewer.communicate(timeout=60)
    assert viewer.returncode == 0
    assert "Traceback" not in rest


def picture(browser):
    """The field, left of the panel."""
    image = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    return np.asarray(image)[:, : SIZE[0] // 2].astype(int)


def test_the_page_loads_without_errors_and_a_control_changes_the_picture(url, tmp_path):
    with Browser(url, tmp_path / "profile", SIZE) as browser:
        browser.wait_for(lambda: "shown: step 6" in browser.text())
        browser.wait_for(lambda: "before step 6" in browser.text())
        browser.wait_for(lambda: picture(browser).std() > 10)  # more than a blank page
        colour = picture(browser)
        browser.choose("colour", "depth error")
        browser.wait_for(lambda: abs(picture(browser) - colour).mean() > 10)
        error = picture(browser)
        browser.click(*browser.place_of("go there"))
        browser.wait_for(lambda: abs(picture(browser) - error).mean() > 5)
        (tmp_path / "viewer.png").write_bytes(browser.screenshot())
        assert browser.errors == []
    with Image.open(tmp_path / "viewer.png") as kept:
        assert kept.size == SIZE
