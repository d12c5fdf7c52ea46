"""How much is tried: a tenth in `make test`, all of it in `make soak`."""

import os

SOAKS = bool(os.environ.get("SOAK"))
SHARE = 10


def scaled(full: int) -> int:
    """So many of what is tried at random; at least one."""
    return full if SOAKS else max(1, full // SHARE)
