import subprocess
import sys


def test_rays_compile_as_one_graph() -> None:
    command = [sys.executable, "-m", "tests.views.compiled_rays"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
