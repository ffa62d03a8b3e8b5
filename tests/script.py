"""A program as a shell starts it."""

import os
import subprocess
import sys


def run_script(*command, folder):
    """Run Python with these arguments in a folder, on one thread; give what it left."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
