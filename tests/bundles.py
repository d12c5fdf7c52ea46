"""Bundles for tests: a ledger to export from, and zips taken apart and put together again as an attacker would."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

import psycopg

from ledger.application import Ledger
from replay.bundle import Asked, export
from tests.commands import (
    CAP_FEN,
    PERSONAL,
    contribute,
    contribute_own,
    credit,
    merge,
    open_account,
    register,
    reverse,
    transfer,
    unmerge,
)
from tests.sealing import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.database import Database
    from ledger.domain.notes import SigningKey


def fill(database: Database, facts: int) -> None:
    """Facts of three people, of whom two are merged, and of one who was merged with them and is parted again."""
    ledger = Ledger(database)
    start = [
        register("sys:1"),
        register("sys:2"),
        register("sys:3"),
        open_account("sys:1", "A1"),
        open_account("sys:2", "A2"),
        open_account("sys:3", "A3"),
        open_account("sys:1", "P1", PERSONAL),
        contribute("A1", 1_000),
        contribute_own("P1", CAP_FEN),
        contribute("A3", 77),
        credit("A1", 50),
        transfer("A1", "A2", 500),
        reverse(8),
        merge("sys:1", "sys:2", "sys:3"),
        unmerge(["sys:1", "sys:2"], ["sys:3"]),
    ]
    ledger.post(start)
    with psycopg.connect(database.url) as connection:
        row = connection.execute("SELECT size FROM head").fetchone()
    assert row is not None
    ledger.post([contribute("A3" if number % 50 else "A1", 1 + number) for number in range(facts - row[0])])


def exported(
    connection: psycopg.Connection[Any], folder: Path, asked: Asked, *, key: SigningKey = KEY, **options: Any
) -> Path:
    """A bundle under a new name in the folder."""
    path = folder / f"{len(list(folder.iterdir()))}.zip"
    export(connection, path, asked, keys=[key.verifier], **options)
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def frames(raw: bytes, width: int) -> list[bytes]:
    found = []
    while raw:
        end = width + int.from_bytes(raw[:width], "big")
        found.append(raw[width:end])
        raw = raw[end:]
    return found


def framed(pieces: list[bytes], width: int) -> bytes:
    return b"".join(len(piece).to_bytes(width, "big") + piece for piece in pieces)


def described(contents: dict[str, bytes]) -> dict[str, Any]:
    """As the manifest lists files."""
    return {name: {"sha256": sha256(raw).hexdigest(), "size": len(raw)} for name, raw in contents.items()}


def packed(contents: dict[str, bytes], manifest: dict[str, Any] | None = None, *, compression: int = 0) -> bytes:
    """A zip as the export writes it; with a manifest, its digests are made to fit first."""
    if manifest is not None:
        others = {name: raw for name, raw in contents.items() if name != "manifest.json"}
        manifest["files"] = described(others)
        contents = others | {"manifest.json": (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()}
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        for name, raw in contents.items():
            info = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, raw, compression)
    return file.getvalue()
