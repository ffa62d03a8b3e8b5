"""How the programs end: bad input is one line and exit code 2, never half a page of traceback."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reference_impl.watch import NonFiniteLossError


def exit_code(program: Callable[[], object]) -> int:
    """Run a program: 0 if it ends well, 2 and one line if its input cannot be used.

    ``NERFREG_TRACEBACK=1`` in the environment lets the error through, to see where it came from.
    """
    try:
        program()
    except (ValueError, ImportError, OSError) as error:
        if os.environ.get("NERFREG_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def training_exit_code(program: Callable[[], object]) -> int:
    """Run a training: as :func:`exit_code`, 3 if a loss is not finite, 130 if it is stopped."""
    try:
        return exit_code(program)
    except KeyboardInterrupt as stopped:
        print(f"\n{str(stopped) or 'stopped outside of training'}", file=sys.stderr)
        return 130
    except NonFiniteLossError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


def require_resume_alone(config: Any, default: Any) -> None:
    """Refuse options beside ``--resume``, which would be ignored.

    Raises:
        ValueError: another option than ``--device`` differs from its default.
    """
    if config.resume and replace(config, resume="", device="auto") != default:
        raise ValueError(
            f"--resume {config.resume}: goes on with the run's own configuration, so no other"
            " option than --device can be given"
        )
