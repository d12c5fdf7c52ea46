"""Files that hold a signing key: of their owner alone, made once, whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from ledger.domain.notes import KeyMalformed, SigningKey

OTHERS_MAY_READ = 0o077
SEED_BYTES = 32
MAX_KEY_CHARACTERS = 1_000


class KeyFileUnusable(ValueError):
    """The key file is damaged, or readable by others: restore it, or `chmod 600` it."""


def read_key(path: Path) -> SigningKey | None:
    """The key, None where there is no file. Raises KeyFileUnusable and OSError."""
    if not path.exists():
        return None
    if path.stat().st_mode & OTHERS_MAY_READ:
        raise KeyFileUnusable(f"{path}: {KeyFileUnusable.__doc__}")
    try:
        with path.open(encoding="utf-8") as file:
            return SigningKey.parse(file.read(MAX_KEY_CHARACTERS))
    except (KeyMalformed, UnicodeDecodeError) as error:
        raise KeyFileUnusable(f"{path}: {KeyFileUnusable.__doc__}") from error


def make_key(path: Path, name: str) -> SigningKey:
    """A new key in a new file, and beside it, as `.vkey`, its public half, which is for everybody."""
    key = SigningKey(name, os.urandom(SEED_BYTES))
    write_whole(path.with_suffix(".vkey"), f"{key.verifier}\n", mode=0o644)
    write_whole(path, key.secret() + "\n")
    return key


def write_whole(path: Path, content: str, *, mode: int = 0o600) -> None:
    """On the disk when this returns, whole or not at all; what stood there is replaced."""
    made = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        made.unlink()
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    made.replace(path)
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Make a new name in a folder survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
