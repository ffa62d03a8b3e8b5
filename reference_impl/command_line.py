"""How the programs end: bad input is one line and exit code 2, never half a page of traceback."""

import os
import sys
from collections.abc import Callable


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
