"""Settings come from the environment, typed, and nothing misspelt passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from ledger import settings as settings_module
from ledger.settings import Settings, readme_table

README = Path(__file__).parent.parent / "README.md"


def test_the_environment_sets_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_POOL_SIZE", "3")
    assert Settings().pool_size == 3


def test_a_misspelt_variable_is_an_error_that_names_the_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEDGER_DATABSE_URL", "x")
    with pytest.raises(ValidationError, match=r"LEDGER_DATABSE_URL; known are .*LEDGER_DATABASE_URL"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGER_POOL_SIZE", "0"),
        ("LEDGER_LOCK_TIMEOUT_MS", "soon"),
        ("LEDGER_LOCK_TIMEOUT_MS", "2147483648"),
        ("LEDGER_STATEMENT_TIMEOUT_MS", "-1"),
        ("LEDGER_SHARED_BUFFERS_MB", "8388608"),
    ],
)
def test_a_value_out_of_bounds_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty address would lead to whatever server the driver finds, an empty folder to the current one."""
    for name in ("LEDGER_DATABASE_URL", "LEDGER_DATA_FOLDER", "LEDGER_SHARED_BUFFERS_MB"):
        monkeypatch.setenv(name, "")
    assert Settings().model_dump() == {name: field.default for name, field in Settings.model_fields.items()}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The service manager's credentials and the containers' secrets, both empty."""
    credentials, secrets = tmp_path / "credentials", tmp_path / "secrets"
    credentials.mkdir()
    secrets.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setattr(settings_module, "CONTAINER_SECRETS", secrets)
    return credentials, secrets


class TestSecretFiles:
    """Invariants 1 and 2 of ledger/settings.py."""

    def test_a_file_sets_a_setting_without_the_line_end_of_editors(self, folders: tuple[Path, Path]) -> None:
        (folders[1] / "ledger_database_url").write_text("postgresql://u:secret@h/d\n")
        (folders[1] / "LEDGER_POOL_SIZE").write_text("3")
        assert Settings().database_url == "postgresql://u:secret@h/d"
        assert Settings().pool_size == 3

    def test_the_environment_counts_before_a_file_and_credentials_before_secrets(
        self, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        credentials, secrets = folders
        (secrets / "ledger_pool_size").write_text("3")
        assert Settings().pool_size == 3
        (credentials / "ledger_pool_size").write_text("4")
        assert Settings().pool_size == 4
        monkeypatch.setenv("LEDGER_POOL_SIZE", "")
        assert Settings().pool_size == 4
        monkeypatch.setenv("LEDGER_POOL_SIZE", "5")
        assert Settings().pool_size == 5

    def test_a_misspelt_file_is_an_error_that_names_the_known_ones(self, folders: tuple[Path, Path]) -> None:
        (folders[1] / "ledger_databse_url").write_text("x")
        with pytest.raises(ValidationError, match=r"secrets/ledger_databse_url; known are .*ledger_database_url"):
            Settings()

    def test_a_value_out_of_bounds_is_an_error(self, folders: tuple[Path, Path]) -> None:
        (folders[0] / "ledger_pool_size").write_text("0")
        with pytest.raises(ValidationError, match="pool_size"):
            Settings()

    def test_other_files_and_missing_folders_do_not_matter(
        self, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folders[0] / "kafka_intake").write_text("x")
        (folders[1] / "rhsm").mkdir()
        assert Settings().model_dump() == {name: field.default for name, field in Settings.model_fields.items()}
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folders[0] / "none"))
        assert settings_module.secret_folders() == [folders[1]]


def test_passwords_in_addresses_are_not_shown() -> None:
    assert "secret" not in repr(Settings(database_url="postgresql://u:secret@h/d"))


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_has_the_table_of_all_settings() -> None:
    assert readme_table() in README.read_text(encoding="utf-8")
