"""Look at a run in the browser: its cameras, its unseen patches, and its field from anywhere.

$ python reference_impl/view.py RUN               a finished run
$ python reference_impl/view.py RUN --live        a run that is training
$ python reference_impl/view.py RUN RUN2          two runs of one scene beside each other
"""

import ipaddress
import sys
from pathlib import Path
from typing import Annotated, Literal

if __package__ in (None, ""):  # run as a file: its folder is on the path, the project's root is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __import__("reference_impl")  # which says what is not installed

import tyro

from reference_impl.command_line import exit_code
from reference_impl.config import resolve_device
from reference_impl.viewer.followed_run import FollowedRun
from reference_impl.viewer.latency import measure
from reference_impl.viewer.viewer import Viewer, import_viser


def view(
    runs: Annotated[list[Path], tyro.conf.Positional],
    /,
    live: bool = False,
    port: int = 8080,
    host: str = "127.0.0.1",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    measure_latency: bool = False,
) -> None:
    """Look at one run, or at two side by side.

    Args:
        runs: folder of a run, and of a second one of the same scene to compare it with.
        live: follow runs that are training: wait for checkpoints and show them as they come.
        port: of the page; if it is taken, the next free one.
        host: address to listen at. Whoever reaches it sees the page, so it is this machine alone
            unless you say otherwise.
        device: that renders; auto: CUDA where there is one.
        measure_latency: serve no page, but print how long pictures take from a camera that moves.
    """
    if len(runs) not in (1, 2):
        raise ValueError(f"expected one run or two, got {len(runs)}")
    import_viser()
    name = resolve_device(device)
    followed = [FollowedRun(run, name) for run in runs]
    for run in followed:
        if not run.snapshots and (measure_latency or not live):
            problem = f"{run.folder}: no checkpoint in {run.folder / 'checkpoints'}; --live waits"
            raise ValueError(run.problem or f"{problem} for one")
    if measure_latency:
        print(measure(followed[0]))
        return
    if not is_loopback(host):
        print(f"warning: --host {host}: everybody who reaches this address sees the page")
    viewer = Viewer(followed, host=host, port=port, live=live)
    print(f"viewer    {viewer.url} (Ctrl-C ends it)", flush=True)
    try:
        viewer.wait()
    except KeyboardInterrupt:
        print()
    finally:
        viewer.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> int:
    """Run from the command line: 0 done, 2 bad input."""
    return exit_code(lambda: tyro.cli(view, description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
