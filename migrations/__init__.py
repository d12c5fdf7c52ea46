"""Numbered SQL files that make every table, and the runner that applies them."""

from migrations.runner import (
    FOLDER,
    MigrationEdited,
    MigrationError,
    MigrationMissing,
    MigrationOutOfOrder,
    migrate,
    pending,
)

__all__ = [
    "FOLDER",
    "MigrationEdited",
    "MigrationError",
    "MigrationMissing",
    "MigrationOutOfOrder",
    "migrate",
    "pending",
]
