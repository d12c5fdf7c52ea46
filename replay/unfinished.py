"""Files and folders that are there whole or not at all: written aside, and named when all is well.

1. Nothing that is there already is written over.
2. An error leaves nothing behind, so that whoever asks again finds the place free.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unfinished_file(path: Path) -> Iterator[Path]:
    """Where to write a new file until all is well. Raises FileExistsError, and what the system says of the folder."""
    aside = _aside(path)
    aside.unlink(missing_ok=True)
    try:
        yield aside
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """As `unfinished_file`, an empty folder."""
    aside = _aside(path)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    if os.path.lexists(path):
        raise FileExistsError(f"{path} is there already; nothing is written over.")
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    return path.with_name(f".{path.name}.unfinished")
